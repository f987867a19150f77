# AWS. On the command line: environment, functions_dir, image_tag; docs/aws.md says in which order.
platform             = "aws"
region               = "eu-central-1"
log_level            = "info"
log_retention_days   = 30
architecture         = "x86_64"
cors_allowed_origins = []

database_max_acu              = 4
database_auto_pause_seconds   = 300
database_instances            = 2
database_backup_days          = 7
database_deletion_protection  = true
database_final_snapshot       = true
user_pool_deletion_protection = true

# Recorders hold one connection each.
dispatcher_concurrency = 10
recorder_concurrency   = 20
batch_max_vcpus        = 64

# alarm_email = "you@example.com"
