"""The exchange's time from its clock and from its events."""

import pytest

from live.exchange_time import ExchangeTime

NOW_MS = 1_795_185_441_250


class Elapsed:
    def __init__(self) -> None:
        self.s = 5.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def elapsed() -> Elapsed:
    return Elapsed()


@pytest.fixture
def time(elapsed: Elapsed) -> ExchangeTime:
    return ExchangeTime(NOW_MS - 86_400_000, elapsed)  # this machine is a day behind


def test_it_passes_with_ours_from_what_was_read(time: ExchangeTime, elapsed: Elapsed) -> None:
    assert time() == NOW_MS - 86_400_000
    time.read(NOW_MS)
    elapsed.s += 1.5
    assert time() == NOW_MS + 1500
    time.read(NOW_MS + 1300)  # it was ahead
    assert time() == NOW_MS + 1300


@pytest.mark.parametrize(
    ("event_ms", "after_ms"),
    [(-5000, 0), (0, 0), (1, 1), (60_000, 60_000), (60_001, 0), (10**9, 0)],
)
def test_it_is_not_behind_an_event(time: ExchangeTime, event_ms: int, after_ms: int) -> None:
    time.read(NOW_MS)
    time.heard(NOW_MS + event_ms)
    assert time() == NOW_MS + after_ms
