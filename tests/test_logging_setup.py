"""What reaches a log and what must not, and how often the same thing is said."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from logging_setup import OutageLog, ThrottledLog

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


def test_a_throttled_log_counts_what_it_leaves_out() -> None:
    now = 0.0
    with capture_logs() as logged:
        throttled = ThrottledLog(structlog.get_logger(), every_s=60, clock=lambda: now)
        for now in (100.0, 101.0, 159.0, 160.0, 161.0, 300.0):
            throttled.warning("refused", at=now)
        throttled.info("other")
    assert [(line["event"], line.get("at"), line["times"]) for line in logged] == [
        ("refused", 100.0, 1),
        ("refused", 160.0, 3),
        ("refused", 300.0, 2),
        ("other", None, 1),
    ]


class Told:
    def __init__(self, **options: Any) -> None:
        self.now = 1000.0
        self.outage = OutageLog(
            structlog.get_logger(), "away", "back", clock=lambda: self.now, **options
        )

    def lines(self, *steps: tuple[float, str | None]) -> list[tuple[str, Any]]:
        """What is told when so many seconds later it fails for that reason, or works (None)."""
        with capture_logs() as written:
            for seconds, reason in steps:
                self.now += seconds
                if reason is None:
                    self.outage.recovered(store="s")
                else:
                    self.outage.failed(reason, store="s")
        assert all(line["store"] == "s" for line in written)
        return [
            (line["event"], line.get("error", line.get("after_s")))
            for line in written
            if line["log_level"] != "debug"
        ]


def test_a_long_outage_is_told_once_a_minute_and_at_its_end() -> None:
    tries = [(0.5, "refused")] * 600  # five minutes
    told = Told().lines(*tries, (0.5, None), (0.5, None))
    assert told == [("away", "refused")] * 5 + [("back", 300.0)]


def test_a_reason_is_told_again_as_often_as_is_wanted_and_a_new_outage_at_once() -> None:
    tries = [(60.0, "refused")] * 150
    told = Told(again_s=3600).lines(*tries, (0, None), (90, "refused"), (60, "refused"), (0, None))
    assert told == [("away", "refused")] * 3 + [("back", 8940.0), ("away", "refused"), ("back", 60)]


def test_another_reason_is_told_at_once() -> None:
    told = Told().lines((0, "refused"), (1, "refused"), (1, "no space"), (1, "refused"), (1, None))
    assert told == [("away", "refused"), ("away", "no space"), ("back", 4.0)]


def test_the_next_outage_is_told_again() -> None:
    told = Told().lines((0, "refused"), (1, None), (5, "refused"), (2, None))
    assert told == [("away", "refused"), ("back", 1.0)] * 1 + [("away", "refused"), ("back", 2.0)]


def test_what_comes_and_goes_all_the_time_is_no_flood() -> None:
    flapping = [(0.05, "refused"), (0.05, None)] * 3000  # five minutes
    assert len(Told().lines(*flapping)) <= 6 * 10
    reasons = [(0.1, f"no answer from port {number}") for number in range(3000)]
    assert len(Told().lines(*reasons)) <= 6 * 5


def test_what_works_is_not_told() -> None:
    assert Told().lines((0, None), (1, None)) == []


_NAMES = r"""
import sys
import structlog
from logging_setup import configure_logging

configure_logging("INFO", sys.argv[1], ["hunter2"])
log = structlog.get_logger("room")
log.info("seen\x1b[2J", name="\x1b]0;title\u202e", half="\ud800", list=["a\nb", {"k\x07": "\x9b"}])
error = ValueError("no \x1b[31m HUNTER2")
log.warning("told", error=error, url="redis://:hunter2@h", deep=["hunter2"])
try:
    raise ValueError("for \x1b[31m hunter2\nsecond line")
except ValueError:
    log.exception("failed")
import logging
logging.getLogger("library").warning("foreign %s \x1b hunter2", "\x07")
raise RuntimeError("uncaught \x1b hunter2")
"""


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_names_of_others_and_secrets_reach_a_log_as_harmless_text(log_format: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", _NAMES, log_format],
        cwd=_ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    told = done.stderr.decode("utf-8")  # no surrogate
    assert not set(told) & set("\x1b\x07\x9b\u202e\ud800\r")
    assert "hunter2" not in told.lower()
    assert "\\x1b]0;title\\u202e" in told.replace("\\\\", "\\")
    assert (
        "second line" in told and "ValueError" in told and "foreign" in told and "uncaught" in told
    )
    if log_format == "json":
        lines = [json.loads(line) for line in told.splitlines()]
        assert [line["event"] for line in lines][:3] == ["seen\\x1b[2J", "told", "failed"]
        assert lines[0]["half"] == "\\ud800"
        assert lines[0]["list"] == ["a\\nb", {"k\\x07": "\\x9b"}]
        assert lines[1]["url"] == "redis://:***@h"
        assert lines[1]["deep"] == ["***"]
