# The scan. Its definition is statemachines/scan.asl.json, which parses before it is rendered: every placeholder sits inside a
# JSON string. tests/tests/contract_asl.rs compares the placeholders with the map below.

resource "aws_sfn_state_machine" "scan" {
  name     = local.state_machine
  role_arn = aws_iam_role.state_machine.arn
  type     = "STANDARD"

  definition = templatefile("${path.module}/../../statemachines/scan.asl.json", {
    recorder_arn       = module.function["recorder"].arn
    source_arn         = module.function["source"].arn
    planner_arn        = module.function["planner"].arn
    aggregator_arn     = module.function["aggregator"].arn
    notifier_arn       = module.function["notifier"].arn
    job_queue_spot     = local.job_queue_arns.spot
    job_queue_ondemand = local.job_queue_arns.ondemand
  })

  # Without the data: a ticket URL is a key.
  logging_configuration {
    level                  = "ERROR"
    include_execution_data = false
    log_destination        = "${aws_cloudwatch_log_group.state_machine.arn}:*"
  }

  depends_on = [aws_iam_role_policy.state_machine, aws_batch_job_queue.main]
}

resource "aws_iam_role" "state_machine" {
  name        = local.state_machine
  description = "Role of the state machine ${local.state_machine}"

  assume_role_policy = local.state_machine_trust
}

locals {
  state_machine_permissions = [
    {
      sid     = "InvokeFunctions"
      actions = ["lambda:InvokeFunction"]
      resources = concat(
        [for name in ["recorder", "source", "planner", "aggregator", "notifier"] : module.function[name].arn],
        ["arn:${local.partition}:lambda:${var.region}:${local.account_id}:function:${local.runner_function_prefix}*"],
      )
    },
    {
      sid     = "SubmitJobs"
      actions = ["batch:SubmitJob"]
      resources = concat(values(local.job_queue_arns), [
        "arn:${local.partition}:batch:${var.region}:${local.account_id}:job-definition/${local.job_definition_prefix}*",
      ])
    },
    # Tags go onto the job, whose id is not known before.
    { sid = "TagJobs", actions = ["batch:TagResource"], resources = [local.batch_jobs_arn] },
    { sid = "TerminateJobs", actions = ["batch:TerminateJob"], resources = [local.batch_jobs_arn], condition = local.only_our_jobs },
    local.watch_jobs,
    local.hear_of_jobs,
    { sid = "AnnounceJobs", actions = ["events:PutEvents"], resources = ["arn:${local.partition}:events:${var.region}:${local.account_id}:event-bus/default"] },
    local.log_delivery,
  ]

  # DescribeJobs has no resource type: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbatch.html
  watch_jobs = { sid = "WatchJobs", actions = ["batch:DescribeJobs"], resources = ["*"] }

  # How `.sync` learns that a job ended (Step Functions developer guide, "Run AWS Batch workloads with Step Functions").
  hear_of_jobs = {
    sid       = "HearOfJobs"
    actions   = ["events:PutTargets", "events:PutRule", "events:DescribeRule"]
    resources = ["arn:${local.partition}:events:${var.region}:${local.account_id}:rule/StepFunctionsGetEventsForBatchJobsRule"]
  }

  # Log delivery has no resource type: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html
  # (the list is that of "Using CloudWatch Logs to log execution history in Step Functions").
  log_delivery = {
    sid = "DeliverLogs"
    actions = [
      "logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery", "logs:ListLogDeliveries",
      "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
    ]
    resources = ["*"]
  }

  # Both machines' roles are Step Functions' alone.
  state_machine_trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "states.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account_id }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:states:${var.region}:${local.account_id}:stateMachine:*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "state_machine" {
  name = "permissions"
  role = aws_iam_role.state_machine.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in local.state_machine_permissions :
      { for key, value in { Sid = statement.sid, Effect = "Allow", Action = statement.actions, Resource = statement.resources, Condition = try(statement.condition, null) } : key => value if value != null }
    ]
  })
}
