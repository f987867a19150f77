# One Lambda function with a role, a policy and a log group of its own. The function depends on both, so that it never
# starts without its permissions and never makes a log group that is kept for ever.

resource "aws_iam_role" "this" {
  name        = var.name
  description = "Role of the function ${var.name}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "permissions"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in concat(
        [{ sid = "WriteLogs", actions = ["logs:CreateLogStream", "logs:PutLogEvents"], resources = ["${aws_cloudwatch_log_group.this.arn}:*"] }],
        var.statements,
      ) :
      { for key, value in { Sid = statement.sid, Effect = "Allow", Action = statement.actions, Resource = statement.resources, Condition = try(statement.condition, null) } : key => value if value != null }
    ]
  })
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_lambda_function" "this" {
  function_name = var.name
  description   = var.description
  role          = aws_iam_role.this.arn

  package_type     = var.image_uri == null ? "Zip" : "Image"
  image_uri        = var.image_uri
  s3_bucket        = try(var.code.bucket, null)
  s3_key           = try(var.code.key, null)
  source_code_hash = try(var.code.sha256, null)
  runtime          = var.image_uri == null ? "provided.al2023" : null
  handler          = var.image_uri == null ? "bootstrap" : null
  architectures    = [var.architecture]

  memory_size                    = var.memory_mib
  timeout                        = var.timeout_seconds
  reserved_concurrent_executions = var.reserved_concurrency == null ? -1 : var.reserved_concurrency

  environment {
    variables = var.environment
  }

  ephemeral_storage {
    size = var.storage_mib
  }

  logging_config {
    log_format = "Text" # the functions write JSON themselves
    log_group  = aws_cloudwatch_log_group.this.name
  }

  dynamic "vpc_config" {
    for_each = var.network == null ? [] : [var.network]
    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  depends_on = [aws_iam_role_policy.this]
}
