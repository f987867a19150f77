# Log groups that no function owns.

resource "aws_cloudwatch_log_group" "api" {
  name              = "/aws/apigateway/${local.prefix}"
  retention_in_days = var.log_retention_days
}

# Step Functions delivers logs only to groups whose name begins so without hitting the size limit of resource policies.
resource "aws_cloudwatch_log_group" "state_machine" {
  name              = "/aws/vendedlogs/states/${local.state_machine}"
  retention_in_days = var.log_retention_days
}

resource "aws_cloudwatch_log_group" "price_state_machine" {
  name              = "/aws/vendedlogs/states/${local.price_state_machine}"
  retention_in_days = var.log_retention_days
}

resource "aws_cloudwatch_log_group" "jobs" {
  name              = "/dunlin/${var.environment}/jobs"
  retention_in_days = var.log_retention_days
}

resource "aws_cloudwatch_log_group" "database" {
  count = local.in_aws

  name              = "/aws/rds/cluster/${local.prefix}/postgresql"
  retention_in_days = var.log_retention_days
}
