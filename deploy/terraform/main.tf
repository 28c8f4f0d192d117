data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.id

  # By step: what its function is given. Waiting costs nothing here; trigger waits for functions that are invoked
  # synchronously, seed and verify move files.
  step_defaults = {
    list_flows    = { memory_mb = 1024, timeout_seconds = 300 }
    prepare       = { memory_mb = 512, timeout_seconds = 120 }
    seed          = { memory_mb = 1024, timeout_seconds = 900 }
    trigger       = { memory_mb = 512, timeout_seconds = 900 }
    check_arrival = { memory_mb = 512, timeout_seconds = 120 }
    verify        = { memory_mb = 1024, timeout_seconds = 900 }
    ask           = { memory_mb = 512, timeout_seconds = 900 }
    diagnose      = { memory_mb = 1024, timeout_seconds = 600 }
    clean_up      = { memory_mb = 512, timeout_seconds = 300 }
    record        = { memory_mb = 512, timeout_seconds = 120 }
    notify        = { memory_mb = 1024, timeout_seconds = 600 }
  }
  steps = { for step, defaults in local.step_defaults : step => {
    memory_mb            = coalesce(try(var.step_settings[step].memory_mb, null), defaults.memory_mb)
    timeout_seconds      = coalesce(try(var.step_settings[step].timeout_seconds, null), defaults.timeout_seconds)
    storage_mb           = coalesce(try(var.step_settings[step].storage_mb, null), 512)
    reserved_concurrency = try(var.step_settings[step].reserved_concurrency, null)
  } }

  # ARNs by name: so a plan shows policies and state machine in full, and a role need not wait for what it names.
  functions      = { for step in keys(local.steps) : step => "${var.name}-${replace(step, "_", "-")}" }
  function_arns  = { for step, name in local.functions : step => "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${name}" }
  machine_name   = var.name
  execution_arns = "arn:${local.partition}:states:${local.region}:${local.account}:execution:${local.machine_name}"
  machine_arn    = "arn:${local.partition}:states:${local.region}:${local.account}:stateMachine:${local.machine_name}"

  bucket_name = coalesce(var.bucket_name, "${var.name}-results-${local.account}-${local.region}")
  bucket_arn  = "arn:${local.partition}:s3:::${local.bucket_name}"
  results     = "s3://${local.bucket_name}"
  config      = coalesce(var.config_store, "${local.results}/config")

  has_flow_metrics = var.cloudwatch && var.flow_metrics

  # Dashboards know no region, either: one of the same name would be overwritten by that of a second region.
  dashboard     = "${var.name}-${local.region}"
  dashboard_url = "https://${local.region}.console.aws.amazon.com/cloudwatch/home?region=${local.region}#dashboards:name=${local.dashboard}"

  has_key = var.create_kms_key || var.kms_key_arn != null
  key_arn = var.create_kms_key ? one(aws_kms_key.own[*].arn) : var.kms_key_arn
}
