# When the task starts. A time zone follows daylight saving.

locals {
  schedules = merge(
    var.daily_schedule == null ? {} : { daily = merge(var.daily_schedule, { enabled = true }) },
    var.canary_schedule == null ? {} : {
      canary = { expression = var.canary_schedule, timezone = "UTC", arguments = ["-m", "canary"], enabled = true }
    },
    var.schedules,
  )
}

data "aws_iam_policy_document" "schedules" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_scheduler_schedule_group.suite.arn]
    }
  }
}

data "aws_iam_policy_document" "scheduler" {
  statement {
    actions   = ["ecs:RunTask"]
    resources = ["${local.task_arn}:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster_arn]
    }
  }

  statement {
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.task.arn, aws_iam_role.execution.arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "scheduler" {
  name                 = "${var.name}-task-scheduler-${local.region}"
  description          = "Starts the task of ${var.name}, and does nothing else"
  assume_role_policy   = data.aws_iam_policy_document.schedules.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "scheduler" {
  name   = "${var.name}-task-scheduler"
  role   = aws_iam_role.scheduler.id
  policy = data.aws_iam_policy_document.scheduler.json
}

resource "aws_scheduler_schedule_group" "suite" {
  name = "${var.name}-task"
  tags = var.tags
}

resource "aws_scheduler_schedule" "suite" {
  #checkov:skip=CKV_AWS_297:an input names flows or groups, and nothing secret
  for_each                     = local.schedules
  name                         = "${var.name}-task-${each.key}"
  group_name                   = aws_scheduler_schedule_group.suite.name
  description                  = substr(trimspace("Starts ${var.name} ${join(" ", each.value.arguments)}"), 0, 512)
  schedule_expression          = each.value.expression
  schedule_expression_timezone = each.value.timezone
  state                        = each.value.enabled ? "ENABLED" : "DISABLED"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = local.cluster_arn
    role_arn = aws_iam_role.scheduler.arn
    input = jsonencode({
      containerOverrides = [{ name = local.container, command = concat(local.command, each.value.arguments) }]
    })

    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.suite.arn
      launch_type         = "FARGATE"
      platform_version    = "LATEST"
      task_count          = 1

      network_configuration {
        subnets          = var.vpc.subnet_ids
        security_groups  = [aws_security_group.task.id]
        assign_public_ip = var.vpc.assign_public_ip
      }
    }

    # A start that comes more than an hour late is left to the next one.
    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 10
    }
  }

  depends_on = [aws_iam_role_policy.scheduler, aws_ecs_cluster.own]
}
