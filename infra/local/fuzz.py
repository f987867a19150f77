"""`make fuzz`: everything that reads what strangers wrote, under libFuzzer.

The build has a counter in every branch and is kept apart, in target/fuzz. It needs a C++ compiler and no nightly toolchain. What was
found is kept in target/fuzz/corpus and taken up again the next time; an input that breaks something goes to crates/fuzz/regressions.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "target" / "fuzz"
REGRESSIONS = REPOSITORY / "crates" / "fuzz" / "regressions"
# What `cargo fuzz` gives the compiler, without a sanitizer: there is no unsafe code to watch, and those need nightly.
COVERAGE = ["passes=sancov-module", "llvm-args=-sanitizer-coverage-level=4",
            "llvm-args=-sanitizer-coverage-inline-8bit-counters", "llvm-args=-sanitizer-coverage-pc-table",
            "llvm-args=-sanitizer-coverage-trace-compares"]
DEFAULT_SECONDS = 300
_FIGURES = re.compile(r"#(\d+)\s+DONE\s+cov: (\d+) ft: (\d+) corp: (\d+)")


def build() -> Path:
    """The fuzzer. An explicit target keeps the counters out of build scripts."""
    host = subprocess.run(["rustc", "-vV"], check=True, text=True, stdout=subprocess.PIPE).stdout
    triple = re.search(r"^host: (\S+)$", host, re.MULTILINE)
    assert triple is not None
    flags = " ".join(f"-C{flag}" for flag in COVERAGE) + " --cfg fuzzing"
    subprocess.run(["cargo", "build", "--quiet", "--package", "dunlin-fuzz", "--bin", "fuzz", "--features", "libfuzzer",
                    "--profile", "fuzz", "--target", triple.group(1), "--target-dir", str(FOLDER)],
                   cwd=REPOSITORY, check=True, env={**os.environ, "RUSTFLAGS": flags})
    return FOLDER / triple.group(1) / "fuzz" / "fuzz"


def seeds() -> list[str]:
    """Writes them below target/fuzz/seeds, and answers the names of the targets."""
    ran = subprocess.run(["cargo", "run", "--quiet", "--package", "dunlin-fuzz", "--bin", "seeds", "--", str(FOLDER / "seeds")],
                         cwd=REPOSITORY, check=True, text=True, stdout=subprocess.PIPE)
    return ran.stdout.split()


def run(fuzzer: Path, target: str, seconds: int) -> bool:
    """Whether nothing was found."""
    corpus, kept, log = FOLDER / "corpus" / target, REGRESSIONS / target, FOLDER / f"{target}.log"
    for folder in (corpus, kept):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(kept.iterdir())
    began = time.monotonic()
    with log.open("w") as out:
        ended = subprocess.run([str(fuzzer), str(corpus), str(FOLDER / "seeds" / target), f"-max_total_time={seconds}",
                                "-max_len=262144", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1",
                                f"-artifact_prefix={kept}/"],
                               cwd=FOLDER, env={**os.environ, "FUZZ_TARGET": target, "RUST_BACKTRACE": "1"}, check=False,
                               stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    text = log.read_text(errors="replace")
    figures = _FIGURES.search(text)
    took = time.monotonic() - began
    if ended.returncode == 0 and figures is not None:
        runs, branches, features, inputs = figures.groups()
        print(f"{target:12} {int(runs):>9} executions in {took:4.0f} s, {branches:>6} branches, {features:>6} features, "
              f"{inputs:>5} inputs", flush=True)
    found = sorted(set(kept.glob("*")) - before)
    if kept.is_dir() and not any(kept.iterdir()):
        kept.rmdir()
    if ended.returncode != 0:
        panic = re.search(r"panicked at [^\n]*\n[^\n]*", text)
        print(f"{target:12} BROKEN after {took:.0f} s: {panic.group(0)[:500] if panic else 'see the log'}\n"
              f"{'':12} log: {log}\n{'':12} input: {', '.join(str(file) for file in found)}", flush=True)
    return ended.returncode == 0


def main() -> int:
    """`fuzz.py [seconds] [target]`."""
    words = [word.strip() for word in sys.argv[1:]] + ["", ""]
    if words[0] and not words[0].isdigit():
        print("usage: make fuzz TIME=<seconds> TARGET=<name>", file=sys.stderr)
        return 2
    targets = seeds()
    if words[1] and words[1] not in targets:
        print(f"there is no target {words[1]!r}; there are: {', '.join(targets)}", file=sys.stderr)
        return 2
    chosen = [words[1]] if words[1] else targets
    seconds = max(1, int(words[0] or DEFAULT_SECONDS) // len(chosen))
    fuzzer = build()
    return 0 if all([run(fuzzer, target, seconds) for target in chosen]) else 1


if __name__ == "__main__":
    sys.exit(main())
