# Who is told, and of what. The alarms on runs are those of `fileflow cloudwatch alarms`.

resource "aws_sns_topic" "alarms" {
  #checkov:skip=CKV_AWS_26:create_kms_key or kms_key_arn gives a key; with AWS's own, alarms could not publish
  count             = var.create_topic ? 1 : 0
  name              = "${var.name}-alarms"
  kms_master_key_id = local.key_arn
  tags              = var.tags
}

data "aws_iam_policy_document" "topic" {
  count = var.create_topic ? 1 : 0

  statement {
    sid       = "AlarmsOfThisAccount"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms[0].arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms[0].arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  count  = var.create_topic ? 1 : 0
  arn    = aws_sns_topic.alarms[0].arn
  policy = data.aws_iam_policy_document.topic[0].json
}

resource "aws_sns_topic_subscription" "email" {
  for_each  = var.create_topic ? var.alarm_emails : []
  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = each.key
}

locals {
  alarm_actions = concat(aws_sns_topic.alarms[*].arn, var.alarm_topic_arns)

  # What must have been 0 in each of the last hours; hours without data are well.
  counted = var.cloudwatch ? {
    failed = {
      metric      = "SuiteFailures", hours = 24
      description = "At least one flow failed, or its config is wrong, in the last 24 hours: see the suite's report."
    }
    not-judged = {
      metric      = "SuiteErrors", hours = 24
      description = "At least one run could not be judged in the last 24 hours: the tester is at fault, or was ended too early."
    }
    canary-failed = {
      metric      = "CanaryFailures", hours = 3
      description = "At least one canary did not pass in the last 3 hours: an end of a flow does not answer."
    }
  } : {}

  executions = {
    execution-failed    = { metric = "ExecutionsFailed", description = "An execution of the state machine failed: a run has no record, a config is wrong, or nobody was told." }
    execution-timed-out = { metric = "ExecutionsTimedOut", description = "An execution of the state machine took too long, and was ended." }
    execution-aborted   = { metric = "ExecutionsAborted", description = "Somebody ended an execution of the state machine; what it had written may still lie there." }
    execution-throttled = { metric = "ExecutionThrottled", description = "Step Functions slowed the state machine down: max_concurrency is too high for the account's limits." }
  }
}

resource "aws_cloudwatch_metric_alarm" "counted" {
  for_each            = local.counted
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = "FileFlowTests"
  metric_name         = each.value.metric
  statistic           = "Maximum"
  period              = 3600
  evaluation_periods  = each.value.hours
  datapoints_to_alarm = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = var.tags
}

# A query forgets after three hours: its OK would be taken for a recovery, so nobody is told of it.
resource "aws_cloudwatch_metric_alarm" "flows" {
  count               = local.has_flow_metrics ? 1 : 0
  alarm_name          = "${var.name}-flow-failed"
  alarm_description   = "A flow did not pass; FlowId says which. OK after three hours is no recovery."
  evaluation_periods  = 3
  datapoints_to_alarm = 1
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  tags                = var.tags

  metric_query {
    id          = "flows"
    expression  = "SELECT MIN(RunSuccess) FROM SCHEMA(\"FileFlowTests\", FlowId) GROUP BY FlowId ORDER BY MIN() ASC"
    period      = 3600
    return_data = true
  }
}

resource "aws_cloudwatch_metric_alarm" "flow" {
  for_each            = local.has_flow_metrics ? var.flow_ids : []
  alarm_name          = "${var.name}-flow-failed-${each.key}"
  alarm_description   = "${each.key} did not pass in the last 24 hours: its record says why."
  namespace           = "FileFlowTests"
  metric_name         = "RunSuccess"
  dimensions          = { FlowId = each.key }
  statistic           = "Minimum"
  period              = 3600
  evaluation_periods  = 24
  datapoints_to_alarm = 1
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = var.tags
}

# Hours, and not one long period: CloudWatch looks some periods further back before it calls data missing.
resource "aws_cloudwatch_metric_alarm" "missing" {
  count               = var.cloudwatch ? 1 : 0
  alarm_name          = "${var.name}-missing"
  alarm_description   = "No transfer was run in the last ${var.missing_after_hours} hours: the suite did not run."
  namespace           = "FileFlowTests"
  metric_name         = "SuiteRuns"
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = var.missing_after_hours
  datapoints_to_alarm = var.missing_after_hours
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "execution" {
  for_each            = local.executions
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = "AWS/States"
  metric_name         = each.value.metric
  dimensions          = { StateMachineArn = aws_sfn_state_machine.suite.arn }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "not_started" {
  alarm_name          = "${var.name}-not-started"
  alarm_description   = "A schedule could not start the state machine, and has given up."
  namespace           = "AWS/Scheduler"
  metric_name         = "InvocationDroppedCount"
  dimensions          = { ScheduleGroup = aws_scheduler_schedule_group.suite.name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  tags                = var.tags
}
