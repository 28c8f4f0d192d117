output "task_definition_arn" {
  description = "The task definition, with its revision."
  value       = aws_ecs_task_definition.suite.arn
}

output "cluster_arn" {
  description = "The cluster that the task runs in."
  value       = local.cluster_arn
}

output "task_role_arn" {
  description = "The role of the suite, for policies of buckets, keys and secrets of other accounts."
  value       = aws_iam_role.task.arn
}

output "security_group_id" {
  description = "The security group of the task, for SFTP servers to let in."
  value       = aws_security_group.task.id
}

output "log_group" {
  description = "Where the terminal of each run is kept."
  value       = aws_cloudwatch_log_group.task.name
}

output "run_command" {
  description = "Runs the suite at once; further arguments of pytest go into the command of the override."
  value = join(" ", [
    "aws ecs run-task --cluster ${local.cluster_arn} --task-definition ${var.name} --launch-type FARGATE",
    "--network-configuration '${jsonencode({ awsvpcConfiguration = {
      subnets        = var.vpc.subnet_ids
      securityGroups = [aws_security_group.task.id]
      assignPublicIp = var.vpc.assign_public_ip ? "ENABLED" : "DISABLED"
    } })}'",
  ])
}
