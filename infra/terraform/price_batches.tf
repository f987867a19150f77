# Price batches: a file below price-batches/ in the data bucket -> S3's event on the bus -> queue -> dispatcher -> state machine.

resource "aws_cloudwatch_event_rule" "price_files" {
  name        = "${local.prefix}-price-files"
  description = "A file of a price batch is complete in the data bucket"
  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [local.data_bucket] }
      object = { key = [{ prefix = "price-batches/" }] }
    }
  })
}

resource "aws_cloudwatch_event_target" "price_batches" {
  rule      = aws_cloudwatch_event_rule.price_files.name
  target_id = "price-batches"
  arn       = module.queue_price_batches.arn
}

module "queue_price_batches" {
  source = "./modules/queue"

  name                     = "${local.prefix}-price-batches"
  partition                = local.partition
  region                   = var.region
  account_id               = local.account_id
  consumer_timeout_seconds = local.timeouts.dispatcher
  max_receive_count        = 5
  max_age_seconds          = 300
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OurRuleSends"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "${local.queues_arn}-price-batches"
      Condition = { ArnEquals = { "aws:SourceArn" = "${local.events_rule_arn_prefix}price-files" } }
    }]
  })
  enable_alarms = var.enable_alarms
  alarm_actions = local.alarm_actions
}

resource "aws_lambda_event_source_mapping" "price_batches" {
  event_source_arn        = module.queue_price_batches.arn
  function_name           = module.function["dispatcher"].arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]

  dynamic "scaling_config" {
    for_each = var.dispatcher_concurrency == null ? [] : [var.dispatcher_concurrency]
    content {
      maximum_concurrency = scaling_config.value
    }
  }

  depends_on = [aws_lambda_invocation.migrate, aws_sfn_state_machine.price_batch]
}

resource "aws_sfn_state_machine" "price_batch" {
  name     = local.price_state_machine
  role_arn = aws_iam_role.price_state_machine.arn
  type     = "STANDARD"

  definition = templatefile("${path.module}/../../statemachines/price-batch.asl.json", {
    inspector_arn = module.function["inspector"].arn
    loader_arn    = module.function["loader"].arn
    publisher_arn = module.function["publisher"].arn
    notifier_arn  = module.function["notifier"].arn
  })

  logging_configuration {
    level                  = "ERROR"
    include_execution_data = false
    log_destination        = "${aws_cloudwatch_log_group.price_state_machine.arn}:*"
  }

  depends_on = [aws_iam_role_policy.price_state_machine]
}

resource "aws_iam_role" "price_state_machine" {
  name        = local.price_state_machine
  description = "Role of the state machine ${local.price_state_machine}"

  assume_role_policy = local.state_machine_trust
}

locals {
  price_state_machine_permissions = [
    {
      sid       = "InvokeFunctions"
      actions   = ["lambda:InvokeFunction"]
      resources = [for name in ["inspector", "loader", "publisher", "notifier"] : module.function[name].arn]
    },
    local.log_delivery,
  ]
}

resource "aws_iam_role_policy" "price_state_machine" {
  name = "permissions"
  role = aws_iam_role.price_state_machine.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in local.price_state_machine_permissions :
      { Sid = statement.sid, Effect = "Allow", Action = statement.actions, Resource = statement.resources }
    ]
  })
}
