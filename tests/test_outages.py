"""Outages in the log: what is written at WARNING and INFO, by a clock that the test turns."""

from typing import Any

import structlog
from structlog.testing import capture_logs

from outages import Outage


class Told:
    def __init__(self) -> None:
        self.now = 1000.0
        self.outage = Outage(structlog.get_logger(), "away", "back", clock=lambda: self.now)

    def lines(self, *steps: tuple[float, str | None]) -> list[tuple[str, Any]]:
        """What is told when so many seconds later it fails for that reason, or works (None)."""
        with capture_logs() as written:
            for seconds, reason in steps:
                self.now += seconds
                if reason is None:
                    self.outage.over(store="s")
                else:
                    self.outage.lasts(reason, store="s")
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
