"""All three exchanges: every row is the truth, and trouble of one of them stays its own."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest
import structlog

from market.markets import Exchange
from market.timeframes import COLLECTED, DAY_MS, Timeframe
from tests.fixtures.exchange_answers import our_key
from tests.fixtures.jobs import JobRunner, OpenRunner, asked, by_key
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

ALL: Final = ",".join(Exchange)
OKX: Final = Exchange.OKX
HISTORY: Final = {"history_candles": 60, "funding_history": 30}


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    counts = {str(exchange): 4 for exchange in Exchange}
    return start_simulator(**counts, now=NOW_MS, frozen=True)


async def refresh(runner: JobRunner, timeframe: Timeframe) -> dict[str, Any]:
    """The document after a run of its job."""
    await runner.complete(f"collect:{timeframe.collected_as}")
    document: dict[str, Any] = await runner.document(timeframe)
    return document


def truth_of(runner: JobRunner, document: Mapping[str, Any]) -> dict[str, Any]:
    settings = runner.context.settings
    told = runner.exchanges.truth(
        document["timeframe"],
        candles=settings.history_candles,
        funding_history=settings.funding_history,
        as_of=document["as_of"],
    )
    return {our_key(key): rows for key, rows in told.items()}


def rows_of(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: market["rows"] for key, market in by_key(document).items()}


async def test_every_row_of_every_timeframe_is_true(
    exchanges: Simulator, open_runner: OpenRunner
) -> None:
    async with open_runner(exchanges, exchanges=ALL, **HISTORY) as runner:
        await runner.complete("funding")
        for timeframe in COLLECTED:
            document = await refresh(runner, timeframe)
            assert rows_of(document) == truth_of(runner, document), timeframe
            assert document["missing"] == []
            assert {market["exchange"] for market in document["markets"]} == set(Exchange)
            if timeframe is Timeframe.H4:
                eight = await runner.document(Timeframe.H8)
                assert rows_of(eight) == truth_of(runner, eight)
        assert exchanges.stats()["limits_broken"] == {}
        assert exchanges.stats()["rejected"] == []
        # An hour later only what is new is asked for.
        exchanges.post("/sim/clock", {"advance_ms": 3_600_000})
        await runner.complete("funding")
        document = await refresh(runner, Timeframe.H1)
        assert rows_of(document) == truth_of(runner, document)


def without(rows: list[list[Any]], column: int, until_ms: int) -> list[list[Any]]:
    """The rows with null in one column of those that open before a time."""
    return [[*row[:column], None, *row[column + 1 :]] if row[0] < until_ms else row for row in rows]


def told_of(document: Mapping[str, Any]) -> dict[tuple[str, str | None, str], str]:
    return {
        (lack["exchange"], lack["symbol"], lack["part"]): lack["reason"]
        for lack in document["missing"]
    }


def whole(part: str, since_ms: int) -> dict[tuple[str, str | None, str], str]:
    """What `missing` says of OKX once, whatever it has of markets."""
    return {("okx", None, part): f"okx serves none from before {since_ms}"}


@pytest.mark.parametrize("lacks", [0, 1, 2])
async def test_newest_candles_asked_of_the_history_may_lack_there(
    start_simulator: StartSimulator, open_runner: OpenRunner, lacks: int
) -> None:
    """Some are, as it has a limit of its own; whether it has the newest ones, nobody says."""
    option = {"okx_history_lacks": lacks}
    exchanges = start_simulator(okx=25, bybit=0, binance=0, now=NOW_MS, frozen=True, **option)
    async with open_runner(exchanges, exchanges="okx", **HISTORY) as runner:
        for advanced_ms in (0, 300_000):
            exchanges.post("/sim/clock", {"advance_ms": advanced_ms})
            exchanges.post("/sim/stats/reset")
            await runner.complete("funding")
            document = await refresh(runner, Timeframe.M5)
            assert rows_of(document) == truth_of(runner, document)
            paths = Counter(request["endpoint"] for request in asked(exchanges, "okx"))
            assert paths["history_klines"] > 0
            # What lacked was asked for where the newest candles are.
            assert paths["klines"] >= 25 if lacks else paths["klines"] <= 23


async def test_what_the_exchange_keeps_no_longer_is_null_and_told_once(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    step_ms = Timeframe.M5.interval_ms
    exchanges = start_simulator(okx=3, bybit=1, binance=0, now=NOW_MS, frozen=True, no_limits=True)
    long = {"exchanges": "bybit,okx", "history_candles": 2000, "funding_history": 60}
    async with open_runner(exchanges, **long) as runner:
        await runner.complete("funding")
        document = await refresh(runner, Timeframe.M5)
        served_ms = -(-(NOW_MS - 1440 * step_ms) // step_ms) * step_ms
        truth = truth_of(runner, document)
        assert len(truth["okx:BTCUSDT"]) == 2000
        assert rows_of(document) == {
            key: without(rows, 7, served_ms if key.startswith("okx") else 0)
            for key, rows in truth.items()
        }
        assert told_of(document) == whole("open_interest", served_ms)
        endpoints = {request["endpoint"] for request in asked(exchanges, "okx")}
        assert endpoints >= {"klines", "history_klines"}
        assert exchanges.stats()["rejected"] == []
        # An hour later a document is what a first one would be: it lacks an hour more.
        exchanges.post("/sim/clock", {"advance_ms": 3_600_000})
        await runner.complete("funding")
        document, served_ms = await refresh(runner, Timeframe.M5), served_ms + 3_600_000
        assert rows_of(document) == {
            key: without(rows, 7, served_ms if key.startswith("okx") else 0)
            for key, rows in truth_of(runner, document).items()
        }
        assert told_of(document) == whole("open_interest", served_ms)


async def test_three_months_of_rates_in_documents_of_days(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    exchanges = start_simulator(okx=2, bybit=1, binance=1, now=NOW_MS, frozen=True, no_limits=True)
    async with open_runner(
        exchanges, exchanges=ALL, history_candles=200, funding_history=2000
    ) as runner:
        await runner.complete("funding")
        document = await refresh(runner, Timeframe.D1)
        served_ms = -(-(NOW_MS - 90 * DAY_MS) // DAY_MS) * DAY_MS
        found, truth = rows_of(document), truth_of(runner, document)
        for key, rows in truth.items():
            if key.startswith("okx"):
                known_ms = next(row[0] for row in found[key] if row[8] is not None)
                assert served_ms - DAY_MS <= known_ms <= served_ms
                assert found[key] == without(rows, 8, known_ms)
        told = told_of(document)
        assert [key for key in told if key[0] == "okx"] == [("okx", None, "funding_rate")]
        known = max(
            next(row[0] for row in rows if row[8] is not None)
            for key, rows in found.items()
            if key.startswith("okx")
        )
        assert (
            told["okx", None, "funding_rate"]
            == whole("funding_rate", known)["okx", None, "funding_rate"]
        )


def code(number: int, **more: object) -> dict[str, object]:
    return {"kind": "okx_code", "code": number, "exchange": "okx", **more}


# A run gets over these, and every row is true.
PASSING: Final = {
    "too fast, HTTP 429": [code(50011, endpoint="klines", count=2)],
    "too fast, HTTP 200": [code(50011, status=200, endpoint="open_interest", count=2)],
    "busy": [code(50013, endpoint="klines", count=2)],
    "unavailable": [code(50001, endpoint="klines", count=2)],
    "time out": [code(50004, endpoint="open_interest", count=2)],
    "a list cut short": [{"kind": "truncated_json", "exchange": "okx", "endpoint": "klines",
                          "count": 1}],
}  # fmt: skip
# These cost what they are about, and nothing else.
LASTING: Final = {
    "country": [{"kind": "geo", "exchange": "okx"}],
    "unavailable": [code(50001)],
    "no candles": [code(50026, endpoint=["klines", "history_klines"])],
}


@pytest.mark.parametrize("faults", PASSING.values(), ids=PASSING)
async def test_what_passes_costs_no_row(
    exchanges: Simulator, open_runner: OpenRunner, faults: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)
    async with open_runner(exchanges, exchanges=ALL, **HISTORY) as runner:
        await runner.complete("funding")
        runner.fault(*faults)
        document = await refresh(runner, Timeframe.H4)
        assert rows_of(document) == truth_of(runner, document)
        assert document["missing"] == []


@pytest.mark.parametrize("faults", LASTING.values(), ids=LASTING)
async def test_trouble_of_one_exchange_stays_its_own(
    exchanges: Simulator, open_runner: OpenRunner, faults: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)
    async with open_runner(exchanges, exchanges=ALL, **HISTORY) as runner:
        await runner.complete("funding")
        before = await refresh(runner, Timeframe.H4)
        exchanges.post("/sim/clock", {"advance_ms": 4 * 3_600_000})
        runner.fault(*faults)
        document = await refresh(runner, Timeframe.H4)
        truth = truth_of(runner, document)
        found = rows_of(document)
        for key in truth:
            if key.startswith("okx"):  # its closed rows of before stay, but for those too old now
                first_ms = found[key][0][0]
                old = [row[:7] for row in by_key(before)[key]["rows"] if row[0] >= first_ms]
                assert [row[:7] for row in found[key]] == old[:-1]
                assert by_key(document)[key]["stale_since"] is not None
            else:
                assert [row[:8] for row in found[key]] == [row[:8] for row in truth[key]]
        assert {lack["exchange"] for lack in document["missing"]} == {"okx"}
        runner.well_again()
        await runner.complete("funding")
        document = await refresh(runner, Timeframe.H4)
        assert rows_of(document) == truth_of(runner, document)


EVERYTHING: Final = [
    "time", "klines", "history_klines", "open_interest", "funding", "funding_now", "instruments",
    "tickers",
]  # fmt: skip


@pytest.mark.parametrize("away", [EVERYTHING, EVERYTHING[1:3]], ids=["all", "candles"])
async def test_a_maintenance_is_told_with_its_end(
    exchanges: Simulator, open_runner: OpenRunner, away: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)
    async with open_runner(exchanges, exchanges=ALL, **HISTORY) as runner:
        await runner.complete("funding")
        await refresh(runner, Timeframe.H4)
        assert not [r for r in asked(exchanges, "okx") if r["endpoint"] == "system_status"]
        exchanges.post("/sim/clock", {"advance_ms": 4 * 3_600_000})
        ends_ms = NOW_MS + 5 * 3_600_000
        ends = f"{datetime.fromtimestamp(ends_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
        told = {"kind": "okx_maintenance", "endpoint": "system_status", "lasts_s": 3600}
        for faults, reason in (
            ([code(50001, endpoint=away)], "50001"),
            ([told, code(50001, endpoint=away)],
             f"maintenance until {ends} (Trading system upgrade): 50001"),
        ):  # fmt: skip
            runner.fault(*faults)
            exchanges.post("/sim/stats/reset")
            document = await refresh(runner, Timeframe.H4)
            parts = ("klines", "listing")
            reasons = {lack["reason"] for lack in document["missing"] if lack["part"] in parts}
            assert reasons and all(reason in each for each in reasons)
            assert all(("maintenance" in each) == (told in faults) for each in reasons)
            assert {lack["exchange"] for lack in document["missing"]} == {"okx"}
            asked_for = Counter(request["endpoint"] for request in asked(exchanges, "okx"))
            assert asked_for["system_status"] == 1
            assert exchanges.stats()["limits_broken"] == {}
            exchanges.delete("/sim/faults")
        document = await refresh(runner, Timeframe.H4)
        await runner.complete("funding")
        document = await refresh(runner, Timeframe.H4)
        assert rows_of(document) == truth_of(runner, document)
        assert document["missing"] == []


async def test_a_busy_exchange_is_asked_again_at_the_same_pace(
    exchanges: Simulator, open_runner: OpenRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so with HTTP 429, but none of its limits was broken."""
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)
    async with open_runner(exchanges, exchanges=ALL, **HISTORY) as runner:
        await runner.complete("funding")
        runner.fault(code(50013, endpoint="klines", count=2))
        with structlog.testing.capture_logs() as logs:
            document = await refresh(runner, Timeframe.H4)
        assert rows_of(document) == truth_of(runner, document)
        assert document["missing"] == []
    statuses = [request["status"] for request in asked(exchanges, "okx")]
    assert statuses.count(429) == 2
    assert not {"exchange_slowed_down", "exchange_paused"} & {log["event"] for log in logs}


async def test_an_unknown_instrument_is_one_market(
    exchanges: Simulator, open_runner: OpenRunner
) -> None:
    async with open_runner(exchanges, exchanges=ALL, **HISTORY) as runner:
        await runner.complete("funding")
        eth = {"symbol": "ETH-USDT-SWAP", "endpoint": ["klines", "history_klines"]}
        runner.fault(code(51001, status=200, **eth))
        document = await refresh(runner, Timeframe.H4)
        truth = truth_of(runner, document)
        gone = truth.pop("okx:ETHUSDT")
        assert gone and rows_of(document) == truth
        assert {(lack["symbol"], lack["part"]) for lack in document["missing"]} == {
            ("ETHUSDT", "klines")
        }


async def test_back_to_two_exchanges_and_on_to_three_again(
    exchanges: Simulator, open_runner: OpenRunner
) -> None:
    two = {**HISTORY, "exchanges": "binance,bybit"}
    three = {**HISTORY, "exchanges": ALL}
    async with open_runner(exchanges, **three) as runner:
        await runner.complete("funding")
        before = await refresh(runner, Timeframe.H4)
    exchanges.post("/sim/clock", {"advance_ms": 3_600_000})
    async with open_runner(exchanges, **two) as runner:
        for job in ("discovery", "funding"):
            await runner.complete(job)
        document = await refresh(runner, Timeframe.H4)
        of_two = {key: rows for key, rows in truth_of(runner, document).items() if key[:3] != "okx"}
        assert rows_of(document) == of_two
        assert document["missing"] == []
        # What is known of its markets stays in the database.
        coins = await runner.context.database.get_all_unique_coins(exchanges=[OKX], quote="USDT")
        assert {market.key for market in coins} == {
            key for key in by_key(before) if key.startswith("okx")
        }
    exchanges.post("/sim/clock", {"advance_ms": 3_600_000})
    async with open_runner(exchanges, **three) as runner:
        await runner.complete("funding")
        document = await refresh(runner, Timeframe.H4)
        assert rows_of(document) == truth_of(runner, document)
        assert document["missing"] == []
