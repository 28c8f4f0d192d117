# The records as a table, which equals that of `fileflow history --athena-ddl`; a test holds them together.

locals {
  record_columns = [
    { name = "schema", type = "int" },
    { name = "run_id", type = "string" },
    { name = "flow_id", type = "string" },
    { name = "case", type = "string" },
    { name = "kind", type = "string" },
    { name = "direction", type = "string" },
    { name = "attempt", type = "int" },
    { name = "outcome", type = "string" },
    { name = "cause", type = "string" },
    { name = "reason", type = "string" },
    { name = "hint", type = "string" },
    { name = "description", type = "string" },
    { name = "owner", type = "string" },
    { name = "tags", type = "array<string>" },
    { name = "file", type = "struct<name:string,size:bigint,sha256:string>" },
    { name = "source", type = "struct<type:string,location:string>" },
    { name = "target", type = "struct<type:string,location:string>" },
    { name = "observed", type = "struct<size:bigint,sha256:string,location:string>" },
    { name = "timeline", type = "map<string,string>" },
    { name = "phases_seconds", type = "map<string,double>" },
    { name = "latency_seconds", type = "double" },
    { name = "latency_resolution_seconds", type = "double" },
    { name = "slo_seconds", type = "double" },
    { name = "checks", type = "array<struct<name:string,outcome:string,expected:string,observed:string>>" },
    { name = "evidence", type = "string" },
    { name = "residue", type = "array<string>" },
    { name = "sandbox", type = "boolean" },
    { name = "faults", type = "array<string>" },
    { name = "due", type = "struct<name:string,size:bigint,sha256:string,wrapped_in:array<string>>" },
    { name = "rehearsal", type = "struct<flow_id:string,fault:string,must_be:string>" },
  ]

  # A view is kept in Presto's words, with the types of its columns in Presto's words as well.
  view_columns = [for column in concat(local.record_columns, [{ name = "dt", type = "string" }]) : {
    name = column.name
    type = replace(replace(replace(replace(replace(replace(
      column.type, "struct<", "row("), "array<", "array("), "map<", "map("), ">", ")"), ":", " "),
    "/\\bstring\\b/", "varchar")
  }]
  view = {
    originalSql = "SELECT * FROM fileflow_records WHERE \"$path\" LIKE '%/run.json'"
    catalog     = "awsdatacatalog"
    schema      = aws_glue_catalog_database.results.name
    columns     = [for column in local.view_columns : merge(column, { type = replace(column.type, "/\\bint\\b/", "integer") })]
  }
}

resource "aws_glue_catalog_database" "results" {
  name        = replace(var.name, "-", "_")
  description = "Run records of ${var.name}"
}

resource "aws_glue_catalog_table" "records" {
  name          = "fileflow_records"
  database_name = aws_glue_catalog_database.results.name
  description   = "All that lies beside the records, too: ask fileflow_runs"
  table_type    = "EXTERNAL_TABLE"

  parameters = {
    EXTERNAL                    = "TRUE"
    "projection.enabled"        = "true"
    "projection.dt.type"        = "date"
    "projection.dt.format"      = "yyyy-MM-dd"
    "projection.dt.range"       = "NOW-3YEARS,NOW"
    "storage.location.template" = "${local.results}/results/dt=$${dt}/"
  }

  partition_keys {
    name = "dt"
    type = "string"
  }

  storage_descriptor {
    location      = "${local.results}/results/"
    input_format  = "org.apache.hadoop.mapred.TextInputFormat"
    output_format = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"

    ser_de_info {
      serialization_library = "org.openx.data.jsonserde.JsonSerDe"
      parameters            = { "ignore.malformed.json" = "true" }
    }

    dynamic "columns" {
      for_each = local.record_columns

      content {
        name = columns.value.name
        type = columns.value.type
      }
    }
  }
}

resource "aws_glue_catalog_table" "runs" {
  name               = "fileflow_runs"
  database_name      = aws_glue_catalog_database.results.name
  description        = "The records, one row a run"
  table_type         = "VIRTUAL_VIEW"
  view_original_text = "/* Presto View: ${base64encode(jsonencode(local.view))} */"
  view_expanded_text = "/* Presto View */"

  parameters = {
    presto_view = "true"
    comment     = "Presto View"
  }

  storage_descriptor {
    ser_de_info {
      name                  = "-"
      serialization_library = "-"
    }

    dynamic "columns" {
      for_each = concat(local.record_columns, [{ name = "dt", type = "string" }])

      content {
        name = columns.value.name
        type = columns.value.type
      }
    }
  }

  depends_on = [aws_glue_catalog_table.records]
}

resource "aws_athena_workgroup" "results" {
  name          = var.name
  description   = "Queries over the run records of ${var.name}"
  force_destroy = true # its history only; the results of queries lie in the bucket
  tags          = var.tags

  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.athena_scan_limit_gb * 1024 * 1024 * 1024

    result_configuration {
      output_location       = "${local.results}/athena/"
      expected_bucket_owner = local.account

      encryption_configuration {
        encryption_option = local.key_arn == null ? "SSE_S3" : "SSE_KMS"
        kms_key_arn       = local.key_arn
      }
    }
  }
}
