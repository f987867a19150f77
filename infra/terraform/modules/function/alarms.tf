locals {
  alarm_kinds = {
    errors = {
      description = "${var.name} failed. Its log group has the reason; a message that keeps failing is in the dead-letter queue."
      metric      = "Errors"
      statistic   = "Sum"
      percentile  = null
      threshold   = 0
      periods     = 1
    }
    throttles = {
      description = "${var.name} was refused for lack of concurrency. Queues and Step Functions try again; look at the account's quota when it lasts."
      metric      = "Throttles"
      statistic   = "Sum"
      percentile  = null
      threshold   = 0
      periods     = 3
    }
    duration = {
      description = "The slowest hundredth of the runs of ${var.name} takes more than 80 % of its timeout of ${var.timeout_seconds} s."
      metric      = "Duration"
      statistic   = null
      percentile  = "p99"
      threshold   = var.timeout_seconds * 800
      periods     = 3
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = { for kind, alarm in local.alarm_kinds : kind => alarm if contains(var.alarms, kind) }

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = "AWS/Lambda"
  metric_name         = each.value.metric
  dimensions          = { FunctionName = aws_lambda_function.this.function_name }
  statistic           = each.value.statistic
  extended_statistic  = each.value.percentile
  period              = 300
  evaluation_periods  = each.value.periods
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
}
