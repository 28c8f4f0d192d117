# A deployment a stage: terraform workspace select dev && terraform apply -var-file=dev.tfvars -var package=PATH

module "fileflow" {
  source = "../.."

  name         = "fileflow-${var.stage}"
  environment  = var.stage
  package      = var.package
  architecture = var.architecture
  runtime      = var.runtime

  source_prefixes        = var.source_prefixes
  target_prefixes        = var.target_prefixes
  payload_prefixes       = var.payload_prefixes
  secret_arns            = var.secret_arns
  webhook_secret_arns    = var.webhook_secret_arns
  topic_arns             = var.topic_arns
  kms_key_arns           = var.kms_key_arns
  transfer_function_arns = var.transfer_function_arns
  allow                  = var.allow

  max_concurrency = var.max_concurrency
  daily_schedule  = var.daily ? {} : null
  canary_schedule = var.canary_schedule
  schedules = var.nightly_group == null ? {} : {
    nightly = {
      expression = "cron(0 22 * * ? *)"
      timezone   = "America/Los_Angeles"
      input      = jsonencode({ group = var.nightly_group })
    }
  }

  flow_ids     = var.flow_ids
  alarm_emails = var.alarm_emails

  results_retention_days = var.results_retention_days
  create_kms_key         = var.create_kms_key
  object_lock            = var.object_lock_days == null ? null : { mode = "GOVERNANCE", days = var.object_lock_days }
  force_destroy          = var.force_destroy

  new_vpc             = length(var.zones) == 0 ? null : { zones = var.zones }
  sftp_servers        = var.sftp_servers
  interface_endpoints = var.interface_endpoints
}
