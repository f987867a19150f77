variable "name" {
  description = "Name of the function, its role and its log group."
  type        = string
  validation {
    condition     = length(var.name) <= 64
    error_message = "a function's name has at most 64 characters."
  }
}

variable "description" {
  description = "What it does, in one sentence."
  type        = string
}

variable "code" {
  description = "Where the zip with `bootstrap` is, and its SHA-256 in base64; null when image_uri is set."
  type        = object({ bucket = string, key = string, sha256 = string })
  default     = null
}

variable "image_uri" {
  description = "Image with the function; null when code is set."
  type        = string
  default     = null
  validation {
    condition     = (var.image_uri == null) != (var.code == null)
    error_message = "a function is either a zip or an image."
  }
}

variable "architecture" {
  description = "x86_64 or arm64."
  type        = string
}

variable "memory_mib" {
  description = "Memory; processor time is in proportion, 1769 MiB are one vCPU."
  type        = number
  validation {
    condition     = var.memory_mib >= 128 && var.memory_mib <= 10240
    error_message = "memory_mib is 128 to 10240."
  }
}

variable "timeout_seconds" {
  description = "Longest run."
  type        = number
  validation {
    condition     = var.timeout_seconds >= 1 && var.timeout_seconds <= 900
    error_message = "timeout_seconds is 1 to 900."
  }
}

variable "storage_mib" {
  description = "Size of /tmp."
  type        = number
  default     = 512
  validation {
    condition     = var.storage_mib >= 512 && var.storage_mib <= 10240
    error_message = "storage_mib is 512 to 10240."
  }
}

variable "reserved_concurrency" {
  description = "Most runs at once; null for no bound of its own."
  type        = number
  default     = null
}

variable "environment" {
  description = "Environment variables."
  type        = map(string)
}

variable "statements" {
  description = "What its role may do besides writing its log."
  type        = list(object({ sid = string, actions = list(string), resources = list(string), condition = optional(map(map(string))) }))
}

variable "network" {
  description = "Subnets and security groups; null outside the VPC."
  type        = object({ subnet_ids = list(string), security_group_ids = list(string) })
  default     = null
}

variable "log_retention_days" {
  description = "Days that its log is kept."
  type        = number
}

variable "alarms" {
  description = "Alarms to create: errors, throttles, duration."
  type        = list(string)
  validation {
    condition     = alltrue([for kind in var.alarms : contains(["errors", "throttles", "duration"], kind)])
    error_message = "alarms are errors, throttles and duration."
  }
}

variable "alarm_actions" {
  description = "Topics that hear of alarms."
  type        = list(string)
}
