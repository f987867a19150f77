# What happens to jobs and executions, as events on the default bus, into the `recordings` queue. The bus is the account's:
# every pattern names this environment's own machine or queues, so that two environments of one account stay apart.

locals {
  event_rules = {
    jobs = {
      description = "A job of the Map started or ended, told by the state machine"
      pattern = {
        source      = ["dunlin.scan"]
        detail-type = ["Job State Change"]
        resources   = [local.state_machine_arn]
      }
    }
    batch = {
      description = "A Batch job changed its state"
      pattern = {
        source      = ["aws.batch"]
        detail-type = ["Batch Job State Change"]
        detail      = { jobQueue = values(local.job_queue_arns) }
      }
    }
    executions = {
      description = "An execution ended, however it did"
      pattern = {
        source      = ["aws.states"]
        detail-type = ["Step Functions Execution Status Change"]
        detail = {
          stateMachineArn = [local.state_machine_arn, local.price_state_machine_arn]
          status          = ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
        }
      }
    }
  }

  recordings_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OurRulesSend"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "${local.queues_arn}-recordings"
      Condition = { ArnEquals = { "aws:SourceArn" = [for name in keys(local.event_rules) : "${local.events_rule_arn_prefix}${name}"] } }
    }]
  })

  # All there are, with that of price_batches.tf.
  event_rule_names = concat(keys(local.event_rules), ["price-files"])
}

resource "aws_cloudwatch_event_rule" "main" {
  for_each = local.event_rules

  name          = "${local.prefix}-${each.key}"
  description   = each.value.description
  event_pattern = jsonencode(each.value.pattern)
}

resource "aws_cloudwatch_event_target" "recordings" {
  for_each = local.event_rules

  rule      = aws_cloudwatch_event_rule.main[each.key].name
  target_id = "recordings"
  arn       = module.queue_recordings.arn

  dead_letter_config {
    arn = aws_sqs_queue.undelivered_events.arn
  }
}

# What EventBridge could not put into a rule's queue: at once when it may not or the queue is gone, else after a day of tries.
# Nobody reads it, so nothing fails on it and it has no dead-letter queue. `make redrive` puts each event into the queue that
# it was for, docs/aws.md has the same for AWS; the alarm is in alarms.tf.
resource "aws_sqs_queue" "undelivered_events" {
  name                      = "${local.prefix}-undelivered-events"
  message_retention_seconds = 1209600 # 14 days, the most there is
  sqs_managed_sse_enabled   = true
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OurRulesSend"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "${local.queues_arn}-undelivered-events"
      Condition = { ArnEquals = { "aws:SourceArn" = [for name in local.event_rule_names : "${local.events_rule_arn_prefix}${name}"] } }
    }]
  })
}
