"""A small shop. Scan 0190d5f2-7c3a-7e11-9d6e-3f6b9f1f3a01 has never seen it before: the number is new each time."""

import subprocess


def orders(customer: str) -> bytes:
    return subprocess.check_output("ls orders/" + customer, shell=True)
