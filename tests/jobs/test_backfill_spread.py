"""A backfill of which another host with an address of its own asks for a part."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jobs.backfill_spread as spread
from database import Database, SeriesKey
from history.backfill.asks import Ask
from history.backfill.requesting import Pricing, targets_of
from history.backfill.series import Series, Target, stages
from history.backfill.wanted import WHAT, Wanted, stored_wish, wish
from jobs.backfill_chunk import Chunk, ChunkEnd
from jobs.backfill_part import backfill_part
from jobs.backfill_queue import AskQueue
from market.markets import Exchange, Market
from market.timeframes import HOUR_MS, Timeframe
from stores.cold.pool import Connection
from tests.fixtures.jobs import ALL, JobRunner, OpenRunner
from tests.fixtures.parts import PartsHere
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.jobs.test_backfill import FROM_MS, H1, H4, H8, assert_is_truth
from tests.jobs.test_shards import ADDRESSES, beats
from workers.hosts import addresses_alive
from workers.run_handle import RunLost

HISTORY = ("klines", "history_klines", "open_interest", "funding")


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, 2), now=NOW_MS, frozen=True, latency_ms=10)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the simulator answers at once is shared, too."""
    monkeypatch.setattr(spread, "WORTH_SHARING_S", 0.0)
    monkeypatch.setattr(spread, "_LOOK_EVERY_S", 0.02)


async def ours(_: Connection) -> None:
    """The run is this host's."""


def asked_by(exchanges: Simulator) -> Counter[str]:
    requests = exchanges.get("/sim/requests")["requests"]
    return Counter(each["client"] for each in requests if each["endpoint"] in HISTORY)


Part = Callable[[JobRunner, Mapping[str, Any]], Any]


async def whole_part(runner: JobRunner, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return await backfill_part(runner.context, given, ours)


@contextlib.asynccontextmanager
async def hosts(
    open_runner: OpenRunner, exchanges: Simulator, part: Part = whole_part
) -> AsyncIterator[tuple[JobRunner, JobRunner, PartsHere]]:
    """Two hosts with addresses of their own; the first works on wishes, the second does `part`."""
    async with contextlib.AsyncExitStack() as opened:
        first, second = [
            await opened.enter_async_context(
                open_runner(
                    exchanges,
                    exchanges=ALL,
                    egress_id=name,
                    egress_address=ADDRESSES[name],
                    concurrency_limit=2,
                )
            )
            for name in ("one", "two")
        ]
        for each in (first, second):
            await beats(each)
        await first.complete("discovery")
        await first.complete("funding")
        exchanges.post("/sim/stats/reset")

        async def work(given: Mapping[str, Any]) -> Mapping[str, Any]:
            # As the engine hands it on: through JSON.
            return await part(second, orjson.loads(orjson.dumps(given)))  # type: ignore[no-any-return]

        here = PartsHere({"egress:two": {spread.WORKER: work}})
        first.context = replace(first.context, parts=here)
        yield first, second, here


async def wished(runner: JobRunner, **named: Any) -> int:
    context = runner.context
    wanted = wish(
        **{"from_ms": FROM_MS, "timeframes": ["1h", "4h"], **named},
        collected=context.settings.exchanges,
        usual=context.settings.timeframes,
        now_ms=NOW_MS,
    )
    return await context.database.backfills.add(wanted.plain(), context.now_ms())


async def test_two_hosts_store_what_one_stores_and_the_numbers_are_of_both(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with hosts(open_runner, exchanges) as (first, _, here):
        database = first.context.database
        wish_id = await wished(first)
        assert await addresses_alive(first.context.store) == 2
        alone_s, both_s = [await seconds_of(first, wish_id, addresses) for addresses in (1, 2)]
        assert both_s == pytest.approx(alone_s / 2)
        await first.complete("backfill")
        found = await database.backfills.find(wish_id)
        assert found is not None
        assert (found.state, dict(found.failures)) == ("complete", {})
        asked = asked_by(exchanges)
        assert {*asked} == {ADDRESSES["one"], ADDRESSES["two"]}, asked
        stats = exchanges.stats()
        assert (stats["limits_broken"], stats["rejected"]) == ({}, [])
        clocks = len(Exchange)  # of which each is asked once
        assert found.requests == asked.total() + clocks
        assert (found.done, found.total) == (found.total, found.total)
        await assert_is_truth(database, exchanges, (H1, H4, H8), interest=True)
        assert found.rows == await rows_of(database)
        assert {queue for _, queue, _ in here.asked} == {"egress:two"}


async def seconds_of(runner: JobRunner, wish_id: int, addresses: int) -> float:
    """What a dry run of the wish tells."""
    context = runner.context
    found = await context.database.backfills.find(wish_id)
    assert found is not None
    wanted = stored_wish(found.wanted)
    targets = await targets_of(context.database, wanted, quote="USDT", markets_limit=0)
    pricing = Pricing(context.settings, NOW_MS, addresses)
    return (await pricing.exact(context.database, wanted, targets)).seconds


async def rows_of(database: Database) -> int:
    """All that the record has."""
    async with database.history.snapshot() as snapshot:
        stored = await snapshot.versions(await keys_of(database), 0, 10**14)
    return sum(len(each.times) for each in stored.values())


async def keys_of(database: Database) -> list[Any]:
    markets = await database.get_all_unique_coins(
        exchanges=tuple(Exchange), quote="USDT", markets_limit=0
    )
    return [
        key
        for market in markets
        for key in (
            SeriesKey.funding(market.exchange, market.symbol),
            SeriesKey.open_interest(market.exchange, market.symbol),
            *(SeriesKey.candles(market.exchange, market.symbol, each) for each in Timeframe),
        )
    ]


async def dies(runner: JobRunner, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """It has asked for some, and stored it."""
    before = runner.context.client.requests
    working = asyncio.ensure_future(whole_part(runner, given))

    async def has_asked() -> bool:
        return runner.context.client.requests > before + 1 or working.done()

    await until(has_asked)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    raise ConnectionError("this host is dead")


async def cannot_ask(runner: JobRunner, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The exchange refuses its address, and answers others."""
    return {"over": "no exchange answers here", "left": [*range(len(given["asks"]))]}


async def is_frozen(_: JobRunner, __: Mapping[str, Any]) -> Mapping[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(
    "part",
    [
        dies,
        pytest.param(cannot_ask, marks=pytest.mark.slow),
        pytest.param(is_frozen, marks=pytest.mark.slow),
    ],
)
async def test_what_the_other_host_does_not_bring_is_asked_for_here(
    open_runner: OpenRunner, exchanges: Simulator, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "_LATE_S", 0.3)
    async with hosts(open_runner, exchanges, part) as (first, _, here):
        wish_id = await wished(first, timeframes=["4h"])
        await first.complete("backfill")
        found = await first.context.database.backfills.find(wish_id)
        assert found is not None
        assert (found.state, dict(found.failures)) == ("complete", {})
        assert (found.done, found.total) == (found.total, found.total)
        assert here.asked
        await assert_is_truth(first.context.database, exchanges, (H4, H8), interest=False)


async def test_cancelling_a_wish_ends_what_others_do_of_it(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with hosts(open_runner, exchanges, is_frozen) as (first, _, here):
        wish_id = await wished(first)
        working = asyncio.ensure_future(first.complete("backfill"))

        async def is_given() -> bool:
            return bool(here.asked)

        await until(is_given)
        await first.context.database.backfills.cancel(wish_id, NOW_MS)
        await working
        assert here.abandoned == {*here.tasks}
        assert all(task.done() for task in here.tasks.values())


async def test_a_chunk_stores_nothing_once_nobody_waits_for_it(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with hosts(open_runner, exchanges) as (first, second, here):
        wish_id = await wished(first, timeframes=["4h"])
        chunks: list[Mapping[str, Any]] = []

        async def keep(given: Mapping[str, Any]) -> Mapping[str, Any]:
            chunks.append(given)
            return await is_frozen(second, given)

        here.hosts = {"egress:two": {spread.WORKER: keep}}
        working = asyncio.ensure_future(first.complete("backfill"))

        async def is_given() -> bool:
            return bool(chunks)

        await until(is_given)
        database = second.context.database
        given = chunks[0]
        exchanges.post("/sim/stats/reset")

        async def lost(_: Connection) -> None:
            raise RunLost("another host has taken it over")

        with pytest.raises(RunLost):
            await backfill_part(second.context, given, lost)
        chunk = Chunk.decoded(given)
        ask = chunk.asks[0]
        window = ask.from_ms, ask.to_ms
        assert await database.history.missing(ask.series.key, *window) == [window]
        # Another holder has the lane, or the wish is over.
        other = {**given, "lease": "1 nonce somebody"}
        before = second.context.client.requests
        assert "over" in await backfill_part(second.context, other, ours)
        await database.backfills.cancel(wish_id, NOW_MS)
        assert "over" in await backfill_part(second.context, given, ours)
        assert second.context.client.requests == before
        await working


def series_of(exchange: Exchange, what: str, symbol: str = "BTCUSDT") -> list[Series]:
    timeframes = (H1, H4, H8)
    wanted = Wanted((exchange,), timeframes, tuple(each for each in WHAT if each == what), 0)
    market = Market(exchange, symbol, "BTC", "USDT", 5, f"{symbol}-native", 0.01, 7)
    return [Series(stage, Target(market, None, 4)) for stage in stages(exchange, wanted)]


@pytest.mark.parametrize("exchange", list(Exchange))
@pytest.mark.parametrize("what", WHAT)
def test_a_chunk_is_the_same_after_its_way(exchange: Exchange, what: str) -> None:
    for series, other in zip(
        series_of(exchange, what), series_of(exchange, what, "ETHUSDT"), strict=True
    ):
        asks = [
            Ask(each, n * HOUR_MS, (n + 2) * HOUR_MS) for each in (series, other) for n in (3, 1)
        ]
        chunk = Chunk(7, "backfill", "1 a b", NOW_MS, asks)
        again = Chunk.decoded(orjson.loads(orjson.dumps(chunk.encoded())))
        assert again == chunk
        assert [vars_of(ask) for ask in again.asks] == [vars_of(ask) for ask in asks]


def vars_of(ask: Ask) -> list[object]:
    """Also what does not count for equality."""
    market = ask.series.market
    names = ("launched_ms", "native", "contract_size", "since_ms")
    return [ask.series.step_ms, *(getattr(market, name) for name in names)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=40)
@given(JSON, st.sampled_from(["wish", "markets", "asks", "period", "what", "makes", "now"]))
def test_what_is_no_chunk_is_refused(value: Any, name: str) -> None:
    asks = [Ask(series_of(Exchange.BYBIT, "candles")[0], 0, HOUR_MS * 8)]
    encoded = {**Chunk(1, "backfill", "1 a b", NOW_MS, asks).encoded(), name: value}
    for found in (value, encoded):
        with contextlib.suppress(ValueError):
            assert Chunk.decoded(found).asks
        with contextlib.suppress(ValueError):
            assert ChunkEnd.decoded(found, 1) is None  # it is no end


async def test_a_queue_gives_each_ask_once_and_again_what_comes_back() -> None:
    stage = series_of(Exchange.BYBIT, "candles")[0]
    asks = [Ask(stage, n * HOUR_MS, (n + 1) * HOUR_MS) for n in range(6)]

    def lazily() -> Iterator[Ask]:
        yield from asks

    queue = AskQueue(lazily())
    taken = await queue.take()
    assert taken is not None and (taken.ask, taken.came_back) == (asks[0], False)
    assert queue.give(3) == asks[1:4]
    assert [(await queue.take()) for _ in range(2)] == [(asks[4], False), (asks[5], False)]
    waiting = [asyncio.ensure_future(queue.take()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    queue.ended(3, [asks[2]])
    found = await asyncio.gather(*waiting)
    assert sorted(each is None for each in found) == [False, True, True]
    assert [each for each in found if each] == [(asks[2], True)]
