# One registry per engine, and one for the loader, in AWS. They must hold an image before the runners can be created: docs/aws.md has the order.

resource "aws_ecr_repository" "engine" {
  for_each = local.is_aws ? local.engines : {}

  name                 = "${local.prefix}/engine/${each.key}"
  image_tag_mutability = "IMMUTABLE" # a tag that moved would run another engine than the one that was deployed

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "AES256"
  }
}

resource "aws_ecr_lifecycle_policy" "engine" {
  for_each = aws_ecr_repository.engine

  repository = each.value.name
  policy     = local.image_lifetimes
}

# The loader's program for Batch. No image in here is no failure of a deployment: Batch only looks when a job starts.
resource "aws_ecr_repository" "loader" {
  count = local.in_aws

  name                 = "${local.prefix}/function/loader"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "AES256"
  }
}

resource "aws_ecr_lifecycle_policy" "loader" {
  count = local.in_aws

  repository = one(aws_ecr_repository.loader[*].name)
  policy     = local.image_lifetimes
}

# Lambda pulls with its service's identity, for functions of this account only.
resource "aws_ecr_repository_policy" "engine" {
  for_each = aws_ecr_repository.engine

  repository = each.value.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "LambdaPullsRunners"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Condition = { StringLike = { "aws:sourceArn" = "arn:${local.partition}:lambda:${var.region}:${local.account_id}:function:${local.runner_function_prefix}*" } }
    }]
  })
}

locals {
  image_lifetimes = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "Layers of a push that was given up"
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 7 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "Keep the last ten, so that a deployment can be taken back"
        selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 10 }
        action       = { type = "expire" }
      },
    ]
  })

  # Locally the Batch executor knows the engine by this name: it builds and runs the image, or runs the installed engine.
  engine_images = {
    for name, engine in local.engines : name =>
    local.is_aws ? "${aws_ecr_repository.engine[name].repository_url}:${lookup(var.image_tags, name, var.image_tag)}" : "dunlin/engine/${name}"
  }
}
