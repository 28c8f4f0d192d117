terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80, < 7"
    }
  }

  # State belongs where a team shares it, as in:
  # backend "s3" {
  #   bucket       = "…"
  #   key          = "fileflow/dev.tfstate"
  #   region       = "…"
  #   use_lockfile = true
  # }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      project = "fileflow"
      stage   = var.stage
    }
  }
}
