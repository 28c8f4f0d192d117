# Every morning and, as canaries, every hour; partners let in one address.
stage = "prod"

source_prefixes = ["s3://acme-outbound/to-partner"]
target_prefixes = ["s3://acme-landing/from-partner", "s3://acme-archive"]
secret_arns = [
  "arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/acme/sftp-a1b2c3",
  "arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/beta/sftp-d4e5f6",
]
kms_key_arns = ["arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"]
allow        = ["s3://acme-*", "sftp://sftp.acme.example", "sftp://sftp.beta.example:2222", "lambda:acme-mover", "lambda:beta-mover"]

transfer_function_arns = [
  "arn:aws:lambda:us-west-2:123456789012:function:acme-mover",
  "arn:aws:lambda:us-west-2:123456789012:function:beta-mover",
]

max_concurrency  = 20
flow_ids         = ["acme_sftp_to_s3", "beta_s3_to_sftp"]
alarm_emails     = ["file-transfers@acme.example"]
create_kms_key   = true
object_lock_days = 30

results_retention_days = 90

zones = ["us-west-2a", "us-west-2b"]
sftp_servers = [
  { cidr = "198.51.100.10/32" },
  { cidr = "203.0.113.20/32", port = 2222 },
]
interface_endpoints = ["secretsmanager", "logs", "monitoring", "kms"]
