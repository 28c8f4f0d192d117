# When the machine starts. A time zone follows daylight saving.

locals {
  schedules = merge(
    var.daily_schedule == null ? {} : { daily = merge(var.daily_schedule, { enabled = true }) },
    var.canary_schedule == null ? {} : {
      canary = { expression = var.canary_schedule, timezone = "UTC", input = jsonencode({ cases = ["canary"] }), enabled = true }
    },
    var.schedules,
  )
}

data "aws_iam_policy_document" "scheduler" {
  statement {
    actions   = ["states:StartExecution"]
    resources = [local.machine_arn]
  }
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

resource "aws_iam_role" "scheduler" {
  name                 = "${var.name}-scheduler-${local.region}"
  description          = "Starts the state machine of ${var.name}, and does nothing else"
  assume_role_policy   = data.aws_iam_policy_document.schedules.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "scheduler" {
  name   = "${var.name}-scheduler"
  role   = aws_iam_role.scheduler.id
  policy = data.aws_iam_policy_document.scheduler.json
}

resource "aws_scheduler_schedule_group" "suite" {
  name = var.name
  tags = var.tags
}

resource "aws_scheduler_schedule" "suite" {
  #checkov:skip=CKV_AWS_297:an input names flows or groups, and nothing secret
  for_each                     = local.schedules
  name                         = "${var.name}-${each.key}"
  group_name                   = aws_scheduler_schedule_group.suite.name
  description                  = substr("Starts ${var.name} with ${each.value.input}", 0, 512) # as many as AWS takes
  schedule_expression          = each.value.expression
  schedule_expression_timezone = each.value.timezone
  state                        = each.value.enabled ? "ENABLED" : "DISABLED"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_sfn_state_machine.suite.arn
    role_arn = aws_iam_role.scheduler.arn
    input    = each.value.input

    # A start that comes more than an hour late is left to the next one.
    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 10
    }
  }

  depends_on = [aws_iam_role_policy.scheduler]
}
