# The suite as a task that starts by schedule, runs once and ends: pytest in a container on Fargate.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account    = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.id
  dns_suffix = data.aws_partition.current.dns_suffix

  # ARNs by name: so a plan shows policies in full.
  task_arn     = "arn:${local.partition}:ecs:${local.region}:${local.account}:task-definition/${var.name}"
  cluster_arn  = coalesce(var.cluster_arn, "arn:${local.partition}:ecs:${local.region}:${local.account}:cluster/${var.name}")
  log_group    = "/fileflow/${var.name}"
  log_arn      = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group}:*"
  container    = "fileflow"
  stop_seconds = 120 # the longest that Fargate waits between SIGTERM and SIGKILL

  command = concat(
    ["--fileflow-config=${var.config_store}", "--fileflow-results=${var.results}"],
    var.environment == "" ? [] : ["--fileflow-env=${var.environment}"],
    [for pattern in var.allow : "--fileflow-allow=${pattern}"],
    var.cloudwatch ? ["--fileflow-cloudwatch"] : [],
    var.alerts ? ["--fileflow-alerts"] : [],
    var.workers == 1 ? [] : ["--numprocesses=${var.workers}"],
    var.arguments,
  )
}

resource "aws_cloudwatch_log_group" "task" {
  #checkov:skip=CKV_AWS_338:a month of logs is what records are kept for, too; log_retention_days keeps them longer
  #checkov:skip=CKV_AWS_158:kms_key_arn gives a key; CloudWatch encrypts without one
  name              = local.log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_ecs_cluster" "own" {
  #checkov:skip=CKV_AWS_65:a task that ends has its metrics from the suite; container insights are the account's choice
  count = var.cluster_arn == null ? 1 : 0
  name  = var.name
  tags  = var.tags
}

resource "aws_ecs_task_definition" "suite" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory_mb
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture == "arm64" ? "ARM64" : "X86_64"
  }

  dynamic "ephemeral_storage" {
    for_each = var.storage_gb == null ? [] : [var.storage_gb]

    content {
      size_in_gib = ephemeral_storage.value
    }
  }

  # The image's two volumes; all else cannot be written.
  volume {
    name = "records"
  }

  volume {
    name = "tmp"
  }

  container_definitions = jsonencode([{
    name                   = local.container
    image                  = var.image
    essential              = true
    command                = local.command
    environment            = [for name, value in var.environment_variables : { name = name, value = value }]
    user                   = "10001:10001"
    readonlyRootFilesystem = true
    privileged             = false
    stopTimeout            = local.stop_seconds
    mountPoints = [
      { sourceVolume = "records", containerPath = "/suite/fileflow-results", readOnly = false },
      { sourceVolume = "tmp", containerPath = "/tmp", readOnly = false },
    ]
    # An init process hands SIGTERM on, also before pytest listens for it, and buries what GnuPG leaves.
    linuxParameters = { initProcessEnabled = true, capabilities = { add = [], drop = ["ALL"] } }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = local.log_group
        awslogs-region        = local.region
        awslogs-stream-prefix = "suite"
      }
    }
  }])
}

resource "aws_security_group" "task" {
  #checkov:skip=CKV2_AWS_5:the schedules' network configuration attaches it
  name        = "${var.name}-task"
  description = "What the task of ${var.name} may reach; nothing reaches it"
  vpc_id      = var.vpc.id
  tags        = merge(var.tags, { Name = "${var.name}-task" })
}

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each          = toset(var.https_cidrs)
  security_group_id = aws_security_group.task.id
  description       = "AWS and webhooks"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = each.key
  tags              = var.tags
}

resource "aws_vpc_security_group_egress_rule" "sftp" {
  for_each          = { for server in var.sftp_servers : "${server.cidr}:${server.port}" => server }
  security_group_id = aws_security_group.task.id
  description       = "SFTP server"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.cidr
  tags              = var.tags
}
