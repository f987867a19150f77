# Jobs that are too long or too large for Lambda: Fargate tasks. Idle, this costs nothing. Spot comes first; Step Functions
# goes on demand when memory or Spot was lost too often.

locals {
  job_queues = {
    spot     = "${local.prefix}-jobs-spot"
    ondemand = "${local.prefix}-jobs-ondemand"
  }
  # A job that can never start (a quota, no address left) would hold its queue up for ever.
  job_state_time_limits = local.is_aws ? ["MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE", "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"] : []

  # What Batch tries again by itself, on the same queue and with the same memory: the machine went away, got no network, or the
  # image did not come. Everything else is Step Functions' to decide. Batch takes five conditions, and the first match wins
  # (Batch API reference, EvaluateOnExit); the texts are those of "Amazon ECS stopped tasks error messages".
  lost_tasks = [
    { on_status_reason = "ResourceInitializationError*", on_reason = null },
    { on_status_reason = "Your Spot Task was interrupted*", on_reason = null },
    { on_status_reason = "Timeout waiting for network interface*", on_reason = null },
    # CannotPullContainerError, CannotStartContainerError and their like.
    { on_status_reason = null, on_reason = "Cannot*" },
  ]

  # Of the roles of Fargate tasks.
  task_trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account_id } }
    }]
  })

  job_queue_arns = { for kind, name in local.job_queues : kind => "arn:${local.partition}:batch:${var.region}:${local.account_id}:job-queue/${name}" }
}

resource "aws_batch_compute_environment" "main" {
  for_each = { spot = "FARGATE_SPOT", ondemand = "FARGATE" }

  compute_environment_name = "${local.prefix}-${each.key}"
  type                     = "MANAGED"
  state                    = "ENABLED"

  compute_resources {
    type      = each.value
    max_vcpus = var.batch_max_vcpus
    # The emulator has no network; it wants the fields all the same.
    subnets            = local.is_aws ? aws_subnet.public[*].id : ["subnet-local"]
    security_group_ids = local.is_aws ? aws_security_group.jobs[*].id : ["sg-local"]
  }

  # No service_role: Batch uses its service-linked role, AWSServiceRoleForBatch.
}

resource "aws_batch_job_queue" "main" {
  for_each = local.job_queues

  name     = each.value
  state    = "ENABLED"
  priority = 1

  compute_environment_order {
    order               = 1
    compute_environment = aws_batch_compute_environment.main[each.key].arn
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

resource "aws_iam_role" "job_execution" {
  name               = "${local.prefix}-job-execution"
  description        = "Lets Fargate pull images and write job logs. An engine's job itself has no role."
  assume_role_policy = local.task_trust
}

resource "aws_iam_role_policy" "job_execution" {
  name = "permissions"
  role = aws_iam_role.job_execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{ Sid = "WriteLogs", Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["${aws_cloudwatch_log_group.jobs.arn}:*"] }],
      local.is_local ? [] : [
        { Sid = "PullImages", Effect = "Allow", Action = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], Resource = concat(values(aws_ecr_repository.engine)[*].arn, aws_ecr_repository.loader[*].arn) },
        # GetAuthorizationToken has no resource type: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
        { Sid = "LogInToRegistry", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] },
      ],
    )
  })
}

resource "aws_batch_job_definition" "engine" {
  for_each = local.engines

  name                  = "${local.job_definition_prefix}${each.key}"
  type                  = "container"
  platform_capabilities = ["FARGATE"]
  propagate_tags        = true

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

  # Step Functions overrides it with the job's own.
  timeout {
    attempt_duration_seconds = each.value.timeout_seconds + 180
  }

  container_properties = jsonencode({
    image            = local.engine_images[each.key]
    command          = ["batch"]
    executionRoleArn = aws_iam_role.job_execution.arn
    # No jobRoleArn: an engine has no credentials to lose.
    resourceRequirements = [
      { type = "VCPU", value = local.sizes[each.value.size].vcpu },
      { type = "MEMORY", value = local.sizes[each.value.size].memory_mib },
    ]
    # The root file system stays writable: Fargate has no tmpfs, and a job without a volume has no other /tmp.
    ephemeralStorage             = { sizeInGiB = 30 }
    fargatePlatformConfiguration = { platformVersion = "LATEST" }
    networkConfiguration         = { assignPublicIp = "ENABLED" }
    runtimePlatform              = { cpuArchitecture = "X86_64", operatingSystemFamily = "LINUX" }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.jobs.name
        "awslogs-region"        = var.region
        "awslogs-stream-prefix" = each.key
      }
    }
    environment = [
      { name = "DUNLIN_ENV", value = var.environment },
      { name = "LOG_LEVEL", value = var.log_level },
    ]
  })

  # Otherwise a definition that a running job uses would go away under it.
  deregister_on_new_revision = false

  depends_on = [aws_iam_role_policy.job_execution]
}
