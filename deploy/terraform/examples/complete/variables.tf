variable "stage" {
  type        = string
  description = "What is deployed: dev, test or prod. It also names the environment of the configs."

  validation {
    condition     = contains(["dev", "test", "prod"], var.stage)
    error_message = "The stage is dev, test or prod."
  }
}

variable "region" {
  type        = string
  default     = "us-west-2"
  description = "Region of everything but the flows' own ends."
}

variable "package" {
  type        = string
  description = "Path of the zip with pytest-fileflow."
}

variable "architecture" {
  type        = string
  default     = "arm64"
  description = "What the package was built for: arm64 or x86_64."
}

variable "runtime" {
  type        = string
  default     = "python3.13"
  description = "The Python that the package was built for."
}

variable "source_prefixes" {
  type        = list(string)
  description = "Where flows send files from in S3."
}

variable "target_prefixes" {
  type        = list(string)
  description = "Where files arrive in S3."
}

variable "secret_arns" {
  type        = list(string)
  default     = []
  description = "Secrets that flows log in with."
}

variable "kms_key_arns" {
  type        = list(string)
  default     = []
  description = "Keys of files and secrets."
}

variable "payload_prefixes" {
  type        = list(string)
  default     = []
  description = "Where files of your own lie in S3 that flows send."
}

variable "topic_arns" {
  type        = list(string)
  default     = []
  description = "SNS topics that flows name in their alerts."
}

variable "webhook_secret_arns" {
  type        = list(string)
  default     = []
  description = "Secrets of the other channels that flows name in their alerts."
}

variable "transfer_function_arns" {
  type        = list(string)
  default     = []
  description = "Functions that flows start their transfers with."
}

variable "allow" {
  type        = list(string)
  default     = []
  description = "Patterns of what flows may touch."
}

variable "flow_ids" {
  type        = set(string)
  default     = []
  description = "Flows that have an alarm each."
}

variable "alarm_emails" {
  type        = set(string)
  default     = []
  description = "Who gets mail of the alarms."
}

variable "max_concurrency" {
  type        = number
  default     = 4
  description = "How many cases run at a time."
}

variable "daily" {
  type        = bool
  default     = true
  description = "Whether all flows run every morning."
}

variable "canary_schedule" {
  type        = string
  default     = "rate(1 hour)"
  description = "When the canaries run; null for never."
}

variable "nightly_group" {
  type        = string
  default     = null
  description = "A group of flows that also runs at ten in the evening; null for none."
}

variable "results_retention_days" {
  type        = number
  default     = 30
  description = "How long records are kept."
}

variable "create_kms_key" {
  type        = bool
  default     = false
  description = "Whether results, logs and topic have a key of their own."
}

variable "object_lock_days" {
  type        = number
  default     = null
  description = "For how many days no version of a result can be deleted; null for no lock."
}

variable "zones" {
  type        = list(string)
  default     = []
  description = "Availability zones of a VPC for the functions, with one address that partners can let in; empty for no VPC."
}

variable "sftp_servers" {
  type        = list(object({ cidr = string, port = optional(number, 22) }))
  default     = []
  description = "SFTP servers that the functions may reach from the VPC."
}

variable "interface_endpoints" {
  type        = set(string)
  default     = []
  description = "Services that are reached within the VPC."
}

variable "force_destroy" {
  type        = bool
  default     = false
  description = "Whether destroying the deployment may delete results and configs."
}
