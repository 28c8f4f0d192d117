# The state machine: machine/suite.asl.json, with the states of machine/case.asl.json in both of its Maps.

locals {
  machine_variables = merge({ partition = local.partition }, local.function_arns)
  suite             = jsondecode(templatefile("${path.module}/machine/suite.asl.json", local.machine_variables))

  # A state's name stands once in a machine, so those of the second Map end with a suffix.
  cases = { for map, suffix in { RunFewCases = "", RunManyCases = "OfMany" } : map =>
    jsondecode(templatefile("${path.module}/machine/case.asl.json", merge(local.machine_variables, { suffix = suffix })))
  }
  maps = { for map, case in local.cases : map => merge(local.suite.States[map], {
    # Step Functions bounds what an inline Map does at a time.
    MaxConcurrency = map == "RunFewCases" ? min(40, var.max_concurrency) : var.max_concurrency
    ItemProcessor  = merge(local.suite.States[map].ItemProcessor, { StartAt = case.StartAt, States = case.States })
  }) }
  definition = merge(local.suite, { States = merge(local.suite.States, local.maps) })
}

resource "aws_cloudwatch_log_group" "machine" {
  #checkov:skip=CKV_AWS_338:a month of logs is what records are kept for, too; log_retention_days keeps them longer
  #checkov:skip=CKV_AWS_158:create_kms_key or kms_key_arn gives a key; CloudWatch encrypts without one
  name              = "/aws/vendedlogs/states/${local.machine_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.key_arn
  tags              = var.tags
}

data "aws_iam_policy_document" "machine" {
  #checkov:skip=CKV_AWS_356:only for what has no resources: the delivery of logs, and traces
  #checkov:skip=CKV_AWS_111:only for what has no resources: the delivery of logs, and traces
  statement {
    sid       = "Steps"
    actions   = ["lambda:InvokeFunction"]
    resources = values(local.function_arns)
  }

  statement {
    sid       = "CasesAsExecutions"
    actions   = ["states:StartExecution"]
    resources = [local.machine_arn]
  }

  statement {
    sid       = "WatchThem"
    actions   = ["states:DescribeExecution", "states:RedriveExecution", "states:StopExecution"]
    resources = ["${local.execution_arns}:*", "${local.execution_arns}/${local.suite.States.RunManyCases.Label}:*"]
  }

  statement {
    sid       = "ListOfCases"
    actions   = ["s3:GetObject"]
    resources = [local.own_objects.executions]
  }

  dynamic "statement" {
    for_each = length(local.own_key_arns) > 0 ? [local.own_key_arns] : []

    content {
      sid       = "KeyOfTheList"
      actions   = ["kms:Decrypt"]
      resources = statement.value

      condition {
        test     = local.via["s3"].test
        variable = local.via["s3"].variable
        values   = local.via["s3"].values
      }
    }
  }

  # The delivery of logs knows no resources.
  statement {
    sid = "Logs"
    actions = [
      "logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies",
      "logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery",
    ]
    resources = ["*"]
  }

  # X-Ray knows no resources for traces.
  dynamic "statement" {
    for_each = var.tracing ? ["*"] : []

    content {
      sid = "Traces"
      actions = [
        "xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments",
      ]
      resources = [statement.value]
    }
  }
}

data "aws_iam_policy_document" "states" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["states.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "machine" {
  name                 = "${var.name}-machine-${local.region}"
  description          = "What the state machine of ${var.name} may do"
  assume_role_policy   = data.aws_iam_policy_document.states.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "machine" {
  name   = "${var.name}-machine"
  role   = aws_iam_role.machine.id
  policy = data.aws_iam_policy_document.machine.json
}

resource "aws_sfn_state_machine" "suite" {
  #checkov:skip=CKV_AWS_284:tracing switches it on
  #checkov:skip=CKV_AWS_285:include_execution_data switches it on; what failed is in the records
  name       = local.machine_name
  type       = "STANDARD"
  role_arn   = aws_iam_role.machine.arn
  definition = jsonencode(local.definition)
  tags       = var.tags

  logging_configuration {
    level                  = var.machine_log_level
    include_execution_data = var.include_execution_data
    log_destination        = "${aws_cloudwatch_log_group.machine.arn}:*"
  }

  tracing_configuration {
    enabled = var.tracing
  }

  depends_on = [aws_iam_role_policy.machine, aws_lambda_function.step]
}
