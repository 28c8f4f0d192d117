# Two roles: what the suite may do, and what ECS may do to start it. A statement whose list of places is empty is left
# out. A resource is * only where AWS has no other form; each of these says so.

locals {
  places = { for name, uris in {
    source  = var.source_prefixes
    target  = var.target_prefixes
    payload = var.payload_prefixes
    search  = var.search_prefixes
    results = [var.results]
    config  = [for uri in [var.config_store] : uri if startswith(uri, "s3://")]
    } : name => [
    for place in [for uri in uris : regex("^s3://(?P<bucket>[^/]+)/?(?P<prefix>.*)$", uri)] :
    { bucket = place.bucket, prefix = place.prefix == "" ? "" : "${trimsuffix(place.prefix, "/")}/" }
  ] }
  objects = { for name, places in local.places : name => [
    for place in places : "arn:${local.partition}:s3:::${place.bucket}/${place.prefix}*"
  ] }
  read = distinct(concat(local.objects.payload, local.objects.search, local.objects.config))
  ends = distinct(concat(local.objects.source, local.objects.target))

  # By bucket: the prefixes that may be listed. It also makes S3 say "not there" for a key that is not there yet.
  listed = { for place in distinct(flatten(values(local.places))) : place.bucket => "${place.prefix}*"... }

  # AWS knows no condition on the prefix for these.
  end_buckets = distinct([
    for place in concat(local.places.source, local.places.target) : "arn:${local.partition}:s3:::${place.bucket}"
  ])

  keepers = { secretsmanager = "secretsmanager:GetSecretValue", ssm = "ssm:GetParameter" }
  secrets = concat(var.secret_arns, var.webhook_secret_arns)

  config_table = startswith(var.config_store, "dynamodb://") ? trimprefix(var.config_store, "dynamodb://") : null
  config_table_arns = local.config_table == null ? [] : [coalesce(
    var.config_table_arn,
    "arn:${local.partition}:dynamodb:${local.region}:${local.account}:table/${coalesce(local.config_table, "none")}",
  )]

  # A key serves what lies in a service, and nothing else.
  services = ["s3", "secretsmanager", "sns", "ssm"]

  statements = concat(
    [
      {
        actions = [
          "s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload", "s3:GetObject", "s3:GetObjectTagging",
          "s3:DeleteObject", "s3:ListMultipartUploadParts",
        ]
        resources  = local.ends
        conditions = []
      },
      { actions = ["s3:ListBucketVersions", "s3:ListBucketMultipartUploads"], resources = local.end_buckets, conditions = [] },
      { actions = ["s3:GetObject"], resources = local.read, conditions = [] },
      { actions = ["s3:GetObject", "s3:PutObject"], resources = local.objects.results, conditions = [] },
      { actions = ["dynamodb:DescribeTable", "dynamodb:Scan", "dynamodb:BatchGetItem"], resources = local.config_table_arns, conditions = [] },
      { actions = ["dynamodb:Query"], resources = [for arn in local.config_table_arns : "${arn}/index/*"], conditions = [] },
      { actions = ["kms:Decrypt"], resources = compact([var.config_kms_key_arn]), conditions = [] },
      {
        # A config may name a version or an alias.
        actions    = ["lambda:InvokeFunction"]
        resources  = flatten([for arn in var.transfer_function_arns : [arn, "${arn}:*"]])
        conditions = []
      },
      {
        actions = ["logs:FilterLogEvents"]
        resources = [for arn in var.transfer_function_arns :
          "${replace(replace(arn, ":lambda:", ":logs:"), ":function:", ":log-group:/aws/lambda/")}:*"
        ]
        conditions = []
      },
      # CloudWatch knows no resources for metrics: the namespace is the limit.
      {
        actions    = ["cloudwatch:PutMetricData"]
        resources  = var.cloudwatch ? ["*"] : []
        conditions = [{ test = "StringEquals", variable = "cloudwatch:namespace", values = ["FileFlowTests"] }]
      },
      { actions = ["sns:Publish"], resources = var.topic_arns, conditions = [] },
      {
        actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
        resources = compact(concat(var.kms_key_arns, [var.kms_key_arn]))
        conditions = [{
          test = "StringLike", variable = "kms:ViaService", values = [for service in local.services : "${service}.*.${local.dns_suffix}"]
        }]
      },
    ],
    [for bucket, prefixes in local.listed : {
      actions    = ["s3:ListBucket"]
      resources  = ["arn:${local.partition}:s3:::${bucket}"]
      conditions = [{ test = "StringLike", variable = "s3:prefix", values = distinct(prefixes) }]
    }],
    [for service, action in local.keepers : {
      actions = [action], resources = [for arn in local.secrets : arn if split(":", arn)[2] == service], conditions = []
    }],
  )
}

data "aws_iam_policy_document" "tasks" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "task" {
  #checkov:skip=CKV_AWS_356:only for metrics, which have no resources
  #checkov:skip=CKV_AWS_111:only for metrics, of one namespace
  dynamic "statement" {
    for_each = [for each in local.statements : each if length(each.resources) > 0]

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
}

resource "aws_iam_role" "task" {
  name                 = "${var.name}-task-${local.region}"
  description          = "What the suite of ${var.name} may do"
  assume_role_policy   = data.aws_iam_policy_document.tasks.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "task" {
  name   = "${var.name}-task"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.task.json
}

data "aws_iam_policy_document" "execution" {
  #checkov:skip=CKV_AWS_356:only for the token, which has no resources
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [local.log_arn]
  }

  dynamic "statement" {
    for_each = var.repository_arn == null ? [] : [var.repository_arn]

    content {
      actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      resources = [statement.value]
    }
  }

  # ECR knows no resources for the token.
  dynamic "statement" {
    for_each = var.repository_arn == null ? [] : ["*"]

    content {
      actions   = ["ecr:GetAuthorizationToken"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "execution" {
  name                 = "${var.name}-task-execution-${local.region}"
  description          = "Pulls the image of ${var.name} and writes its log"
  assume_role_policy   = data.aws_iam_policy_document.tasks.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "execution" {
  name   = "${var.name}-task-execution"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}
