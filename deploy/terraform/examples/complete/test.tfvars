# What prod will be, every night, against the partners' test servers.
stage = "test"

source_prefixes = ["s3://acme-test-outbound/to-partner"]
target_prefixes = ["s3://acme-test-landing/from-partner", "s3://acme-test-archive"]
secret_arns = [
  "arn:aws:secretsmanager:us-west-2:123456789012:secret:test/acme/sftp-a1b2c3",
  "arn:aws:ssm:us-west-2:123456789012:parameter/test/beta/sftp",
]
kms_key_arns = ["arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"]
allow        = ["s3://acme-test-*", "sftp://sftp.test.acme.example", "sftp://sftp.test.beta.example:2222", "lambda:acme-test-mover"]

transfer_function_arns = ["arn:aws:lambda:us-west-2:123456789012:function:acme-test-mover"]

nightly_group  = "nightly"
alarm_emails   = ["file-transfers@acme.example"]
create_kms_key = true
