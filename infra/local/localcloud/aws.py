"""Calls to the emulator's AWS API, with the emulator's root credentials. Needs the virtual environment (botocore)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from localcloud.stack import REGION, Problem, Stack


def client(stack: Stack, service: str) -> Any:
    """A client of one service."""
    import botocore.session
    from botocore.config import Config

    session = botocore.session.Session(profile=None)
    # Nothing of the person's own AWS configuration may take part.
    session.set_config_variable("profile", None)
    session.set_config_variable("config_file", "/dev/null")
    session.set_config_variable("credentials_file", "/dev/null")
    return session.create_client(
        service, region_name=REGION, endpoint_url=stack.endpoint, aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 3}, s3={"addressing_style": "path"}, proxies={}))


def has(stack: Stack, outputs: dict[str, Any]) -> bool:
    """Whether the resources of these Terraform outputs are there."""
    from botocore.exceptions import ClientError

    try:
        functions = client(stack, "lambda")
        for name in outputs["functions"].values():
            functions.get_function(FunctionName=name)
        for key in (key for key in outputs if key.endswith("state_machine_arn")):
            client(stack, "stepfunctions").describe_state_machine(stateMachineArn=outputs[key])
        client(stack, "cognito-idp").describe_user_pool(UserPoolId=outputs["user_pool_id"])
        client(stack, "s3").head_bucket(Bucket=outputs["data_bucket"])
        queues = client(stack, "sqs")
        for key in (key for key in outputs if key.endswith(("_queue_url", "_dlq_url"))):
            queues.get_queue_attributes(QueueUrl=outputs[key], AttributeNames=["QueueArn"])
        client(stack, "apigatewayv2").get_api(ApiId=outputs["api_url"].rsplit("/", 1)[-1])
        batch = client(stack, "batch")
        found = batch.describe_job_queues(jobQueues=list(outputs["job_queues"].values()))["jobQueues"]
        return len(found) == len(outputs["job_queues"])
    except ClientError:
        return False


def ensure_user(stack: Stack, pool: str, email: str, tenant: str, password: str) -> None:
    """A user of an organisation who can log in at once."""
    from botocore.exceptions import ClientError

    cognito = client(stack, "cognito-idp")
    attributes = [{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"},
                  {"Name": "custom:tenant", "Value": tenant}]
    try:
        cognito.admin_get_user(UserPoolId=pool, Username=email)
    except ClientError as error:
        if error.response["Error"]["Code"] != "UserNotFoundException":
            raise
        cognito.admin_create_user(UserPoolId=pool, Username=email, UserAttributes=attributes,
                                  MessageAction="SUPPRESS")
    # Always: a first attempt may have ended between the two calls.
    cognito.admin_set_user_password(UserPoolId=pool, Username=email, Password=password, Permanent=True)


def depths(stack: Stack) -> dict[str, tuple[int, int]]:
    """Messages waiting and in flight, by queue."""
    sqs = client(stack, "sqs")
    found = {}
    for url in sqs.list_queues(QueueNamePrefix="dunlin-").get("QueueUrls", []):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        values = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        found[url.rsplit("/", 1)[-1]] = (int(values[names[0]]), int(values[names[1]]))
    return found


def redrive(stack: Stack) -> dict[str, int]:
    """Put every message of a dead-letter queue back on its queue, and every event that was not delivered into the queue
    that it was for. The emulator has no StartMessageMoveTask, which in AWS does the first and not the second."""
    sqs = client(stack, "sqs")
    moved: dict[str, int] = {}
    for left in sqs.list_queues(QueueNamePrefix="dunlin-").get("QueueUrls", []):
        if left.endswith("-dlq"):
            moved.setdefault(left.removesuffix("-dlq").rsplit("/", 1)[-1], 0)
        elif not left.endswith("-undelivered-events"):
            continue
        while True:
            answer = sqs.receive_message(QueueUrl=left, MaxNumberOfMessages=10, WaitTimeSeconds=0,
                                         MessageAttributeNames=["All"],
                                         MessageSystemAttributeNames=["MessageGroupId"])
            messages = answer.get("Messages") or []
            if not messages:
                break
            for message in messages:
                home, attributes = _home(left, message)
                group = (message.get("Attributes") or {}).get("MessageGroupId")
                sqs.send_message(QueueUrl=home, MessageBody=message["Body"], MessageAttributes=attributes,
                                 # The organisation, by which the queue is fair.
                                 **({"MessageGroupId": group} if group else {}))
                # Only now: a message is twice on its queue rather than nowhere, and every reader is idempotent.
                sqs.delete_message(QueueUrl=left, ReceiptHandle=message["ReceiptHandle"])
                name = home.rsplit("/", 1)[-1]
                moved[name] = moved.get(name, 0) + 1
    return moved


def _home(left: str, message: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The queue that a message belongs to, by the one it was left in, and the attributes that it had there."""
    attributes = message.get("MessageAttributes") or {}
    if left.endswith("-dlq"):
        return left.removesuffix("-dlq"), attributes
    # What EventBridge says of an event that it could not deliver is no part of it.
    target = attributes.get("TARGET_ARN", {}).get("StringValue", "")
    if not target.startswith("arn:"):
        raise Problem(f"a message in {left} does not say which queue it was for")
    return f"{left.rsplit('/', 1)[0]}/{target.rsplit(':', 1)[-1]}", {}


def running(stack: Stack, machine: str) -> list[str]:
    """Names of running executions."""
    sfn = client(stack, "stepfunctions")
    answer = sfn.list_executions(stateMachineArn=machine, statusFilter="RUNNING")
    return [execution["name"] for execution in answer["executions"]]


def jobs(stack: Stack) -> list[tuple[str, str, str]]:
    """Queue, state and name of Batch jobs that have not ended."""
    batch = client(stack, "batch")
    found = []
    for queue in batch.describe_job_queues()["jobQueues"]:
        for state in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"):
            for job in batch.list_jobs(jobQueue=queue["jobQueueName"], jobStatus=state)["jobSummaryList"]:
                found.append((queue["jobQueueName"], state, job["jobName"]))
    return found


def log_lines(stack: Stack, group_prefix: str, since_seconds: int) -> Iterator[tuple[int, str, str]]:
    """Time in milliseconds, log group and text, oldest first."""
    logs = client(stack, "logs")
    start = int((time.time() - since_seconds) * 1000)
    lines = []
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=group_prefix)
    for group in (group for page in pages for group in page["logGroups"]):
        name = group["logGroupName"]
        token: dict[str, str] = {}
        while True:
            answer = logs.filter_log_events(logGroupName=name, startTime=start, **token)
            lines += [(event["timestamp"], name, event["message"]) for event in answer["events"]]
            if not answer.get("nextToken") or answer.get("nextToken") == token.get("nextToken"):
                break
            token = {"nextToken": answer["nextToken"]}
    yield from sorted(lines, key=lambda line: line[0])


