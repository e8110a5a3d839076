"""One market is wrong, gone or new: that is its own matter, and its reason is told."""

import asyncio
import re
from typing import Any

import pytest

from market.markets import Exchange
from tests.fixtures.exchange_answers import ANSWERS, our_key
from tests.fixtures.jobs import JobRunner, OpenRunner, asked, by_key, lacks
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

EACH = 4
ALL = ",".join(Exchange)
CANDLES = ["klines", "history_klines"]

# What an exchange may answer about a market, and a word of the reason that readers are given for
# the row that is left out; none where no row is lost.
NONSENSE = {
    "high_below_low": "impossible prices",
    "negative_volume": "volume is not a number of at least 0: '-1'",
    "unsorted": "",
    "duplicate": "",
    "off_grid": "time off the grid",
    "nan": "close is not a number: 'NaN'",
}
# Each begins without earlier rows: with a document of its own.
TIMEFRAMES = dict(zip(NONSENSE, ("5m", "15m", "30m", "1h", "2h", "6h"), strict=True))


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, EACH), now=NOW_MS, frozen=True)


def truth_of(exchanges: Simulator, document: Any) -> dict[str, Any]:
    told = exchanges.truth(document["timeframe"], candles=50, as_of=document["as_of"])
    return {our_key(key): rows for key, rows in told.items()}


def native(exchange: Exchange, symbol: str) -> dict[str, str]:
    """The market as faults name it."""
    return {"exchange": exchange, "symbol": ANSWERS[exchange].native(symbol)}


def assert_others_are_well(runner: JobRunner, document: Any, but: str) -> None:
    """All others are fresh, and as their exchange knows them (funding has not been fetched)."""
    truth = truth_of(runner.exchanges, document)
    others = {key: market for key, market in by_key(document).items() if key != but}
    assert len(others) >= len(Exchange) * EACH - 1
    for key, market in others.items():
        assert (market["stale_since"], market["checked_at"]) == (None, document["as_of"])
        assert [row[:8] for row in market["rows"]] == [row[:8] for row in truth[key]]
    assert {key for key, part in lacks(document) if part != "funding_rate"} <= {but}


async def known(runner: JobRunner) -> None:
    await runner.complete("discovery")
    await runner.complete("funding")


def assert_true_but_for_holes(runner: JobRunner, document: Any, key: str, reason: str) -> None:
    """The market is fresh and true, but for one row that is left out and told (none: no reason)."""
    market = by_key(document)[key]
    assert (market["stale_since"], market["checked_at"]) == (None, document["as_of"])
    truth = truth_of(runner.exchanges, document)
    true = {row[0]: row[:8] for row in truth[key]}
    found = {row[0]: row[:8] for row in market["rows"]}
    assert all(row == true[time_ms] for time_ms, row in found.items())
    told = lacks(document).get((key, "klines"), "")
    lacking = sorted(set(true) - set(found))
    if not reason:
        assert (lacking, told) == ([], "")
        return
    (hole,) = lacking
    assert reason in told
    assert re.match(rf"row at {hole + 61_000 if reason == NONSENSE['off_grid'] else hole} ", told)


@pytest.mark.parametrize("exchange", Exchange)
async def test_nonsense_about_one_market_costs_one_row(
    open_runner: OpenRunner, exchanges: Simulator, exchange: Exchange
) -> None:
    key = f"{exchange}:BTCUSDT"
    async with open_runner(exchanges, exchanges=ALL) as runner:
        await known(runner)
        for variant, reason in NONSENSE.items():
            name = TIMEFRAMES[variant]
            nonsense = {"kind": "nonsense", "variant": variant, **native(exchange, "BTCUSDT")}
            wrong = {**nonsense, "endpoint": CANDLES}
            # With earlier rows and without: after the first run they are two candles old.
            for _ in range(2):
                runner.fault(wrong)
                assert (await runner.complete(f"collect:{name}"))["carried_over"] == 0
                document = await runner.document(name)
                assert_true_but_for_holes(runner, document, key, reason)
                assert_others_are_well(runner, document, key)
                runner.well_again()
                exchanges.post("/sim/clock", {"advance_ms": 2 * document["interval_ms"]})


@pytest.mark.parametrize("exchange", Exchange)
async def test_nonsense_about_open_interest_costs_one_snapshot(
    open_runner: OpenRunner, exchanges: Simulator, exchange: Exchange
) -> None:
    key = f"{exchange}:BTCUSDT"
    async with open_runner(exchanges, exchanges=ALL) as runner:
        await known(runner)
        for variant, reason in NONSENSE.items():
            if variant == "high_below_low":
                continue  # candles only
            nonsense = {"kind": "nonsense", "variant": variant, **native(exchange, "BTCUSDT")}
            runner.fault({**nonsense, "endpoint": "open_interest"})
            await runner.complete(f"collect:{TIMEFRAMES[variant]}")
            document = await runner.document(TIMEFRAMES[variant])
            truth = truth_of(exchanges, document)
            pairs = zip(truth[key], by_key(document)[key]["rows"], strict=True)
            differing = [(true[0], row[7]) for true, row in pairs if true[:8] != row[:8]]
            told = {part for market, part in lacks(document) if market == key}
            # These are made of snapshots of 1h, and need few of them.
            finer = exchange == "bybit" and document["timeframe"] in ("2h", "6h")
            if not reason or (finer and not differing):
                assert (differing, told) == ([], set()), variant
            else:
                ((hole, value),) = differing
                assert value is None
                assert f" {str(hole)[:8]}" in lacks(document)[key, "open_interest"], variant
            assert by_key(document)[key]["checked_at"] == document["as_of"]
            assert_others_are_well(runner, document, key)
            runner.well_again()


async def asked_for(exchanges: Simulator, exchange: Exchange, least: int) -> set[str]:
    """The symbols that candles were asked for, once there are so many of them."""

    async def look() -> set[str]:
        requests = await asyncio.to_thread(asked, exchanges, exchange)
        found = {request["symbol"] for request in requests if request["endpoint"] in CANDLES}
        return found if len(found) >= least else set()

    return await until(look, within_s=20)


@pytest.mark.parametrize("exchange", Exchange)
async def test_delisted_and_listed_in_the_middle_of_a_run(
    open_runner: OpenRunner, exchanges: Simulator, exchange: Exchange
) -> None:
    async with open_runner(exchanges, exchanges=ALL, concurrency_limit=1) as runner:
        await known(runner)
        await runner.complete("collect:1h")
        before = by_key(await runner.document("1h"))
        runner.well_again()
        runner.fault({"kind": "slow", "seconds": 0.3, "endpoint": CANDLES})
        run = asyncio.create_task(runner.complete("collect:1h"))
        done = await asked_for(exchanges, exchange, 1)
        full = [key for key in before if key.startswith(exchange) and len(before[key]["rows"]) > 9]
        events = {key: native(exchange, key.partition(":")[2]) for key in full}
        gone = next(key for key in full if events[key]["symbol"] not in done)
        runner.fault({"kind": "delist", **events[gone]})
        day_ms = 86_400_000
        new = {"kind": "list_new", "exchange": exchange, "symbol": "NEWCOIN", "age_ms": day_ms}
        (listed,) = runner.fault(new)
        assert (await run)["carried_over"] == 1
        document = await runner.document("1h")
        assert re.search("symbol|instrument", lacks(document)[gone, "klines"].lower())
        assert by_key(document)[gone]["rows"] == before[gone]["rows"]
        assert set(by_key(document)) == set(before)
        assert_others_are_well(runner, document, gone)
        # Funding names it too, and the next look at the lists settles it.
        exchanges.post("/sim/clock", {"advance_ms": 8 * 3_600_000})
        await runner.complete("funding")
        assert {key for key, _ in lacks(await runner.document("global_fr"))} <= {gone}
        await runner.complete("discovery")
        runner.well_again()
        await runner.complete("collect:1h")
        document = await runner.document("1h")
        assert set(by_key(document)) == set(before) - {gone} | {our_key(listed["market"])}
        assert by_key(document)[our_key(listed["market"])]["rows"]
        assert_others_are_well(runner, document, "")
