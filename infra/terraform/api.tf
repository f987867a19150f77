# The HTTP API. Every route is here with its function; only two need no token.

locals {
  routes = {
    "POST /v1/scans"                       = { function = "intake", open = false }
    "DELETE /v1/scans/{id}"                = { function = "intake", open = false }
    "POST /v1/uploads"                     = { function = "intake", open = false }
    "PUT /v1/credentials/{name}"           = { function = "intake", open = false }
    "DELETE /v1/credentials/{name}"        = { function = "intake", open = false }
    "PUT /v1/webhook"                      = { function = "intake", open = false }
    "DELETE /v1/webhook"                   = { function = "intake", open = false }
    "POST /v1/price-batches"               = { function = "intake", open = false }
    "POST /v1/price-batches/{id}/complete" = { function = "intake", open = false }
    "GET /v1/health"                       = { function = "api", open = true }
    "GET /v1/openapi.json"                 = { function = "api", open = true }
    "GET /v1/scans"                        = { function = "api", open = false }
    "GET /v1/scans/{id}"                   = { function = "api", open = false }
    "GET /v1/scans/{id}/findings"          = { function = "api", open = false }
    "GET /v1/scans/{id}/report"            = { function = "api", open = false }
    "GET /v1/repositories"                 = { function = "api", open = false }
    "GET /v1/repositories/{id}"            = { function = "api", open = false }
    "GET /v1/price-batches"                = { function = "api", open = false }
    "GET /v1/price-batches/{id}"           = { function = "api", open = false }
    "POST /v1/price-batches/{id}/withdraw" = { function = "api", open = false }
    "GET /v1/rates"                        = { function = "api", open = false }
  }
  http_functions = toset(values(local.routes)[*].function)
}

resource "aws_apigatewayv2_api" "main" {
  name          = local.prefix
  description   = "Dunlin"
  protocol_type = "HTTP"

  dynamic "cors_configuration" {
    for_each = length(var.cors_allowed_origins) > 0 ? [var.cors_allowed_origins] : []
    content {
      allow_origins  = cors_configuration.value
      allow_methods  = ["GET", "POST", "PUT", "DELETE"]
      allow_headers  = ["authorization", "content-type", "idempotency-key", "if-none-match", "traceparent"]
      expose_headers = ["etag", "location", "retry-after"]
      max_age        = 3600
    }
  }
}

# The ID token is the bearer: it carries the organisation, and its audience is the app client. The gateway checks signature,
# issuer, audience and expiry.
resource "aws_apigatewayv2_authorizer" "jwt" {
  api_id           = aws_apigatewayv2_api.main.id
  name             = "cognito"
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    issuer   = local.auth_issuer
    audience = [aws_cognito_user_pool_client.cli.id]
  }

  lifecycle {
    # Only Lambda authorizers have one; the emulator answers with a default all the same.
    ignore_changes = [authorizer_payload_format_version]
  }
}

resource "aws_apigatewayv2_integration" "function" {
  for_each = local.http_functions

  api_id                 = aws_apigatewayv2_api.main.id
  integration_type       = "AWS_PROXY"
  integration_uri        = module.function[each.key].invoke_arn
  payload_format_version = "2.0"
  timeout_milliseconds   = 30000
}

resource "aws_apigatewayv2_route" "main" {
  for_each = local.routes

  api_id             = aws_apigatewayv2_api.main.id
  route_key          = each.key
  target             = "integrations/${aws_apigatewayv2_integration.function[each.value.function].id}"
  authorization_type = each.value.open ? "NONE" : "JWT"
  authorizer_id      = each.value.open ? null : aws_apigatewayv2_authorizer.jwt.id
}

resource "aws_lambda_permission" "api" {
  for_each = local.http_functions

  statement_id  = "CalledByTheApi"
  action        = "lambda:InvokeFunction"
  function_name = module.function[each.key].name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.main.execution_arn}/*/*"
}

resource "aws_apigatewayv2_stage" "default" {
  api_id      = aws_apigatewayv2_api.main.id
  name        = "$default"
  auto_deploy = true

  default_route_settings {
    throttling_burst_limit = var.api_burst
    throttling_rate_limit  = var.api_rate
  }

  # No caller's address and no query string: a cursor or a file name is nobody's business.
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.api.arn
    format = jsonencode({
      time        = "$context.requestTime"
      request_id  = "$context.requestId"
      route       = "$context.routeKey"
      status      = "$context.status"
      bytes       = "$context.responseLength"
      duration_ms = "$context.responseLatency"
      caller      = "$context.authorizer.claims.sub"
      error       = "$context.error.message"
      authorizer  = "$context.authorizer.error"
      integration = "$context.integrationErrorMessage"
      service     = "api-gateway"
      environment = var.environment
    })
  }

  # Nobody reads tables that are not there yet.
  depends_on = [aws_lambda_invocation.migrate]
}
