"""Pauses between tries, and waits that a stop ends."""

import asyncio

from tests.live.hand_clock import HandClock
from timing.backoff import Backoff, stop_or


def test_pauses_double_up_to_the_slowest_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(0.5, 3)
    assert [backoff.pause_s() for _ in range(5)] == [0.5, 1, 2, 3, 3]
    backoff.reset()
    assert [backoff.pause_s() for _ in range(2)] == [0.5, 1]


async def test_a_stop_ends_the_wait() -> None:
    stop = asyncio.Event()
    waiting = asyncio.create_task(stop_or(stop, 3600))
    await asyncio.sleep(0)
    assert not waiting.done()
    stop.set()
    assert await asyncio.wait_for(waiting, 30) is True


async def test_without_a_stop_the_wait_ends_by_itself() -> None:
    assert await stop_or(asyncio.Event(), 0) is False


async def test_a_stop_that_came_before_is_seen_without_waiting() -> None:
    stop = asyncio.Event()
    stop.set()
    assert await asyncio.wait_for(stop_or(stop, 3600), 30) is True


async def test_the_wait_is_as_long_as_the_clock_says() -> None:
    clock = HandClock()
    waiting = asyncio.create_task(stop_or(asyncio.Event(), 3600, clock))
    await clock.advance(3599)
    assert not waiting.done()
    await clock.advance(2)
    assert await asyncio.wait_for(waiting, 30) is False
