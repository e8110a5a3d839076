"""When a pass has nothing to ask for, by what a process knows of the exchanges' time."""

import pytest

from data_collector.base_pass import is_fresh_by
from data_collector.clock_witnesses import LastAsOf

CLOSE_MS = 1_772_409_600_000  # 2026-03-02T00:00:00Z
DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("read_ms", "passed_s", "fresh"),
    [
        (CLOSE_MS, 0.0, True),
        (CLOSE_MS, 59.9, True),
        (CLOSE_MS, 60.0, False),
        (CLOSE_MS - 1, 0.0, False),
        (CLOSE_MS - 30_000, 27.0, True),
        # The exchanges' time was read from answers that were under way for up to 2 s: the candle
        # may have closed.
        (CLOSE_MS - 30_000, 29.9, False),
        (CLOSE_MS - 30_000, 28.1, False),
        (CLOSE_MS - 30_000, 30.0, False),
        (CLOSE_MS, -1.0, False),  # the bases are of another host, which is ahead
    ],
)
def test_bases_are_fresh_until_a_candle_may_have_closed(
    read_ms: int, passed_s: float, fresh: bool
) -> None:
    now_s = 0.0
    last = LastAsOf(elapsed_s=lambda: now_s)
    last.believe(read_ms if passed_s >= 0 else read_ms + int(passed_s * 1000))
    now_s = max(0.0, passed_s)
    assert is_fresh_by(last, [read_ms, read_ms]) is fresh
    assert not is_fresh_by(last, [read_ms, None])


def test_nothing_is_fresh_for_a_process_that_knows_no_time() -> None:
    now_s = 0.0
    last = LastAsOf(elapsed_s=lambda: now_s)
    assert not is_fresh_by(last, [CLOSE_MS])
    last.believe(CLOSE_MS)
    now_s = DAY_S + 1  # long ago: it says no more than that the present lies behind it
    assert not is_fresh_by(last, [CLOSE_MS + int(DAY_S) * 1000 + 1])
