"""Silence: three seconds of many markets, and longer where few bring little."""

import pytest

from live.silence import LONGEST_S, SHORTEST_S, Silence
from tests.fixtures.clock import ManualClock


@pytest.mark.parametrize(
    ("per_s", "silent_s"), [(400, SHORTEST_S), (7, SHORTEST_S), (2, 10.0), (1, LONGEST_S)]
)
def test_silence_is_what_lasts_longer_than_a_pause(per_s: int, silent_s: float) -> None:
    clock = ManualClock()
    silence, events = Silence(clock), 0
    for _ in range(60):
        clock.now += 1
        events += per_s
        assert not silence.lasts(events)
    clock.now += silent_s - 0.1
    assert not silence.lasts(events)
    clock.now += 0.2
    assert silence.lasts(events)
    assert not silence.lasts(events + 1)


def test_what_never_began_is_silent_at_last() -> None:
    clock = ManualClock()
    silence = Silence(clock)
    clock.now += LONGEST_S - 0.1
    assert not silence.lasts(0)
    clock.now += 0.1
    assert silence.lasts(0)
