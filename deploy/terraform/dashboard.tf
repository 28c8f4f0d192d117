# One dashboard: what `fileflow cloudwatch dashboard` prints (dashboard.json), and below it the machine itself.

locals {
  # Those of the transfers first, as far as CloudWatch takes so many in a query.
  all_logs = concat(
    [for arn in var.transfer_function_arns : "/aws/lambda/${split(":", arn)[6]}" if !endswith(arn, "*")],
    [for step in keys(local.functions) : "/aws/lambda/${local.functions[step]}"],
  )
  searched_logs = slice(local.all_logs, 0, min(50, length(local.all_logs)))

  runs = jsondecode(replace(
    replace(file("${path.module}/dashboard.json"), "\"REGION\"", jsonencode(local.region)),
    "SOURCE 'LOG_GROUP'", join(" | ", [for group in local.searched_logs : "SOURCE '${group}'"]),
  ))
  below = max([for widget in local.runs.widgets : widget.y + widget.height]...)

  machine_widgets = [
    {
      type = "metric", x = 0, y = local.below, width = 12, height = 6
      properties = {
        title = "Executions", region = local.region, view = "timeSeries", stat = "Sum", period = 3600
        metrics = [for metric in ["ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted", "ExecutionThrottled"] :
          ["AWS/States", metric, "StateMachineArn", local.machine_arn]
        ]
      }
    },
    {
      type = "metric", x = 12, y = local.below, width = 12, height = 6
      properties = {
        title   = "Functions: the slowest call of an hour", region = local.region, view = "timeSeries", stat = "Maximum", period = 3600
        metrics = [for step in keys(local.functions) : ["AWS/Lambda", "Duration", "FunctionName", local.functions[step], { label = step }]]
      }
    },
    {
      type = "metric", x = 0, y = local.below + 6, width = 24, height = 6
      properties = {
        title   = "Functions: errors", region = local.region, view = "timeSeries", stacked = true, stat = "Sum", period = 3600
        metrics = [for step in keys(local.functions) : ["AWS/Lambda", "Errors", "FunctionName", local.functions[step], { label = step }]]
      }
    },
  ]
}

resource "aws_cloudwatch_dashboard" "suite" {
  dashboard_name = local.dashboard
  dashboard_body = jsonencode(merge(local.runs, { widgets = concat(local.runs.widgets, local.machine_widgets) }))
}

# What the steps have logged of one run, or of one flow: put its id in.
resource "aws_cloudwatch_query_definition" "run" {
  name            = "${var.name}/one run"
  log_group_names = [for group in aws_cloudwatch_log_group.function : group.name]
  query_string    = <<-QUERY
    fields @timestamp, step, level, message, execution
    | filter test_run_id = "RUN_ID"
    | sort @timestamp asc
    | limit 1000
  QUERY
}

resource "aws_cloudwatch_query_definition" "problems" {
  name            = "${var.name}/problems"
  log_group_names = [for group in aws_cloudwatch_log_group.function : group.name]
  query_string    = <<-QUERY
    fields @timestamp, flow_id, test_run_id, step, level, message
    | filter level in ["WARNING", "ERROR", "CRITICAL"]
    | sort @timestamp desc
    | limit 200
  QUERY
}
