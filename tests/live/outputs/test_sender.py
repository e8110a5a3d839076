"""The queue of an output: batches in order, nothing lost below its size, the oldest gone above."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from live.outputs import sender as sender_module
from live.outputs.sender import BatchSender, Limits, StoreAway
from metrics.exposition import MetricsPage, pack, unpack
from metrics.outputs import OutputMetrics
from tests.fixtures.clock import ManualClock
from tests.fixtures.numbers import Numbers, numbers_of
from tests.fixtures.signals import Gate, turns, until_true

LIMITS = Limits(every_s=1.0, batch_items=3, batch_bytes=100, queue_bytes=1000)


class Scripted:
    """A store that is away while `away` is set."""

    def __init__(self) -> None:
        self.away: str | None = None
        self.batches: list[list[int]] = []
        self.attempts = 0
        self.hung: Gate | None = None

    async def send(self, items: Sequence[int]) -> int:
        self.attempts += 1
        if self.hung is not None:
            await self.hung.passed()
        if self.away:
            raise StoreAway(self.away)
        self.batches.append(list(items))
        return len(items)

    @property
    def got(self) -> list[int]:
        return [item for batch in self.batches for item in batch]


@asynccontextmanager
async def running(sender: BatchSender[Any]) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(sender.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def made(
    store: Scripted, limits: Limits = LIMITS, metrics: OutputMetrics | None = None, **more: Any
) -> BatchSender[int]:
    return BatchSender("test", store.send, limits, metrics, **more)


def put(sender: BatchSender[int], items: Sequence[int], size: int = 10) -> None:
    for item in items:
        sender.put(item, size)


def told(metrics: OutputMetrics) -> Numbers:
    page = MetricsPage()
    page.add(unpack(pack(metrics.registry).encode()), {})
    return numbers_of(page)


async def test_batches_have_their_size_and_come_in_order() -> None:
    store, clock = Scripted(), ManualClock(hold=True)
    sender = made(store, clock=clock)
    async with running(sender):
        put(sender, range(7))
        await clock.let_pass(1, 1)
        assert store.batches == [[0, 1, 2], [3, 4, 5], [6]]
        put(sender, [7, 8], size=60)  # two of them are more than the bytes of a batch
        put(sender, [9], size=500)  # alone it is, too, and goes alone
        await clock.let_pass(1, 1)
        assert store.batches[3:] == [[7], [8], [9]]
        await clock.let_pass(10, 1)
        assert len(store.batches) == 6  # nothing to send: nothing is sent
    assert sender.status() == {
        "queued": 0, "sent": 10, "dropped": 0, "errors": 0, "last_error": None,
    }  # fmt: skip


async def test_what_a_store_did_not_take_comes_again_in_order() -> None:
    store, clock = Scripted(), ManualClock(hold=True)
    sender = made(store, clock=clock)
    async with running(sender):
        store.away = "no route to host"
        put(sender, range(4))
        await clock.let_pass(1, 1)
        put(sender, range(4, 8))
        assert sender.status() == {
            "queued": 8, "sent": 0, "dropped": 0, "errors": 0, "last_error": "no route to host",
        }  # fmt: skip
        store.away = None
        await clock.let_pass(2, 1)
        assert store.got == list(range(8))
        assert sender.queued == 0


async def test_pauses_grow_while_the_store_is_away_and_are_short_again_after() -> None:
    store, clock = Scripted(), ManualClock(hold=True)
    sender = made(store, clock=clock)
    async with running(sender):
        store.away = "away"
        put(sender, [1])
        await clock.let_pass(300, 1)
        assert 30 < store.attempts < 36  # one in ten seconds, so that it is back soon after
        store.away = None
        await clock.let_pass(10, 1)
        put(sender, [2])
        await clock.let_pass(1, 1)
        assert store.got == [1, 2]


async def test_the_oldest_go_when_the_queue_is_full_and_are_counted() -> None:
    store, clock, metrics = Scripted(), ManualClock(hold=True), OutputMetrics()
    sender = made(store, metrics=metrics, clock=clock)
    async with running(sender):
        store.away = "away"
        put(sender, range(1000))
        assert sender.queued == 100  # of 10 bytes each
        await clock.let_pass(1, 1)
        put(sender, range(1000, 1040))
        assert sender.queued == 100
        store.away = None
        await clock.let_pass(2, 1)
        assert store.got == list(range(940, 1040))
    assert (sender.sent, sender.dropped) == (100, 940)
    told_here = told(metrics)
    assert told_here.of("perpcache_live_output_sent_total", output="test") == 100
    assert told_here.of("perpcache_live_output_dropped_total", output="test") == 940
    assert told_here.of("perpcache_live_output_errors_total", output="test") == 0


async def test_the_batch_in_hand_counts_too() -> None:
    store, clock = Scripted(), ManualClock(hold=True)
    sender = made(store, clock=clock)
    async with running(sender) as task:
        store.hung = Gate()
        put(sender, range(100))
        passing = asyncio.create_task(clock.let_pass(1, 1))
        await store.hung.wait_until_reached()
        put(sender, range(100, 200))  # the queue makes room beside the three that are on their way
        assert sender.queued == 100
        store.away = "cut"
        store.hung.open()
        await passing
        # What was on its way is back, and the oldest of all: still no more than the queue holds.
        assert sender.queued == 100
        assert not task.done()


async def test_an_outage_is_two_lines_however_long_and_whatever_is_dropped() -> None:
    store, clock = Scripted(), ManualClock(hold=True)
    sender = made(store, clock=clock)
    with capture_logs() as logs:
        async with running(sender):
            store.away = "no route to host"
            for _ in range(50):
                put(sender, range(100))
                await clock.let_pass(1, 1)
            store.away = None
            await clock.let_pass(20, 1)
    lines = [line for line in logs if line["log_level"] != "debug"]
    assert [line["event"] for line in lines] == ["output_away", "output_back"]
    assert lines[1]["dropped"] == sender.dropped > 4000


async def test_refusals_are_counted_and_end_nothing() -> None:
    clock, batches = ManualClock(hold=True), []

    async def send(items: Sequence[int]) -> int:
        batches.append(items)
        if 3 in items:
            raise TypeError("a fault of ours")
        sender.refuse("the number 1 is not wanted", 1)
        return len(items) - 1

    sender = BatchSender("test", send, LIMITS, clock=clock)
    async with running(sender):
        put(sender, range(7))
        await clock.let_pass(1, 1)
        assert sender.status() == {
            "queued": 0, "sent": 2, "dropped": 0, "errors": 5,
            "last_error": "the number 1 is not wanted",
        }  # fmt: skip
    assert len(batches) == 3


async def test_what_is_left_is_sent_at_the_end() -> None:
    store = Scripted()
    sender = made(store, clock=ManualClock(hold=True))
    async with running(sender):
        await asyncio.sleep(0)
        put(sender, range(7))
    assert store.got == list(range(7))
    assert sender.dropped == 0


@pytest.mark.parametrize("hangs", [False, True])
async def test_the_end_waits_for_no_store(hangs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "LAST_S", 0.05)
    store = Scripted()
    store.away, store.hung = "away", Gate() if hangs else None
    sender = made(store, clock=ManualClock(hold=True))
    with capture_logs() as logs:
        async with running(sender):
            await asyncio.sleep(0)
            put(sender, range(7))
    assert (sender.queued, sender.dropped) == (0, 7)
    assert logs[-1] == {
        "event": "output_ended_early", "output": "test", "dropped": 7, "log_level": "warning",
    }  # fmt: skip


async def test_a_batch_on_its_way_at_the_end_is_neither_lost_nor_sent_twice() -> None:
    store, clock = Scripted(), ManualClock(hold=True)
    sender = made(store, clock=clock)
    task = asyncio.create_task(sender.run())
    gate = store.hung = Gate()
    put(sender, range(7))
    passing = asyncio.create_task(clock.let_pass(1, 1))
    await gate.wait_until_reached()
    task.cancel()
    await turns(10)
    gate.open()
    await asyncio.gather(task, return_exceptions=True)
    passing.cancel()
    assert store.batches == [[0, 1, 2], [3, 4, 5], [6]]
    assert (sender.queued, sender.sent, sender.dropped) == (0, 7, 0)


async def test_points_come_from_any_thread() -> None:
    store = Scripted()
    sender = made(store, Limits(0.001, 1000, 10**9, 10**9))

    def begin(number: int) -> None:
        put(sender, range(number, number + 2000))

    async with running(sender):
        with ThreadPoolExecutor(4) as threads:
            for number in range(0, 8000, 2000):
                threads.submit(begin, number)
        await until_true(lambda: sender.sent == 8000)
    assert sorted(store.got) == list(range(8000))
