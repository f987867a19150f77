"""What Batch's API accepts, refuses and answers."""

from __future__ import annotations

import unittest
from typing import Any

from localcloud.batch import detail, retry
from localcloud.batch.resources import ClientError
from tests.support import BatchCase


class Submitting(BatchCase):
    def test_refusals_name_the_reason(self) -> None:
        good: dict[str, Any] = {"jobName": "a", "jobQueue": "low", "jobDefinition": "engine"}
        for change, words in (
            ({"jobName": "a b"}, "Job name"),
            ({"jobQueue": "none"}, "JobQueue none not found"),
            ({"jobDefinition": "none"}, "JobDefinition none not found"),
            ({"jobDefinition": "engine:7"}, "engine:7 not found"),
            ({"timeout": {"attemptDurationSeconds": 59}}, "at least 60 seconds"),
            ({"retryStrategy": {"attempts": 11}}, "between 1 and 10"),
            ({"dependsOn": [{"jobId": "x"}]}, "dependsOn is not supported"),
            ({"arrayProperties": {"size": 2}}, "arrayProperties is not supported"),
            ({"containerOverrides": {"resourceRequirements": [{"type": "MEMORY", "value": "much"}]}}, "a number"),
        ):
            with self.subTest(change), self.assertRaisesRegex(ClientError, words):
                self.jobs.submit({**good, **change})
        self.resources.update_queue({"jobQueue": "low", "state": "DISABLED"})
        with self.assertRaisesRegex(ClientError, "disabled"):
            self.jobs.submit(good)
        self.assertEqual(self.world.jobs(), [])

    def test_overrides_are_merged_by_name_and_type(self) -> None:
        self.resources.register({
            "jobDefinitionName": "merged", "parameters": {"word": "default"}, "tags": {"from": "definition"},
            "propagateTags": True,
            "containerProperties": {
                "image": "x", "command": ["say", "Ref::word"],
                "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}]}})
        job = self.submit("exit", jobDefinition="merged", parameters={"word": "given"}, tags={"own": "tag"},
                          memory=256)
        container = job["container"]
        environment = {entry["name"]: entry["value"] for entry in container["environment"]}
        self.assertEqual((environment["A"], environment["DO"]), ("1", "exit"))
        self.assertEqual(container["command"], ["say", "given"])
        self.assertEqual(detail.requirement(container, "MEMORY"), 256)
        self.assertEqual(detail.requirement(container, "VCPU"), 1)
        self.assertEqual(job["tags"], {"from": "definition", "own": "tag"})

    def test_definitions_have_revisions(self) -> None:
        for _ in range(2):
            self.resources.register({"jobDefinitionName": "engine", "containerProperties": {"image": "new"}})
        self.assertEqual(self.resources.definition("engine")["revision"], 3)
        self.resources.deregister({"jobDefinition": "engine:3"})
        self.assertEqual(self.resources.definition("engine")["revision"], 2)
        with self.assertRaisesRegex(ClientError, "not active"):
            self.resources.definition("arn:aws:batch:r:1:job-definition/engine:3")
        found = self.resources.describe_definitions({"jobDefinitionName": "engine", "status": "ACTIVE"})
        self.assertEqual([r["revision"] for r in found["jobDefinitions"]], [2, 1])


class Listing(BatchCase):
    def setUp(self) -> None:
        super().setUp()
        self.done = [self.ended(self.submit("exit", name=name)) for name in ("scan-1-a", "scan-1-b", "scan-2-a")]
        self.live = self.running(self.submit("hang", name="scan-1-c"))
        self.addCleanup(lambda: self.ended(self.live))
        self.addCleanup(self.jobs.terminate, {"jobId": self.live["jobId"], "reason": "end of test"})

    def names(self, **request: Any) -> list[str]:
        return sorted(s["jobName"] for s in self.jobs.list({"jobQueue": "low", **request})["jobSummaryList"])

    def test_running_is_the_default_state(self) -> None:
        self.assertEqual(self.names(), ["scan-1-c"])
        self.assertEqual(self.names(jobStatus="SUCCEEDED"), ["scan-1-a", "scan-1-b", "scan-2-a"])

    def test_a_name_filter_looks_in_every_state(self) -> None:
        by_name = [{"name": "JOB_NAME", "values": ["SCAN-1-*"]}]
        self.assertEqual(self.names(filters=by_name), ["scan-1-a", "scan-1-b", "scan-1-c"])
        self.assertEqual(self.names(filters=[{"name": "JOB_NAME", "values": ["scan-2-a"]}]), ["scan-2-a"])
        self.assertEqual(self.names(filters=[{"name": "JOB_NAME", "values": ["scan-2"]}]), [])
        self.assertEqual(len(self.names(filters=[{"name": "JOB_DEFINITION", "values": ["engine"]}])), 4)
        with self.assertRaisesRegex(ClientError, "Invalid filter"):
            self.names(filters=[{"name": "SHAPE", "values": ["round"]}])

    def test_pages(self) -> None:
        by_name = [{"name": "JOB_NAME", "values": ["scan-*"]}]
        first = self.jobs.list({"jobQueue": "low", "filters": by_name, "maxResults": 3})
        second = self.jobs.list({"jobQueue": "low", "filters": by_name, "maxResults": 3,
                                 "nextToken": first["nextToken"]})
        found = [s["jobId"] for page in (first, second) for s in page["jobSummaryList"]]
        self.assertEqual(len(set(found)), 4)
        self.assertNotIn("nextToken", second)

    def test_other_queues_and_unknown_ids(self) -> None:
        self.assertEqual(self.jobs.list({"jobQueue": "high", "jobStatus": "SUCCEEDED"})["jobSummaryList"], [])
        wanted = [self.done[0]["jobId"], "unknown", self.done[1]["jobArn"]]
        self.assertEqual([j["jobName"] for j in self.jobs.describe({"jobs": wanted})["jobs"]],
                         ["scan-1-a", "scan-1-b"])
        self.assertFalse([key for key in self.jobs.describe({"jobs": wanted})["jobs"][0] if key.startswith("_")])


class Removing(BatchCase):
    def test_environments_and_queues_go_only_when_disabled_and_unused(self) -> None:
        with self.assertRaisesRegex(ClientError, "disabled first"):
            self.resources.delete_queue({"jobQueue": "low"})
        self.resources.update_environment({"computeEnvironment": "spot", "state": "DISABLED"})
        with self.assertRaisesRegex(ClientError, "JobQueue relationship"):
            self.resources.delete_environment({"computeEnvironment": "spot"})
        self.resources.update_queue({"jobQueue": "low", "state": "DISABLED"})
        self.resources.delete_queue({"jobQueue": "low"})
        self.resources.delete_environment({"computeEnvironment": "arn:aws:batch:r:1:compute-environment/spot"})
        self.assertEqual(self.resources.describe_environments({"computeEnvironments": ["spot"]}),
                         {"computeEnvironments": []})

    def test_tags(self) -> None:
        arn = self.resources.describe_queues({"jobQueues": ["low"]})["jobQueues"][0]["jobQueueArn"]
        self.resources.tags(arn)["owner"] = "me"
        self.assertEqual(self.resources.describe_queues({})["jobQueues"][0]["tags"], {"owner": "me"})
        with self.assertRaisesRegex(ClientError, "not found"):
            self.resources.tags("arn:aws:batch:r:1:job-queue/none")


class Shapes(unittest.TestCase):
    def test_step_functions_spelling_and_back(self) -> None:
        given = {"JobName": "a", "Tags": {"scanId": "1"}, "ContainerOverrides": {
            "Environment": [{"Name": "a", "Value": "b"}]}, "Parameters": {"Key": "v"}}
        camel = detail.camel(given)
        self.assertEqual(camel, {"jobName": "a", "tags": {"scanId": "1"}, "containerOverrides": {
            "environment": [{"name": "a", "value": "b"}]}, "parameters": {"Key": "v"}})
        self.assertEqual(detail.pascal(camel), given)

    def test_conditions(self) -> None:
        strategy = {"attempts": 2, "evaluateOnExit": [
            {"onStatusReason": "Host EC2*", "onExitCode": "1", "action": "EXIT"},
            {"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]}

        def again(made: int, **facts: Any) -> bool:
            given: dict[str, Any] = {"exit_code": None, "reason": None, "status_reason": None, **facts}
            return retry.again(strategy, made, **given)

        self.assertTrue(again(1, status_reason="Host EC2 (instance i-1) terminated."))
        self.assertFalse(again(1, status_reason="Host EC2 (instance i-1) terminated.", exit_code=1))
        self.assertFalse(again(2, status_reason="Host EC2 (instance i-1) terminated."))
        self.assertFalse(again(1, exit_code=7))
        self.assertFalse(retry.again({}, 1, exit_code=7, reason=None, status_reason=None))


if __name__ == "__main__":
    unittest.main()
