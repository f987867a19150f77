variable "name" {
  description = "Name of the queue; its dead-letter queue is `<name>-dlq`."
  type        = string
}

variable "partition" {
  description = "Partition of the ARNs."
  type        = string
}

variable "region" {
  description = "Region of the ARNs."
  type        = string
}

variable "account_id" {
  description = "Account of the ARNs."
  type        = string
}

variable "consumer_timeout_seconds" {
  description = "Timeout of the function that reads it; a message stays hidden for six times as long."
  type        = number
  validation {
    condition     = 6 * var.consumer_timeout_seconds <= 43200
    error_message = "a message can be hidden for 12 hours at most."
  }
}

variable "max_receive_count" {
  description = "Times a message is tried before it goes to the dead-letter queue."
  type        = number
  validation {
    condition     = var.max_receive_count >= 5 && var.max_receive_count <= 1000
    error_message = "max_receive_count is 5 to 1000: under 5 a throttled function alone fills the dead-letter queue."
  }
}

variable "max_age_seconds" {
  description = "Age of the oldest message that raises the alarm."
  type        = number
}

variable "policy" {
  description = "Resource policy as JSON, for senders that have no role; null for none."
  type        = string
  default     = null
}

variable "enable_alarms" {
  description = "Create the alarms."
  type        = bool
}

variable "alarm_actions" {
  description = "Topics that hear of alarms."
  type        = list(string)
}
