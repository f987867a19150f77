# Read by the local cloud (`terraform output -json`), by people and by the command line's setup.

output "api_url" {
  description = "Where the HTTP API answers, without a slash at the end."
  # The emulator serves an API by path; its host names do not resolve everywhere.
  value = local.is_local ? "${var.endpoint_url}/_aws/execute-api/${aws_apigatewayv2_api.main.id}" : aws_apigatewayv2_api.main.api_endpoint
}

output "region" {
  description = "AWS region."
  value       = var.region
}

output "data_bucket" {
  description = "Name of the data bucket."
  value       = aws_s3_bucket.data.bucket
}

output "scans_queue_url" {
  description = "URL of the scans queue."
  value       = module.queue_scans.url
}

output "scans_dlq_url" {
  description = "URL of its dead-letter queue."
  value       = module.queue_scans.dead_url
}

output "recordings_queue_url" {
  description = "URL of the recordings queue."
  value       = module.queue_recordings.url
}

output "recordings_dlq_url" {
  description = "URL of its dead-letter queue."
  value       = module.queue_recordings.dead_url
}

output "notices_queue_url" {
  description = "URL of the notices queue."
  value       = module.queue_notices.url
}

output "notices_dlq_url" {
  description = "URL of its dead-letter queue."
  value       = module.queue_notices.dead_url
}

output "state_machine_arn" {
  description = "ARN of the scan state machine."
  value       = aws_sfn_state_machine.scan.arn
}

output "price_batches_queue_url" {
  description = "URL of the price-batches queue."
  value       = module.queue_price_batches.url
}

output "price_batches_dlq_url" {
  description = "URL of its dead-letter queue."
  value       = module.queue_price_batches.dead_url
}

output "undelivered_events_queue_url" {
  description = "URL of the queue of events that could not be put into their rules' queues."
  value       = aws_sqs_queue.undelivered_events.url
}

output "price_state_machine_arn" {
  description = "ARN of the price-batch state machine."
  value       = aws_sfn_state_machine.price_batch.arn
}

output "user_pool_id" {
  description = "Cognito user pool."
  value       = aws_cognito_user_pool.main.id
}

output "user_pool_client_id" {
  description = "App client of the command line: the audience of its tokens."
  value       = aws_cognito_user_pool_client.cli.id
}

output "auth_endpoint" {
  description = "Where people log in."
  value       = local.auth_endpoint
}

output "auth_issuer" {
  description = "Issuer of the tokens."
  value       = local.auth_issuer
}

output "functions" {
  description = "Name of every function, by key; runners as `runner-<engine>`."
  value = merge(
    { for key, function in module.function : key => function.name },
    { migrate = module.migrate.name },
    { for engine, function in module.runner : "runner-${engine}" => function.name },
  )
}

output "job_queues" {
  description = "Names of the Batch queues: of engines, and of loads."
  value = merge(
    { for kind, queue in aws_batch_job_queue.main : kind => queue.name },
    { for kind, queue in aws_batch_job_queue.loads : "loads-${kind}" => queue.name },
  )
}

output "job_definitions" {
  description = "Name of the Batch job definition of every engine, and of the loader."
  value = merge(
    { for engine, definition in aws_batch_job_definition.engine : engine => definition.name },
    { loader = aws_batch_job_definition.loader.name },
  )
}

output "registries" {
  description = "Address of the image registry of every engine, and of the loader; empty locally."
  value = merge(
    { for engine, repository in aws_ecr_repository.engine : engine => repository.repository_url },
    { for repository in aws_ecr_repository.loader : "loader" => repository.repository_url },
  )
}

output "database_host" {
  description = "Host of Postgres."
  value       = local.database_host
}
