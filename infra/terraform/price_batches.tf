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

  dead_letter_config {
    arn = aws_sqs_queue.undelivered_events.arn
  }
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

    load_queue_spot       = local.load_queue_arns.spot
    load_queue_ondemand   = local.load_queue_arns.ondemand
    loader_job_definition = aws_batch_job_definition.loader.arn
  })

  logging_configuration {
    level                  = "ERROR"
    include_execution_data = false
    log_destination        = "${aws_cloudwatch_log_group.price_state_machine.arn}:*"
  }

  depends_on = [aws_iam_role_policy.price_state_machine, aws_batch_job_queue.loads]
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
    {
      sid     = "SubmitJobs"
      actions = ["batch:SubmitJob"]
      resources = concat(values(local.load_queue_arns), [
        "arn:${local.partition}:batch:${var.region}:${local.account_id}:job-definition/${local.loader_job}:*",
      ])
    },
    { sid = "TagJobs", actions = ["batch:TagResource"], resources = [local.batch_jobs_arn] },
    {
      sid       = "TerminateJobs"
      actions   = ["batch:TerminateJob"]
      resources = [local.batch_jobs_arn]
      condition = { Null = { "aws:ResourceTag/dunlin:price-batch" = "false" } }
    },
    local.watch_jobs,
    local.hear_of_jobs,
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
      { for key, value in { Sid = statement.sid, Effect = "Allow", Action = statement.actions, Resource = statement.resources, Condition = try(statement.condition, null) } : key => value if value != null }
    ]
  })
}

# Ranges that are too large for Lambda: the same program as a Fargate task. Engines run beside none of these: a loader has
# credentials, and a way to the database.

locals {
  loader_job = "${local.prefix}-loader-job"
  load_queues = {
    spot     = "${local.prefix}-loads-spot"
    ondemand = "${local.prefix}-loads-ondemand"
  }
  load_queue_arns = { for kind, name in local.load_queues : kind => "arn:${local.partition}:batch:${var.region}:${local.account_id}:job-queue/${name}" }
  loader_image    = local.is_aws ? "${one(aws_ecr_repository.loader[*].repository_url)}:${lookup(var.image_tags, "loader", var.image_tag)}" : "dunlin/function/loader"
}

resource "aws_batch_compute_environment" "loads" {
  for_each = { spot = "FARGATE_SPOT", ondemand = "FARGATE" }

  compute_environment_name = "${local.prefix}-loads-${each.key}"
  type                     = "MANAGED"
  state                    = "ENABLED"

  compute_resources {
    type = each.value
    # Two for each of eight ranges: a batch loads no more at once, and with more the database is the limit. Other batches wait.
    max_vcpus = 16
    # The emulator has no network; it wants the fields all the same.
    subnets            = local.is_aws ? aws_subnet.public[*].id : ["subnet-local"]
    security_group_ids = local.is_aws ? aws_security_group.loads[*].id : ["sg-local"]
  }
}

resource "aws_batch_job_queue" "loads" {
  for_each = local.load_queues

  name     = each.value
  state    = "ENABLED"
  priority = 1

  compute_environment_order {
    order               = 1
    compute_environment = aws_batch_compute_environment.loads[each.key].arn
  }

  dynamic "job_state_time_limit_action" {
    for_each = local.job_state_time_limits
    content {
      action           = "CANCEL"
      max_time_seconds = 600
      reason           = job_state_time_limit_action.value
      state            = "RUNNABLE"
    }
  }
}

resource "aws_iam_role" "loader_job" {
  name               = local.loader_job
  description        = "Role of the loader on Batch: what the function may do, without a function's network"
  assume_role_policy = local.task_trust
}

resource "aws_iam_role_policy" "loader_job" {
  name = "permissions"
  role = aws_iam_role.loader_job.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in concat(local.permissions.loader, local.database_access.app) :
      { Sid = statement.sid, Effect = "Allow", Action = statement.actions, Resource = statement.resources }
    ]
  })
}

resource "aws_batch_job_definition" "loader" {
  name                  = local.loader_job
  type                  = "container"
  platform_capabilities = ["FARGATE"]
  propagate_tags        = true

  # As for engines: batch.tf.
  retry_strategy {
    attempts = 3

    dynamic "evaluate_on_exit" {
      for_each = local.lost_tasks
      content {
        action           = "RETRY"
        on_reason        = evaluate_on_exit.value.on_reason
        on_status_reason = evaluate_on_exit.value.on_status_reason
      }
    }
    evaluate_on_exit {
      action    = "EXIT"
      on_reason = "*"
    }
  }

  timeout {
    attempt_duration_seconds = 14400
  }

  container_properties = jsonencode({
    image            = local.loader_image
    command          = ["batch"]
    executionRoleArn = aws_iam_role.job_execution.arn
    jobRoleArn       = aws_iam_role.loader_job.arn
    # One processor unpacks and checks, the other sends.
    resourceRequirements         = [{ type = "VCPU", value = "2" }, { type = "MEMORY", value = "4096" }]
    fargatePlatformConfiguration = { platformVersion = "LATEST" }
    networkConfiguration         = { assignPublicIp = "ENABLED" }
    runtimePlatform              = { cpuArchitecture = "X86_64", operatingSystemFamily = "LINUX" }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.jobs.name
        "awslogs-region"        = var.region
        "awslogs-stream-prefix" = "loader"
      }
    }
    environment = [
      for name, value in merge(local.common_environment, local.functions.loader.environment, local.database_environment.app, { AWS_REGION = var.region }) :
      { name = name, value = value }
    ]
  })

  deregister_on_new_revision = false

  depends_on = [aws_iam_role_policy.job_execution, aws_iam_role_policy.loader_job]
}
