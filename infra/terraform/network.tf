# AWS only. Two isolated subnets hold the database and the functions that use it: their route table knows the VPC and, through
# the gateway endpoint (which is free), S3. Two public subnets hold the Fargate tasks, which reach the internet by their own
# public address and accept nothing. There is no NAT gateway and no interface endpoint: both are billed by the hour.

resource "aws_vpc" "main" {
  count = local.in_aws

  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = local.prefix }
}

# The default group lets its members talk to each other; nothing shall be in it, and it shall allow nothing.
resource "aws_default_security_group" "main" {
  count = local.in_aws

  vpc_id = one(aws_vpc.main[*].id)
}

resource "aws_subnet" "isolated" {
  count = local.is_aws ? 2 : 0

  vpc_id            = one(aws_vpc.main[*].id)
  cidr_block        = cidrsubnet(var.vpc_cidr, 2, count.index)
  availability_zone = "${var.region}${var.availability_zone_suffixes[count.index]}"
  tags              = { Name = "${local.prefix}-isolated-${var.availability_zone_suffixes[count.index]}" }
}

resource "aws_subnet" "public" {
  count = local.is_aws ? 2 : 0

  vpc_id            = one(aws_vpc.main[*].id)
  cidr_block        = cidrsubnet(var.vpc_cidr, 2, 2 + count.index)
  availability_zone = "${var.region}${var.availability_zone_suffixes[count.index]}"
  tags              = { Name = "${local.prefix}-public-${var.availability_zone_suffixes[count.index]}" }
}

resource "aws_internet_gateway" "main" {
  count = local.in_aws

  vpc_id = one(aws_vpc.main[*].id)
  tags   = { Name = local.prefix }
}

resource "aws_route_table" "isolated" {
  count = local.in_aws

  vpc_id = one(aws_vpc.main[*].id)
  tags   = { Name = "${local.prefix}-isolated" }
}

resource "aws_route_table" "public" {
  count = local.in_aws

  vpc_id = one(aws_vpc.main[*].id)
  tags   = { Name = "${local.prefix}-public" }
}

resource "aws_route" "internet" {
  count = local.in_aws

  route_table_id         = one(aws_route_table.public[*].id)
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = one(aws_internet_gateway.main[*].id)
}

resource "aws_route_table_association" "isolated" {
  count = local.is_aws ? 2 : 0

  subnet_id      = aws_subnet.isolated[count.index].id
  route_table_id = one(aws_route_table.isolated[*].id)
}

resource "aws_route_table_association" "public" {
  count = local.is_aws ? 2 : 0

  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = one(aws_route_table.public[*].id)
}

# Only this bucket, from the isolated subnets: not even a function that was taken over carries rows to somebody else's.
# Fargate tasks take the internet: the images' layers come from a bucket of ECR's. Those that load prices do so with a role and a
# way to Postgres: docs/decisions/0032-loads-on-batch.md.
resource "aws_vpc_endpoint" "s3" {
  count = local.in_aws

  vpc_id            = one(aws_vpc.main[*].id)
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = aws_route_table.isolated[*].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyTheDataBucket"
      Effect    = "Allow"
      Principal = "*"
      Action    = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListBucket"]
      Resource  = [local.data_bucket_arn, "${local.data_bucket_arn}/*"]
    }]
  })
  tags = { Name = "${local.prefix}-s3" }
}

resource "aws_security_group" "functions" {
  count = local.in_aws

  name        = "${local.prefix}-functions"
  description = "Functions that use the database: out to Postgres and S3, nothing in"
  vpc_id      = one(aws_vpc.main[*].id)
}

# In from the loads too; but another description would be another group.
resource "aws_security_group" "database" {
  count = local.in_aws

  name        = "${local.prefix}-database"
  description = "Postgres: in from the functions, nothing out"
  vpc_id      = one(aws_vpc.main[*].id)
}

resource "aws_security_group" "jobs" {
  count = local.in_aws

  name        = "${local.prefix}-jobs"
  description = "Fargate tasks: out by HTTPS, nothing in"
  vpc_id      = one(aws_vpc.main[*].id)
}

resource "aws_vpc_security_group_egress_rule" "functions_to_database" {
  count = local.in_aws

  security_group_id            = one(aws_security_group.functions[*].id)
  description                  = "Postgres"
  referenced_security_group_id = one(aws_security_group.database[*].id)
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_egress_rule" "functions_to_s3" {
  count = local.in_aws

  security_group_id = one(aws_security_group.functions[*].id)
  description       = "S3 through the gateway endpoint"
  prefix_list_id    = one(aws_vpc_endpoint.s3[*].prefix_list_id)
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "database_from_functions" {
  count = local.in_aws

  security_group_id            = one(aws_security_group.database[*].id)
  description                  = "Postgres"
  referenced_security_group_id = one(aws_security_group.functions[*].id)
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_security_group" "loads" {
  count = local.in_aws

  name        = "${local.prefix}-loads"
  description = "Fargate tasks that load prices: out to Postgres and by HTTPS, nothing in"
  vpc_id      = one(aws_vpc.main[*].id)
}

resource "aws_vpc_security_group_egress_rule" "loads_to_database" {
  count = local.in_aws

  security_group_id            = one(aws_security_group.loads[*].id)
  description                  = "Postgres"
  referenced_security_group_id = one(aws_security_group.database[*].id)
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_egress_rule" "loads_to_internet" {
  count = local.in_aws

  security_group_id = one(aws_security_group.loads[*].id)
  description       = "HTTPS: image, logs, S3"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "database_from_loads" {
  count = local.in_aws

  security_group_id            = one(aws_security_group.database[*].id)
  description                  = "Postgres"
  referenced_security_group_id = one(aws_security_group.loads[*].id)
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_egress_rule" "jobs_to_internet" {
  count = local.in_aws

  security_group_id = one(aws_security_group.jobs[*].id)
  description       = "HTTPS: image, logs, presigned URLs"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

locals {
  function_network = local.is_local ? null : {
    subnet_ids         = aws_subnet.isolated[*].id
    security_group_ids = aws_security_group.functions[*].id
  }
}
