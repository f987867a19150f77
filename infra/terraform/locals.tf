locals {
  is_aws   = var.platform == "aws"
  is_local = var.platform == "local"
  in_aws   = local.is_aws ? 1 : 0

  prefix     = "dunlin-${var.environment}"
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition

  # Names and ARNs that are known before the resource is there. Policies, environment variables and event patterns use
  # these where the resource itself would close a circle (a function starts the state machine that calls functions), and
  # so that resources need not wait for each other.
  data_bucket             = "${local.prefix}-data-${local.account_id}"
  code_bucket             = "${local.prefix}-code-${local.account_id}"
  data_bucket_arn         = "arn:${local.partition}:s3:::${local.data_bucket}"
  secrets_prefix          = "dunlin/${var.environment}"
  secrets_arn             = "arn:${local.partition}:secretsmanager:${var.region}:${local.account_id}:secret:${local.secrets_prefix}"
  queues_arn              = "arn:${local.partition}:sqs:${var.region}:${local.account_id}:${local.prefix}"
  queues_url              = "${local.is_local ? var.endpoint_url : "https://sqs.${var.region}.amazonaws.com"}/${local.account_id}/${local.prefix}"
  state_machine           = "${local.prefix}-scan"
  state_machine_arn       = "arn:${local.partition}:states:${var.region}:${local.account_id}:stateMachine:${local.state_machine}"
  executions_arn          = "arn:${local.partition}:states:${var.region}:${local.account_id}:execution:${local.state_machine}:*"
  price_state_machine     = "${local.prefix}-price-batch"
  price_state_machine_arn = "arn:${local.partition}:states:${var.region}:${local.account_id}:stateMachine:${local.price_state_machine}"
  runner_function_prefix  = "${local.prefix}-runner-"
  job_definition_prefix   = "${local.prefix}-engine-"
  batch_jobs_arn          = "arn:${local.partition}:batch:${var.region}:${local.account_id}:job/*"
  events_rule_arn_prefix  = "arn:${local.partition}:events:${var.region}:${local.account_id}:rule/${local.prefix}-"
  network_interfaces_arns = "arn:${local.partition}:ec2:${var.region}:${local.account_id}:*/*"

  # {"<engine>": {"lambda": true, "lambda_memory_mib": 2048, "size": "small", "timeout_seconds": 300}}
  engines_catalog = var.engines_catalog != null ? var.engines_catalog : "${path.module}/../../engines/catalog.json"
  engines         = jsondecode(file(local.engines_catalog))
  lambda_engines  = { for name, engine in local.engines : name => engine if engine.lambda }

  # The sizes of crates/core/src/job.rs. A job definition needs one; Step Functions overrides it for every job.
  sizes = {
    small  = { vcpu = "1", memory_mib = "2048" }
    medium = { vcpu = "2", memory_mib = "4096" }
    large  = { vcpu = "4", memory_mib = "8192" }
    xlarge = { vcpu = "4", memory_mib = "16384" }
  }
}
