# What differs between the local cloud and AWS is in here and nowhere else; env/local.tfvars and env/aws.tfvars hold the values.

variable "platform" {
  description = "Where this runs: `aws`, or `local` for the emulator. Local has no network, no Aurora, no container registries, and its runners are zip files."
  type        = string
  validation {
    condition     = contains(["aws", "local"], var.platform)
    error_message = "platform is `aws` or `local`."
  }
}

variable "environment" {
  description = "Name of the environment. Part of every resource name: `dunlin-<environment>-...`."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,11}$", var.environment))
    error_message = "environment is 2 to 12 lower-case letters and digits, a letter first."
  }
}

variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-central-1"
  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region looks like `eu-central-1`."
  }
}

variable "endpoint_url" {
  description = "Address of an AWS emulator; null talks to AWS. With `platform = aws` it serves to try a plan."
  type        = string
  default     = null
  validation {
    condition     = var.endpoint_url == null || can(regex("^https?://[^/]+$", var.endpoint_url))
    error_message = "endpoint_url is `http://host:port` without a slash at the end."
  }
  validation {
    condition     = var.platform == "aws" || var.endpoint_url != null
    error_message = "platform `local` needs endpoint_url."
  }
}

variable "log_level" {
  description = "Level of the functions' logs."
  type        = string
  default     = "info"
  validation {
    condition     = contains(["error", "warn", "info", "debug", "trace"], var.log_level)
    error_message = "log_level is error, warn, info, debug or trace."
  }
}

variable "log_retention_days" {
  description = "Days that logs are kept. One of the values CloudWatch Logs knows."
  type        = number
  default     = 30
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is a retention CloudWatch Logs offers, for example 14, 30 or 90."
  }
}

# Code

variable "functions_dir" {
  description = "Folder with `<function>.zip` for every function (`make package` writes it)."
  type        = string
  validation {
    condition     = length(var.functions_dir) > 0
    error_message = "functions_dir is a folder."
  }
}

variable "architecture" {
  description = "Processor of the zip functions: what `make package` built them for. Engine images are always x86_64."
  type        = string
  default     = "x86_64"
  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture is x86_64 or arm64."
  }
}

variable "engines_catalog" {
  description = "JSON file with what Terraform must know about each engine, generated from the engine.toml files; null is engines/catalog.json of this repository."
  type        = string
  default     = null
  validation {
    condition     = var.engines_catalog == null || can(jsondecode(file(var.engines_catalog)))
    error_message = "engines_catalog is the path of a JSON file."
  }
}

variable "engines_dir" {
  description = "Local only: folder with the installed engines, given to the runners as ENGINES_DIR. In AWS the image has them."
  type        = string
  default     = null
  validation {
    condition     = var.platform == "aws" || var.engines_dir != null
    error_message = "platform `local` needs engines_dir."
  }
}

variable "image_tag" {
  description = "AWS only: tag of the images of engines and of the loader in the registries, for example a commit id."
  type        = string
  default     = null
  validation {
    condition     = var.platform == "local" || can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_tag))
    error_message = "platform `aws` needs image_tag, a valid image tag."
  }
}

variable "image_tags" {
  description = "AWS only: tags of single engines, or of `loader`, where they differ from image_tag."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for tag in values(var.image_tags) : can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", tag))])
    error_message = "every image tag is 1 to 128 letters, digits, dots, dashes and underscores."
  }
}

# Scans

variable "lambda_threshold_seconds" {
  description = "A job whose estimate is under this runs on Lambda when its engine may; a Fargate task takes 30 to 60 s to start."
  type        = number
  default     = 120
  validation {
    condition     = var.lambda_threshold_seconds >= 0 && var.lambda_threshold_seconds <= 840
    error_message = "lambda_threshold_seconds is 0 to 840 (a Lambda function ends after 900)."
  }
}

variable "lambda_packed_mib" {
  description = "A file of prices that is compressed as a whole, and larger than this, is loaded on Batch: it cannot be cut into ranges."
  type        = number
  default     = 128
  validation {
    condition     = var.lambda_packed_mib >= 1 && var.lambda_packed_mib <= 512 && floor(var.lambda_packed_mib) == var.lambda_packed_mib
    error_message = "lambda_packed_mib is a whole number from 1 to 512 (a Lambda function ends after 900 s)."
  }
}

variable "price_batch_at_once_kib" {
  description = "A CSV or NDJSON file of prices or places that is not larger is loaded and published by the inspector itself: one function instead of three. 0: none."
  type        = number
  default     = 1024
  validation {
    condition     = var.price_batch_at_once_kib >= 0 && var.price_batch_at_once_kib <= 8192 && floor(var.price_batch_at_once_kib) == var.price_batch_at_once_kib
    error_message = "price_batch_at_once_kib is a whole number from 0 to 8192 (a larger file is read without holding a connection)."
  }
}

variable "egress_allow" {
  description = "Host names and addresses that source and notifier may reach although they are private. Empty in AWS."
  type        = list(string)
  default     = []
  validation {
    condition     = var.platform == "local" || length(var.egress_allow) == 0
    error_message = "egress_allow is for the local cloud: in AWS it would open the instance network to whoever names a repository."
  }
}

variable "batch_max_vcpus" {
  description = "Upper bound of vCPUs that jobs of engines use at once, for each of Spot and on demand. Loads of prices have 16 of their own."
  type        = number
  default     = 64
  validation {
    condition     = var.batch_max_vcpus >= 4 && var.batch_max_vcpus <= 10000
    error_message = "batch_max_vcpus is 4 (the largest job) to 10000."
  }
}

variable "dispatcher_concurrency" {
  description = "Most dispatchers at once, 2 to 1000. Null leaves it to Lambda."
  type        = number
  default     = null
  validation {
    condition     = var.dispatcher_concurrency == null || try(var.dispatcher_concurrency >= 2 && var.dispatcher_concurrency <= 1000, false)
    error_message = "dispatcher_concurrency is 2 to 1000 (the bounds of an SQS event source)."
  }
}

variable "recorder_concurrency" {
  description = "Most recorders at once, which bounds their connections to the database. Half of it serves the queue. Null leaves it to Lambda."
  type        = number
  default     = null
  validation {
    condition     = var.recorder_concurrency == null || try(var.recorder_concurrency >= 4 && var.recorder_concurrency <= 500, false)
    error_message = "recorder_concurrency is 4 to 500."
  }
}

# Data

variable "bucket_force_destroy" {
  description = "Whether `terraform destroy` may empty the data bucket. Never in production."
  type        = bool
  default     = false
}

variable "enable_lifecycle" {
  description = "Expire objects by prefix. Off locally: the provider waits about a minute for it, and the emulator expires nothing."
  type        = bool
  default     = true
  validation {
    condition     = var.platform == "local" || var.enable_lifecycle
    error_message = "in AWS objects must expire."
  }
}

variable "database_host" {
  description = "Local only: host of the Postgres server, as the functions see it. In AWS it is the cluster's."
  type        = string
  default     = null
  validation {
    condition     = var.platform == "aws" || var.database_host != null
    error_message = "platform `local` needs database_host."
  }
}

variable "database_port" {
  description = "Port of Postgres."
  type        = number
  default     = 5432
  validation {
    condition     = var.database_port > 0 && var.database_port < 65536
    error_message = "database_port is a port number."
  }
}

variable "database_name" {
  description = "Name of the database."
  type        = string
  default     = "dunlin"
  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database_name))
    error_message = "database_name is lower-case letters, digits and underscores."
  }
}

variable "database_user" {
  description = "Local only: Postgres user of all functions. In AWS there are two, see database.tf."
  type        = string
  default     = "dunlin"
  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database_user))
    error_message = "database_user is lower-case letters, digits and underscores."
  }
}

variable "database_password" {
  description = "Local only: its password, kept in a secret. In AWS no function has a password."
  type        = string
  default     = null
  sensitive   = true
  validation {
    condition     = (var.platform == "local") == (var.database_password != null)
    error_message = "database_password is for platform `local`, and only for it."
  }
}

variable "database_max_acu" {
  description = "Most Aurora capacity units (2 GiB of memory each). The least is always 0: the cluster pauses."
  type        = number
  default     = 4
  validation {
    condition     = var.database_max_acu >= 1 && var.database_max_acu <= 256
    error_message = "database_max_acu is 1 to 256."
  }
}

variable "database_auto_pause_seconds" {
  description = "Seconds without a connection after which Aurora pauses."
  type        = number
  default     = 300
  validation {
    condition     = var.database_auto_pause_seconds >= 300 && var.database_auto_pause_seconds <= 86400
    error_message = "database_auto_pause_seconds is 300 to 86400 (the bounds of Aurora Serverless v2)."
  }
}

variable "database_instances" {
  description = "Instances, each in another availability zone: 2 fail over in a minute, 1 is cheaper while awake. Neither costs while paused."
  type        = number
  default     = 2
  validation {
    condition     = contains([1, 2], var.database_instances)
    error_message = "database_instances is 1 or 2."
  }
}

variable "database_backup_days" {
  description = "Days of point-in-time recovery."
  type        = number
  default     = 7
  validation {
    condition     = var.database_backup_days >= 7 && var.database_backup_days <= 35
    error_message = "database_backup_days is 7 to 35."
  }
}

variable "database_deletion_protection" {
  description = "Refuse to delete the database cluster."
  type        = bool
  default     = true
}

variable "database_final_snapshot" {
  description = "Take a snapshot, `dunlin-<environment>-last`, when the cluster is deleted. One of that name must not be there already."
  type        = bool
  default     = true
}

# Network

variable "vpc_cidr" {
  description = "AWS only: address range of the VPC; four /24 or larger subnets are cut from it."
  type        = string
  default     = "10.64.0.0/20"
  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(tonumber(split("/", var.vpc_cidr)[1]) <= 22, false)
    error_message = "vpc_cidr is an IPv4 range of /22 or larger."
  }
}

variable "availability_zone_suffixes" {
  description = "AWS only: the two availability zones of the region that are used."
  type        = list(string)
  default     = ["a", "b"]
  validation {
    condition     = length(distinct(var.availability_zone_suffixes)) == 2 && alltrue([for s in var.availability_zone_suffixes : can(regex("^[a-f]$", s))])
    error_message = "availability_zone_suffixes are two different letters, such as [\"a\", \"b\"]."
  }
}

# Front door

variable "cors_allowed_origins" {
  description = "Origins of the dashboards that may call the API and send uploads. With any, a page that has a report's presigned URL may read it. Empty: no browser may do either."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for origin in var.cors_allowed_origins : can(regex("^https?://[^/*]+$", origin))])
    error_message = "every origin is `https://host` without a path or a star."
  }
}

variable "api_burst" {
  description = "Requests a moment that the API lets through at most, over all callers."
  type        = number
  default     = 100
  validation {
    condition     = var.api_burst >= 1 && var.api_burst <= 5000
    error_message = "api_burst is 1 to 5000."
  }
}

variable "api_rate" {
  description = "Requests a second that the API lets through on average, over all callers."
  type        = number
  default     = 50
  validation {
    condition     = var.api_rate >= 1 && var.api_rate <= 10000
    error_message = "api_rate is 1 to 10000."
  }
}

variable "user_pool_deletion_protection" {
  description = "Refuse to delete the user pool, in AWS: the people in it cannot be brought back."
  type        = bool
  default     = true
}

# Watching

variable "alarm_email" {
  description = "Who hears of alarms. Null: alarms are there and tell nobody."
  type        = string
  default     = null
  validation {
    condition     = var.alarm_email == null || can(regex("^[^@ ]+@[^@ ]+$", var.alarm_email))
    error_message = "alarm_email is an e-mail address."
  }
}

variable "alarm_failed_scans" {
  description = "Scans that may fail within five minutes before an alarm. Some fail for reasons of their owners: a wrong address, a branch that is gone."
  type        = number
  default     = 3
  validation {
    condition     = var.alarm_failed_scans >= 0
    error_message = "alarm_failed_scans is 0 or more."
  }
}

variable "enable_alarms" {
  description = "Create the alarms. Off locally, where nobody is called and nothing measures."
  type        = bool
  default     = true
  validation {
    condition     = var.platform == "local" || var.enable_alarms
    error_message = "in AWS the alarms must be there."
  }
}
