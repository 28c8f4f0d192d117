# What the module is called and where it stands.

variable "name" {
  type        = string
  default     = "fileflow"
  description = "Name of the deployment; every resource's name begins with it."

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.name))
    error_message = "The name has 2 to 24 lower-case letters, digits and hyphens, begins with a letter and does not end with a hyphen."
  }
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Tags of every resource that can have tags."
}

variable "permissions_boundary_arn" {
  type        = string
  default     = null
  description = "Permissions boundary of every role; null for none."

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::[^:]+:policy/.+$", var.permissions_boundary_arn))
    error_message = "The boundary is the ARN of an IAM policy, as in arn:aws:iam::123456789012:policy/boundary."
  }
}

# The functions.

variable "package" {
  type        = string
  description = "Path of the zip with pytest-fileflow and all that it needs, built for the architecture and the runtime."

  validation {
    condition     = fileexists(var.package)
    error_message = "There is no file at the path of the package."
  }
}

variable "runtime" {
  type        = string
  default     = "python3.13"
  description = "Runtime of the functions, Python 3.12 or later."

  validation {
    condition     = can(regex("^python3\\.(1[2-9]|[2-9][0-9])$", var.runtime))
    error_message = "The runtime is python3.12 or later, as in python3.13."
  }
}

variable "architecture" {
  type        = string
  default     = "arm64"
  description = "Architecture of the functions, arm64 or x86_64; the package must be built for it."

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "The architecture is arm64 or x86_64."
  }
}

variable "step_settings" {
  type = map(object({
    memory_mb            = optional(number)
    timeout_seconds      = optional(number)
    storage_mb           = optional(number)
    reserved_concurrency = optional(number)
  }))
  default     = {}
  description = "By step (list_flows, prepare, seed, trigger, check_arrival, verify, ask, diagnose, clean_up, record, notify): what its function has other than by default. Memory and storage are MB."

  validation {
    condition = alltrue([for step in keys(var.step_settings) : contains([
      "list_flows", "prepare", "seed", "trigger", "check_arrival", "verify", "ask", "diagnose", "clean_up", "record", "notify",
    ], step)])
    error_message = "A step is one of list_flows, prepare, seed, trigger, check_arrival, verify, ask, diagnose, clean_up, record, notify."
  }

  validation {
    condition     = alltrue([for each in values(var.step_settings) : each.memory_mb == null || try(each.memory_mb >= 128 && each.memory_mb <= 10240, false)])
    error_message = "A function has 128 to 10240 MB of memory."
  }

  validation {
    condition     = alltrue([for each in values(var.step_settings) : each.timeout_seconds == null || try(each.timeout_seconds >= 1 && each.timeout_seconds <= 900, false)])
    error_message = "A function's timeout is 1 to 900 seconds."
  }

  validation {
    condition     = alltrue([for each in values(var.step_settings) : each.storage_mb == null || try(each.storage_mb >= 512 && each.storage_mb <= 10240, false)])
    error_message = "A function has 512 to 10240 MB of storage."
  }
}

variable "environment_variables" {
  type        = map(string)
  default     = {}
  description = "Further environment variables of all functions; they win over the module's own. Nothing secret belongs here."
}

variable "plugins" {
  type        = list(string)
  default     = []
  description = "Python modules in the package that register checks or patterns of your own (pytest_fileflow_register)."

  validation {
    condition     = alltrue([for each in var.plugins : can(regex("^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)*$", each))])
    error_message = "A plugin is the dotted name of a Python module."
  }
}

variable "log_retention_days" {
  type        = number
  default     = 30
  description = "How long the logs of functions and state machine are kept."

  validation {
    condition = contains([
      1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
    ], var.log_retention_days)
    error_message = "CloudWatch keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653 days."
  }
}

variable "tracing" {
  type        = bool
  default     = false
  description = "Whether functions and state machine send traces to X-Ray."
}

# What is tested, and what may be touched for it. Nothing else may.

variable "config_store" {
  type        = string
  default     = null
  description = "Where the flows' configs lie, s3://bucket/prefix or dynamodb://table; null for config/ in the module's own bucket."

  validation {
    condition     = var.config_store == null || can(regex("^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*?$]*)?|dynamodb://[A-Za-z0-9_.-]{3,255})$", var.config_store))
    error_message = "A config store is s3://bucket/prefix or dynamodb://table."
  }
}

variable "config_table_arn" {
  type        = string
  default     = null
  description = "ARN of the table of a config store dynamodb://table; null for a table of this account and region."

  validation {
    condition     = var.config_table_arn == null || can(regex("^arn:[a-z-]+:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[A-Za-z0-9_.-]+$", var.config_table_arn))
    error_message = "This is not the ARN of a DynamoDB table."
  }
}

variable "config_kms_key_arn" {
  type        = string
  default     = null
  description = "Key that the objects or the table of an own config store are encrypted with; null where no permission for it is needed."

  validation {
    condition     = var.config_kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.config_kms_key_arn))
    error_message = "A key is given by its ARN, arn:aws:kms:region:account:key/id: policies do not take an alias."
  }
}

variable "environment" {
  type        = string
  default     = ""
  description = "Name of the environment whose variables the configs use (environments/NAME.yaml in the config store); empty for none."

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]{0,64}$", var.environment))
    error_message = "An environment has up to 64 letters, digits, dots, underscores and hyphens."
  }
}

variable "allow" {
  type        = list(string)
  default     = []
  description = "Patterns of what flows may touch (s3://bucket/prefix, sftp://user@host:port/dir, lambda:name); a flow that names anything else is refused. Empty for no list, which leaves it to the permissions."

  validation {
    condition     = alltrue([for each in var.allow : can(regex("^(s3://|sftp://|lambda:|arn:)", each))])
    error_message = "A pattern begins with s3://, sftp://, lambda: or arn:."
  }
}

variable "source_prefixes" {
  type        = list(string)
  default     = []
  description = "Where flows send files from in S3, as s3://bucket/prefix: the functions may write, look and delete there."

  validation {
    condition     = alltrue([for each in var.source_prefixes : can(regex("^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*?$]*)?$", each))])
    error_message = "Each is s3://bucket or s3://bucket/prefix, without * and ?."
  }
}

variable "target_prefixes" {
  type        = list(string)
  default     = []
  description = "Where files arrive in S3, as s3://bucket/prefix: the functions may look, read and delete there."

  validation {
    condition     = alltrue([for each in var.target_prefixes : can(regex("^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*?$]*)?$", each))])
    error_message = "Each is s3://bucket or s3://bucket/prefix, without * and ?."
  }
}

variable "payload_prefixes" {
  type        = list(string)
  default     = []
  description = "Where seed files lie in S3 that flows send copies of, as s3://bucket/prefix: the functions may read there."

  validation {
    condition     = alltrue([for each in var.payload_prefixes : can(regex("^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*?$]*)?$", each))])
    error_message = "Each is s3://bucket or s3://bucket/prefix, without * and ?."
  }
}

variable "search_prefixes" {
  type        = list(string)
  default     = []
  description = "Where else in S3 a missing file may be looked for, as s3://bucket/prefix: the diagnosis may list and read there. Source and target prefixes need not be repeated."

  validation {
    condition     = alltrue([for each in var.search_prefixes : can(regex("^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*?$]*)?$", each))])
    error_message = "Each is s3://bucket or s3://bucket/prefix, without * and ?."
  }
}

variable "kms_key_arns" {
  type        = list(string)
  default     = []
  description = "Keys that files at source and target, the secrets and the flows' topics are encrypted with."

  validation {
    condition     = alltrue([for each in var.kms_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", each))])
    error_message = "A key is given by its ARN, arn:aws:kms:region:account:key/id: policies do not take an alias."
  }
}

variable "secret_arns" {
  type        = list(string)
  default     = []
  description = "Secrets that flows log in with, by their full ARNs: of Secrets Manager, or of SSM parameters. A * at the end stands for all whose names begin so."

  validation {
    condition     = alltrue([for each in var.secret_arns : can(regex("^arn:[a-z-]+:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^*]+[*]?|ssm:[a-z0-9-]+:[0-9]{12}:parameter/[^*]+[*]?)$", each))])
    error_message = "A secret is the full ARN of a secret in Secrets Manager, or of an SSM parameter; a * can only end a name that has begun."
  }
}

variable "transfer_function_arns" {
  type        = list(string)
  default     = []
  description = "Functions that flows start their transfers with, by their ARNs without a version or alias. A * at the end stands for all whose names begin so."

  validation {
    condition     = alltrue([for each in var.transfer_function_arns : can(regex("^arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_-]{1,64}[*]?$", each))])
    error_message = "A function is arn:aws:lambda:region:account:function:name, without a version or an alias; a * can only end a name that has begun."
  }
}

# Results.

variable "bucket_name" {
  type        = string
  default     = null
  description = "Name of the results bucket; null for NAME-results-ACCOUNT-REGION."

  validation {
    condition     = var.bucket_name == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "A bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "force_destroy" {
  type        = bool
  default     = false
  description = "Whether destroying the bucket may delete what lies in it, results and configs."
}

variable "results_retention_days" {
  type        = number
  default     = 30
  description = "How long records and manifests are kept."

  validation {
    condition     = var.results_retention_days >= 1 && floor(var.results_retention_days) == var.results_retention_days
    error_message = "Records are kept for a whole number of days, 1 or more."
  }
}

variable "executions_retention_days" {
  type        = number
  default     = 7
  description = "How long the work files of executions are kept."

  validation {
    condition     = var.executions_retention_days >= 2 && floor(var.executions_retention_days) == var.executions_retention_days
    error_message = "Work files are kept for a whole number of days, 2 or more: an execution may last one day."
  }
}

variable "synthetic_retention_days" {
  type        = number
  default     = 3
  description = "After how many days objects that are tagged synthetic=true expire, 3 to 7: what a clean-up has left behind."

  validation {
    condition     = contains([3, 4, 5, 6, 7], var.synthetic_retention_days)
    error_message = "Synthetic objects are kept for 3 to 7 days."
  }
}

variable "synthetic_buckets" {
  type        = set(string)
  default     = []
  description = "Buckets of flows whose whole lifecycle configuration the module may own: it lets objects tagged synthetic=true expire. A bucket has only one such configuration, and any other rule of it is lost."

  validation {
    condition     = alltrue([for each in var.synthetic_buckets : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", each))])
    error_message = "A bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "object_lock" {
  type = object({
    mode = string
    days = number
  })
  default     = null
  description = "Object Lock of the bucket, mode GOVERNANCE or COMPLIANCE and the days that no version can be deleted; null for none. It can only be given when the bucket is made."

  validation {
    condition     = var.object_lock == null || try(contains(["GOVERNANCE", "COMPLIANCE"], var.object_lock.mode) && var.object_lock.days >= 1, false)
    error_message = "Object Lock has the mode GOVERNANCE or COMPLIANCE, and 1 day or more."
  }
}

variable "access_log_bucket" {
  type        = string
  default     = null
  description = "Bucket that S3 writes access logs of the results bucket to; null for none."

  validation {
    condition     = var.access_log_bucket == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.access_log_bucket))
    error_message = "A bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "create_kms_key" {
  type        = bool
  default     = false
  description = "Whether the module makes a key of its own, for results, logs and topic."
}

variable "kms_key_arn" {
  type        = string
  default     = null
  description = "Key for results, logs and topic, whose policy lets CloudWatch Logs and CloudWatch use it; null for the encryption that AWS has by default."

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "A key is given by its ARN, arn:aws:kms:region:account:key/id: policies do not take an alias."
  }

  validation {
    condition     = !(var.create_kms_key && var.kms_key_arn != null)
    error_message = "Give either create_kms_key or kms_key_arn."
  }
}

variable "athena_scan_limit_gb" {
  type        = number
  default     = 10
  description = "How many GB a query of the Athena workgroup may read; one that would read more is ended."

  validation {
    condition     = var.athena_scan_limit_gb >= 1
    error_message = "The limit is 1 GB or more."
  }
}

# The state machine and when it runs.

variable "max_concurrency" {
  type        = number
  default     = 4
  description = "How many cases run at a time, 1 to 1000; above 40 only executions of many cases get that far."

  validation {
    condition     = var.max_concurrency >= 1 && var.max_concurrency <= 1000 && floor(var.max_concurrency) == var.max_concurrency
    error_message = "Cases at a time are a whole number from 1 to 1000."
  }
}

variable "machine_log_level" {
  type        = string
  default     = "ERROR"
  description = "What the state machine logs: ALL, ERROR, FATAL or OFF."

  validation {
    condition     = contains(["ALL", "ERROR", "FATAL", "OFF"], var.machine_log_level)
    error_message = "The level is ALL, ERROR, FATAL or OFF."
  }
}

variable "include_execution_data" {
  type        = bool
  default     = false
  description = "Whether the state machine's log holds what goes from state to state: names of files, places and runs, but no secret and no content."
}

variable "daily_schedule" {
  type = object({
    expression = optional(string, "cron(0 6 * * ? *)")
    timezone   = optional(string, "America/Los_Angeles")
    input      = optional(string, "{}")
  })
  default     = {}
  description = "When all flows run: expression, time zone (which follows daylight saving) and input; null for no daily run."

  validation {
    condition     = var.daily_schedule == null || can(regex("^(cron|rate|at)\\(.+\\)$", var.daily_schedule.expression))
    error_message = "An expression is cron(…), rate(…) or at(…)."
  }

  validation {
    condition     = var.daily_schedule == null || can(jsondecode(var.daily_schedule.input))
    error_message = "An input is JSON."
  }
}

variable "canary_schedule" {
  type        = string
  default     = "rate(1 hour)"
  description = "When the canaries run, which only ask whether the ends answer; null for never."

  validation {
    condition     = var.canary_schedule == null || can(regex("^(cron|rate|at)\\(.+\\)$", var.canary_schedule))
    error_message = "An expression is cron(…), rate(…) or at(…)."
  }
}

variable "settle_minutes" {
  type        = number
  default     = 15
  description = "How long after an execution was stopped its functions may still run, 1 to 1440; a later execution then cleans up after it. No function runs longer than 15 minutes."

  validation {
    condition     = var.settle_minutes >= 1 && var.settle_minutes <= 1440
    error_message = "A stopped execution is settled after 1 to 1440 minutes."
  }
}

variable "schedules" {
  type = map(object({
    expression = string
    timezone   = optional(string, "UTC")
    input      = optional(string, "{}")
    enabled    = optional(bool, true)
  }))
  default     = {}
  description = "Further schedules by name, as in {nightly = {expression = \"cron(0 22 * * ? *)\", input = jsonencode({group = \"nightly\"})}}."

  validation {
    condition     = alltrue([for name in keys(var.schedules) : can(regex("^[A-Za-z0-9_-]{1,32}$", name)) && !contains(["daily", "canary"], name)])
    error_message = "A schedule's name has 1 to 32 letters, digits, underscores and hyphens; daily and canary are taken."
  }

  validation {
    condition     = alltrue([for each in values(var.schedules) : can(regex("^(cron|rate|at)\\(.+\\)$", each.expression)) && can(jsondecode(each.input))])
    error_message = "An expression is cron(…), rate(…) or at(…), and an input is JSON."
  }
}

# Who hears of it.

variable "create_topic" {
  type        = bool
  default     = true
  description = "Whether the module makes an SNS topic for the alarms."
}

variable "alarm_emails" {
  type        = set(string)
  default     = []
  description = "Addresses that the module's topic sends mail to; each must confirm a first mail."

  validation {
    condition     = alltrue([for each in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", each))])
    error_message = "This is not a mail address."
  }
}

variable "alarm_topic_arns" {
  type        = list(string)
  default     = []
  description = "Further topics that the alarms tell."

  validation {
    condition     = alltrue([for each in var.alarm_topic_arns : can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$", each))])
    error_message = "This is not the ARN of an SNS topic."
  }
}

variable "alerts" {
  type        = bool
  default     = true
  description = "Whether the channels in the flows' configs (alerts) are told when a flow begins to fail, and when it works again."
}

variable "remind_hours" {
  type        = number
  default     = 24
  description = "After how many hours a flow that still fails is told of again."

  validation {
    condition     = var.remind_hours >= 1 && var.remind_hours <= 8784
    error_message = "Reminders come after 1 to 8784 hours."
  }
}

variable "report_url" {
  type        = string
  default     = null
  description = "Address of a page that alerts point to; null for the dashboard."

  validation {
    condition     = var.report_url == null || can(regex("^https?://", var.report_url))
    error_message = "An address begins with https://."
  }
}

variable "topic_arns" {
  type        = list(string)
  default     = []
  description = "Topics that the flows' configs name in their alerts, beside the module's own."

  validation {
    condition     = alltrue([for each in var.topic_arns : can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$", each))])
    error_message = "This is not the ARN of an SNS topic."
  }
}

variable "webhook_secret_arns" {
  type        = list(string)
  default     = []
  description = "Secrets that the flows' configs name in their alerts (addresses of webhooks, logins of ticket systems)."

  validation {
    condition     = alltrue([for each in var.webhook_secret_arns : can(regex("^arn:[a-z-]+:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^*]+[*]?|ssm:[a-z0-9-]+:[0-9]{12}:parameter/[^*]+[*]?)$", each))])
    error_message = "A secret is the full ARN of a secret in Secrets Manager, or of an SSM parameter; a * can only end a name that has begun."
  }
}

variable "cloudwatch" {
  type        = bool
  default     = true
  description = "Whether runs publish metrics; without them only the alarms on the state machine can tell anything, and the others are not made."
}

variable "flow_metrics" {
  type        = bool
  default     = true
  description = "Whether each flow has metrics of its own, about ten, and the alarms by flow on them; without them only the suite's counts are published, which cost the same for any number of flows."
}

variable "flow_ids" {
  type        = set(string)
  default     = []
  description = "Flows that have an alarm each, beside the one on all flows."

  validation {
    condition     = alltrue([for each in var.flow_ids : can(regex("^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", each))])
    error_message = "This is not the id of a flow."
  }
}

variable "missing_after_hours" {
  type        = number
  default     = 26
  description = "After how many hours without a run the suite is missed, 1 to 168."

  validation {
    condition     = contains(range(1, 169), var.missing_after_hours)
    error_message = "A suite is missed after a whole number of hours from 1 to 168."
  }
}

# The network.

variable "vpc" {
  type = object({
    id              = string
    subnet_ids      = list(string)
    route_table_ids = optional(list(string), [])
  })
  default     = null
  description = "A VPC that is there already, for the functions to run in; the route tables are for gateway endpoints. null for none."
}

variable "new_vpc" {
  type = object({
    cidr  = optional(string, "10.80.0.0/24")
    zones = list(string)
    nat   = optional(bool, true)
  })
  default     = null
  description = "A VPC that the module makes, with a private subnet a zone. With nat, the functions reach servers outside from one address that stays the same, which partners can let in. null for none."

  validation {
    condition     = !(var.vpc != null && var.new_vpc != null)
    error_message = "Give either vpc or new_vpc."
  }

  validation {
    condition     = var.new_vpc == null || try(length(var.new_vpc.zones) >= 1 && length(var.new_vpc.zones) <= 6 && tonumber(split("/", var.new_vpc.cidr)[1]) <= 24 && can(cidrhost(var.new_vpc.cidr, 0)), false)
    error_message = "A VPC has 1 to 6 zones, and a CIDR block of /24 or larger."
  }
}

variable "https_cidrs" {
  type        = list(string)
  default     = ["0.0.0.0/0"]
  description = "In a VPC: where the functions may reach port 443 (AWS, and webhooks), beside the endpoints."

  validation {
    condition     = alltrue([for each in var.https_cidrs : can(cidrhost(each, 0))])
    error_message = "This is not a CIDR block."
  }
}

variable "sftp_servers" {
  type = list(object({
    cidr = string
    port = optional(number, 22)
  }))
  default     = []
  description = "In a VPC: the SFTP servers that the functions may reach, as {cidr, port}."

  validation {
    condition     = alltrue([for each in var.sftp_servers : can(cidrhost(each.cidr, 0)) && each.port >= 1 && each.port <= 65535])
    error_message = "A server is a CIDR block and a port from 1 to 65535."
  }
}

variable "interface_endpoints" {
  type        = set(string)
  default     = []
  description = "In a VPC: services with an interface endpoint, as in [\"secretsmanager\", \"logs\", \"monitoring\", \"sns\", \"kms\", \"lambda\", \"ssm\", \"states\"]. Without a NAT gateway, a service without one is out of reach."

  validation {
    condition     = alltrue([for each in var.interface_endpoints : contains(["secretsmanager", "logs", "monitoring", "sns", "kms", "lambda", "ssm", "states", "sts"], each)])
    error_message = "The functions speak to secretsmanager, logs, monitoring, sns, kms, lambda, ssm and states, and plugins of yours to sts."
  }
}

variable "gateway_endpoints" {
  type        = set(string)
  default     = ["s3"]
  description = "In a VPC: services with a gateway endpoint, s3 and dynamodb; they cost nothing."

  validation {
    condition     = alltrue([for each in var.gateway_endpoints : contains(["s3", "dynamodb"], each)])
    error_message = "Gateway endpoints are there for s3 and dynamodb."
  }
}
