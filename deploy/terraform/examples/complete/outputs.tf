output "state_machine_arn" {
  description = "The state machine."
  value       = module.fileflow.state_machine_arn
}

output "config" {
  description = "Where configs are pushed to: fileflow push . CONFIG, from the folder that holds flows/."
  value       = module.fileflow.config
}

output "results" {
  description = "Where results lie: fileflow history RESULTS."
  value       = module.fileflow.results
}

output "dashboard_url" {
  description = "The dashboard in the console."
  value       = module.fileflow.dashboard_url
}

output "start_commands" {
  description = "Commands that start the machine at once."
  value       = module.fileflow.start_commands
}

output "nat_ip" {
  description = "The address that SFTP servers see."
  value       = module.fileflow.nat_ip
}
