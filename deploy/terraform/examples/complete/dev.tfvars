# A few flows against places of their own: started by hand, and cheap to throw away.
stage = "dev"

source_prefixes = ["s3://acme-dev-outbound/to-partner"]
target_prefixes = ["s3://acme-dev-landing/from-partner"]
secret_arns     = ["arn:aws:secretsmanager:us-west-2:123456789012:secret:dev/acme/sftp-a1b2c3"]
allow           = ["s3://acme-dev-*", "sftp://sftp.dev.acme.example", "lambda:acme-dev-mover"]

transfer_function_arns = ["arn:aws:lambda:us-west-2:123456789012:function:acme-dev-mover"]

daily                  = false
canary_schedule        = null
results_retention_days = 7
force_destroy          = true
