# One root serves the local cloud and AWS. The provider is pinned exactly: its waits and defaults decide how long an apply
# takes and what a plan shows, and a lock file would hold the checksums of one platform only.
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}
