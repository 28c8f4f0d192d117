# A role a function, with the actions that its step takes and the places it takes them at. A statement whose list of
# places is empty is left out. A resource is * only where AWS has no other form; each of these says so.

locals {
  # Places in S3 by bucket. The prefixes of a bucket end with a slash, or are empty for all of it.
  places = { for name, uris in {
    source  = var.source_prefixes
    target  = var.target_prefixes
    payload = var.payload_prefixes
    search  = var.search_prefixes
    config  = [for uri in [local.config] : uri if startswith(uri, "s3://")]
    } : name => {
    for place in [for uri in uris : regex("^s3://(?P<bucket>[^/]+)/?(?P<prefix>.*)$", uri)] :
    place.bucket => place.prefix == "" ? "" : "${trimsuffix(place.prefix, "/")}/"...
  } }
  objects = { for name, buckets in local.places : name => flatten([
    for bucket, prefixes in buckets : [for prefix in prefixes : "arn:${local.partition}:s3:::${bucket}/${prefix}*"]
  ]) }

  # Listing is allowed by prefix. It also is what makes S3 answer "not there" instead of "denied" for a key that is not
  # there yet; for that S3 takes the key for the prefix (tried on AWS in kopia/kopia#3072; no emulator does so).
  listing = { for name, buckets in local.places : name => [
    for bucket, prefixes in buckets : {
      actions    = ["s3:ListBucket"]
      resources  = ["arn:${local.partition}:s3:::${bucket}"]
      conditions = [{ test = "StringLike", variable = "s3:prefix", values = [for prefix in prefixes : "${prefix}*"] }]
    }
  ] }
  listing_versions = { for name, statements in local.listing : name => [
    for statement in statements : merge(statement, { actions = ["s3:ListBucketVersions"] })
  ] }
  # AWS knows no condition on the prefix for this one.
  listing_uploads = { for name, statements in local.listing : name => [
    for statement in statements : merge(statement, { actions = ["s3:ListBucketMultipartUploads"], conditions = [] })
  ] }

  # The results bucket, by the folders in it.
  own_objects = { for folder in ["results", "manifests", "state", "executions", "open"] : folder => "${local.bucket_arn}/${folder}/*" }
  own_listing = { for folder in ["results", "state", "executions", "open"] : folder => [{
    actions    = ["s3:ListBucket"]
    resources  = [local.bucket_arn]
    conditions = [{ test = "StringLike", variable = "s3:prefix", values = ["${folder}/*"] }]
  }] }
  own_key_arns = local.has_key ? [local.key_arn] : []
  own_key = [{
    actions    = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources  = local.own_key_arns
    conditions = [local.via["s3"]]
  }]

  # A key serves what lies in a service, and nothing else.
  via = { for service in ["s3", "secretsmanager", "sns", "ssm"] : service => {
    test = "StringLike", variable = "kms:ViaService", values = ["${service}.*.${data.aws_partition.current.dns_suffix}"]
  } }
  decrypting = [{ actions = ["kms:Decrypt"], resources = var.kms_key_arns, conditions = [local.via["s3"]] }]
  encrypting = [{ actions = ["kms:Decrypt", "kms:GenerateDataKey"], resources = var.kms_key_arns, conditions = [local.via["s3"]] }]

  # Secrets of flows and of alerts: of each service those that it keeps, and the keys that they may be encrypted with.
  keepers = { secretsmanager = "secretsmanager:GetSecretValue", ssm = "ssm:GetParameter" }
  kept = { for name, arns in { flows = var.secret_arns, alerts = var.webhook_secret_arns } : name => {
    for service in keys(local.keepers) : service => [for arn in arns : arn if split(":", arn)[2] == service]
  } }
  reading_secrets = { for name, services in local.kept : name => flatten([for service, arns in services : [
    { actions = [local.keepers[service]], resources = arns, conditions = [] },
    { actions = ["kms:Decrypt"], resources = length(arns) > 0 ? var.kms_key_arns : [], conditions = [local.via[service]] },
  ]]) }
  secrets = local.reading_secrets.flows

  invoking = [{
    actions = ["lambda:InvokeFunction"]
    # A config may name a version or an alias.
    resources  = flatten([for arn in var.transfer_function_arns : endswith(arn, "*") ? [arn] : [arn, "${arn}:*"]])
    conditions = []
  }]
  transfer_logs = [{
    actions = ["logs:FilterLogEvents"]
    resources = [for arn in var.transfer_function_arns :
      "${replace(replace(arn, ":lambda:", ":logs:"), ":function:", ":log-group:/aws/lambda/")}:*"
    ]
    conditions = []
  }]
  # CloudWatch knows no resources for metrics: the namespace is the limit.
  metrics = { for what, is_on in { flows = local.has_flow_metrics, suite = var.cloudwatch } : what => [{
    actions    = ["cloudwatch:PutMetricData"]
    resources  = is_on ? ["*"] : []
    conditions = [{ test = "StringEquals", variable = "cloudwatch:namespace", values = ["FileFlowTests"] }]
  }] }

  own_topic_arns = var.create_topic ? ["arn:${local.partition}:sns:${local.region}:${local.account}:${var.name}-alarms"] : []

  config_table = startswith(local.config, "dynamodb://") ? trimprefix(local.config, "dynamodb://") : null
  config_table_arns = local.config_table == null ? [] : [coalesce(
    var.config_table_arn,
    "arn:${local.partition}:dynamodb:${local.region}:${local.account}:table/${coalesce(local.config_table, "none")}",
  )]

  looking_at_target = concat(
    [{ actions = ["s3:GetObject"], resources = local.objects.target, conditions = [] }], local.listing.target, local.secrets,
  )
  reading_payloads = concat(
    [
      { actions = ["s3:GetObject"], resources = local.objects.payload, conditions = [] },
      { actions = ["kms:Decrypt"], resources = length(local.objects.payload) > 0 ? var.kms_key_arns : [], conditions = [local.via["s3"]] },
    ],
    local.listing.payload,
  )
  keeping_work = concat(
    [{ actions = ["s3:GetObject", "s3:PutObject"], resources = [local.own_objects.executions], conditions = [] }],
    local.own_key,
  )
  ends = distinct(concat(local.objects.source, local.objects.target))

  # What a verdict on a file takes: to look where it may have come to, and at what others have seen of it.
  judging = concat(
    [
      { actions = ["s3:GetObject"], resources = distinct(concat(local.ends, local.objects.search)), conditions = [] },
      { actions = ["s3:ListMultipartUploadParts"], resources = local.objects.target, conditions = [] },
    ],
    local.listing.source, local.listing.target, local.listing.search,
    local.listing_versions.target, local.listing_uploads.target,
    local.reading_payloads, local.decrypting, local.secrets, local.transfer_logs, local.own_listing.results,
  )

  statements = {
    list_flows = concat(
      [
        { actions = ["s3:GetObject"], resources = local.objects.config, conditions = [] },
        { actions = ["dynamodb:DescribeTable", "dynamodb:Scan", "dynamodb:BatchGetItem"], resources = local.config_table_arns, conditions = [] },
        { actions = ["dynamodb:Query"], resources = [for arn in local.config_table_arns : "${arn}/index/*"], conditions = [] },
        { actions = ["kms:Decrypt"], resources = compact([var.config_kms_key_arn]), conditions = [] },
        # The work files of its own execution, and of those that were stopped.
        { actions = ["s3:GetObject", "s3:PutObject"], resources = [local.own_objects.executions, local.own_objects.open], conditions = [] },
        { actions = ["states:DescribeExecution"], resources = ["${local.execution_arns}:*"], conditions = [] },
      ],
      local.listing.config, local.own_listing.executions, local.own_listing.open, local.own_key,
    )
    prepare = concat(
      # A transfer is kept back until what became of its flow's contract lies among the work files.
      [{ actions = ["s3:GetObject"], resources = ["${local.bucket_arn}/executions/*/contracts/*"], conditions = [] }],
      [{ actions = ["kms:Decrypt"], resources = local.own_key_arns, conditions = [local.via["s3"]] }],
      local.own_listing.executions, local.looking_at_target, local.reading_payloads,
    )
    seed = concat(
      [{
        actions   = ["s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload", "s3:GetObject"]
        resources = local.objects.source, conditions = []
      }],
      # A try that follows another looks what that one has come to, at both ends.
      local.listing.source, local.looking_at_target, local.reading_payloads, local.encrypting, local.keeping_work,
    )
    trigger = concat(
      [{ actions = ["s3:PutObject"], resources = local.objects.source, conditions = [] }],
      local.invoking, local.looking_at_target, local.encrypting, local.keeping_work,
    )
    check_arrival = local.looking_at_target
    verify        = concat([{ actions = ["s3:GetObjectTagging"], resources = local.objects.target, conditions = [] }], local.judging)
    ask = concat(
      [{
        actions = [
          "s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload", "s3:GetObject", "s3:DeleteObject",
        ]
        resources = local.ends, conditions = []
      }],
      local.listing.source, local.listing.target, local.invoking, local.encrypting, local.secrets, local.keeping_work,
    )
    diagnose = local.judging
    clean_up = concat(
      [{ actions = ["s3:DeleteObject"], resources = local.ends, conditions = [] }],
      local.listing.source, local.listing.target, local.secrets,
    )
    record = concat(
      [{
        actions   = ["s3:GetObject", "s3:PutObject"]
        resources = [for folder in ["results", "manifests", "executions"] : local.own_objects[folder]], conditions = []
      }],
      local.own_key, local.metrics.flows,
    )
    notify = concat(
      [
        { actions = ["s3:GetObject"], resources = [local.own_objects.executions, local.own_objects.state], conditions = [] },
        { actions = ["s3:PutObject"], resources = [local.own_objects.state], conditions = [] },
        { actions = ["s3:DeleteObject"], resources = [local.own_objects.open], conditions = [] },
        # The module's own topic, too: its ARN cannot be given to it.
        { actions = ["sns:Publish"], resources = concat(var.topic_arns, local.own_topic_arns), conditions = [] },
        {
          actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
          resources = length(var.topic_arns) > 0 ? var.kms_key_arns : [], conditions = [local.via["sns"]]
        },
        {
          actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
          resources = var.create_topic ? local.own_key_arns : [], conditions = [local.via["sns"]]
        },
      ],
      local.own_listing.executions, local.own_listing.state, local.own_key, local.metrics.suite, local.reading_secrets.alerts,
    )
  }

  # Each function: its own log group, and what all need for traces and a VPC.
  general = { for step, function in local.functions : step => concat(
    [{
      actions    = ["logs:CreateLogStream", "logs:PutLogEvents"]
      resources  = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/lambda/${function}:*"]
      conditions = []
    }],
    # X-Ray knows no resources for traces.
    [{ actions = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], resources = var.tracing ? ["*"] : [], conditions = [] }],
    # EC2 knows none for describing, and Lambda takes the others for all or not at all; see the denial below.
    [{ actions = local.interface_actions, resources = local.subnet_ids == null ? [] : ["*"], conditions = [] }],
  ) }
  interface_actions = [
    "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses",
  ]
}

data "aws_iam_policy_document" "function" {
  #checkov:skip=CKV_AWS_356:only for what has no resources: metrics, traces, network interfaces
  #checkov:skip=CKV_AWS_111:only for what has no resources: metrics (of one namespace), traces, network interfaces
  for_each = local.functions

  dynamic "statement" {
    for_each = [
      for each in concat(local.statements[each.key], local.general[each.key]) : each if length(each.resources) > 0
    ]

    content {
      actions   = statement.value.actions
      resources = statement.value.resources

      dynamic "condition" {
        for_each = statement.value.conditions

        content {
          test     = condition.value.test
          variable = condition.value.variable
          values   = condition.value.values
        }
      }
    }
  }

  # Lambda itself handles the network interfaces; the function's own code never does.
  dynamic "statement" {
    for_each = local.subnet_ids == null ? [] : [local.interface_actions]

    content {
      effect    = "Deny"
      actions   = statement.value
      resources = ["*"]

      condition {
        test     = "ArnEquals"
        variable = "lambda:SourceFunctionArn"
        values   = [local.function_arns[each.key]]
      }
    }
  }
}

data "aws_iam_policy_document" "lambda" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

# Roles know no region: the region in their names lets the module stand in a second one of the same account.
resource "aws_iam_role" "function" {
  for_each             = local.functions
  name                 = "${each.value}-${local.region}"
  description          = "What step ${each.key} of ${var.name} may do"
  assume_role_policy   = data.aws_iam_policy_document.lambda.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "function" {
  for_each = local.functions
  name     = each.value
  role     = aws_iam_role.function[each.key].id
  policy   = data.aws_iam_policy_document.function[each.key].json

  lifecycle {
    precondition {
      condition     = length(replace(data.aws_iam_policy_document.function[each.key].json, "/\\s/", "")) <= 10240
      error_message = "The policy of ${each.key} has more than the 10,240 characters that AWS takes: give prefixes, secrets and functions that have a beginning in common by that."
    }
  }
}
