"""Starting and stopping: which processes are ours, what an interruption leaves, and what is refused."""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import cloud
import suite
from localcloud import aws, console, deploy, functions, postgres, processes, services, stack as places, tools
from localcloud.postgres import Server
from localcloud.services import Emulator
from localcloud.stack import Problem, Stack


class StackCase(unittest.TestCase):
    """A stack in a folder of its own, far down: its paths are longer than any message shows."""

    def setUp(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="local-stack-"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        repository = self.root / ("deep-" * 20) / ("down-" * 20)
        patch = mock.patch.object(places, "REPOSITORY", repository)
        patch.start()
        self.addCleanup(patch.stop)
        self.stack = Stack("test", 1, 2)
        self.stack.home.mkdir(parents=True)

    def sleeper(self, *words: str | Path) -> subprocess.Popen[bytes]:
        """A process with these words at the end of its command line."""
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", *map(str, words)],
                                   start_new_session=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def note(self, process: subprocess.Popen[bytes], **more: str) -> None:
        found = processes.read(process.pid)
        assert found is not None
        self.stack.state_file.write_text(json.dumps({"emulator": {"pid": process.pid, "start": found.start, **more}}))


class Recognising(StackCase):
    def test_an_emulator_far_down_is_found_and_stopped(self) -> None:
        process = self.sleeper(self.stack.emulator_config)
        self.note(process, boot=processes.boot_id())
        self.assertEqual(Emulator(self.stack).pid, process.pid)
        self.assertNotIn(str(self.stack.emulator_config), processes.command(process.pid), "the premise")
        with redirect_stdout(io.StringIO()), mock.patch.object(services.container, "remove_all"):
            Emulator(self.stack).stop()
        self.assertEqual(process.wait(timeout=5), -signal.SIGTERM)

    def test_another_process_with_that_pid_is_not_ours(self) -> None:
        self.note(self.sleeper("something else"), boot=processes.boot_id())
        self.assertIsNone(Emulator(self.stack).pid)

    def test_a_note_from_before_the_machine_started_again_means_nothing(self) -> None:
        process = self.sleeper(self.stack.emulator_config)
        self.note(process, boot="another")
        self.assertIsNone(Emulator(self.stack).pid)
        found = processes.read(process.pid)
        assert found is not None
        sessions = self.stack.home / "sessions"
        with mock.patch.object(services.container, "remove_all"):
            sessions.write_text(f"{found.session} {found.start} another\n")
            services.clear_leftovers(self.stack)
            with self.assertRaises(subprocess.TimeoutExpired, msg="not ours, whatever its number"):
                process.wait(timeout=0.3)
            sessions.write_text(f"{found.session} {found.start} {processes.boot_id()}\n")
            services.clear_leftovers(self.stack)
        self.assertEqual(process.wait(timeout=5), -signal.SIGKILL)

    def test_a_postgres_far_down_is_found(self) -> None:
        patch = mock.patch.object(postgres, "_reachable", lambda *_: True)
        patch.start()
        self.addCleanup(patch.stop)
        server = Server(self.stack)
        process = self.sleeper("-D", server.data)
        self.assertNotIn(str(server.data), processes.command(process.pid), "the premise")
        server.data.mkdir(parents=True)
        (server.data / "postmaster.pid").write_text(f"{process.pid}\n{server.data}\n1\n54329\n\n127.0.0.1\n")
        self.addCleanup(server.remove)
        self.assertEqual((server.pid(), server.port()), (process.pid, 54329))

    def test_stacks_of_two_working_copies_have_different_labels(self) -> None:
        mine = self.stack.label
        with mock.patch.object(places, "REPOSITORY", self.root / "other"):
            self.assertNotEqual(Stack("test", 1, 2).label, mine)
        self.assertTrue(mine.startswith("test-"))


class Restarting(StackCase):
    def test_another_terminal_is_no_reason_to_restart(self) -> None:
        settings = services.Settings(stack="test", programs=Path("p"), engines=Path("e"), scratch=Path("s"),
                                     sessions=Path("n"))
        with mock.patch.dict(os.environ, {"PATH": "/usr/bin"}):
            first = services._identity(settings, self.stack)
        with mock.patch.dict(os.environ, {"PATH": "/opt/bin:/usr/bin"}):
            self.assertEqual(services._identity(settings, self.stack), first)
        with mock.patch.dict(os.environ, {"DUNLIN_BATCH_VCPUS": "7"}):
            self.assertNotEqual(services._identity(settings, self.stack), first)

    def test_an_interruption_waits_until_the_note_is_written(self) -> None:
        # Whoever starts the tests in the background makes them deaf to it.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        done = []
        with self.assertRaises(KeyboardInterrupt):
            with console.uninterrupted():
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)
                done.append("noted")
        self.assertEqual(done, ["noted"])

    def test_postgres_moves_to_another_port_and_a_half_made_one_is_finished(self) -> None:
        server, calls = Server(self.stack), []
        ports = {"port": 5}
        with mock.patch.multiple(Server, running=lambda _: bool(ports), port=lambda _: ports.get("port"),
                                 stop=lambda _: (calls.append("stop"), ports.clear()),
                                 _check_port=lambda _: None, _make=lambda *_: calls.append("make"),
                                 _as_owner=lambda *_: (calls.append("start"), mock.Mock(returncode=0))[1],
                                 _make_database=lambda *_: calls.append("database")), \
                mock.patch.object(tools, "postgres_programs", lambda: Path("/bin")), redirect_stdout(io.StringIO()):
            server.start()
            self.assertEqual(calls, ["stop", "make", "start", "database"])
            calls.clear()
            ports["port"] = self.stack.postgres_port
            server.start()
            self.assertEqual(calls, ["database"])


class Mirror(StackCase):
    """Folders below a home of the test's own; what this machine has in `/opt` and the like is not seen."""

    def setUp(self) -> None:
        super().setUp()
        self.home = self.root / "home"
        real = Path.glob
        patch = mock.patch.object(Path, "glob",
                                  lambda at, pattern: real(at, pattern) if at.is_relative_to(self.root) else [])
        patch.start()
        self.addCleanup(patch.stop)
        patch = mock.patch.object(Path, "home", lambda: self.home)
        patch.start()
        self.addCleanup(patch.stop)
        self.version, self.target = tools._provider_version(), tools._terraform_platform()

    def put(self, *path: str) -> None:
        file = self.home.joinpath(".terraform.d", "plugins", *path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    def test_the_version_is_the_one_that_terraform_asks_for(self) -> None:
        self.assertIn(f'version = "{self.version}"', (deploy.ROOT / "versions.tf").read_text())
        loose = self.root / "versions.tf"
        loose.write_text('source  = "hashicorp/aws"\n      version = "~> 5.100"\n')
        with mock.patch.object(tools, "_VERSIONS", loose), self.assertRaisesRegex(Problem, "to one version"):
            tools._provider_version()

    def test_a_mirror_is_taken_when_it_has_that_version_for_this_machine(self) -> None:
        provider = "registry.terraform.io/hashicorp/aws"
        for have in (("5.99.9", self.target, "terraform-provider-aws_v5.99.9_x5"),
                     (self.version, "plan9_mips", f"terraform-provider-aws_v{self.version}_x5"),
                     (self.version, self.target, "README"),
                     (f"terraform-provider-aws_5.99.9_{self.target}.zip",),
                     (f"terraform-provider-aws_{self.version}_plan9_mips.zip",)):
            with self.subTest(have):
                self.put(provider, *have)
                self.assertIsNone(tools._mirror(), "Terraform would look here and nowhere else")
                shutil.rmtree(self.home)
        for have in ((self.version, self.target, f"terraform-provider-aws_v{self.version}_x5"),
                     (f"terraform-provider-aws_{self.version}_{self.target}.zip",)):
            with self.subTest(have):
                self.put(provider, *have)
                self.assertEqual(tools._mirror(), self.home / ".terraform.d" / "plugins")
                shutil.rmtree(self.home)

    def test_another_mirror_is_looked_for_behind_one_that_has_it_not(self) -> None:
        provider = "registry.terraform.io/hashicorp/aws"
        self.put("cache", provider, "5.99.9", self.target, "terraform-provider-aws_v5.99.9_x5")
        self.put("mirror", provider, f"terraform-provider-aws_{self.version}_{self.target}.zip")
        self.assertEqual(tools._mirror(), self.home / ".terraform.d" / "plugins" / "mirror")


class Refusing(StackCase):
    def test_a_scratch_folder_of_another_user(self) -> None:
        self.assertFalse(self.stack.scratch.is_relative_to(places.REPOSITORY), "engines look into the folders above")
        folder = self.root / "scratch"
        services._make_scratch(folder)
        with mock.patch.object(os, "geteuid", lambda: os.getuid() + 1), self.assertRaisesRegex(Problem, "another user"):
            services._make_scratch(folder)
        (self.root / "link").symlink_to(folder)
        with self.assertRaisesRegex(Problem, "another user"):
            services._make_scratch(self.root / "link")

    def test_settings_of_a_deployment_stay_out_of_the_local_cloud(self) -> None:
        root = places.REPOSITORY / "infra" / "terraform"
        root.mkdir(parents=True)
        (root / "main.tf").touch()
        with mock.patch.object(deploy, "REPOSITORY", places.REPOSITORY):
            deploy.refuse_foreign_files(root)
            for name in ("backend_override.tf", "prod.auto.tfvars", "terraform.tfvars"):
                (root / name).touch()
                with self.subTest(name), self.assertRaisesRegex(Problem, f"{name} in infra/terraform .*docs/aws.md"):
                    deploy.refuse_foreign_files(root)
                (root / name).unlink()

    def test_a_program_for_another_processor(self) -> None:
        binary = self.root / "bootstrap"
        binary.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\xb7\x00")
        self.assertEqual(functions.require(binary, "arm64"), binary)
        with self.assertRaisesRegex(Problem, "not a Linux program for x86_64 but for arm64"):
            functions.require(binary, "x86_64")
        with self.assertRaisesRegex(Problem, "not a Linux program"):
            functions.require(self.root / "nothing", "x86_64")

    def test_failures_of_the_machine_are_sentences_and_mistakes_are_not(self) -> None:
        self.assertEqual(console.sentence(FileNotFoundError(2, "No such file", "/a")), "/a: No such file")
        self.assertEqual(console.sentence(Problem("no")), "no")
        self.assertIsNone(console.sentence(KeyError("x")))

    def test_the_suite_says_what_needs_root(self) -> None:
        with mock.patch.dict(os.environ, clear=False), mock.patch.object(os, "geteuid", lambda: 1000):
            os.environ.pop("DUNLIN_TEST_CONTAINERS", None)
            with self.assertRaisesRegex(Problem, "needs root.*DUNLIN_TEST_CONTAINERS=no"):
                suite.containers_wanted()
            os.environ["DUNLIN_TEST_CONTAINERS"] = "no"
            self.assertFalse(suite.containers_wanted())


class Asking(StackCase):
    def test_logs_of_nothing_name_what_there_is(self) -> None:
        with mock.patch.object(cloud, "require_running"), \
                self.assertRaisesRegex(Problem, "no logs of 'plannner'; there are those of .*planner.*runner-ruff"):
            cloud.logs(self.stack, argparse.Namespace(function="plannner", minutes=1))

    def test_a_failure_of_the_machine_has_no_traceback(self) -> None:
        said = io.StringIO()
        with mock.patch.object(sys, "argv", ["cloud.py", "env"]), redirect_stderr(said), \
                mock.patch.object(cloud.Stack, "of", side_effect=PermissionError(13, "Permission denied", "/x")):
            self.assertEqual(cloud.main(), 1)
        self.assertEqual(said.getvalue(), "error: /x: Permission denied\n")

    def test_dead_letters_go_back_with_their_organisation(self) -> None:
        waiting = [{"Messages": [{"Body": "b", "ReceiptHandle": "r", "Attributes": {"MessageGroupId": "acme"}}]}, {}]
        sqs = mock.Mock()
        sqs.list_queues.return_value = {"QueueUrls": ["http://q/dunlin-scans", "http://q/dunlin-scans-dlq"]}
        sqs.receive_message.side_effect = lambda **asked: (
            self.assertIn("MessageGroupId", asked["MessageSystemAttributeNames"]), waiting.pop(0))[1]
        with mock.patch.object(aws, "client", lambda *_: sqs):
            self.assertEqual(aws.redrive(self.stack), {"dunlin-scans": 1})
        sqs.send_message.assert_called_once_with(QueueUrl="http://q/dunlin-scans", MessageBody="b",
                                                 MessageAttributes={}, MessageGroupId="acme")


    def test_events_go_to_the_queue_that_they_were_for(self) -> None:
        def event(body: str, queue: str) -> dict[str, object]:
            about = {"TARGET_ARN": f"arn:aws:sqs:eu-central-1:000000000000:{queue}", "ERROR_CODE": "NO_PERMISSIONS"}
            return {"Body": body, "ReceiptHandle": f"r-{body}", "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value} for name, value in about.items()}}

        waiting = [{"Messages": [event("a", "dunlin-recordings"), event("b", "dunlin-price-batches")]}, {},
                   {"Messages": [{"Body": "c", "ReceiptHandle": "r-c"}]}]
        sqs = mock.Mock()
        sqs.list_queues.return_value = {
            "QueueUrls": ["http://q/1/dunlin-undelivered-events", "http://q/1/dunlin-scans"]}
        sqs.receive_message.side_effect = lambda **_: waiting.pop(0)
        with mock.patch.object(aws, "client", lambda *_: sqs):
            self.assertEqual(aws.redrive(self.stack), {"dunlin-recordings": 1, "dunlin-price-batches": 1})
            self.assertEqual(sqs.send_message.mock_calls, [
                mock.call(QueueUrl="http://q/1/dunlin-recordings", MessageBody="a", MessageAttributes={}),
                mock.call(QueueUrl="http://q/1/dunlin-price-batches", MessageBody="b", MessageAttributes={})])
            self.assertEqual(sqs.delete_message.call_count, 2)
            with self.assertRaisesRegex(Problem, "which queue it was for"):
                aws.redrive(self.stack)
        self.assertEqual(sqs.delete_message.call_count, 2, "what nobody knows a place for stays")


class Interrupting(StackCase):
    def test_an_interrupted_step_leaves_no_process(self) -> None:
        mark = f"{86400 + os.getpid()}.{time.monotonic_ns() % 1000000}"

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with mock.patch.object(suite, "REPOSITORY", self.root), redirect_stdout(io.StringIO()), \
                redirect_stderr(io.StringIO()), self.assertRaises(KeyboardInterrupt):
            suite.Suite().step("hang", ["sh", "-c", f"sleep {mark} & sleep {mark}; true"], counts=True)
        left = [p.pid for p in processes.snapshot() if processes.argv(p.pid) == ["sleep", mark]]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(left, [])


if __name__ == "__main__":
    unittest.main()
