output "name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "arn" {
  description = "ARN of the function."
  value       = aws_lambda_function.this.arn
}

output "invoke_arn" {
  description = "ARN that API Gateway calls."
  value       = aws_lambda_function.this.invoke_arn
}

output "log_group" {
  description = "Name of its log group."
  value       = aws_cloudwatch_log_group.this.name
}

output "code_hash" {
  description = "Changes with the code."
  value       = coalesce(aws_lambda_function.this.source_code_hash, aws_lambda_function.this.image_uri)
}
