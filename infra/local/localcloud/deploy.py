"""`terraform apply` when something changed, the first users, and the file with the stack's addresses."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shlex
from pathlib import Path
from typing import Any

from localcloud import aws, catalog, functions, postgres, stack as places, tools
from localcloud.console import run, say, step
from localcloud.stack import REGION, REPOSITORY, Problem, Stack

ROOT = REPOSITORY / "infra" / "terraform"
_CODE = (".tf", ".json", ".tfvars", ".sh", ".tftpl")


class Terraform:
    """Terraform on one stack: its own state and its own working folder, so that stacks do not meet."""

    def __init__(self, stack: Stack):
        self._stack = stack
        self._program = tools.terraform()
        self._environment = {**tools.terraform_environment(),
                             "TF_DATA_DIR": str(stack.home / "terraform"),
                             "TF_VAR_database_password": postgres.password_of(stack)}

    def variables(self) -> dict[str, Any]:
        """What only this tool knows."""
        stack = self._stack
        allowed = os.environ.get("DUNLIN_EGRESS_ALLOW", "127.0.0.1,localhost")
        return {
            "environment": stack.environment, "endpoint_url": stack.endpoint,
            "functions_dir": str(stack.functions), "engines_dir": str(places.engines()),
            "database_host": "127.0.0.1", "database_port": stack.postgres_port,
            "database_name": postgres.DATABASE, "database_user": postgres.USER,
            "egress_allow": [host for host in allowed.split(",") if host],
        }

    def init(self) -> None:
        """Get the provider and the modules."""
        refuse_foreign_files(ROOT)
        self._run("init", "-no-color", "-upgrade=false", what="terraform init")

    def apply(self) -> None:
        """Make the emulator hold what the files say."""
        refuse_foreign_files(ROOT)
        words = []
        for name, value in self.variables().items():
            words += ["-var", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        self._run("apply", "-no-color", "-auto-approve", "-parallelism=40", f"-state={self._stack.terraform_state}",
                  "-var-file=env/local.tfvars", *words, what="terraform apply")

    def plan_for_aws(self) -> str:
        """The plan of env/aws with an empty state, asked of the emulator."""
        folder = self._stack.home / "plan"
        folder.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in self._environment.items() if name != "TF_VAR_database_password"}
        command = [self._program, f"-chdir={ROOT}"]
        self.init()
        text = run([*command, "plan", "-no-color", "-lock=false", f"-state={folder / 'terraform.tfstate'}",
                    "-var-file=env/aws.tfvars", "-var", f"endpoint_url={self._stack.endpoint}",
                    "-var", f"functions_dir={self._stack.functions}", "-var", "image_tag=plan",
                    "-var", "environment=prod"],
                   what="terraform plan", env=environment)
        # Terraform grumbles about -state, which is how one root serves several stacks without a backend block.
        return text[max(text.find("Terraform used the selected providers"), 0):]

    def outputs(self) -> dict[str, Any]:
        """The root's outputs."""
        text = self._run("output", "-json", f"-state={self._stack.terraform_state}", what="terraform output")
        return {name: entry["value"] for name, entry in json.loads(text).items()}

    def _run(self, *arguments: str, what: str) -> str:
        return run([self._program, f"-chdir={ROOT}", *arguments], what=what, env=self._environment)


def refuse_foreign_files(root: Path) -> None:
    """Terraform reads these by itself: a deployment's settings would be applied to the local cloud."""
    patterns = ("override.tf", "*_override.tf", "terraform.tfvars", "*.auto.tfvars")
    found = sorted(file.name for pattern in patterns for file in root.glob(pattern))
    if found:
        raise Problem(f"{', '.join(found)} in {root.relative_to(REPOSITORY)} would take part in every plan: deploy from a "
                      "working copy of its own, as docs/aws.md says, and move it there")


def ensure(stack: Stack) -> dict[str, str]:
    """Bring the emulator up to date and answer the stack's addresses and names."""
    terraform = Terraform(stack)
    digest = _digest(terraform, stack)
    stamp = stack.home / "applied.json"
    applied = _read(stamp)
    if applied.get("digest") != digest or not stack.terraform_state.is_file() or not _present(stack, applied):
        # A provider or a module may be new in any of these.
        prepared = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(ROOT.rglob("*.tf")))).hexdigest()
        if not (stack.home / "terraform" / "providers").is_dir() or applied.get("prepared") != prepared:
            with step("preparing Terraform"):
                terraform.init()
        with step("applying Terraform (minutes the first time, most of it the provider's own waits)"):
            stamp.unlink(missing_ok=True)
            terraform.apply()
        applied = {"digest": digest, "prepared": prepared, "outputs": terraform.outputs()}
        stamp.write_text(json.dumps(applied, indent=2) + "\n")
    else:
        say("nothing changed since the last apply")
    outputs: dict[str, Any] = applied["outputs"]
    people = _people(stack, outputs)
    values = {
        "DUNLIN_STACK": stack.name,
        "DUNLIN_ENV": stack.environment,
        "DUNLIN_API_URL": str(outputs["api_url"]),
        # Of the command line: where it finds the session that `up` makes, and where it would sign in.
        "DUNLIN_CONFIG": str(stack.cli_config),
        "DUNLIN_ENDPOINT": str(outputs["api_url"]),
        "AWS_ENDPOINT_URL": stack.endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "DATABASE_URL": postgres.url(stack),
        "DATA_BUCKET": str(outputs["data_bucket"]),
        "SCANS_QUEUE_URL": str(outputs["scans_queue_url"]),
        "SCANS_DLQ_URL": str(outputs["scans_dlq_url"]),
        "RECORDINGS_QUEUE_URL": str(outputs["recordings_queue_url"]),
        "RECORDINGS_DLQ_URL": str(outputs["recordings_dlq_url"]),
        "STATE_MACHINE_ARN": str(outputs["state_machine_arn"]),
        "PRICE_BATCHES_QUEUE_URL": str(outputs["price_batches_queue_url"]),
        "PRICE_BATCHES_DLQ_URL": str(outputs["price_batches_dlq_url"]),
        "PRICE_STATE_MACHINE_ARN": str(outputs["price_state_machine_arn"]),
        "USER_POOL_ID": str(outputs["user_pool_id"]),
        "USER_POOL_CLIENT_ID": str(outputs["user_pool_client_id"]),
        "AUTH_ENDPOINT": str(outputs["auth_endpoint"]),
        "AUTH_ISSUER": str(outputs["auth_issuer"]),
        **people,
    }
    write_env(stack, values)
    return values


def write_env(stack: Stack, values: dict[str, str]) -> None:
    """The stack's addresses as shell assignments. It holds passwords, so only its owner may read it."""
    descriptor = os.open(stack.env_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _people(stack: Stack, outputs: dict[str, Any]) -> dict[str, str]:
    """The demo user; the test stack has somebody of another organisation too."""
    wanted = [("DEMO", "demo")] + ([("OTHER", "other")] if stack.name == "test" else [])
    values: dict[str, str] = {}
    for prefix, tenant in wanted:
        email = f"{tenant}@dunlin.example"
        password = _password(stack.home / f"{tenant}.password")
        aws.ensure_user(stack, str(outputs["user_pool_id"]), email, tenant, password)
        values |= {f"{prefix}_USER": email, f"{prefix}_PASSWORD": password, f"{prefix}_TENANT": tenant}
    return values


def _password(file: Path) -> str:
    if not file.is_file():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            # The ending satisfies the pool's policy whatever the random part holds.
            handle.write(secrets.token_urlsafe(12) + "-aA1")
    return file.read_text()


def _present(stack: Stack, applied: dict[str, Any]) -> bool:
    """Whether the emulator still has what was applied (its state may have been removed or not been saved)."""
    outputs = applied.get("outputs") or {}
    return bool(outputs) and aws.has(stack, outputs)


def _digest(terraform: Terraform, stack: Stack) -> str:
    """Everything that decides what an apply does."""
    digest = hashlib.sha256(json.dumps([terraform.variables(), functions.digests(stack),
                                        postgres.password_of(stack)], sort_keys=True).encode())
    files = [file for folder in (ROOT, REPOSITORY / "statemachines") for file in sorted(folder.rglob("*"))
             if file.is_file() and file.suffix in _CODE and ".terraform" not in file.parts]
    for file in [*files, catalog.FILE]:
        digest.update(str(file.relative_to(REPOSITORY)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
