# Results, manifests, alert state and work files, and the configs where there is no other store for them.

resource "aws_s3_bucket" "results" {
  #checkov:skip=CKV_AWS_18:access_log_bucket switches access logs on, for accounts that keep them
  #checkov:skip=CKV_AWS_145:create_kms_key or kms_key_arn gives a key; SSE-S3 encrypts without one
  #checkov:skip=CKV_AWS_144:a copy in a second region is the operator's choice, and no rule of the bucket's own
  #checkov:skip=CKV2_AWS_62:nothing waits for a record
  bucket              = local.bucket_name
  force_destroy       = var.force_destroy
  object_lock_enabled = var.object_lock != null
  tags                = var.tags
}

resource "aws_s3_bucket_versioning" "results" {
  bucket = aws_s3_bucket.results.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_ownership_controls" "results" {
  bucket = aws_s3_bucket.results.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "results" {
  bucket                  = aws_s3_bucket.results.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "results" {
  bucket = aws_s3_bucket.results.id

  rule {
    bucket_key_enabled = local.key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = local.key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = local.key_arn
    }
  }
}

resource "aws_s3_bucket_object_lock_configuration" "results" {
  count  = var.object_lock == null ? 0 : 1
  bucket = aws_s3_bucket.results.id

  rule {
    default_retention {
      mode = var.object_lock.mode
      days = var.object_lock.days
    }
  }

  depends_on = [aws_s3_bucket_versioning.results]
}

resource "aws_s3_bucket_logging" "results" {
  count         = var.access_log_bucket == null ? 0 : 1
  bucket        = aws_s3_bucket.results.id
  target_bucket = var.access_log_bucket
  target_prefix = "${local.bucket_name}/"
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.bucket_arn, "${local.bucket_arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "results" {
  bucket = aws_s3_bucket.results.id
  policy = data.aws_iam_policy_document.bucket.json

  depends_on = [aws_s3_bucket_public_access_block.results]
}

resource "aws_s3_bucket_lifecycle_configuration" "results" {
  bucket = aws_s3_bucket.results.id

  dynamic "rule" {
    for_each = {
      results    = var.results_retention_days
      manifests  = var.results_retention_days
      executions = var.executions_retention_days
      open       = var.executions_retention_days
      athena     = var.executions_retention_days
    }

    content {
      id     = rule.key
      status = "Enabled"

      filter {
        prefix = "${rule.key}/"
      }

      expiration {
        days = rule.value
      }

      noncurrent_version_expiration {
        noncurrent_days = 1
      }
    }
  }

  # A payload has no place here; should a flow have this bucket for an end, what a clean-up leaves behind expires.
  rule {
    id     = "synthetic"
    status = "Enabled"

    filter {
      tag {
        key   = "synthetic"
        value = "true"
      }
    }

    expiration {
      days = var.synthetic_retention_days
    }
  }

  # Alert state is one document that is written again and again; the code is that of the functions.
  dynamic "rule" {
    for_each = toset(["code", "state"])

    content {
      id     = rule.key
      status = "Enabled"

      filter {
        prefix = "${rule.key}/"
      }

      noncurrent_version_expiration {
        noncurrent_days = 7
      }
    }
  }

  rule {
    id     = "remains"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }

    expiration {
      expired_object_delete_marker = true
    }
  }

  depends_on = [aws_s3_bucket_versioning.results]
}

# A bucket has one lifecycle configuration: only where the module may own it.
resource "aws_s3_bucket_lifecycle_configuration" "synthetic" {
  for_each = var.synthetic_buckets
  bucket   = each.key

  rule {
    id     = "fileflow-synthetic"
    status = "Enabled"

    filter {
      tag {
        key   = "synthetic"
        value = "true"
      }
    }

    expiration {
      days = var.synthetic_retention_days
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  rule {
    id     = "fileflow-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}
