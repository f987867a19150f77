"""AWS Batch that runs jobs: the API, the scheduler, and executors for processes and containers."""
