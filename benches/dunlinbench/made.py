"""Findings that nobody found: the results of 50 jobs as runners store them, and the same as 50 SARIF files.

Shapes are those of real reports: 5 engines with 10 shards each, 40 rules an engine, a message of a sentence, three lines of
code. Equal numbers make equal files.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ENGINES = ("trivy", "gitleaks", "ruff", "eslint", "foxguard")
SHARDS = 10
JOBS = len(ENGINES) * SHARDS
_RULES = 40
_TENANT = "bench"
_SEVERITIES = ("low", "medium", "high", "critical")
_LEVELS = {"low": "note", "medium": "warning", "high": "error", "critical": "error"}
_WORDS = ("request", "session", "buffer", "handler", "record", "token", "query", "window", "stream", "policy")


class Scan:
    """One scan of the same repository. Scans with another `number` come a day later and see the same findings."""

    def __init__(self, findings: int, number: int) -> None:
        if findings % JOBS:
            raise ValueError(f"{findings} findings cannot be dealt out to {JOBS} jobs")
        self.findings = findings
        self.id = str(uuid.UUID(f"0190d5f2-7c3a-7e11-9d6e-{findings:08x}{number:04x}"))
        self._repository = str(uuid.uuid5(uuid.NAMESPACE_URL, f"bench/{findings}"))
        self._day = f"2026-10-{number + 1:02}T09:30:00Z"
        self._revision = hashlib.sha1(self.id.encode()).hexdigest()

    def keys(self) -> list[str]:
        """Result keys, one a job. They do not depend on the scan: a stored result is used as it is."""
        return [_hash("result", self.findings, job) for job in range(JOBS)]

    def event(self) -> dict[str, Any]:
        """The aggregator's input."""
        target = {"type": "git", "url": "https://github.com/example/bench", "branch": "main"}
        return {
            "scan": {"version": 1, "scan_id": self.id, "tenant": _TENANT, "repository_id": self._repository,
                     "repository": f"github.com/example/bench-{self.findings}", "request": {"target": target},
                     "requested_by": "bench", "accepted_at": self._day,
                     "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"},
            "snapshot": {"prefix": f"snapshots/{_TENANT}/{self._repository}/{self._revision}",
                         "revision": self._revision, "track": "main", "committed_at": self._day,
                         "resolved_at": self._day, "files": 1000,
                         "bytes": 1_000_000, "reused": False},
            "plan_key": f"plans/{_TENANT}/{self.id}/plan.json",
            "job_ends": [{"job": job, "ok": True, "compute": "lambda", "attempts": 1} for job in range(JOBS)],
        }

    def plan(self) -> dict[str, Any]:
        """What the planner would have written."""
        jobs = [{"job": job, "engine": ENGINES[job // SHARDS], "engine_version": "1.0.0", "advisory": False,
                 "selection": {"include": ["**"], "exclude": [], "shard": {"index": job % SHARDS, "count": SHARDS}},
                 "files": 1000, "bytes": 1_000_000, "input_digest": "00" * 32, "result_key": key, "cached": False,
                 "compute": "lambda", "size": "small", "timeout_seconds": 300}
                for job, key in enumerate(self.keys())]
        return {"version": 1, "scan_id": self.id, "tenant": _TENANT, "repository_id": self._repository,
                "revision": self._revision, "jobs": jobs, "nothing_to_read": [], "warnings": []}

    def places(self, bucket: Path) -> tuple[Path, Path]:
        """Where the plan is, and the folder of the jobs' results."""
        return bucket / "plans" / _TENANT / self.id / "plan.json", bucket / "results" / _TENANT

    def write_plan(self, bucket: Path) -> None:
        """The plan as an object."""
        file, _ = self.places(bucket)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.plan()))

    def reports(self, bucket: Path) -> list[Path]:
        """Where the aggregator puts its reports."""
        return [bucket / "reports" / _TENANT / self.id / f"report.{extension}" for extension in ("sarif", "json", "csv")]


def write_results(scan: Scan, bucket: Path, sarif: Path) -> None:
    """Every job's result as an object, and its findings as a SARIF file; nothing when they are there."""
    stamp = sarif / "written"
    if stamp.is_file():
        return
    sarif.mkdir(parents=True, exist_ok=True)
    for job, key in enumerate(scan.keys()):
        engine = ENGINES[job // SHARDS]
        rules = [_rule(engine, number) for number in range(_RULES)]
        findings = list(_findings(engine, rules, job, scan.findings // JOBS))
        manifest = {"version": 1, "result_key": key, "engine": engine, "engine_version": "1.0.0",
                    "outcome": "assessed", "files": 1000, "findings": len(findings), "exit_code": 0,
                    "duration_ms": 1500, "peak_memory_bytes": 50_000_000, "report_sha256": "11" * 32,
                    "report_bytes": 100, "finished_at": "2026-10-01T00:00:00Z"}
        lines = [{"manifest": manifest}, *({"rule": rule} for rule in rules), *({"finding": f} for f in findings)]
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        file = bucket / "results" / _TENANT / key / "result.ndjson.zst"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_packed(text.encode()))
        (sarif / f"job-{job:02}.sarif").write_text(json.dumps(_sarif(engine, rules, findings)))
    stamp.touch()


def _packed(text: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-3", "-c"], input=text, capture_output=True, check=True).stdout


def _hash(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def _rule(engine: str, number: int) -> dict[str, Any]:
    return {"id": f"{engine}/B{number:03}", "engine": engine, "name": f"unchecked-{_WORDS[number % 10]}-{number}",
            "description": f"The {_WORDS[number % 10]} is used before anybody has looked at it.",
            "help_url": f"https://example.com/{engine}/B{number:03}", "cwe": [79 + number],
            "severity": _SEVERITIES[number % 4], "confidence": "medium"}


def _findings(engine: str, rules: list[dict[str, Any]], job: int, count: int) -> Iterator[dict[str, Any]]:
    for n in range(count):
        rule = rules[(n * 7 + job) % _RULES]
        word, line = _WORDS[n % 10], 5 + (n * 13) % 900
        path = f"services/{word}/src/module_{job:02}_{n // 25}/{_WORDS[(n // 3) % 10]}.py"
        code = f"    {word}_{n} = load_{word}(request.args['{word}'], limit={n})"
        yield {"rule": rule["id"], "severity": rule["severity"], "confidence": "medium",
               "location": {"path": path, "start_line": line, "start_column": 5, "end_line": line},
               "message": f"the {word} that comes from the request reaches load_{word} unchecked; "
                          f"whoever sends it decides what number {n} loads",
               "snippet": f"def {word}_{n}(request):\n{code}\n    return {word}_{n}.render()",
               "fingerprint": _hash("place", rule["id"], path, code), "content_key": _hash("content", rule["id"], code)}


def _sarif(engine: str, rules: list[dict[str, Any]], findings: list[dict[str, Any]]) -> dict[str, Any]:
    index = {rule["id"]: n for n, rule in enumerate(rules)}
    descriptors = [{"id": rule["id"], "name": rule["name"], "shortDescription": {"text": rule["name"]},
                    "fullDescription": {"text": rule["description"]}, "helpUri": rule["help_url"],
                    "defaultConfiguration": {"level": _LEVELS[rule["severity"]]}} for rule in rules]
    results = [{"ruleId": f["rule"], "ruleIndex": index[f["rule"]], "level": _LEVELS[f["severity"]],
                "message": {"text": f["message"]}, "partialFingerprints": {"place/v1": f["fingerprint"]},
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": f["location"]["path"]},
                    "region": {"startLine": f["location"]["start_line"], "startColumn": 5,
                               "endLine": f["location"]["end_line"], "snippet": {"text": f["snippet"]}}}}]}
               for f in findings]
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
            "runs": [{"tool": {"driver": {"name": engine, "version": "1.0.0", "rules": descriptors}},
                      "results": results}]}
