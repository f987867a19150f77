# One bucket for all data, by prefix (crates/core/src/keys.rs). Versioning is off: every object is written once, or is
# derived from others. A second one holds the code of the functions.

resource "aws_s3_bucket" "data" {
  bucket        = local.data_bucket
  force_destroy = var.bucket_force_destroy
}

resource "aws_s3_bucket" "code" {
  bucket        = local.code_bucket
  force_destroy = true # it can be built again
}

locals {
  buckets = { data = aws_s3_bucket.data, code = aws_s3_bucket.code }
}

resource "aws_s3_bucket_public_access_block" "main" {
  for_each = local.buckets

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "main" {
  for_each = local.buckets

  bucket = each.value.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "main" {
  for_each = local.buckets

  bucket = each.value.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

# The emulator speaks HTTP, so the refusal of it is for AWS.
resource "aws_s3_bucket_policy" "main" {
  for_each = local.is_aws ? local.buckets : {}

  bucket = each.value.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "RefusePlainHttp"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [each.value.arn, "${each.value.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.main]
}

# How a scan ended whose state machine could not tell: `recorder` writes it, `notifier` hears of it. The recorder's network
# leads to S3 and to the database only, so the bucket does the sending.
resource "aws_s3_bucket_notification" "data" {
  bucket = aws_s3_bucket.data.id
  # Every new object is an event on the account's bus; price_batches.tf takes the files of price batches out of them.
  eventbridge = true

  queue {
    id            = "ended"
    queue_arn     = module.queue_notices.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "ended/"
  }
}

# Browsers send uploads to presigned URLs, and read reports from them.
resource "aws_s3_bucket_cors_configuration" "data" {
  count = length(var.cors_allowed_origins) > 0 ? 1 : 0

  bucket = aws_s3_bucket.data.id
  cors_rule {
    allowed_methods = ["PUT"]
    allowed_origins = var.cors_allowed_origins
    allowed_headers = ["content-type", "content-length", "if-none-match", "x-amz-*"]
    expose_headers  = ["etag"]
    max_age_seconds = 3600
  }

  # The way to a report is the API's 303, and a browser that follows it to another host says `Origin: null` from there on (Fetch
  # standard, "HTTP-redirect fetch"): a list of dashboards would keep them from reading. The URL is the credential. Whoever has
  # it may read without a browser too, and without it S3 refuses, wherever a page comes from.
  cors_rule {
    allowed_methods = ["GET", "HEAD"]
    allowed_origins = ["*"]
    allowed_headers = ["*"] # what a page adds for the API comes along
    expose_headers  = ["etag"]
    max_age_seconds = 3600
  }
}

locals {
  # Days each kind of object lives. Plans hold the tickets, whose URLs are worth nothing after a day.
  lifetimes = {
    accepted       = 90
    cancelled      = 90
    uploads        = 2
    snapshots      = 30
    plans          = 30
    results        = 90
    reports        = 365
    ended          = 90
    notifications  = 90
    price-batches  = 365
    price-requests = 365
    price-faults   = 30
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "data" {
  count = var.enable_lifecycle ? 1 : 0

  bucket = aws_s3_bucket.data.id

  dynamic "rule" {
    for_each = local.lifetimes
    content {
      id     = rule.key
      status = "Enabled"
      filter {
        prefix = "${rule.key}/"
      }
      expiration {
        days = rule.value
      }
    }
  }

  rule {
    id     = "abort-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }
}
