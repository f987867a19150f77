# Alarms of the state machines, of events, and of the front door; those of functions and queues are in their modules. All go to one topic.

locals {
  alarm_actions = var.enable_alarms && var.alarm_email != null ? [aws_sns_topic.alarms[0].arn] : []

  state_machine_alarms = {
    scan-failed = {
      machine     = local.state_machine
      arn         = local.state_machine_arn
      kind        = "failed"
      metric      = "ExecutionsFailed"
      threshold   = var.alarm_failed_scans
      description = "More than ${var.alarm_failed_scans} scans failed within five minutes. Each says why; a few repositories that are not there are nobody's fault here."
    }
    scan-timedout = {
      machine     = local.state_machine
      arn         = local.state_machine_arn
      kind        = "timedout"
      metric      = "ExecutionsTimedOut"
      threshold   = 0
      description = "A scan took longer than the state machine allows."
    }
    scan-throttled = {
      machine     = local.state_machine
      arn         = local.state_machine_arn
      kind        = "throttled"
      metric      = "ExecutionThrottled"
      threshold   = 0
      description = "Step Functions held state transitions back: look at the account's quota."
    }
    price-batch-failed = {
      machine     = local.price_state_machine
      arn         = local.price_state_machine_arn
      kind        = "failed"
      metric      = "ExecutionsFailed"
      threshold   = 0
      description = "A price batch failed for a reason that is not in its rows (a batch with bad rows is rejected, and no failure). It says why; nothing of it went in."
    }
    price-batch-timedout = {
      machine     = local.price_state_machine
      arn         = local.price_state_machine_arn
      kind        = "timedout"
      metric      = "ExecutionsTimedOut"
      threshold   = 0
      description = "A price batch took longer than the state machine allows. Nothing of it went in."
    }
  }
}

resource "aws_sns_topic" "alarms" {
  count = var.enable_alarms && var.alarm_email != null ? 1 : 0

  name = "${local.prefix}-alarms"
}

resource "aws_sns_topic_subscription" "alarms" {
  count = length(aws_sns_topic.alarms)

  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_cloudwatch_metric_alarm" "state_machine" {
  for_each = var.enable_alarms ? local.state_machine_alarms : {}

  alarm_name          = "${each.value.machine}-${each.value.kind}"
  alarm_description   = each.value.description
  namespace           = "AWS/States"
  metric_name         = each.value.metric
  dimensions          = { StateMachineArn = each.value.arn }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}

moved {
  from = aws_cloudwatch_metric_alarm.state_machine["failed"]
  to   = aws_cloudwatch_metric_alarm.state_machine["scan-failed"]
}

moved {
  from = aws_cloudwatch_metric_alarm.state_machine["timedout"]
  to   = aws_cloudwatch_metric_alarm.state_machine["scan-timedout"]
}

moved {
  from = aws_cloudwatch_metric_alarm.state_machine["throttled"]
  to   = aws_cloudwatch_metric_alarm.state_machine["scan-throttled"]
}

resource "aws_cloudwatch_metric_alarm" "undelivered_events" {
  count = var.enable_alarms ? 1 : 0

  alarm_name          = "${aws_sqs_queue.undelivered_events.name}-depth"
  alarm_description   = "An event could not be put into its rule's queue and waits in ${aws_sqs_queue.undelivered_events.name}. Nothing is lost: mend the cause, then redrive."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.undelivered_events.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}

# Also where the queue above took the event no more than its own did. Rules of the default bus have no other dimension.
resource "aws_cloudwatch_metric_alarm" "event_rules" {
  for_each = toset(var.enable_alarms ? local.event_rule_names : [])

  alarm_name          = "${local.prefix}-events-${each.key}-failed"
  alarm_description   = "The rule ${local.prefix}-${each.key} gave up on an event. If it is not in ${aws_sqs_queue.undelivered_events.name}, it is lost."
  namespace           = "AWS/Events"
  metric_name         = "FailedInvocations"
  dimensions          = { RuleName = "${local.prefix}-${each.key}" }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}

# A database that wakes up answers 503 for half a minute, by design, and wakes nobody. Other server errors are counted from the
# access log, where every value is a string. Without such lines there is no metric, and none is paid for.
resource "aws_cloudwatch_log_metric_filter" "api_errors" {
  count = var.enable_alarms ? 1 : 0

  name           = "${local.prefix}-api-errors"
  log_group_name = aws_cloudwatch_log_group.api.name
  pattern        = "{ ($.status = \"5*\") && ($.status != \"503\") }"

  metric_transformation {
    namespace = "Dunlin"
    name      = "${local.prefix}-api-errors"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "api_errors" {
  count = var.enable_alarms ? 1 : 0

  alarm_name          = "${local.prefix}-api-errors"
  alarm_description   = "The HTTP API answered with a server error other than 503. Its access log names route and request, the function's log the reason."
  namespace           = "Dunlin"
  metric_name         = "${local.prefix}-api-errors"
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}

# A scan or a batch is over whatever becomes of the messages about it, so no execution tells that notifier is broken. Its own
# failures are lines of its log: an error with another name than that of a receiver that is away (crates/runtime/src/naming.rs),
# or a run that came to no end. A pattern has either a `-` or a `?`, so there are two.
locals {
  notifier_failures = {
    error = "\"the function failed\" -\"Notifier.DeliveryUnavailable\""
    crash = "?\"user handler panicked\" ?\"Task timed out\" ?\"Runtime exited\""
  }
}

resource "aws_cloudwatch_log_metric_filter" "notifier_failures" {
  for_each = var.enable_alarms ? local.notifier_failures : {}

  name           = "${local.prefix}-notifier-${each.key}"
  log_group_name = module.function["notifier"].log_group
  pattern        = each.value

  metric_transformation {
    namespace = "Dunlin"
    name      = "${local.prefix}-notifier-failures"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "notifier_failures" {
  count = var.enable_alarms ? 1 : 0

  alarm_name          = "${local.prefix}-notifier-failures"
  alarm_description   = "${local.prefix}-notifier failed for a reason of its own, not of a receiver. Receivers may not hear how scans and batches end; its log has the reason."
  namespace           = "Dunlin"
  metric_name         = "${local.prefix}-notifier-failures"
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "api_unavailable" {
  count = var.enable_alarms ? 1 : 0

  alarm_name          = "${local.prefix}-api-5xx"
  alarm_description   = "The HTTP API has answered with server errors for a quarter of an hour, 503 included: longer than a database takes to wake."
  namespace           = "AWS/ApiGateway"
  metric_name         = "5xx"
  dimensions          = { ApiId = aws_apigatewayv2_api.main.id }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}
