"""Delivery: every callback gets its points, in order, whatever the others do."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from live.callbacks import Delivery
from live.data_types import DataType, MarketDataPoint
from tests.fixtures.signals import Gate
from tests.live.virtual_time import run_virtually


class Told:
    """The errors that a delivery tells."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.texts: list[str] = []

    def __call__(self, kind: str, text: str) -> None:
        self.kinds[kind] += 1
        self.texts.append(text)


def point(number: int) -> MarketDataPoint:
    at = datetime(2026, 11, 29, tzinfo=UTC)
    return MarketDataPoint("okx", "BTC-USDT", at, DataType.TRADE, {"n": number})


def numbers(points: list[MarketDataPoint]) -> list[int]:
    return [one.data["n"] for one in points]


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def delivery(told: Told) -> AsyncIterator[Delivery]:
    before = asyncio.all_tasks()
    made = Delivery(told, "test", queue_length=50)
    yield made
    await made.close()
    left = asyncio.all_tasks() - {asyncio.current_task()} - before
    assert [task.get_name() for task in left] == []


async def test_plain_and_async_callbacks_get_all_points_in_order(
    delivery: Delivery, told: Told
) -> None:
    plain: list[MarketDataPoint] = []
    threads = set()
    on_loop: list[MarketDataPoint] = []

    def take(one: MarketDataPoint) -> None:
        threads.add(threading.current_thread())
        plain.append(one)

    async def take_async(one: MarketDataPoint) -> None:
        await asyncio.sleep(0)
        on_loop.append(one)

    for number in range(300):
        delivery.offer(take, point(number))
        delivery.offer(take_async, point(number))
        if number % 20 == 0:
            assert await delivery.flush(60)
    assert await delivery.flush(60)
    assert numbers(plain) == numbers(on_loop) == list(range(300))
    assert len(threads) == 1
    assert threading.main_thread() not in threads
    assert (delivery.queued, delivery.dropped, told.kinds) == (0, 0, {})


async def test_one_that_raises_harms_no_other(delivery: Delivery, told: Told) -> None:
    taken: list[MarketDataPoint] = []

    def fail(_: MarketDataPoint) -> None:
        raise ValueError("no room")

    async def fail_async(_: MarketDataPoint) -> None:
        raise KeyError("k")

    def leave(_: MarketDataPoint) -> None:
        raise SystemExit(3)

    for number in range(10):
        for callback in (fail, fail_async, leave, taken.append):
            delivery.offer(callback, point(number))
    assert await delivery.flush(60)
    assert numbers(taken) == list(range(10))
    assert told.kinds == {"callback": 30}
    assert any("fail: ValueError: no room" in text for text in told.texts)


async def test_one_that_blocks_for_ever_loses_the_oldest_and_nobody_else_does(
    delivery: Delivery, told: Told
) -> None:
    entered, release = threading.Event(), threading.Event()
    slow: list[MarketDataPoint] = []
    quick: list[MarketDataPoint] = []

    def block(one: MarketDataPoint) -> None:
        entered.set()
        release.wait(60)
        slow.append(one)

    async def take(one: MarketDataPoint) -> None:
        quick.append(one)

    delivery.offer(block, point(-1))
    assert await asyncio.to_thread(entered.wait, 60)
    for number in range(120):
        delivery.offer(block, point(number))
        delivery.offer(take, point(number))
        await asyncio.sleep(0)
    assert not await delivery.flush(0.01)
    assert numbers(quick) == list(range(120))
    assert delivery.dropped == 70
    assert delivery.queued == 51
    release.set()
    assert await delivery.flush(60)
    assert numbers(slow) == [-1, *range(70, 120)]
    assert told.kinds == {}


def test_a_coroutine_that_hangs_is_cancelled_after_its_deadline() -> None:
    async def test() -> None:
        told, taken = Told(), list[int]()
        delivery = Delivery(told, "test", deadline_s=10)

        async def hang_on_odd(one: MarketDataPoint) -> None:
            if one.data["n"] % 2:
                await asyncio.Event().wait()
            taken.append(one.data["n"])

        for number in range(6):
            delivery.offer(hang_on_odd, point(number))
        began = asyncio.get_running_loop().time()
        assert await delivery.flush(100)
        assert asyncio.get_running_loop().time() - began == pytest.approx(30)
        assert taken == [0, 2, 4]
        assert told.kinds == {"callback_timeout": 3}
        await delivery.close()

    run_virtually(test())


def test_one_that_ignores_its_end_is_set_aside() -> None:
    async def test() -> None:
        delivery = Delivery(Told(), "test")
        released = asyncio.Event()

        async def deaf(_: MarketDataPoint) -> None:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    continue

        delivery.offer(deaf, point(1))
        await asyncio.sleep(1)
        await delivery.close()
        assert delivery.stuck == 1
        assert delivery.dropped == 1
        released.set()
        await asyncio.sleep(1)
        assert delivery.stuck == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtually(test())


async def test_what_a_callback_awaits_may_be_cancelled_by_others(
    delivery: Delivery, told: Told
) -> None:
    taken: list[MarketDataPoint] = []

    async def awaits_what_is_cancelled(one: MarketDataPoint) -> None:
        taken.append(one)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    for number in range(3):
        delivery.offer(awaits_what_is_cancelled, point(number))
    assert await delivery.flush(60)
    assert numbers(taken) == [0, 1, 2]
    assert told.kinds == {"callback": 3}


async def test_a_method_of_an_asyncio_queue_is_called_on_the_loop(
    delivery: Delivery, told: Told
) -> None:
    queue: asyncio.Queue[MarketDataPoint] = asyncio.Queue(maxsize=2)
    threads = threading.active_count()
    for number in range(3):
        delivery.offer(queue.put_nowait, point(number))
    assert await delivery.flush(60)
    assert threading.active_count() == threads
    assert numbers([queue.get_nowait(), queue.get_nowait()]) == [0, 1]
    assert told.kinds == {"callback": 1}  # it was full


async def test_a_plain_function_may_return_what_is_to_be_awaited(
    delivery: Delivery, told: Told
) -> None:
    taken: list[int] = []

    async def take(one: MarketDataPoint) -> None:
        assert threading.current_thread() is threading.main_thread()
        taken.append(one.data["n"])

    delivery.offer(lambda one: take(one), point(1))
    assert await delivery.flush(60)
    assert taken == [1]
    assert told.kinds == {}


async def test_threads_end_with_the_delivery(told: Told) -> None:
    before = set(threading.enumerate())
    delivery = Delivery(told, "test")
    for number in range(3):
        delivery.offer(id, point(number))
    assert await delivery.flush(60)
    (thread,) = set(threading.enumerate()) - before
    await delivery.close()
    await asyncio.to_thread(thread.join, 60)
    assert not thread.is_alive()


async def test_a_removed_callback_gets_nothing_more(delivery: Delivery) -> None:
    gate, taken = Gate(), list[int]()

    async def take(one: MarketDataPoint) -> None:
        taken.append(one.data["n"])
        await gate.passed()

    delivery.offer(take, point(1))
    delivery.offer(take, point(2))
    await gate.wait_until_reached()
    delivery.forget(take)
    gate.open()
    assert await delivery.flush(60)
    assert taken == [1]


class Unhashable:
    """A callback that is equal to others and has no hash."""

    def __init__(self) -> None:
        self.taken: list[MarketDataPoint] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)

    async def __call__(self, one: MarketDataPoint) -> None:
        self.taken.append(one)


async def test_objects_that_can_be_called_are_callbacks(delivery: Delivery) -> None:
    first, second = Unhashable(), Unhashable()
    delivery.offer(first, point(1))
    delivery.offer(second, point(2))
    assert await delivery.flush(60)
    assert (numbers(first.taken), numbers(second.taken)) == ([1], [2])
