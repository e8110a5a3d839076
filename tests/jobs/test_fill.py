"""The open interest of first collections is filled in, in the documents as they were published.

What the documents become is compared with collections of their own, which ask for everything at
once; the first documents are theirs without open interest.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data_collector.interest_answers import InterestAnswers
from documents.building import DocumentBuilder
from documents.reading import decode_series
from jobs import fill as fill_job
from jobs.fill import fetch_ahead
from market.columns import column_index
from market.markets import NOT_FETCHED_YET, Exchange, Missing
from market.rows import Rows
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from stores.hot.leases import Lease, try_acquire
from tests.fixtures.exchange_answers import ANSWERS
from tests.fixtures.jobs import ALL, JobRunner, NoAudits, OpenRunner, asked, by_key, lacks
from tests.fixtures.signals import until, until_true
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from worker import Worker

EACH = 3
MARKETS = EACH * len(Exchange)
ETH = [ANSWERS[exchange].native("ETHUSDT") for exchange in Exchange]
HISTORY = 40
INTEREST = 7
M5, M15, M30, H1, H2, H4, H6, H8, H12, D1 = Timeframe
SOME = (M15, H1, H4, H8)
OPEN_INTEREST = {"endpoint": "open_interest"}


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, EACH), now=NOW_MS, frozen=True, no_limits=True)


async def lease_of(runner: JobRunner) -> Lease:
    lease = await try_acquire(runner.context.store, "worker", holder="test", ttl_s=30)
    assert lease is not None
    return lease


async def collected(runner: JobRunner, timeframes: Iterable[Timeframe]) -> dict[Timeframe, Any]:
    """The documents of these timeframes, with everything in them."""
    await runner.complete("discovery")
    await runner.complete("funding")
    for timeframe in dict.fromkeys(each.collected_as for each in timeframes):
        await runner.complete(f"collect:{timeframe}")
    return {timeframe: await runner.document(timeframe) for timeframe in timeframes}


async def publish_first(
    runner: JobRunner,
    timeframes: Iterable[Timeframe],
    *,
    known_ms: int | None = None,
    missing: Iterable[Missing] = (),
    awaiting: frozenset[str] | None = None,
) -> None:
    """Publishes the documents as a first collection does: without open interest before `known_ms`,
    of all markets or those `awaiting`."""
    context = runner.context
    lease = await lease_of(runner)
    for timeframe in timeframes:
        stored = await context.cache.read(timeframe)
        assert stored is not None
        series, metas = decode_series(stored.inflate()), decode_series(stored.inflate()).metas()
        document = await runner.document(timeframe)
        builder = DocumentBuilder(timeframe, document["source"])
        lacks = list(missing)
        for key, each in series.items():
            rows = Rows.of(each.rows)
            values = rows.values.copy()
            if awaiting is None or key in awaiting:
                until_ms = known_ms if known_ms is not None else NOW_MS + DAY_MS
                values[rows.times < until_ms, column_index("open_interest")] = np.nan
                lacks.append(
                    Missing(
                        each.market.exchange, each.market.symbol, "open_interest", NOT_FETCHED_YET
                    )
                )
            builder.add(replace(each, rows=Rows(rows.times, values)), metas[key])
        as_of_ms = document["as_of"]
        version = await context.cache.next_version(timeframe, as_of_ms)
        text = builder.finish_deflated(
            version=version, as_of_ms=as_of_ms, updated_at_ms=as_of_ms, missing=lacks
        )
        await context.cache.save_to_cache(
            timeframe, text, version=version, as_of_ms=as_of_ms, updated_at_ms=as_of_ms, lease=lease
        )
    await lease.release()


def same_but_for_version(found: Any, expected: Any) -> None:
    """Header, rows, metadata and times, and what is missing, are those of the other document."""
    apart = ("version", "updated_at")
    assert {k: v for k, v in found.items() if k not in apart} == {
        k: v for k, v in expected.items() if k not in apart
    }


def interest_asked(exchanges: Simulator) -> int:
    return sum(
        sum(endpoints.get("open_interest", {}).values())
        for endpoints in exchanges.stats()["requests"].values()
    )


def nulls(document: Any, key: str) -> int:
    return sum(row[INTEREST] is None for row in by_key(document)[key]["rows"])


async def test_only_what_a_document_lacks_is_asked_for_and_changed(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    """The newest 26 hours are known, one market is whole, other reasons stay, and a snapshot that
    the exchange lacks stays null."""
    times = [NOW_MS // HOUR_MS * HOUR_MS - 30 * HOUR_MS]
    event = {"kind": "missing_oi", "exchange": "binance", "symbol": "BTCUSDT", "times": times}
    exchanges.post("/sim/faults", event)
    known_ms = NOW_MS - 26 * HOUR_MS
    others = [
        Missing(Exchange.BYBIT, None, "listing", "HTTP 502"),
        Missing(
            Exchange.BINANCE, "ETHUSDT", "funding_rate", "its funding has not been fetched yet"
        ),
        Missing(Exchange.BINANCE, "BTCUSDT", "klines", f"row at {NOW_MS - HOUR_MS} left out: odd"),
        Missing(Exchange.BINANCE, "BTCUSDT", "open_interest", "row at 3600000 left out: odd"),
    ]
    async with open_runner(exchanges, exchanges=ALL, history_candles=HISTORY) as runner:
        expected = (await collected(runner, [H1]))[H1]
        keys = frozenset(by_key(expected)) - {"bybit:BTCUSDT"}
        await publish_first(runner, [H1], known_ms=known_ms, missing=others, awaiting=keys)
        exchanges.post("/sim/stats/reset")
        await runner.complete("fill")
        document = await runner.document("1h")
        assert nulls(document, "binance:BTCUSDT") >= 1
        assert document["markets"] == expected["markets"]
        assert document["missing"] == [
            {
                "exchange": each.exchange,
                "symbol": each.symbol,
                "part": each.part,
                "reason": each.reason,
            }
            for each in sorted(others)
        ]
        of_bybit = {request["symbol"] for request in asked(exchanges, "bybit")}
        assert of_bybit == {"ETHUSDT", "SOLUSDT"}


async def test_a_market_whose_requests_fail_is_named_with_the_reason(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    """So that the next collections ask for it; the others get theirs."""
    async with open_runner(exchanges, exchanges=ALL, history_candles=HISTORY) as runner:
        expected = await collected(runner, SOME)
        await publish_first(runner, SOME)
        runner.fault({"kind": "status", "status": 404, "symbol": ETH, **OPEN_INTEREST})
        await runner.complete("fill")
        for name in SOME:
            document = await runner.document(name)
            reasons = lacks(document)
            assert {key for key, part in reasons} == {f"{of}:ETHUSDT" for of in Exchange}
            assert all("HTTP 404" in reason for reason in reasons.values()), reasons
            ours, full = by_key(document), by_key(expected[name])
            for key in ours:
                if key.endswith("ETHUSDT"):
                    assert nulls(document, key) == len(ours[key]["rows"])
                else:
                    assert ours[key] == full[key]
        runner.well_again()
        await runner.complete("collect:1h")
        assert nulls(await runner.document("1h"), "binance:ETHUSDT") == 0


async def test_markets_of_an_exchange_in_trouble_wait_for_a_later_run(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    """They are not handed to the collections, each of which would ask for all of their history."""
    async with open_runner(exchanges, exchanges=ALL, history_candles=HISTORY) as runner:
        expected = await collected(runner, SOME)
        await publish_first(runner, SOME)
        runner.fault({"kind": "geo", "exchange": "bybit"})
        result = await runner.complete("fill")
        assert result["left"] == {str(name): EACH for name in SOME}
        assert set(result["absent"]) == {"bybit"}
        for name in SOME:
            document = await runner.document(name)
            assert set(lacks(document).values()) == {NOT_FETCHED_YET}
            assert {key.partition(":")[0] for key, _ in lacks(document)} == {"bybit"}
            assert by_key(document)["binance:BTCUSDT"] == by_key(expected[name])["binance:BTCUSDT"]
        versions = {name: (await runner.document(name))["version"] for name in SOME}
        await runner.complete("fill")
        assert versions == {name: (await runner.document(name))["version"] for name in SOME}
        runner.well_again()
        assert "left" not in await runner.complete("fill")
        for name in SOME:
            same_but_for_version(await runner.document(name), expected[name])


async def test_a_market_that_is_gone_is_not_waited_for(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, exchanges=ALL, history_candles=HISTORY) as runner:
        await collected(runner, SOME)
        await publish_first(runner, SOME)
        exchanges.post(
            "/sim/faults", {"kind": "delist", "exchange": "binance", "symbol": "ETHUSDT"}
        )
        await runner.context.database.coin_records.set_enabled(["binance:BTCUSDT"], False)
        await runner.complete("fill")
        for name in SOME:
            reasons = lacks(await runner.document(name))
            assert reasons.keys() == {
                ("binance:BTCUSDT", "open_interest"),
                ("binance:ETHUSDT", "open_interest"),
            }
            assert reasons["binance:BTCUSDT", "open_interest"] == (
                "the market is not collected any more"
            )
            assert NOT_FETCHED_YET not in reasons.values()


async def test_a_run_gives_way_to_a_collection_and_goes_on_afterwards(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    """What it has got is not asked for again; the collection's newer documents are filled."""
    async with open_runner(exchanges, exchanges=ALL, history_candles=HISTORY) as runner:
        expected = await collected(runner, [M15, H1])
        await publish_first(runner, [M15, H1])
        before = {name: (await runner.document(name))["version"] for name in (M15, H1)}
        exchanges.post("/sim/stats/reset")
        hold = {"kind": "hold", "exchange": "bybit", "symbol": "ETHUSDT", **OPEN_INTEREST}
        runner.fault(hold)
        queue = runner.context.queue
        await queue.request("fill")
        lease = await lease_of(runner)
        job = await queue.take(lease)
        assert job is not None
        run = asyncio.create_task(
            Worker(runner.context, holder="r").run_one(job, lease, asyncio.Event())
        )
        # All others are answered; the held one's documents cannot be whole.
        got = 2 * (MARKETS - 1)
        await until_true(lambda: len(runner.context.interest) == got)
        await queue.request("collect:2h")
        assert await asyncio.wait_for(run, 20) == "complete"
        exchanges.delete("/sim/faults")
        record = await queue.get("fill")
        assert record is not None and record.last is not None and record.last.result is not None
        assert record.state == "queued"
        assert record.last.result["left"] == {"15m": MARKETS, "1h": MARKETS}
        assert record.last.result["published"] == []
        assert {name: (await runner.document(name))["version"] for name in before} == before
        gave_way = [runner.context.interest.gave_way]
        # The collection is next, as it was asked for before the new run.
        following = await queue.take(lease)
        assert following is not None and following.id == "collect:2h"
        await Worker(runner.context, holder="r").run_one(following, lease, asyncio.Event())
        await queue.abort("fill")
        await lease.release()
        # A close in between publishes newer documents, which await theirs as before.
        exchanges.post("/sim/clock", {"advance_ms": HOUR_MS})
        again = await collected(runner, [M15, H1])
        await publish_first(runner, [M15, H1], known_ms=NOW_MS - 4 * HOUR_MS)
        exchanges.post("/sim/stats/reset")
        result = await runner.complete("fill")
        assert "left" not in result
        assert interest_asked(exchanges) == 2 * MARKETS - got
        gave_way.append(runner.context.interest.gave_way)
        assert gave_way == [True, False]
        for name in (M15, H1):
            same_but_for_version(await runner.document(name), again[name])
        assert again[M15] != expected[M15]


async def test_a_first_collection_of_all_timeframes_is_completed(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    """It publishes candles and queues the job; then all is as one by one."""
    async with open_runner(exchanges, exchanges=ALL, history_candles=400) as runner:
        expected = await collected(runner, Timeframe)
        names = [f"cache:{name}{end}" for name in Timeframe for end in ("", ":meta", ":chunks")]
        await runner.context.store.execute("DEL", *names)
        exchanges.post("/sim/stats/reset")
        await runner.complete("collect:all")
        first = {name: await runner.document(name) for name in Timeframe}
        assert NOT_FETCHED_YET in lacks(first[H1]).values()
        assert nulls(first[H1], "binance:BTCUSDT") > 300
        queued = await runner.context.queue.get("fill")
        assert queued is not None and queued.state == "queued"
        before = interest_asked(exchanges)
        result = await runner.complete("fill")
        assert "left" not in result
        assert sorted(result["published"]) == [
            str(name) for name in sorted(Timeframe) if name != M5
        ]
        assert result["requests"] == interest_asked(exchanges) - before
        assert runner.context.interest.bytes == 0
        for name in Timeframe:
            document = await runner.document(name)
            same_but_for_version(document, expected[name])
            assert document["version"] == first[name]["version"] + (name != M5)
        # 5m with the base, 15m, 30m, and two pages of hours; what the pass begins with at last may
        # be cut off.
        ours = [each for each in asked(exchanges, "binance") if each["endpoint"] == "open_interest"]
        assert 5 * EACH <= len(ours) <= 5 * EACH + runner.context.client.concurrency
        assert (await runner.complete("fill"))["requests"] == 0  # there is nothing to do
        # The next collection has nothing to ask for that was filled in.
        exchanges.post("/sim/stats/reset")
        exchanges.post("/sim/clock", {"advance_ms": 90_000})
        await runner.complete("collect:all")
        assert interest_asked(exchanges) <= MARKETS
        assert not lacks(await runner.document("1h"))


async def test_a_longer_history_does_not_hold_up_a_pass(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    """The pass brings the candles and goes on with the open interest that is known."""
    settings = {"exchanges": ALL, "history_candles": 60, "audits": NoAudits()}
    async with open_runner(exchanges, **{**settings, "history_candles": 20}) as runner:
        for job in ("discovery", "funding", "collect:all", "fill"):
            await runner.complete(job)
    exchanges.post("/sim/clock", {"advance_ms": HOUR_MS})
    exchanges.post("/sim/stats/reset")
    async with open_runner(exchanges, **settings) as runner:
        await runner.complete("collect:all")
        assert interest_asked(exchanges) == MARKETS
        filled = False
        for name in (H1, H4, H8) * 2:
            document = await runner.document(name)
            truth = runner.truth(name, candles=60, as_of=document["as_of"])
            for key, market in by_key(document).items():
                found = [row[: INTEREST + 1] for row in market["rows"]]
                expected = [row[: INTEREST + 1] for row in truth[key]]
                if not filled:
                    assert found[-9:] == expected[-9:], (name, key)
                    assert any(row[INTEREST] is None for row in found)
                    found = [row[:INTEREST] for row in found]
                    expected = [row[:INTEREST] for row in expected]
                assert found == expected, (name, key)
            assert set(lacks(document).values()) == (set() if filled else {NOT_FETCHED_YET})
            if name is H8 and not filled:
                await runner.complete("fill")
                filled = True


async def test_what_was_fetched_ahead_is_not_asked_for_again_unless_the_process_ended(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    """As while a first collection still fetches candles."""
    async with open_runner(exchanges, exchanges=ALL, history_candles=HISTORY) as runner:
        expected = await collected(runner, [H1, H4, H8])
        for ended in (True, False):
            await publish_first(runner, [H1, H4, H8])
            context = runner.context
            markets = await context.database.get_all_unique_coins(**context.selection)
            await fetch_ahead(context, markets, [H1, H4], NOW_MS)
            assert len(context.interest) == MARKETS
            if ended:
                runner.context = replace(context, interest=InterestAnswers())
            exchanges.post("/sim/stats/reset")
            result = await runner.complete("fill")
            # 160 hours and the one that forms are two pages of OKX's.
            expected_requests = MARKETS + EACH if ended else 0
            assert result["requests"] == interest_asked(exchanges) == expected_requests
            assert sorted(result["published"]) == ["1h", "4h", "8h"]
            for name, document in expected.items():
                same_but_for_version(await runner.document(name), document)


async def test_a_document_made_of_another_is_completed_after_a_run_that_ended_between_the_two(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, exchanges=ALL, history_candles=HISTORY) as runner:
        expected = await collected(runner, [H4, H8])
        await publish_first(runner, [H8])
        version = (await runner.document("4h"))["version"]
        exchanges.post("/sim/stats/reset")
        assert (await runner.complete("fill"))["published"] == ["8h"]
        assert interest_asked(exchanges) == 0
        assert (await runner.document("4h"))["version"] == version
        same_but_for_version(await runner.document("8h"), expected[H8])


async def test_over_its_memory_a_run_publishes_what_it_has(
    open_runner: OpenRunner, exchanges: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill_job, "MOST_BYTES", 1000)
    async with open_runner(exchanges, exchanges=ALL, history_candles=HISTORY) as runner:
        expected = (await collected(runner, [H1]))[H1]
        await publish_first(runner, [H1])
        runner.fault({"kind": "hold", "exchange": "bybit", "symbol": "ETHUSDT", **OPEN_INTEREST})
        run = asyncio.create_task(runner.complete("fill"))

        async def in_part() -> bool:
            return set(lacks(await runner.document("1h"))) == {("bybit:ETHUSDT", "open_interest")}

        await until(in_part)
        assert runner.context.interest.bytes == 0
        exchanges.delete("/sim/faults")
        assert set((await run)["published"]) == {"1h"}
        same_but_for_version(await runner.document("1h"), expected)


async def test_a_run_that_is_wanted_elsewhere_from_the_start_asks_for_nothing(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, exchanges=ALL, history_candles=HISTORY) as runner:
        await collected(runner, [H1])
        await publish_first(runner, [H1])
        queue = runner.context.queue
        await queue.request("fill")
        await queue.request("collect:1h")
        lease = await lease_of(runner)
        job = await queue.take(lease, "fill")
        assert job is not None
        exchanges.post("/sim/stats/reset")
        await Worker(runner.context, holder="r").run_one(job, lease, asyncio.Event())
        assert interest_asked(exchanges) == 0
        following = await queue.take(lease)
        assert following is not None and following.id == "collect:1h"
        await lease.release()
        record = await queue.get("fill")
        assert record is not None and record.state == "queued"
        assert runner.context.interest.gave_way


async def test_damaged_documents_are_left_to_the_next_collection(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, exchanges=ALL, history_candles=HISTORY) as runner:
        expected = await collected(runner, [M15, H1])
        await publish_first(runner, [M15, H1])
        await runner.context.store.execute("SETRANGE", "cache:1h", "100", "damaged")
        result = await runner.complete("fill")
        assert result["published"] == ["15m"]
        same_but_for_version(await runner.document("15m"), expected[M15])
