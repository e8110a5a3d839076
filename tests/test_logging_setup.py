"""What reaches a log, and what must not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_PROGRAM = """
import sys
import structlog
from logging_setup import configure_logging

def fail(token):
    raise RuntimeError("no luck")

configure_logging("INFO", sys.argv[1])
try:
    fail("s3cret".upper())
except RuntimeError:
    structlog.get_logger("room").exception("it_failed", job="collect:4h")
"""


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_holds_no_values_of_variables(log_format: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", _PROGRAM, log_format],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "it_failed" in done.stderr
    assert "no luck" in done.stderr
    assert "S3CRET" not in done.stderr
    if log_format == "json":
        told = json.loads(done.stderr)
        assert told["exception"][0]["frames"][-1]["name"] == "fail"
