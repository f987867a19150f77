# Postgres. Locally a server that is there already, with one user and a password in a secret. In AWS an Aurora Serverless v2
# cluster that pauses, with two users that have no password at all: `dunlin_owner` owns the schema (migrate), `dunlin_app`
# reads and writes rows (api, aggregator, recorder). Both authenticate with IAM tokens, so that functions in isolated
# subnets need neither Secrets Manager nor an endpoint for it.

locals {
  database_users = {
    owner = local.is_aws ? "dunlin_owner" : var.database_user
    app   = local.is_aws ? "dunlin_app" : var.database_user
  }
  database_host        = local.is_aws ? one(aws_rds_cluster.main[*].endpoint) : var.database_host
  database_port        = local.is_aws ? 5432 : var.database_port
  database_auth        = local.is_aws ? "iam" : "secret:${one(aws_secretsmanager_secret.database[*].arn)}"
  database_identity    = local.is_aws ? one(aws_rds_cluster.main[*].cluster_resource_id) : "${var.database_host}:${var.database_port}/${var.database_name}"
  database_connect_arn = local.is_aws ? "arn:${local.partition}:rds-db:${var.region}:${local.account_id}:dbuser:${one(aws_rds_cluster.main[*].cluster_resource_id)}" : ""

  database_environment = {
    for role, user in local.database_users : role => {
      DATABASE_HOST = local.database_host
      DATABASE_PORT = tostring(local.database_port)
      DATABASE_NAME = var.database_name
      DATABASE_USER = user
      DATABASE_AUTH = local.database_auth
    }
  }
}

# Local

resource "aws_secretsmanager_secret" "database" {
  count = local.is_local ? 1 : 0

  name                    = "${local.secrets_prefix}/database"
  description             = "Password of the local Postgres server"
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "database" {
  count = local.is_local ? 1 : 0

  secret_id     = one(aws_secretsmanager_secret.database[*].id)
  secret_string = jsonencode({ password = var.database_password })
}

# AWS

resource "aws_db_subnet_group" "main" {
  count = local.in_aws

  name        = local.prefix
  description = "Isolated subnets of Dunlin"
  subnet_ids  = aws_subnet.isolated[*].id
}

resource "aws_rds_cluster_parameter_group" "main" {
  count = local.in_aws

  name        = "${local.prefix}-postgres15"
  family      = "aurora-postgresql15"
  description = "Refuses connections without TLS"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
}

resource "aws_rds_cluster" "main" {
  count = local.in_aws

  cluster_identifier = local.prefix
  engine             = "aurora-postgresql"
  engine_mode        = "provisioned" # what Serverless v2 is called here
  # The major version that the tests run against. RDS chooses the minor one; pausing needs 15.7 or later.
  engine_version = "15"
  database_name  = var.database_name

  # Nobody reads this password but the statement below, through the Data API. RDS makes it and keeps it.
  master_username             = "dunlin_admin"
  manage_master_user_password = true
  enable_http_endpoint        = true

  iam_database_authentication_enabled = true
  storage_encrypted                   = true
  db_subnet_group_name                = one(aws_db_subnet_group.main[*].name)
  vpc_security_group_ids              = aws_security_group.database[*].id
  db_cluster_parameter_group_name     = one(aws_rds_cluster_parameter_group.main[*].name)

  serverlessv2_scaling_configuration {
    min_capacity             = 0
    max_capacity             = var.database_max_acu
    seconds_until_auto_pause = var.database_auto_pause_seconds
  }

  backup_retention_period   = var.database_backup_days
  preferred_backup_window   = "01:00-02:00"
  copy_tags_to_snapshot     = true
  deletion_protection       = var.database_deletion_protection
  skip_final_snapshot       = !var.database_final_snapshot
  final_snapshot_identifier = "${local.prefix}-last"

  enabled_cloudwatch_logs_exports = ["postgresql"]
  depends_on                      = [aws_cloudwatch_log_group.database]
}

resource "aws_rds_cluster_instance" "main" {
  count = local.is_aws ? var.database_instances : 0

  identifier                 = "${local.prefix}-${count.index}"
  cluster_identifier         = one(aws_rds_cluster.main[*].id)
  instance_class             = "db.serverless"
  engine                     = "aurora-postgresql"
  availability_zone          = "${var.region}${var.availability_zone_suffixes[count.index]}"
  promotion_tier             = 0 # readers of tier 0 and 1 follow the writer's capacity, and pause with it
  auto_minor_version_upgrade = true
  # Enhanced monitoring and Performance Insights stay off: a cluster that is watched every second does not look idle.
  monitoring_interval = 0
}

# The two users. Terraform has no resource for a database user that needs no way in; the Data API runs SQL over HTTPS with
# the password from its secret, wakes a paused cluster, and needs the AWS command line where Terraform runs. Once per
# cluster, and safe to run again. docs/decisions/0011 has the alternatives.
resource "terraform_data" "database_roles" {
  count = local.in_aws

  triggers_replace = {
    cluster = one(aws_rds_cluster.main[*].cluster_resource_id)
    script  = filesha256("${path.module}/scripts/database-roles.sh")
  }

  provisioner "local-exec" {
    command = "${path.module}/scripts/database-roles.sh"
    environment = {
      AWS_REGION   = var.region
      CLUSTER_ARN  = one(aws_rds_cluster.main[*].arn)
      SECRET_ARN   = one(aws_rds_cluster.main[*].master_user_secret)[0].secret_arn
      DATABASE     = var.database_name
      OWNER        = local.database_users.owner
      APP          = local.database_users.app
      WAIT_SECONDS = "300"
    }
  }

  depends_on = [aws_rds_cluster_instance.main]
}
