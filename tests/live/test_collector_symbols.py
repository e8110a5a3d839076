"""Symbols added and removed while a collector runs."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from tests.live.scripted_collector import (
    make_collector,
    statistics,
)
from tests.live.virtual_time import virtually


@virtually
async def test_symbols_are_added_and_removed_while_it_waits_for_a_message() -> None:
    collector, exchange, taken = make_collector()
    assert await collector.start()
    collector.add_symbol("SOL")
    collector.add_symbol("SOL")
    collector.remove_symbol("BTC")
    status = collector.get_status()
    assert status["symbols"] == ["ETH", "SOL"]
    assert status["pending"] == {"subscribe": ["SOL"], "unsubscribe": ["BTC"]}
    await asyncio.sleep(1.5)
    assert exchange.subscribed == {"ETH", "SOL"}
    assert collector.get_status()["pending"] == {"subscribe": [], "unsubscribe": []}
    for symbol in ("BTC", "SOL"):  # an exchange sends what was unsubscribed for a while
        exchange.messages.put_nowait((symbol, 1))
    await asyncio.sleep(1)
    assert taken == [("SOL", 1)]
    assert statistics(collector)["ignored_too_late"] == 1
    collector.add_symbol("BTC")
    await asyncio.sleep(1.5)
    exchange.messages.put_nowait(("BTC", 2))
    await asyncio.sleep(1)
    assert taken == [("SOL", 1), ("BTC", 2)]
    assert exchange.calls["connect"] == 1
    await collector.stop()


@virtually
async def test_a_busy_loop_changes_symbols_between_two_messages() -> None:
    collector, exchange, _ = make_collector()
    assert await collector.start()
    collector.add_symbol("SOL")
    await asyncio.sleep(0)  # the loop hears of it
    exchange.messages.put_nowait(("BTC", 1))
    await asyncio.sleep(0.01)
    assert exchange.subscribed == {"BTC", "ETH", "SOL"}
    await collector.stop()


@virtually
async def test_a_refused_symbol_stays_pending_and_harms_nothing() -> None:
    collector, exchange, taken = make_collector()
    assert await collector.start()
    exchange.moods["subscribe"] = "false"
    collector.add_symbol("NONE")
    for _ in range(20):
        exchange.messages.put_nowait(("BTC", 1))
        await asyncio.sleep(30)
    assert len(taken) == 20
    assert collector.get_status()["pending"]["subscribe"] == ["NONE"]
    # After 1, 2, 4 ... 32 s and then every minute: the 600 s hold 6 and about 9.
    assert 12 <= exchange.calls["subscribe"] - 1 <= 17
    exchange.moods["subscribe"] = "ok"
    await asyncio.sleep(62)
    assert exchange.subscribed == {"BTC", "ETH", "NONE"}
    assert exchange.calls["connect"] == 1
    await collector.stop()


@virtually
async def test_a_list_of_symbols_that_the_user_changed_is_noticed() -> None:
    collector, exchange, _ = make_collector()
    assert await collector.start()
    collector.symbols.append("SOL")
    await asyncio.sleep(31)
    exchange.messages.put_nowait(("BTC", 1))
    await asyncio.sleep(2)
    assert exchange.subscribed == {"BTC", "ETH", "SOL"}
    await collector.stop()


@virtually
async def test_symbols_changed_while_stopped_are_subscribed_at_the_start() -> None:
    collector, exchange, _ = make_collector()
    collector.remove_symbol("BTC")
    collector.add_symbol("SOL")
    assert await collector.start()
    assert exchange.subscribed == {"ETH", "SOL"}
    await collector.stop()


async def test_two_threads_that_add_symbols_at_once_lose_none() -> None:
    both_read = threading.Barrier(2, timeout=0.2)

    class Slow(list[str]):
        """A list whose reader waits for another one, for a while."""

        def __iter__(self) -> Iterator[str]:
            with contextlib.suppress(threading.BrokenBarrierError):
                both_read.wait()
            return super().__iter__()

    collector, _, _ = make_collector()
    collector.symbols = Slow(collector.symbols)
    added = (asyncio.to_thread(collector.add_symbol, symbol) for symbol in ("SOL", "XRP"))
    await asyncio.gather(*added)
    assert sorted(collector.symbols) == ["BTC", "ETH", "SOL", "XRP"]
