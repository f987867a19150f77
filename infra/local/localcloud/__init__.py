"""The local cloud: an AWS emulator with a real Batch, a private Postgres, and one `terraform apply`."""
