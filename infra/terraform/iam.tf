# What every function may do, as data: {function => statements}. Each role also writes its own log, and functions that use
# the database get `database_permissions`. There is no wildcard resource but where AWS knows no resource for the action;
# the reason is beside it, and tests/tests/contract_terraform.rs holds the list.
#
# Whoever reads an object by name may list the bucket: without s3:ListBucket a missing key answers 403, not 404
# (S3 API reference, GetObject, "Permissions").

locals {
  objects = { for kind in ["accepted", "cancelled", "uploads", "snapshots", "plans", "results", "reports", "ended", "notifications", "price-batches", "price-requests", "price-faults"] : kind => "${local.data_bucket_arn}/${kind}/*" }
  # A job's id is not known before, but the state machine tags every job it submits.
  only_our_jobs = { Null = { "aws:ResourceTag/dunlin:scan" = "false" } }

  list_bucket = { sid = "TellMissingFromForbidden", actions = ["s3:ListBucket"], resources = [local.data_bucket_arn] }

  permissions = {
    intake = [
      local.list_bucket,
      { sid = "RememberScans", actions = ["s3:GetObject", "s3:PutObject"], resources = [local.objects.accepted, local.objects.cancelled] },
      # Only to sign the URL that the caller uploads to.
      { sid = "SignUploads", actions = ["s3:PutObject"], resources = [local.objects.uploads] },
      { sid = "RememberPriceBatches", actions = ["s3:GetObject", "s3:PutObject"], resources = [local.objects["price-requests"]] },
      # To sign the URLs that a batch is uploaded to, and to put its parts together: whether that was done before, only the object tells.
      { sid = "SignPriceBatches", actions = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"], resources = [local.objects["price-batches"]] },
      { sid = "SendScans", actions = ["sqs:SendMessage"], resources = ["${local.queues_arn}-scans"] },
      { sid = "CancelExecutions", actions = ["states:DescribeExecution", "states:StopExecution"], resources = [local.executions_arn] },
      { sid = "TerminateJobs", actions = ["batch:TerminateJob"], resources = [local.batch_jobs_arn], condition = local.only_our_jobs },
      # ListJobs has no resource type: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbatch.html
      { sid = "FindJobs", actions = ["batch:ListJobs"], resources = ["*"] },
      {
        sid       = "KeepSecretsOfTenants"
        actions   = ["secretsmanager:CreateSecret", "secretsmanager:PutSecretValue", "secretsmanager:DeleteSecret"]
        resources = ["${local.secrets_arn}/tenants/*"]
      },
    ]

    api = [
      local.list_bucket,
      { sid = "ReadAcceptedAndReports", actions = ["s3:GetObject"], resources = [local.objects.accepted, local.objects["price-requests"], local.objects.reports] },
    ]

    dispatcher = [
      { sid = "ReadScans", actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], resources = ["${local.queues_arn}-scans"] },
      { sid = "ReadPriceBatches", actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], resources = ["${local.queues_arn}-price-batches"] },
      { sid = "StartExecutions", actions = ["states:StartExecution"], resources = [local.state_machine_arn, local.price_state_machine_arn] },
    ]

    source = [
      local.list_bucket,
      { sid = "KeepSnapshots", actions = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"], resources = [local.objects.snapshots] },
      { sid = "ReadUploads", actions = ["s3:GetObject"], resources = [local.objects.uploads] },
      { sid = "ReadGitCredentials", actions = ["secretsmanager:GetSecretValue"], resources = ["${local.secrets_arn}/tenants/*/git/*"] },
    ]

    # A presigned URL can do what its signer may: the planner signs what runners read and write.
    planner = [
      local.list_bucket,
      { sid = "ReadSnapshots", actions = ["s3:GetObject"], resources = [local.objects.snapshots] },
      { sid = "KeepPlans", actions = ["s3:GetObject", "s3:PutObject"], resources = [local.objects.plans] },
      { sid = "FindAndSignResults", actions = ["s3:GetObject", "s3:PutObject"], resources = [local.objects.results] },
    ]

    # Untrusted: the URLs in its ticket are all it can reach.
    runner = []

    aggregator = [
      local.list_bucket,
      { sid = "ReadResults", actions = ["s3:GetObject"], resources = [local.objects.plans, local.objects.results] },
      { sid = "WriteReports", actions = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"], resources = [local.objects.reports] },
    ]

    notifier = [
      local.list_bucket,
      { sid = "ReadNotices", actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], resources = ["${local.queues_arn}-notices"] },
      { sid = "ReadWhatEnded", actions = ["s3:GetObject"], resources = [local.objects.ended] },
      { sid = "RememberNotifications", actions = ["s3:GetObject", "s3:PutObject"], resources = [local.objects.notifications] },
      # A secret that is not there has no suffix yet. Without the second, organisations without a webhook answer 403 and not "not found".
      { sid = "ReadWebhooks", actions = ["secretsmanager:GetSecretValue"], resources = ["${local.secrets_arn}/tenants/*/webhook/receiver-??????", "${local.secrets_arn}/tenants/*/webhook/receiver"] },
    ]

    recorder = [
      local.list_bucket,
      { sid = "ReadRecordings", actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], resources = ["${local.queues_arn}-recordings"] },
      { sid = "ReadWhatWasPlanned", actions = ["s3:GetObject"], resources = [local.objects.accepted, local.objects.cancelled, local.objects.plans] },
      { sid = "TellOfEnds", actions = ["s3:PutObject"], resources = [local.objects.ended] },
    ]

    inspector = [
      local.list_bucket,
      { sid = "ReadFiles", actions = ["s3:GetObject"], resources = [local.objects["price-batches"], local.objects["price-requests"]] },
      # A small batch goes the whole way at once.
      { sid = "KeepFaults", actions = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"], resources = [local.objects["price-faults"]] },
      { sid = "WriteReports", actions = ["s3:PutObject", "s3:AbortMultipartUpload"], resources = [local.objects.reports] },
    ]

    loader = [
      local.list_bucket,
      { sid = "ReadFiles", actions = ["s3:GetObject"], resources = [local.objects["price-batches"]] },
      { sid = "WriteFaults", actions = ["s3:PutObject", "s3:AbortMultipartUpload"], resources = [local.objects["price-faults"]] },
    ]

    publisher = [
      local.list_bucket,
      { sid = "ReadFaults", actions = ["s3:GetObject"], resources = [local.objects["price-faults"]] },
      { sid = "WriteReports", actions = ["s3:PutObject", "s3:AbortMultipartUpload"], resources = [local.objects.reports] },
    ]

    migrate = []
  }

  # Secrets Manager puts a dash and six characters behind the name.
  database_secret_permissions = [
    { sid = "ReadDatabasePassword", actions = ["secretsmanager:GetSecretValue"], resources = ["${local.secrets_arn}/database-??????"] },
  ]

  # A way in, for whoever has a way there.
  database_access = {
    for role, user in local.database_users : role => local.is_local ? local.database_secret_permissions : [
      { sid = "ConnectToDatabase", actions = ["rds-db:connect"], resources = ["${local.database_connect_arn}/${user}"] },
    ]
  }

  database_permissions = {
    for role, access in local.database_access : role => local.is_local ? access : concat(access, [
      # Lambda wants all interfaces of the account or one by id, which is not known before it made it (Lambda developer
      # guide, "Giving Lambda functions access to resources in an Amazon VPC", required permissions).
      {
        sid       = "JoinNetwork"
        actions   = ["ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"]
        resources = [local.network_interfaces_arns]
      },
      # Describe actions have no resource type: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
      { sid = "SeeNetwork", actions = ["ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"], resources = ["*"] },
    ])
  }
}
