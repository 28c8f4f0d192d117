# One key for results, logs and topic, where the module makes it.

data "aws_iam_policy_document" "key" {
  count = var.create_kms_key ? 1 : 0

  # The resource of a key's own policy is always *: it means this key.
  #checkov:skip=CKV_AWS_109:without these actions for the account nobody could administer the key
  #checkov:skip=CKV_AWS_111:without these actions for the account nobody could administer the key
  #checkov:skip=CKV_AWS_356:the resource of a key's policy is this key
  statement {
    sid       = "AccountByItsOwnPolicies"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${local.region}.${data.aws_partition.current.dns_suffix}"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [
        "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/lambda/${var.name}-*",
        "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/vendedlogs/states/${var.name}",
      ]
    }
  }

  statement {
    sid       = "AlarmsToTheTopic"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_kms_key" "own" {
  count               = var.create_kms_key ? 1 : 0
  description         = "Results, logs and alarms of ${var.name}"
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.key[0].json
  tags                = var.tags
}

resource "aws_kms_alias" "own" {
  count         = var.create_kms_key ? 1 : 0
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.own[0].key_id
}
