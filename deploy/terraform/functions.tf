# A function a step. Step Functions invokes them synchronously and tries again by itself: no dead-letter queue.

# The package goes to S3 once, not with each function, and may so be larger than 50 MB. A new one is a new version of the
# same object: with another key the one before would be deleted, which Object Lock refuses.
resource "aws_s3_object" "package" {
  #checkov:skip=CKV_AWS_186:the bucket's own encryption holds for it
  bucket      = aws_s3_bucket.results.id
  key         = "code/${var.name}.zip"
  source      = var.package
  source_hash = filemd5(var.package)
  # Object Lock takes nothing without a checksum, and a provider before 5.85 sends none (hashicorp/terraform#36113).
  checksum_algorithm = var.object_lock == null ? null : "CRC32"
  tags               = var.tags

  depends_on = [
    aws_s3_bucket_versioning.results,
    aws_s3_bucket_server_side_encryption_configuration.results,
    aws_s3_bucket_object_lock_configuration.results,
  ]
}

resource "aws_cloudwatch_log_group" "function" {
  #checkov:skip=CKV_AWS_338:a month of logs is what records are kept for, too; log_retention_days keeps them longer
  #checkov:skip=CKV_AWS_158:create_kms_key or kms_key_arn gives a key; CloudWatch encrypts without one
  for_each          = local.functions
  name              = "/aws/lambda/${each.value}"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.key_arn
  tags              = var.tags
}

locals {
  environment = {
    FILEFLOW_RESULTS = local.results
    FILEFLOW_ALLOW   = join("\n", var.allow)
    FILEFLOW_PLUGINS = join(" ", var.plugins)
  }
  environment_of = {
    list_flows = {
      FILEFLOW_CONFIG         = local.config
      FILEFLOW_ENV            = var.environment
      FILEFLOW_SETTLE_MINUTES = tostring(var.settle_minutes)
    }
    record = { FILEFLOW_CLOUDWATCH = local.has_flow_metrics ? "1" : "0" }
    notify = {
      FILEFLOW_ALERTS       = var.alerts ? "1" : "0"
      FILEFLOW_CLOUDWATCH   = var.cloudwatch ? "1" : "0"
      FILEFLOW_REMIND_HOURS = tostring(var.remind_hours)
      FILEFLOW_REPORT_URL   = coalesce(var.report_url, local.dashboard_url)
    }
  }
  environments = { for step in keys(local.steps) : step => {
    for name, value in merge(local.environment, lookup(local.environment_of, step, {}), var.environment_variables) :
    name => value if value != ""
  } }
}

resource "aws_lambda_function" "step" {
  #checkov:skip=CKV_AWS_115:step_settings reserves concurrency; max_concurrency bounds it anyway
  #checkov:skip=CKV_AWS_116:invoked synchronously by Step Functions, which keeps what failed
  #checkov:skip=CKV_AWS_117:vpc or new_vpc puts the functions into one; SFTP servers on the internet need none
  #checkov:skip=CKV_AWS_173:no variable holds anything secret
  #checkov:skip=CKV_AWS_272:who may change the package may change this module; signing is the account's choice
  #checkov:skip=CKV_AWS_50:tracing switches it on
  for_each         = local.steps
  function_name    = local.functions[each.key]
  description      = "Step ${each.key} of ${var.name}"
  role             = aws_iam_role.function[each.key].arn
  handler          = "pytest_fileflow.aws.${each.key}.handler"
  runtime          = var.runtime
  architectures    = [var.architecture]
  s3_bucket        = aws_s3_object.package.bucket
  s3_key           = aws_s3_object.package.key
  source_code_hash = filebase64sha256(var.package)
  memory_size      = each.value.memory_mb
  timeout          = each.value.timeout_seconds

  reserved_concurrent_executions = each.value.reserved_concurrency
  tags                           = var.tags

  environment {
    variables = local.environments[each.key]
  }

  ephemeral_storage {
    size = each.value.storage_mb
  }

  tracing_config {
    mode = var.tracing ? "Active" : "PassThrough"
  }

  dynamic "vpc_config" {
    for_each = local.subnet_ids == null ? [] : [local.subnet_ids]

    content {
      subnet_ids         = vpc_config.value
      security_group_ids = aws_security_group.functions[*].id
    }
  }

  lifecycle {
    # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    precondition {
      condition     = sum([for name, value in local.environments[each.key] : length(name) + length(value)]) <= 4096
      error_message = "A function takes 4 KB of environment variables, and allow, plugins and environment_variables have more: patterns of allow may be shorter and cover more, or stand in an environment of the config store."
    }
  }

  depends_on = [
    aws_cloudwatch_log_group.function, # or Lambda makes one that keeps everything
    aws_iam_role_policy.function,      # or a function in a VPC cannot be made
  ]
}
