"""The pace of new connections, and waiting for a moment or an event."""

import asyncio
from random import Random

import pytest

from live.pacing import SharedPace, due_or_woken, pace_of_process
from tests.fixtures.signals import turns
from tests.live.hand_clock import HandClock


@pytest.mark.parametrize(("quantity", "window_s"), [(1, 5.0), (3, 1.0), (100, 300.0)])
def test_never_more_connects_in_any_window(quantity: int, window_s: float) -> None:
    pace, random, now = SharedPace(quantity, window_s), Random(7), 0.0  # noqa: S311 - spreads times
    made = []
    for _ in range(5 * quantity):
        now += random.random() * window_s / quantity / 2
        made.append(now + pace.reserve(now))
    for first, beyond in zip(made, made[quantity:], strict=False):
        assert beyond - first >= window_s - 1e-9
    assert made[:quantity] == sorted(made[:quantity])
    assert made[0] < window_s / quantity, "the first need not wait"


def test_one_pace_for_all_connections_of_a_process() -> None:
    assert pace_of_process("x", 3, 1.0) is pace_of_process("x", 3, 1.0)
    assert pace_of_process("x", 3, 1.0) is not pace_of_process("y", 3, 1.0)


async def test_due_or_woken() -> None:
    clock, event = HandClock(), asyncio.Event()
    waiting = asyncio.create_task(due_or_woken(clock, event, clock.now + 5))
    await clock.advance(4.9)
    assert not waiting.done()
    await clock.advance(0.2)
    await waiting
    waiting = asyncio.create_task(due_or_woken(clock, event, None))
    await turns(5)
    assert not waiting.done()
    event.set()
    await waiting
    assert not event.is_set()
    waiting = asyncio.create_task(due_or_woken(clock, event, clock.now + 5))
    await turns(5)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
