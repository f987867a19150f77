# Every function as data: folder under functions/ = key here = binary = log service = folder under events/. What each may do
# is in iam.tf.

locals {
  # Apart from the rest because the queues hide a message for six times as long. The state machine waits a little longer than
  # each of them.
  timeouts = {
    intake     = 29 # S3 may take 20 s to put a file together, and the answer must come before API Gateway's 30
    api        = 30 # API Gateway gives up after 30 s, and a paused database wakes in 15 to 30
    dispatcher = 30
    source     = 900
    planner    = 300
    aggregator = 900
    notifier   = 120
    # Short, because it decides when SQS delivers an event again after the database was away.
    recorder  = 60
    migrate   = 300
    runner    = 900
    inspector = 900
    loader    = 900
    publisher = 900
  }

  functions = {
    intake = {
      description = "Accepts scans, batches of prices, uploads, credentials and cancellations over HTTP; needs no database"
      memory_mib  = 512
      environment = {
        DATA_BUCKET       = local.data_bucket
        SCANS_QUEUE_URL   = "${local.queues_url}-scans"
        STATE_MACHINE_ARN = local.state_machine_arn
        SECRETS_PREFIX    = local.secrets_prefix
        BATCH_QUEUES      = join(",", values(local.job_queues))
        EGRESS_ALLOW      = join(",", var.egress_allow)
      }
    }
    api = {
      description = "Answers everything people read over HTTP"
      memory_mib  = 512
      database    = "app"
      environment = {
        DATA_BUCKET    = local.data_bucket
        AUTH_ENDPOINT  = local.auth_endpoint
        AUTH_CLIENT_ID = aws_cognito_user_pool_client.cli.id
        AUTH_ISSUER    = local.auth_issuer
      }
    }
    dispatcher = {
      description = "Starts one execution per message of the scans queue, and per file that arrives for a price batch"
      memory_mib  = 256
      environment = { STATE_MACHINE_ARN = local.state_machine_arn, PRICE_STATE_MACHINE_ARN = local.price_state_machine_arn }
    }
    source = {
      description = "Fetches a repository or an upload once and stores it as a snapshot"
      memory_mib  = 2048
      storage_mib = 6144
      alarms      = local.alarms_of_functions_that_may_refuse
      environment = {
        DATA_BUCKET    = local.data_bucket
        SECRETS_PREFIX = local.secrets_prefix
        EGRESS_ALLOW   = join(",", var.egress_allow)
      }
    }
    planner = {
      description = "Chooses engines, shards, sizes and compute for a snapshot, and looks up stored results"
      alarms      = local.alarms_of_functions_that_may_refuse
      memory_mib  = 1024
      environment = {
        DATA_BUCKET              = local.data_bucket
        RUNNER_FUNCTION_PREFIX   = local.runner_function_prefix
        JOB_DEFINITION_PREFIX    = local.job_definition_prefix
        LAMBDA_THRESHOLD_SECONDS = tostring(var.lambda_threshold_seconds)
      }
    }
    aggregator = {
      description = "Streams job results into findings and reports, in one transaction"
      memory_mib  = 1024
      # SARIF, JSON and CSV lie beside each other until the last finding is written: about 1 GB for a million findings.
      storage_mib = 4096
      database    = "app"
      environment = { DATA_BUCKET = local.data_bucket }
    }
    notifier = {
      description = "Tells the organisation's receivers how a scan ended"
      alarms      = local.alarms_of_functions_that_may_refuse
      memory_mib  = 256
      environment = {
        DATA_BUCKET    = local.data_bucket
        SECRETS_PREFIX = local.secrets_prefix
        EGRESS_ALLOW   = join(",", var.egress_allow)
      }
    }
    recorder = {
      description = "Writes scan and job states as they change; ends scans whose execution failed, timed out or was aborted"
      memory_mib  = 256
      database    = "app"
      # The database is what it protects.
      reserved_concurrency = var.recorder_concurrency
      environment          = { DATA_BUCKET = local.data_bucket }
    }
    inspector = {
      description = "Reads the file of a price batch once: format, digest, and where its rows begin; publishes a small one"
      alarms      = local.alarms_of_functions_that_may_refuse
      # Memory stays under 100 MB whatever the file; more of it is more processor, and a faster network. The list of the bad
      # rows of a file that it loads itself, 8 MiB at most, finds room in the 512 MiB of /tmp that every function has.
      memory_mib = 1024
      database   = "app"
      environment = {
        DATA_BUCKET       = local.data_bucket
        LAMBDA_PACKED_MIB = tostring(var.lambda_packed_mib)
        AT_ONCE_KIB       = tostring(var.price_batch_at_once_kib)
      }
    }
    loader = {
      description = "Checks every row of one range of a price batch and copies it into the batch's own table"
      memory_mib  = 1024
      # The list of the range's bad rows lies here until it is in S3, and may be nearly fifty times as large as the range: an empty
      # JSON object has three bytes, and a line in the list for each column. A file that is packed is one range, and may be
      # larger still unpacked: a list for which there is no room fails the batch.
      storage_mib = 4096
      database    = "app"
      environment = { DATA_BUCKET = local.data_bucket }
    }
    publisher = {
      description = "Publishes a price batch in one transaction, or rejects it with a report of every bad row"
      memory_mib  = 512
      # The report of a batch in which every row is bad.
      storage_mib = 4096
      database    = "app"
      environment = { DATA_BUCKET = local.data_bucket }
    }
    migrate = {
      description = "Brings the database schema up to date; runs at every deploy and changes nothing the second time"
      memory_mib  = 256
      database    = "owner"
      # No reserved concurrency: a new account has none to give, and two at once only wait for each other's lock.
      # No DATABASE_APP_USER: database.tf makes both users, and default privileges cover the tables to come.
      environment = {}
    }
  }

  # A repository that is not there, a file that is gone, a receiver that is away: an error to Step Functions, which goes on as it
  # should. By itself it wakes nobody. What goes wrong for good fails the execution, which has an alarm; a notifier that fails
  # changes no execution, and has an alarm of its own (alarms.tf).
  alarms_of_functions_that_may_refuse = ["throttles", "duration"]

  common_environment = merge(
    { DUNLIN_ENV = var.environment, LOG_LEVEL = var.log_level },
    local.is_local ? { S3_FORCE_PATH_STYLE = "true" } : {},
  )

  engines_environment = local.is_local ? { ENGINES_DIR = var.engines_dir } : {}
}

# Code goes through a bucket: the provider uploads zip files of functions one after the other, five seconds each. An object
# goes when its code does: to go back, deploy the older commit.
resource "aws_s3_object" "code" {
  for_each = toset(concat(keys(local.functions), local.is_local ? ["runner"] : []))

  bucket                 = aws_s3_bucket.code.id
  key                    = "${each.key}/${filesha256("${var.functions_dir}/${each.key}.zip")}.zip"
  source                 = "${var.functions_dir}/${each.key}.zip"
  server_side_encryption = "AES256"
}

locals {
  code = {
    for name, object in aws_s3_object.code : name => {
      bucket = object.bucket
      key    = object.key
      sha256 = filebase64sha256("${var.functions_dir}/${name}.zip")
    }
  }
}

# By itself, and before all others: they must not run new code against tables that are not there yet.
module "migrate" {
  source = "./modules/function"

  name               = "${local.prefix}-migrate"
  description        = local.functions.migrate.description
  code               = local.code["migrate"]
  architecture       = var.architecture
  memory_mib         = local.functions.migrate.memory_mib
  timeout_seconds    = local.timeouts.migrate
  environment        = merge(local.common_environment, local.functions.migrate.environment, local.database_environment.owner)
  statements         = concat(local.permissions.migrate, local.database_permissions.owner)
  network            = local.function_network
  log_retention_days = var.log_retention_days
  alarms             = var.enable_alarms ? ["errors", "throttles", "duration"] : []
  alarm_actions      = local.alarm_actions
}

moved {
  from = module.function["migrate"]
  to   = module.migrate
}

# Migrations run when the code of `migrate` changed. A failure fails the apply, and everything else stays as it was.
resource "aws_lambda_invocation" "migrate" {
  function_name = module.migrate.name
  input         = jsonencode({})
  triggers = {
    code     = module.migrate.code_hash
    database = local.database_identity
  }

  depends_on = [terraform_data.database_roles, aws_rds_cluster_instance.main]
}

module "function" {
  source   = "./modules/function"
  for_each = { for name, function in local.functions : name => function if name != "migrate" }

  name                 = "${local.prefix}-${each.key}"
  description          = each.value.description
  code                 = local.code[each.key]
  architecture         = var.architecture
  memory_mib           = each.value.memory_mib
  timeout_seconds      = local.timeouts[each.key]
  storage_mib          = try(each.value.storage_mib, 512)
  reserved_concurrency = try(each.value.reserved_concurrency, null)
  environment = merge(
    local.common_environment,
    each.value.environment,
    can(each.value.database) ? local.database_environment[each.value.database] : {},
  )
  statements = concat(
    local.permissions[each.key],
    can(each.value.database) ? local.database_permissions[each.value.database] : [],
  )
  network            = can(each.value.database) ? local.function_network : null
  log_retention_days = var.log_retention_days
  alarms             = var.enable_alarms ? try(each.value.alarms, ["errors", "throttles", "duration"]) : []
  alarm_actions      = local.alarm_actions

  depends_on = [aws_lambda_invocation.migrate]
}

# One runner per engine, because in AWS an engine is an image. Errors and slow runs of a runner are a scan's own business
# (Step Functions moves the job to Batch and the scan says so); only throttles tell of Dunlin itself.
module "runner" {
  source   = "./modules/function"
  for_each = local.lambda_engines

  name               = "${local.runner_function_prefix}${each.key}"
  description        = "Runs one job of the engine ${each.key}"
  code               = local.is_local ? local.code.runner : null
  image_uri          = local.is_aws ? local.engine_images[each.key] : null
  architecture       = local.is_aws ? "x86_64" : var.architecture
  memory_mib         = each.value.lambda_memory_mib
  timeout_seconds    = local.timeouts.runner
  storage_mib        = 4096
  environment        = merge(local.common_environment, local.engines_environment)
  statements         = local.permissions.runner
  log_retention_days = var.log_retention_days
  alarms             = var.enable_alarms ? ["throttles"] : []
  alarm_actions      = local.alarm_actions
}
