output "state_machine_arn" {
  description = "The state machine: start it with what start_commands says."
  value       = aws_sfn_state_machine.suite.arn
}

output "function_names" {
  description = "By step: the name of its function."
  value       = { for step, function in aws_lambda_function.step : step => function.function_name }
}

output "function_role_arns" {
  description = "By step: the role of its function, for policies of buckets, keys and secrets of other accounts."
  value       = { for step, role in aws_iam_role.function : step => role.arn }
}

output "bucket" {
  description = "Name of the results bucket."
  value       = aws_s3_bucket.results.id
}

output "results" {
  description = "Where results lie, as pytest --fileflow-results and fileflow history take it."
  value       = local.results
}

output "config" {
  description = "Where configs are read from, as fileflow push takes it."
  value       = local.config
}

output "topic_arn" {
  description = "The topic of the alarms; null where the module makes none."
  value       = one(aws_sns_topic.alarms[*].arn)
}

output "kms_key_arn" {
  description = "The key of results, logs and topic; null where there is none."
  value       = local.key_arn
}

output "dashboard_url" {
  description = "The dashboard in the console."
  value       = local.dashboard_url
}

output "log_group_names" {
  description = "Log groups of the functions, by step, and of the state machine."
  value = merge(
    { for step, group in aws_cloudwatch_log_group.function : step => group.name },
    { machine = aws_cloudwatch_log_group.machine.name },
  )
}

output "schedule_names" {
  description = "By its key: the name of each schedule, in the group of the deployment's name."
  value       = { for key, schedule in aws_scheduler_schedule.suite : key => schedule.name }
}

output "athena" {
  description = "Workgroup, database and view with which Athena reads the records."
  value = {
    workgroup = aws_athena_workgroup.results.name
    database  = aws_glue_catalog_database.results.name
    view      = aws_glue_catalog_table.runs.name
  }
}

output "nat_ip" {
  description = "The address that SFTP servers see, for partners to let in; null without new_vpc and its nat."
  value       = one(aws_eip.nat[*].public_ip)
}

output "security_group_id" {
  description = "Security group of the functions; null without a VPC."
  value       = one(aws_security_group.functions[*].id)
}

output "start_commands" {
  description = "Commands that start the machine at once: for all flows, a group, a flow, and the canaries."
  value = { for what, input in {
    all    = {}
    group  = { group = "GROUP" }
    flow   = { flow_id = "FLOW_ID" }
    canary = { cases = ["canary"] }
    } : what => "aws stepfunctions start-execution --region ${local.region} --state-machine-arn ${aws_sfn_state_machine.suite.arn} --input '${jsonencode(input)}'"
  }
}
