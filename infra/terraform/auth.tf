# Who may call. People are made by an administrator; their organisation is the attribute `tenant`, which arrives in the ID
# token as `custom:tenant`. The app client may not write it, or anybody could move into any organisation.

resource "aws_cognito_user_pool" "main" {
  name                = local.prefix
  deletion_protection = local.is_aws && var.user_pool_deletion_protection ? "ACTIVE" : "INACTIVE"
  username_attributes = ["email"]

  username_configuration {
    case_sensitive = false
  }

  admin_create_user_config {
    allow_admin_create_user_only = true
  }

  password_policy {
    minimum_length                   = 12
    require_lowercase                = true
    require_uppercase                = true
    require_numbers                  = true
    require_symbols                  = false
    temporary_password_validity_days = 7
  }

  account_recovery_setting {
    recovery_mechanism {
      name     = "verified_email"
      priority = 1
    }
  }

  schema {
    name                     = "tenant"
    attribute_data_type      = "String"
    mutable                  = true
    developer_only_attribute = false
    required                 = false
    string_attribute_constraints {
      min_length = 1
      max_length = 40
    }
  }
}

resource "aws_cognito_user_pool_client" "cli" {
  name         = "${local.prefix}-cli"
  user_pool_id = aws_cognito_user_pool.main.id

  generate_secret     = false # a program on people's machines keeps none
  explicit_auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
  read_attributes     = ["email", "custom:tenant"]
  write_attributes    = ["email"]

  # The same answer whether or not the user is there.
  prevent_user_existence_errors = "ENABLED"
  enable_token_revocation       = true

  id_token_validity      = 60
  access_token_validity  = 60
  refresh_token_validity = 30
  token_validity_units {
    id_token      = "minutes"
    access_token  = "minutes"
    refresh_token = "days"
  }
}

locals {
  # The emulator signs with AWS's issuer too, and knows its own keys.
  auth_issuer   = "https://cognito-idp.${var.region}.amazonaws.com/${aws_cognito_user_pool.main.id}"
  auth_endpoint = local.is_local ? var.endpoint_url : "https://cognito-idp.${var.region}.amazonaws.com"
}
