"""Stops and restarts of collectors, in the middle of anything, from anywhere."""

import asyncio

import pytest

from live.data_types import DataType, MarketDataPoint
from tests.live.scripted_collector import (
    Exchange,
    Mood,
    ScriptedCollector,
    make_collector,
    statistics,
)
from tests.live.virtual_time import LoopClock, virtually


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("mood", ["raise", "hang", "deaf"])
def test_a_disconnect_that_fails_does_not_hold_up_a_stop(mood: Mood, force: bool) -> None:
    async def test() -> None:
        collector, exchange, _ = make_collector()
        assert await collector.start()
        exchange.moods["disconnect"] = mood
        began = asyncio.get_running_loop().time()
        await collector.stop(force=force)
        assert asyncio.get_running_loop().time() - began <= (5 if force else 30)
        assert collector.get_status()["status"] == "stopped"
        stuck = collector.get_status()["resources"]["stuck_calls"]
        assert stuck == (1 if mood == "deaf" else 0)
        exchange.released.set()
        await asyncio.sleep(1)
        assert collector.get_status()["resources"]["stuck_calls"] == 0
        # And the callbacks are still there.
        exchange.moods["disconnect"] = "ok"
        assert await collector.start()
        assert [len(found) for found in collector._data_callbacks.values()] == [0, 1, 0, 0, 0]
        await collector.stop()

    virtually(test)()


@pytest.mark.parametrize("what", ["connect", "subscribe"])
def test_a_stop_aborts_a_start(what: str) -> None:
    async def test() -> None:
        collector, exchange, _ = make_collector()
        exchange.moods[what] = "hang"
        starting = asyncio.create_task(collector.start())
        await asyncio.sleep(5)
        await collector.stop()
        assert asyncio.get_running_loop().time() == 1005
        assert await starting is False
        assert collector.get_status()["status"] == "stopped"
        assert not collector.get_status()["should_be_running"]
        assert exchange.open == 0

    virtually(test)()


@virtually
async def test_a_start_closes_what_an_attempt_in_the_background_had_opened() -> None:
    collector, exchange, _ = make_collector()
    exchange.moods["subscribe"] = "hang"
    assert not await collector.start()
    await asyncio.sleep(10)  # after a pause of at most 5 s: connected, and subscribing for ever
    assert exchange.open == 1
    exchange.moods["subscribe"] = "ok"
    assert await collector.start()
    assert exchange.most_open == 1
    await collector.stop()


@virtually
async def test_a_restart_keeps_the_attempts_and_a_stop_forgets_them() -> None:
    collector, exchange, _ = make_collector()
    assert await collector.start()
    exchange.moods["connect"] = "raise"
    exchange.messages.put_nowait(ConnectionError("cut"))
    await asyncio.sleep(600)
    attempts = statistics(collector)["reconnect_attempts"]
    assert attempts > 5
    assert not await collector.restart()
    assert statistics(collector)["reconnect_attempts"] == attempts
    assert not collector.get_health_status()["is_healthy"]
    await collector.stop()
    assert statistics(collector)["reconnect_attempts"] == 0


@virtually
async def test_points_after_a_stop_are_counted_and_not_delivered() -> None:
    collector, exchange, taken = make_collector()
    assert await collector.start()
    await collector.stop()
    point = await collector._process_message(("BTC", 1))
    await collector._notify_callbacks(point)
    assert statistics(collector)["ignored_too_late"] == 1
    assert collector.get_status()["resources"]["queued_points"] == 0
    assert await collector.start()
    exchange.messages.put_nowait(("BTC", 2))
    await asyncio.sleep(1)
    assert taken == [("BTC", 2)]
    await collector.stop()


@virtually
async def test_a_cancelled_start_leaves_nothing() -> None:
    collector, exchange, _ = make_collector()
    exchange.moods["subscribe"] = "hang"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(collector.start(), 5)
    assert collector.get_status()["status"] == "stopped"
    assert exchange.open == 0


@virtually
async def test_many_starts_and_stops_at_once_make_one_connection() -> None:
    collector, exchange, _ = make_collector()
    assert await asyncio.gather(*(collector.start() for _ in range(5))) == [True] * 5
    assert exchange.calls["connect"] == 1
    await asyncio.gather(*(collector.stop() for _ in range(5)))
    assert exchange.open == 0
    await asyncio.gather(collector.restart(), collector.start(), collector.restart())
    assert exchange.most_open == 1
    await collector.stop()


@virtually
async def test_a_restart_makes_a_new_connection() -> None:
    collector, exchange, taken = make_collector()
    assert await collector.start()
    assert await collector.restart()
    exchange.messages.put_nowait(("ETH", 1))
    await asyncio.sleep(1)
    assert taken == [("ETH", 1)]
    assert exchange.calls["connect"] == 2
    told = statistics(collector)
    assert told["restarts"] == 1
    assert told["last_restart_time"] is not None
    await collector.stop()


@pytest.mark.parametrize("where", ["callback", "handler"])
def test_it_may_be_stopped_from_within(where: str) -> None:
    async def test() -> None:
        collector, exchange, _ = make_collector()

        async def stop(_: MarketDataPoint) -> None:
            await collector.stop()

        if where == "callback":
            collector.add_data_callback(DataType.TRADE, stop)
        else:
            collector._notify_callbacks = stop  # type: ignore[assignment,method-assign]
        assert await collector.start()
        exchange.messages.put_nowait(("BTC", 1))
        await asyncio.sleep(1)
        assert collector.get_status()["status"] == "stopped"
        assert exchange.open == 0

    virtually(test)()


@virtually
async def test_what_was_read_reaches_the_callbacks_before_a_stop_ends() -> None:
    collector, exchange, _ = make_collector()
    taken: list[int] = []

    async def slow(point: MarketDataPoint) -> None:
        await asyncio.sleep(0.01)
        taken.append(point.data["n"])

    collector.add_data_callback("trade", slow)
    assert await collector.start()
    for number in range(100):
        exchange.messages.put_nowait(("BTC", number))
    await asyncio.sleep(0.005)
    await collector.stop()
    assert taken == list(range(100))
    assert collector.get_status()["resources"]["dropped_points"] == 0


def test_a_program_that_ends_without_a_stop_still_disconnects() -> None:
    exchange = Exchange()

    async def program() -> ScriptedCollector:
        collector = ScriptedCollector(exchange, LoopClock(asyncio.get_running_loop()))
        assert await collector.start()
        return collector

    collector = asyncio.run(program())
    assert exchange.open == 0
    assert collector.get_status()["status"] == "stopped"

    async def again() -> None:
        assert await collector.start()
        await collector.stop()

    asyncio.run(again())
    assert exchange.calls["connect"] == 2
