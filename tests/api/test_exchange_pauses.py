"""DELETE /exchanges/{name}/pause lifts a pause for every process at this address."""

import asyncio
from typing import Any

import pytest

from budgets.rate_limits import RateLimits
from budgets.shared_budgets import SharedBudgets
from market.markets import Exchange
from stores.hot.event_log import EventLog
from stores.hot.store import HotStore
from tests.fixtures.api import ServedApi, StartApi, ask
from tests.fixtures.signals import until
from timing.clock import SystemClock
from venues.errors import Banned
from venues.venue import Endpoint, Request

BINANCE = Exchange.BINANCE
REQUEST = Request(BINANCE, Endpoint.TIME, "/", "weight")


def limits_of(store: HotStore) -> tuple[RateLimits, SharedBudgets]:
    """Those of one process."""
    shared = SharedBudgets(store, "default", SystemClock())
    limits = RateLimits(0.9, shared=shared)
    shared.listen(lambda exchange, *pause: limits.for_exchange(exchange).heard(*pause))
    return limits, shared


async def test_a_pause_is_lifted_for_all_processes(native_api: ServedApi) -> None:
    paused, first = limits_of(native_api.store)
    other, second = limits_of(native_api.store)
    try:
        await until(lambda: subscribers(native_api, 2))
        await paused.for_exchange(BINANCE).pause(300, "banned: too many requests")
        await until(lambda: holds(other.for_exchange(BINANCE).pause_left_s() > 200))
        code, _, told = await ask(native_api, "DELETE", "/exchanges/Binance/pause")
        assert code == 200
        assert 290 < told.pop("left_s") <= 300
        assert told == {
            **{"exchange": "binance", "egress_id": "default", "lifted": True},
            "cause": "banned: too many requests",
            "note": "The next request asks binance again. If it has banned the address, only it can"
            " end that: asking during a ban makes it longer.",
        }
        for each in (paused, other):
            exchange = each.for_exchange(BINANCE)
            await until(lambda exchange=exchange: holds(exchange.pause_left_s() == 0))  # type: ignore[misc]
            await exchange.admit(REQUEST)
    finally:
        await first.aclose()
        await second.aclose()
    entries = (await EventLog(native_api.store).read(None, {})).entries
    assert [(e.fields[b"state"], e.fields[b"exchange"]) for e in entries] == [
        (b"begun", b"binance"),
        (b"ended", b"binance"),
    ]
    code, _, told = await ask(native_api, "DELETE", "/exchanges/binance/pause")
    assert (code, told["lifted"], told["left_s"], told["cause"]) == (200, False, None, None)


async def test_a_process_that_heard_nothing_sees_the_mark(
    start_api: StartApi, store_settings: dict[str, Any]
) -> None:
    """As over Upstash, where nobody is told."""
    api = await start_api(**store_settings)
    shared = SharedBudgets(api.store, "default", SystemClock())
    limits = RateLimits(0.9, shared=shared).for_exchange(BINANCE)
    await limits.pause(300, "why")
    await ask(api, "DELETE", "/exchanges/binance/pause")
    await limits.admit(REQUEST)
    # The next pause is one of its own.
    await limits.pause(300, "again")
    assert not await SharedBudgets(api.store, "default", SystemClock()).was_lifted(BINANCE)
    with pytest.raises(Banned):
        await limits.admit(REQUEST)


async def test_who_may_lift_what(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, api_token="secret-token")
    code, _, told = await ask(api, "DELETE", "/exchanges/binance/pause")
    assert code == 401
    allowed = {"Authorization": "Bearer secret-token"}
    code, _, told = await ask(api, "DELETE", "/exchanges/kraken/pause", headers=allowed)
    assert (code, told["detail"]) == (
        404,
        "unknown exchange 'kraken': EXCHANGES are binance, bybit",
    )
    code, _, told = await ask(api, "DELETE", "/exchanges/bybit/pause", headers=allowed)
    assert (code, told["lifted"]) == (200, False)


async def holds(condition: bool) -> bool:
    await asyncio.sleep(0)
    return condition


async def subscribers(api: ServedApi, count: int) -> bool:
    """Whether so many processes listen for pauses."""
    channel = api.store.channel("paused:default")
    reply = await api.store.script(
        "listeners", "return redis.call('PUBLISH', ARGV[1], 'nothing')"
    ).run([], [channel], reply=int)
    return int(reply) >= count
