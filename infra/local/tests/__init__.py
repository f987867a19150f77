"""Tests of the local cloud that need no emulator: `python3 -m unittest discover -s infra/local/tests -t infra/local`."""
