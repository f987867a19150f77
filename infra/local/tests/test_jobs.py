"""The life of a job: states, exit codes, retries, limits, and what is left when it ends."""

from __future__ import annotations

import contextvars
import time
import unittest

from localcloud.batch.executor import EXITED, OUT_OF_MEMORY, SPOT, TIMED_OUT
from localcloud.batch.resources import ClientError
from localcloud.batch.scheduler import HOST_LOST
from tests.support import BatchCase

_LIFE = ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"]
_RETRY = {
    "attempts": 3,
    "evaluateOnExit": [
        {"onStatusReason": "Host EC2*", "action": "RETRY"},
        {"onStatusReason": "Your Spot Task was interrupted*", "action": "RETRY"},
        {"onReason": "CannotPull*", "action": "retry"},
        {"onReason": "*", "action": "EXIT"},
    ],
}


class Outcomes(BatchCase):
    def test_success_passes_through_every_state(self) -> None:
        job = self.ended(self.submit("exit", code=0))
        self.assertEqual(self.world.states("job"), [*_LIFE, "SUCCEEDED"])
        self.assertEqual((job["container"]["exitCode"], job["statusReason"]), (0, EXITED))
        self.assertEqual(len(job["attempts"]), 1)
        self.assertEqual(self.world.lines, ["attempt 1 of batch"])
        self.assertLessEqual(job["createdAt"], job["startedAt"])
        self.assertLessEqual(job["startedAt"], job["stoppedAt"])

    def test_an_exit_code_is_kept(self) -> None:
        job = self.ended(self.submit("exit", code=70, retryStrategy=_RETRY))
        self.assertEqual((job["status"], job["container"]["exitCode"]), ("FAILED", 70))
        self.assertEqual(len(job["attempts"]), 1, "an engine's failure is not retried")

    def test_memory_kills_the_whole_tree(self) -> None:
        job = self.ended(self.submit("eat", memory=100))
        self.assertEqual((job["status"], job["container"]["exitCode"]), ("FAILED", 137))
        self.assertEqual(job["container"]["reason"], OUT_OF_MEMORY)

    def test_timeout_ends_it_and_is_not_retried(self) -> None:
        job = self.submit("hang", timeout={"attemptDurationSeconds": 60}, retryStrategy={"attempts": 3})
        # The API takes no timeout under a minute, as in AWS; the test need not wait for one.
        job["timeout"]["attemptDurationSeconds"] = 1
        self.ended(job)
        self.assertEqual((job["status"], job["statusReason"]), ("FAILED", TIMED_OUT))
        self.assertEqual(len(job["attempts"]), 1)
        self.assertEqual(self.marked(), [])

    def test_environment_is_clean_and_the_folder_goes(self) -> None:
        self.ended(self.submit("env"))
        names = {line.split("=", 1)[0] for line in self.world.lines if "=" in line}
        self.assertTrue({"PATH", "TMPDIR", "ENGINES_DIR", "AWS_BATCH_JOB_ID", "DO"} <= names)
        self.assertFalse({name for name in names if name.startswith(("AWS_ACCESS", "AWS_SECRET", "AWS_SESSION"))})
        self.assertIn("files 1024", self.world.lines)
        self.assertEqual(list((self.folder / "scratch").iterdir()), [])

    def test_what_a_job_leaves_behind_is_ended(self) -> None:
        job = self.ended(self.submit("leave"))
        self.assertEqual(job["status"], "SUCCEEDED")
        self.assertEqual(self.marked(), [])


class Retries(BatchCase):
    def test_without_conditions_a_failure_is_retried(self) -> None:
        job = self.ended(self.submit("first-fails", code=9, retryStrategy={"attempts": 2}))
        self.assertEqual(job["status"], "SUCCEEDED")
        self.assertEqual([a["container"]["exitCode"] for a in job["attempts"]], [9, 0])
        self.assertEqual(self.world.states("job"), [*_LIFE, "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"])

    def test_an_exit_code_condition_decides(self) -> None:
        strategy = {"attempts": 3, "evaluateOnExit": [{"onExitCode": "13*", "action": "EXIT"},
                                                      {"onExitCode": "9", "action": "RETRY"}]}
        stopped = self.ended(self.submit("first-fails", name="stopped", code=137, retryStrategy=strategy))
        self.assertEqual((stopped["status"], len(stopped["attempts"])), ("FAILED", 1))
        retried = self.ended(self.submit("first-fails", name="retried", code=9, retryStrategy=strategy))
        self.assertEqual((retried["status"], len(retried["attempts"])), ("SUCCEEDED", 2))

    def test_spot_loss_is_retried_to_the_limit(self) -> None:
        job = self.submit("hang", retryStrategy=_RETRY)
        for attempt in (1, 2, 3):
            self.until(lambda n=attempt: job["status"] == "RUNNING" and len(job["attempts"]) == n - 1, "runs")
            self.jobs.interrupt(job["jobId"])
            self.until(lambda n=attempt: len(job["attempts"]) == n, "the attempt is lost")
        self.ended(job)
        self.assertEqual((job["status"], job["statusReason"]), ("FAILED", SPOT))
        self.assertEqual([a["statusReason"] for a in job["attempts"]], [SPOT] * 3)
        self.assertEqual(self.marked(), [])

    def test_only_spot_capacity_is_lost(self) -> None:
        job = self.running(self.submit("hang", queue="high"))
        with self.assertRaisesRegex(ClientError, "spot"):
            self.jobs.interrupt(job["jobId"])

    def test_an_image_that_does_not_come_is_retried(self) -> None:
        self.world.fail_start = "CannotPullContainerError: no such image"
        job = self.ended(self.submit("exit", retryStrategy=_RETRY))
        self.assertEqual((job["status"], len(job["attempts"])), ("FAILED", 3))
        self.assertEqual(job["container"]["reason"], self.world.fail_start)


class Endings(BatchCase):
    def test_terminate_leaves_no_process(self) -> None:
        job = self.running(self.submit("hang", retryStrategy={"attempts": 3}))
        self.jobs.terminate({"jobId": job["jobId"], "reason": "no longer wanted"})
        self.ended(job)
        self.assertEqual((job["status"], job["statusReason"]), ("FAILED", "no longer wanted"))
        self.assertEqual(len(job["attempts"]), 1, "a terminated job is not retried")
        self.assertTrue(job["isTerminated"])
        self.assertEqual(self.marked(), [])

    def test_a_job_that_ignores_sigterm_is_killed(self) -> None:
        job = self.submit("stubborn")
        self.until(lambda: job["status"] == "RUNNING" and bool(self.world.lines), "runs")
        began = time.monotonic()
        self.jobs.terminate({"jobId": job["jobId"], "reason": "stop"})
        self.ended(job)
        self.assertEqual(job["container"]["exitCode"], 137)
        self.assertGreater(time.monotonic() - began, 0.9, "it was given its time to end")

    def test_a_waiting_job_is_cancelled_and_a_running_one_is_not(self) -> None:
        first, second = (self.running(self.submit("hang", name=f"running-{n}")) for n in (1, 2))
        waiting = self.submit("exit", name="waiting")
        self.until(lambda: waiting["status"] == "RUNNABLE", "waits")
        for job in (waiting, first):
            self.jobs.cancel({"jobId": job["jobId"], "reason": "changed my mind"})
        self.ended(waiting)
        self.assertEqual((waiting["status"], waiting["statusReason"]), ("FAILED", "changed my mind"))
        self.assertNotIn("STARTING", self.world.states("waiting"))
        self.assertEqual(first["status"], "RUNNING")
        for job in (first, second):
            self.jobs.terminate({"jobId": job["jobId"], "reason": "end of test"})
            self.ended(job)

    def test_shutdown_keeps_the_state_and_resume_retries(self) -> None:
        job = self.running(self.submit("hang", retryStrategy=_RETRY))
        alone = self.running(self.submit("hang", name="alone", retryStrategy=_RETRY))
        self.scheduler.shutdown()
        self.assertEqual(self.marked(), [])
        self.assertEqual((job["status"], job["attempts"]), ("RUNNING", []), "saved as it was")
        again = type(self.scheduler)(self.world, vcpus=2.0, memory_mib=8192, grace_seconds=1.0)
        self.addCleanup(again.shutdown)
        again.resume(lambda _: contextvars.copy_context(), lambda one: one is alone)
        self.until(lambda: job["status"] == "RUNNING" and len(job["attempts"]) == 1, "runs again")
        self.assertEqual(job["attempts"][0]["statusReason"], HOST_LOST)
        self.until(lambda: alone["status"] == "FAILED", "nobody waits for this one any more")
        self.assertEqual(alone["statusReason"], HOST_LOST)


class Capacity(BatchCase):
    def test_what_does_not_fit_waits_and_priority_goes_first(self) -> None:
        first, second = (self.running(self.submit("hang", name=f"running-{n}")) for n in (1, 2))
        low = self.submit("exit", name="low")
        high = self.submit("exit", name="high", queue="high")
        self.until(lambda: (low["status"], high["status"]) == ("RUNNABLE", "RUNNABLE"), "both wait")
        self.jobs.terminate({"jobId": first["jobId"], "reason": "make room"})
        self.ended(low)
        self.ended(high)
        order = [e["name"] for e in self.world.events if e["status"] == "STARTING" and e["name"] in ("low", "high")]
        self.assertEqual(order, ["high", "low"])
        self.jobs.terminate({"jobId": second["jobId"], "reason": "end of test"})
        self.ended(second)

    def test_a_job_larger_than_the_machine_still_runs(self) -> None:
        self.resources.register({"jobDefinitionName": "engine", "containerProperties": {
            "image": "engine", "command": ["batch"], "resourceRequirements": [
                {"type": "VCPU", "value": "64"}, {"type": "MEMORY", "value": "999999"}]}})
        self.assertEqual(self.ended(self.submit("exit"))["status"], "SUCCEEDED")


if __name__ == "__main__":
    unittest.main()
