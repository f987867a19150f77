module "queue_scans" {
  source = "./modules/queue"

  name                     = "${local.prefix}-scans"
  partition                = local.partition
  region                   = var.region
  account_id               = local.account_id
  consumer_timeout_seconds = local.timeouts.dispatcher
  max_receive_count        = 5
  max_age_seconds          = 300
  enable_alarms            = var.enable_alarms
  alarm_actions            = local.alarm_actions
}

module "queue_recordings" {
  source = "./modules/queue"

  name                     = "${local.prefix}-recordings"
  partition                = local.partition
  region                   = var.region
  account_id               = local.account_id
  consumer_timeout_seconds = local.timeouts.recorder
  # Twenty times the visibility timeout is two hours: a database that is down or waking up costs no event.
  max_receive_count = 20
  max_age_seconds   = 900
  policy            = local.recordings_policy
  enable_alarms     = var.enable_alarms
  alarm_actions     = local.alarm_actions
}

module "queue_notices" {
  source = "./modules/queue"

  name                     = "${local.prefix}-notices"
  partition                = local.partition
  region                   = var.region
  account_id               = local.account_id
  consumer_timeout_seconds = local.timeouts.notifier
  # The notifier itself gives up on a receiver after ten: what goes on to the dead-letter queue is for operators.
  max_receive_count = 20
  max_age_seconds   = 10800
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OurBucketSends"
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "${local.queues_arn}-notices"
      Condition = {
        ArnEquals    = { "aws:SourceArn" = local.data_bucket_arn }
        StringEquals = { "aws:SourceAccount" = local.account_id }
      }
    }]
  })
  enable_alarms = var.enable_alarms
  alarm_actions = local.alarm_actions
}

resource "aws_lambda_event_source_mapping" "dispatcher" {
  event_source_arn        = module.queue_scans.arn
  function_name           = module.function["dispatcher"].arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]

  dynamic "scaling_config" {
    for_each = var.dispatcher_concurrency == null ? [] : [var.dispatcher_concurrency]
    content {
      maximum_concurrency = scaling_config.value
    }
  }

  # A scan that starts before the tables are there only waits in its retries; still, order costs nothing.
  depends_on = [aws_lambda_invocation.migrate, aws_sfn_state_machine.scan]
}

resource "aws_lambda_event_source_mapping" "recorder" {
  event_source_arn        = module.queue_recordings.arn
  function_name           = module.function["recorder"].arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]

  # Half of the recorder's own bound: the state machine needs the rest, and a poller that is throttled burns receives.
  dynamic "scaling_config" {
    for_each = var.recorder_concurrency == null ? [] : [floor(var.recorder_concurrency / 2)]
    content {
      maximum_concurrency = scaling_config.value
    }
  }

  depends_on = [aws_lambda_invocation.migrate]
}

resource "aws_lambda_event_source_mapping" "notifier" {
  event_source_arn        = module.queue_notices.arn
  function_name           = module.function["notifier"].arn
  batch_size              = 5 # at once, and each receiver may take 15 s
  function_response_types = ["ReportBatchItemFailures"]
}
