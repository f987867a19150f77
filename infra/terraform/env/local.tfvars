# The local cloud. The tool that starts it adds environment, endpoint_url, functions_dir, engines_dir and database_*.
platform             = "local"
bucket_force_destroy = true
enable_lifecycle     = false
enable_alarms        = false
lambda_packed_mib    = 1 # so that a small file shows the way through Batch
log_level            = "info"
log_retention_days   = 7
cors_allowed_origins = ["http://localhost:5173", "http://127.0.0.1:5173"]
