# A standard queue with its dead-letter queue and the alarms on both. Senders that set MessageGroupId get fair queueing:
# a tenant with a long backlog does not delay the others (SQS developer guide, "Amazon SQS fair queues").

locals {
  arn_prefix = "arn:${var.partition}:sqs:${var.region}:${var.account_id}"
}

resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-dlq"
  message_retention_seconds = 1209600 # 14 days, the most there is
  sqs_managed_sse_enabled   = true
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = ["${local.arn_prefix}:${var.name}"]
  })
}

resource "aws_sqs_queue" "this" {
  name                       = var.name
  visibility_timeout_seconds = 6 * var.consumer_timeout_seconds # Lambda developer guide, "Using Lambda with Amazon SQS"
  message_retention_seconds  = 1209600
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true
  policy                     = var.policy
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = var.max_receive_count
  })
}

resource "aws_cloudwatch_metric_alarm" "dead" {
  count = var.enable_alarms ? 1 : 0

  alarm_name          = "${var.name}-dlq-depth"
  alarm_description   = "A message of ${var.name} failed ${var.max_receive_count} times and waits in ${var.name}-dlq. Nothing is lost: mend the cause, then redrive."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "age" {
  count = var.enable_alarms ? 1 : 0

  alarm_name          = "${var.name}-age"
  alarm_description   = "The oldest message of ${var.name} has waited longer than ${var.max_age_seconds} s: its function is failing, throttled or too slow."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.this.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.max_age_seconds
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
}
