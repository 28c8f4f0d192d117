# What is called as in the module for Step Functions means the same here.

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

# The task.

variable "image" {
  type        = string
  description = "The image, with a tag or better a digest, built for the architecture from deploy/container/Dockerfile or from it."

  validation {
    condition     = can(regex("^[^ @]+(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$", var.image))
    error_message = "An image is repository:tag or repository@sha256:digest."
  }
}

variable "repository_arn" {
  type        = string
  default     = null
  description = "The ECR repository of the image; null for an image that everybody may pull."

  validation {
    condition     = var.repository_arn == null || can(regex("^arn:[a-z-]+:ecr:[a-z0-9-]+:[0-9]{12}:repository/.+$", var.repository_arn))
    error_message = "This is not the ARN of an ECR repository."
  }
}

variable "architecture" {
  type        = string
  default     = "arm64"
  description = "Architecture of the task, arm64 or x86_64; the image must be built for it."

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "The architecture is arm64 or x86_64."
  }
}

variable "cpu" {
  type        = number
  default     = 1024
  description = "CPU units of the task, 1024 for one: 256, 512, 1024, 2048, 4096, 8192 or 16384."

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.cpu)
    error_message = "Fargate has 256, 512, 1024, 2048, 4096, 8192 and 16384 CPU units."
  }
}

variable "memory_mb" {
  type        = number
  default     = 2048
  description = "Memory of the task in MB, as Fargate offers it for the CPU units: 2 to 8 GB for one CPU."

  validation {
    condition     = var.memory_mb >= 512 && var.memory_mb <= 122880
    error_message = "A task has 512 to 122880 MB of memory."
  }
}

variable "storage_gb" {
  type        = number
  default     = null
  description = "Disk of the task in GB, 21 to 200, for checks that keep what they decrypt; null for Fargate's own 20."

  validation {
    condition     = var.storage_gb == null || try(var.storage_gb >= 21 && var.storage_gb <= 200, false)
    error_message = "A task has 21 to 200 GB of disk, or null for 20."
  }
}

variable "workers" {
  type        = number
  default     = 1
  description = "Processes that runs are spread over (pytest -n), one a CPU; waiting needs none."

  validation {
    condition     = var.workers >= 1 && var.workers <= 64 && floor(var.workers) == var.workers
    error_message = "Workers are a whole number from 1 to 64."
  }
}

variable "arguments" {
  type        = list(string)
  default     = []
  description = "Further arguments of pytest in every run, as in [\"--fileflow-max-in-flight=100\"]."
}

variable "environment_variables" {
  type        = map(string)
  default     = {}
  description = "Environment variables of the container. Nothing secret belongs here."
}

variable "cluster_arn" {
  type        = string
  default     = null
  description = "An ECS cluster that is there already; null for one of the module's own."

  validation {
    condition     = var.cluster_arn == null || can(regex("^arn:[a-z-]+:ecs:[a-z0-9-]+:[0-9]{12}:cluster/.+$", var.cluster_arn))
    error_message = "This is not the ARN of an ECS cluster."
  }
}

variable "log_retention_days" {
  type        = number
  default     = 30
  description = "How long the logs of the task are kept."

  validation {
    condition = contains([
      1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
    ], var.log_retention_days)
    error_message = "CloudWatch keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653 days."
  }
}

variable "kms_key_arn" {
  type        = string
  default     = null
  description = "Key for the logs, whose policy lets CloudWatch Logs use it, and of the results; null for the encryption that AWS has by default."

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "A key is given by its ARN, arn:aws:kms:region:account:key/id: policies do not take an alias."
  }
}

# What is tested, and what may be touched for it. Nothing else may.

variable "config_store" {
  type        = string
  description = "Where the flows' configs lie, s3://bucket/prefix or dynamodb://table."

  validation {
    condition     = can(regex("^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*?$]*)?|dynamodb://[A-Za-z0-9_.-]{3,255})$", var.config_store))
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
  description = "Key that the objects or the table of the config store are encrypted with; null where no permission for it is needed."

  validation {
    condition     = var.config_kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.config_kms_key_arn))
    error_message = "A key is given by its ARN, arn:aws:kms:region:account:key/id: policies do not take an alias."
  }
}

variable "results" {
  type        = string
  description = "Where records go, s3://bucket/prefix: a bucket that is there already, as that of the module for Step Functions (its output results)."

  validation {
    condition     = can(regex("^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*?$]*)?$", var.results))
    error_message = "Results go to s3://bucket or s3://bucket/prefix."
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
  description = "Where flows send files from in S3, as s3://bucket/prefix: the task may write, look and delete there."

  validation {
    condition     = alltrue([for each in var.source_prefixes : can(regex("^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*?$]*)?$", each))])
    error_message = "Each is s3://bucket or s3://bucket/prefix, without * and ?."
  }
}

variable "target_prefixes" {
  type        = list(string)
  default     = []
  description = "Where files arrive in S3, as s3://bucket/prefix: the task may look, read and delete there."

  validation {
    condition     = alltrue([for each in var.target_prefixes : can(regex("^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*?$]*)?$", each))])
    error_message = "Each is s3://bucket or s3://bucket/prefix, without * and ?."
  }
}

variable "payload_prefixes" {
  type        = list(string)
  default     = []
  description = "Where seed files lie in S3 that flows send copies of, as s3://bucket/prefix: the task may read there."

  validation {
    condition     = alltrue([for each in var.payload_prefixes : can(regex("^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*?$]*)?$", each))])
    error_message = "Each is s3://bucket or s3://bucket/prefix, without * and ?."
  }
}

variable "search_prefixes" {
  type        = list(string)
  default     = []
  description = "Where else in S3 a missing file may be looked for, as s3://bucket/prefix: the task may list and read there."

  validation {
    condition     = alltrue([for each in var.search_prefixes : can(regex("^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*?$]*)?$", each))])
    error_message = "Each is s3://bucket or s3://bucket/prefix, without * and ?."
  }
}

variable "kms_key_arns" {
  type        = list(string)
  default     = []
  description = "Keys that files at source and target, and the flows' secrets, are encrypted with."

  validation {
    condition     = alltrue([for each in var.kms_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", each))])
    error_message = "A key is given by its ARN, arn:aws:kms:region:account:key/id: policies do not take an alias."
  }
}

variable "secret_arns" {
  type        = list(string)
  default     = []
  description = "Secrets that flows log in with, by their full ARNs: of Secrets Manager, or of SSM parameters."

  validation {
    condition     = alltrue([for each in var.secret_arns : can(regex("^arn:[a-z-]+:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^*]+|ssm:[a-z0-9-]+:[0-9]{12}:parameter/[^*]+)$", each))])
    error_message = "A secret is the full ARN of a secret in Secrets Manager, or of an SSM parameter, without *."
  }
}

variable "transfer_function_arns" {
  type        = list(string)
  default     = []
  description = "Functions that flows start their transfers with, by their ARNs without a version or alias."

  validation {
    condition     = alltrue([for each in var.transfer_function_arns : can(regex("^arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_-]{1,64}$", each))])
    error_message = "A function is arn:aws:lambda:region:account:function:name, without a version, an alias or *."
  }
}

# When it runs.

variable "daily_schedule" {
  type = object({
    expression = optional(string, "cron(0 6 * * ? *)")
    timezone   = optional(string, "America/Los_Angeles")
    arguments  = optional(list(string), [])
  })
  default     = {}
  description = "When all flows run: expression, time zone (which follows daylight saving) and further arguments of pytest; null for no daily run."

  validation {
    condition     = var.daily_schedule == null || can(regex("^(cron|rate|at)\\(.+\\)$", var.daily_schedule.expression))
    error_message = "An expression is cron(…), rate(…) or at(…)."
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

variable "schedules" {
  type = map(object({
    expression = string
    timezone   = optional(string, "UTC")
    arguments  = optional(list(string), [])
    enabled    = optional(bool, true)
  }))
  default     = {}
  description = "Further schedules by name, as in {nightly = {expression = \"cron(0 22 * * ? *)\", arguments = [\"--fileflow-group=nightly\"]}}."

  validation {
    condition     = alltrue([for name in keys(var.schedules) : can(regex("^[A-Za-z0-9_-]{1,32}$", name)) && !contains(["daily", "canary"], name)])
    error_message = "A schedule's name has 1 to 32 letters, digits, underscores and hyphens; daily and canary are taken."
  }

  validation {
    condition     = alltrue([for each in values(var.schedules) : can(regex("^(cron|rate|at)\\(.+\\)$", each.expression))])
    error_message = "An expression is cron(…), rate(…) or at(…)."
  }
}

# Who hears of it.

variable "alerts" {
  type        = bool
  default     = true
  description = "Whether the channels in the flows' configs (alerts) are told when a flow begins to fail, and when it works again."
}

variable "topic_arns" {
  type        = list(string)
  default     = []
  description = "Topics that the flows' configs name in their alerts."

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
    condition     = alltrue([for each in var.webhook_secret_arns : can(regex("^arn:[a-z-]+:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^*]+|ssm:[a-z0-9-]+:[0-9]{12}:parameter/[^*]+)$", each))])
    error_message = "A secret is the full ARN of a secret in Secrets Manager, or of an SSM parameter, without *."
  }
}

variable "cloudwatch" {
  type        = bool
  default     = true
  description = "Whether runs publish metrics."
}

# The network.

variable "vpc" {
  type = object({
    id               = string
    subnet_ids       = list(string)
    assign_public_ip = optional(bool, false)
  })
  description = "The VPC and the subnets that the task runs in. Subnets without a NAT gateway need endpoints for ECR, logs and what else the task uses; public ones assign_public_ip."

  validation {
    condition     = length(var.vpc.subnet_ids) >= 1
    error_message = "A task needs a subnet."
  }
}

variable "https_cidrs" {
  type        = list(string)
  default     = ["0.0.0.0/0"]
  description = "Where the task may reach port 443 (AWS, and webhooks)."

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
  description = "The SFTP servers that the task may reach, as {cidr, port}."

  validation {
    condition     = alltrue([for each in var.sftp_servers : can(cidrhost(each.cidr, 0)) && each.port >= 1 && each.port <= 65535])
    error_message = "A server is a CIDR block and a port from 1 to 65535."
  }
}
