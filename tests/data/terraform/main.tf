# What a deployment of a transfer with its state machine is made of, small: no word of the sandbox stands in it.
terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.100" }
  }
}

provider "aws" {
  region = "us-west-2"
}

variable "package" { type = string }
variable "level" { type = string }

data "aws_caller_identity" "me" {}
data "aws_partition" "this" {}

resource "aws_kms_key" "results" {
  enable_key_rotation     = true
  deletion_window_in_days = 7
}

resource "aws_kms_alias" "results" {
  name          = "alias/mover"
  target_key_id = aws_kms_key.results.key_id
}

resource "aws_s3_bucket" "results" {
  bucket        = "mover-results-${data.aws_caller_identity.me.account_id}"
  force_destroy = true
}

resource "aws_s3_bucket_versioning" "results" {
  bucket = aws_s3_bucket.results.id
  versioning_configuration { status = "Enabled" }
}

resource "aws_s3_bucket_public_access_block" "results" {
  bucket                  = aws_s3_bucket.results.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "results" {
  bucket = aws_s3_bucket.results.id
  rule { object_ownership = "BucketOwnerEnforced" }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "results" {
  bucket = aws_s3_bucket.results.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.results.arn
    }
  }
}

resource "aws_s3_bucket_policy" "tls_only" {
  bucket = aws_s3_bucket.results.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.results.arn, "${aws_s3_bucket.results.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

resource "aws_s3_object" "group" {
  bucket  = aws_s3_bucket.results.id
  key     = "config/groups/nightly.json"
  content = "[]"
}

resource "aws_sns_topic" "alerts" {
  name              = "mover-alerts"
  kms_master_key_id = aws_kms_key.results.arn
}

resource "aws_sns_topic_subscription" "us" {
  topic_arn = aws_sns_topic.alerts.arn
  protocol  = "email"
  endpoint  = "us@example.com"
}

resource "aws_secretsmanager_secret" "partner" {
  name                    = "partner/acme"
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "partner" {
  secret_id     = aws_secretsmanager_secret.partner.id
  secret_string = jsonencode({ password = "p" })
}

resource "aws_dynamodb_table" "flows" {
  name         = "mover-flows"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "flow_id"
  attribute {
    name = "flow_id"
    type = "S"
  }
}

data "aws_iam_policy_document" "assume" {
  for_each = toset(["lambda", "states", "scheduler"])
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "of" {
  for_each           = data.aws_iam_policy_document.assume
  name               = "mover-${each.key}"
  assume_role_policy = each.value.json
}

resource "aws_iam_role_policy" "function" {
  name = "mover"
  role = aws_iam_role.of["lambda"].id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "s3:PutObject", Resource = "${aws_s3_bucket.results.arn}/*" }]
  })
}

resource "aws_iam_policy" "logs" {
  name = "mover-logs"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "logs:PutLogEvents", Resource = "${aws_cloudwatch_log_group.function.arn}:*" }]
  })
}

resource "aws_iam_role_policy_attachment" "logs" {
  role       = aws_iam_role.of["lambda"].name
  policy_arn = aws_iam_policy.logs.arn
}

resource "aws_cloudwatch_log_group" "function" {
  name              = "/aws/lambda/mover"
  retention_in_days = 14
}

resource "aws_lambda_function" "mover" {
  function_name    = "mover"
  role             = aws_iam_role.of["lambda"].arn
  runtime          = "python3.12"
  architectures    = ["arm64"]
  handler          = "app.handler"
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  memory_size      = 256
  timeout          = 20
  environment {
    variables = {
      BUCKET = aws_s3_bucket.results.id
      SECRET = aws_secretsmanager_secret.partner.arn
      LEVEL  = var.level
    }
  }
  ephemeral_storage { size = 1024 }
  tracing_config { mode = "Active" }
  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.function.name
  }
}

resource "aws_lambda_function_event_invoke_config" "mover" {
  function_name          = aws_lambda_function.mover.function_name
  maximum_retry_attempts = 0
}

resource "aws_cloudwatch_log_group" "machine" {
  name = "/aws/vendedlogs/states/mover"
}

resource "aws_sfn_state_machine" "suite" {
  name     = "mover"
  role_arn = aws_iam_role.of["states"].arn
  definition = jsonencode({
    StartAt = "Each"
    States = {
      Each = {
        Type           = "Map"
        ItemsPath      = "$.cases"
        MaxConcurrency = 4
        ItemProcessor = {
          StartAt = "Move"
          States = {
            Move = {
              Type       = "Task"
              Resource   = "arn:${data.aws_partition.this.partition}:states:::lambda:invoke"
              Parameters = { FunctionName = aws_lambda_function.mover.arn, "Payload.$" = "$" }
              OutputPath = "$.Payload"
              End        = true
            }
          }
        }
        End = true
      }
    }
  })
  logging_configuration {
    level           = "ERROR"
    log_destination = "${aws_cloudwatch_log_group.machine.arn}:*"
  }
}

resource "aws_scheduler_schedule_group" "suites" {
  name = "mover"
}

resource "aws_scheduler_schedule" "daily" {
  name                         = "daily"
  group_name                   = aws_scheduler_schedule_group.suites.name
  schedule_expression          = "cron(0 6 * * ? *)"
  schedule_expression_timezone = "America/Los_Angeles"
  flexible_time_window { mode = "OFF" }
  target {
    arn      = aws_sfn_state_machine.suite.arn
    role_arn = aws_iam_role.of["scheduler"].arn
    input    = jsonencode({ cases = [] })
  }
}

resource "aws_cloudwatch_metric_alarm" "failed" {
  alarm_name          = "mover-failed"
  namespace           = "AWS/States"
  metric_name         = "ExecutionsFailed"
  dimensions          = { StateMachineArn = aws_sfn_state_machine.suite.arn }
  comparison_operator = "GreaterThanThreshold"
  evaluation_periods  = 1
  period              = 300
  statistic           = "Sum"
  threshold           = 0
  alarm_actions       = [aws_sns_topic.alerts.arn]
}

resource "aws_cloudwatch_dashboard" "mover" {
  dashboard_name = "mover"
  dashboard_body = jsonencode({ widgets = [] })
}

resource "aws_cloudwatch_query_definition" "of_a_run" {
  name            = "mover/run"
  log_group_names = [aws_cloudwatch_log_group.function.name]
  query_string    = "fields @timestamp, message | filter test_run_id = 'r'"
}

resource "aws_glue_catalog_database" "results" {
  name = "mover"
}

resource "aws_glue_catalog_table" "runs" {
  name          = "runs"
  database_name = aws_glue_catalog_database.results.name
  table_type    = "EXTERNAL_TABLE"
  storage_descriptor {
    location = "s3://${aws_s3_bucket.results.id}/results/"
    columns {
      name = "run_id"
      type = "string"
    }
  }
}

resource "aws_athena_workgroup" "results" {
  name          = "mover"
  force_destroy = true
  configuration {
    result_configuration { output_location = "s3://${aws_s3_bucket.results.id}/athena/" }
  }
}

resource "aws_athena_named_query" "late" {
  name      = "late"
  workgroup = aws_athena_workgroup.results.id
  database  = aws_glue_catalog_database.results.name
  query     = "select 1"
}

resource "aws_ecs_cluster" "tests" {
  name = "mover"
}

resource "aws_ecs_task_definition" "tests" {
  family                   = "mover"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  container_definitions    = jsonencode([{ name = "pytest", image = "pytest-fileflow", essential = true }])
}

output "machine" { value = aws_sfn_state_machine.suite.arn }
output "bucket" { value = aws_s3_bucket.results.id }
