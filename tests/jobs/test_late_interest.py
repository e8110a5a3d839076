"""Open interest that no document waits for: what comes of documents, audits and bases meanwhile."""

import asyncio
from typing import Any, Final

import pytest

from data_collector import base_documents, interest_reads
from market.markets import Exchange
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.jobs import ALL, NoAudits, OneAudit, OpenRunner, by_key, lacks
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.jobs.test_closes import (
    CANDLE,
    CANDLES,
    MIDNIGHT_MS,
    Closes,
    Used,
    asked_of_all,
    lacks_of_markets,
    no_room,
)

EACH = 3
SETTINGS: Final = {"exchanges": ALL, "history_candles": CANDLES}


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, EACH), now=NOW_MS, frozen=True)


async def begun(closes: Closes) -> None:
    """First collections, and the close of midnight."""
    for job in ("discovery", "funding", "collect:all", "fill"):
        await closes.runner.complete(job)
    closes.go_to(MIDNIGHT_MS + 5_000)
    await closes.all()


@pytest.mark.parametrize("timeframe", ["1h", "6h"])
async def test_a_new_document_names_it_as_not_fetched_and_fill_brings_it(
    open_runner: OpenRunner,
    exchanges: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    timeframe: str,
) -> None:
    async with open_runner(exchanges, **SETTINGS, audits=NoAudits()) as runner:
        closes = Closes(runner)
        await begun(closes)
        whole = await runner.document(timeframe)
        for part in ("", ":meta", ":chunks"):
            await runner.context.store.execute("UNLINK", f"cache:{timeframe}{part}")
        monkeypatch.setattr(interest_reads, "_LONGEST_INTEREST_WAIT_S", 0.0)
        closes.go_to(MIDNIGHT_MS + 5 * MINUTE_MS + 5_000)
        await closes.all()
        document = await runner.document(timeframe)
        reasons = {(lack["part"], lack["reason"]) for lack in document["missing"]}
        assert reasons == {("open_interest", "not fetched yet")}
        await runner.complete("fill")
        found = by_key(await runner.document(timeframe))
        for key, market in by_key(whole).items():
            known = {row[0]: row[CANDLE] for row in market["rows"][:-1]}
            again = {row[0]: row[CANDLE] for row in found[key]["rows"] if row[0] in known}
            assert again == known, key


async def test_no_document_waits_for_an_audit_of_it(
    open_runner: OpenRunner, exchanges: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    audits = OneAudit()
    async with open_runner(exchanges, **SETTINGS, audits=audits) as runner:
        closes = Closes(runner)
        await begun(closes)
        key = sorted(by_key(await runner.document("15m")))[0]
        exchange, symbol = key.split(":")
        audits.chosen = key, Timeframe.M15
        monkeypatch.setattr(interest_reads, "_LONGEST_INTEREST_WAIT_S", 0.0)
        rule = {"exchange": exchange, "symbol": symbol, "endpoint": "open_interest"}
        exchanges.post("/sim/faults", rule | {"kind": "hold"})
        published = asyncio.Event()

        async def save(name: str, *args: Any, **options: Any) -> Any:
            meta = await save_to_cache(name, *args, **options)
            if name == "1h":
                published.set()
            return meta

        cache = runner.context.cache
        save_to_cache, cache.save_to_cache = cache.save_to_cache, save  # type: ignore[method-assign]
        closes.go_to(MIDNIGHT_MS + HOUR_MS + 5_000)
        running = asyncio.create_task(closes.all())
        async with asyncio.timeout(60):
            await published.wait()  # while the exchange holds the answer
        exchanges.delete("/sim/faults")
        assert (await running)["audit_requests"] == 0
        monkeypatch.undo()
        closes.go_to(MIDNIGHT_MS + HOUR_MS + 15 * MINUTE_MS + 5_000)
        assert (await closes.all())["audit_requests"] > 0
        for timeframe in ("5m", "15m", "1h"):
            assert lacks_of_markets(await closes.check(timeframe)) == {}


async def test_no_document_waits_for_that_of_a_market_that_is_read_anew(
    open_runner: OpenRunner, exchanges: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_runner(exchanges, **SETTINGS, audits=NoAudits()) as runner:
        closes = Closes(runner)
        await begun(closes)
        key = sorted(by_key(await runner.document("1d")))[0]
        exchange, symbol = key.split(":")
        runner.context.audits.suspect.add(key)
        monkeypatch.setattr(interest_reads, "_LONGEST_INTEREST_WAIT_S", 0.0)
        rule = {"exchange": exchange, "symbol": symbol, "endpoint": "open_interest"}
        exchanges.post("/sim/faults", rule | {"kind": "hold"})
        published = asyncio.Event()

        async def save(name: str, *args: Any, **options: Any) -> Any:
            meta = await save_to_cache(name, *args, **options)
            if name == "1d":
                published.set()
            return meta

        cache = runner.context.cache
        save_to_cache, cache.save_to_cache = cache.save_to_cache, save  # type: ignore[method-assign]
        closes.go_to(MIDNIGHT_MS + 15 * MINUTE_MS + 5_000)
        running = asyncio.create_task(closes.all())
        async with asyncio.timeout(20):
            await published.wait()  # while the exchange holds the answer
        exchanges.delete("/sim/faults")
        await running
        for timeframe in Timeframe:
            document = await closes.check(timeframe)
            assert lacks_of_markets(document) == {}
            truth = runner.truth(timeframe, candles=CANDLES, as_of=document["as_of"])
            rows = by_key(document)[key]["rows"]
            assert [row[CANDLE] for row in rows[:-1]] == [row[CANDLE] for row in truth[key][:-1]]


async def test_no_document_waits_for_old_snapshots_that_are_asked_for_again(
    open_runner: OpenRunner, exchanges: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A market with an old null, whose request failed at the close before."""
    market = {"exchange": "binance", "symbol": "BTCUSDT"}
    hole_ms = MIDNIGHT_MS - 4 * DAY_MS
    hole = {"kind": "missing_oi", **market, "times": [hole_ms]}
    exchanges.post("/sim/faults", [hole])
    async with open_runner(exchanges, **SETTINGS, audits=NoAudits()) as runner:
        closes, context = Closes(runner), runner.context
        await begun(closes)
        closes.go_to(MIDNIGHT_MS + 15 * MINUTE_MS + 5_000)
        failing = {"kind": "status", "status": 400, "endpoint": "open_interest"}
        exchanges.post("/sim/faults", failing | market)
        await closes.all()
        exchanges.delete("/sim/faults")
        free = await no_room(context)
        used = context.client.limits.for_exchange(Exchange.BINANCE).budgets["open_interest"]
        assert isinstance(used, Used)
        used.room = EACH
        monkeypatch.setattr(base_documents, "_LONGEST_WAIT_FOR_NULLS_S", 0.2)
        closes.go_to(MIDNIGHT_MS + HOUR_MS + 5_000)
        async with asyncio.timeout(30):
            result = await closes.all()
        assert result["requests"] == asked_of_all(HOUR_MS, EACH)
        document = await closes.check("1h")
        assert lacks(document) == {
            ("binance:BTCUSDT", "open_interest"): "it did not come in time, and is asked for again"
        }
        await free()
        monkeypatch.undo()
        closes.go_to(MIDNIGHT_MS + 2 * HOUR_MS + 5_000)
        result = await closes.all()
        assert result["requests"] > asked_of_all(HOUR_MS, EACH)
        for timeframe in Timeframe:
            document = await closes.check(timeframe)
            assert lacks_of_markets(document) == {}
            truth = runner.truth(timeframe, candles=CANDLES, as_of=document["as_of"])
            for key, found in by_key(document).items():
                rows = [row[CANDLE] for row in found["rows"][:-1]]
                assert rows == [row[CANDLE] for row in truth[key][:-1]], (timeframe, key)
