provider "aws" {
  region = var.region

  # The local emulator has one address, no metadata service and no bucket sub-domains.
  s3_use_path_style           = local.is_local
  skip_credentials_validation = var.endpoint_url != null
  skip_metadata_api_check     = var.endpoint_url != null
  skip_region_validation      = var.endpoint_url != null

  dynamic "endpoints" {
    for_each = var.endpoint_url == null ? [] : [var.endpoint_url]
    content {
      apigatewayv2   = endpoints.value
      batch          = endpoints.value
      cloudwatch     = endpoints.value
      cloudwatchlogs = endpoints.value
      cognitoidp     = endpoints.value
      ec2            = endpoints.value
      ecr            = endpoints.value
      eventbridge    = endpoints.value
      iam            = endpoints.value
      lambda         = endpoints.value
      rds            = endpoints.value
      s3             = endpoints.value
      secretsmanager = endpoints.value
      sfn            = endpoints.value
      sns            = endpoints.value
      sqs            = endpoints.value
      sts            = endpoints.value
    }
  }

  # Costs are read by these three (activate them as cost allocation tags in the billing console).
  default_tags {
    tags = {
      project     = "dunlin"
      environment = var.environment
      flow        = "scan"
    }
  }
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}
