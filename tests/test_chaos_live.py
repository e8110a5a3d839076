"""The chaos run's looks at live data find what is planted: in forming rows, freshness, clocks."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from chaos.candle_log import problem_of, proven
from chaos.checks import COLUMNS, INTERVALS_MS, Facts, Truth, check_candles, last_closed
from chaos.exchange_clock import ExchangeClock, PassedOver
from chaos.freshness import (
    AFTER_FAULT_S,
    SOON_S,
    UNTOLD_S,
    Disturbance,
    Freshness,
    has_closed,
    owed_s,
)
from chaos.stream_faults import STREAM_FAULTS, UNTOLD, stream_fault
from chaos.truth import MarketTruth
from simulator.streams.fault_kinds import STREAM_KINDS
from tests.fixtures.simulator import NOW_MS, Simulator

_ROOT: Final = Path(__file__).resolve().parents[1]
CANDLES: Final = 60
M5_MS: Final = 300_000
WRITTEN_MS: Final = NOW_MS + 20_000


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    simulator = Simulator({"binance": 2, "bybit": 2, "okx": 2, "now": NOW_MS, "frozen": True})
    yield simulator
    simulator.stop()


def flowing(sim: Simulator, name: str, *moments_ms: int) -> list[Truth]:
    """The truth of a collection at NOW_MS that was written at WRITTEN_MS, and at other moments."""

    async def ask_all() -> list[Truth]:
        async with aiohttp.ClientSession(sim.base_url) as session:

            async def ask(path: str) -> Any:
                async with session.get(path) as answer:
                    assert answer.status == 200, await answer.text()
                    return await answer.json()

            book = MarketTruth(ask, candles=CANDLES, settlements=30)
            markets = sim.get("/sim/markets")["markets"]
            book.symbols |= {market["symbol"] for market in markets if market["collected"]}
            try:
                whole = await book.flowing_at(name, NOW_MS, WRITTEN_MS)
                return [whole, *[await book.flowing_at(name, at, at) for at in moments_ms]]
            finally:
                await book.aclose()

    return asyncio.run(ask_all())


def document(truth: Truth, name: str) -> Any:
    markets: list[Any] = [
        {
            "exchange": key.partition(":")[0], "symbol": key.partition(":")[2], "base": "B",
            "quote": "USDT", "meta": {}, "checked_at": NOW_MS, "stale_since": None,
            "rows": [list(row) for row in rows.values()],
        }
        for key, rows in sorted(truth.rows.items())
    ]  # fmt: skip
    return {
        "timeframe": name, "interval_ms": INTERVALS_MS[name], "version": NOW_MS, "as_of": NOW_MS,
        "updated_at": NOW_MS, "last_closed_open_time": last_closed(name, NOW_MS),
        "source": "collected", "columns": list(COLUMNS), "markets": markets, "missing": [],
    }  # fmt: skip


def problems(found: Any, truth: Truth, name: str) -> list[str]:
    facts = Facts(CANDLES, {NOW_MS: truth}, [NOW_MS, WRITTEN_MS])
    return check_candles(name, found, facts).problems


@pytest.mark.parametrize("name", ["5m", "1h"])
def test_a_forming_row_is_of_a_moment_until_the_document_was_written(
    sim: Simulator, name: str
) -> None:
    m5_ms = NOW_MS - NOW_MS % M5_MS
    truth, early, late, later = flowing(
        sim, name, m5_ms + 30_000, WRITTEN_MS - 5_000, WRITTEN_MS + 60_000
    )
    found = document(truth, name)
    assert problems(found, truth, name) == []
    key = sorted(truth.rows)[0]
    rows = found["markets"][0]["rows"]

    def with_newest(other: Truth) -> list[str]:
        rows[-1] = list(other.rows[key][rows[-1][0]])
        rows[-1][7] = truth.rows[key][rows[-1][0]][7]
        return problems(found, truth, name)

    assert with_newest(early) == []  # streams tell forming candles some seconds late
    assert with_newest(late) == []
    assert with_newest(later)  # nobody could know it yet
    assert with_newest(truth) == []
    for column, change in ((2, 1.5), (3, 0.5), (1, 1.01), (5, 2.0)):
        spoilt = list(rows[-1])
        rows[-1][column] *= change
        assert problems(found, truth, name), COLUMNS[column]
        rows[-1] = spoilt


def test_a_forming_row_has_at_least_its_closed_candles(sim: Simulator) -> None:
    m5_ms = NOW_MS - NOW_MS % M5_MS
    truth, closed, older = flowing(sim, "1h", m5_ms, m5_ms - 60_000)
    found, key = document(truth, "1h"), sorted(truth.rows)[0]
    rows = found["markets"][0]["rows"]
    for other, told in ((closed, False), (older, True)):
        rows[-1] = list(other.rows[key][rows[-1][0]])
        rows[-1][7] = truth.rows[key][rows[-1][0]][7]
        assert bool(problems(found, truth, "1h")) is told
    rows.pop()
    assert problems(found, truth, "1h")  # its closed candles are known
    in_5m = flowing(sim, "5m")[0]
    found = document(in_5m, "5m")
    found["markets"][0]["rows"].pop()
    assert problems(found, in_5m, "5m") == []  # streams have not told of it yet


@pytest.mark.parametrize("row", [-2, -10])
def test_a_closed_row_is_exact_though_time_flows(sim: Simulator, row: int) -> None:
    """A candle that was closed in an earlier state, as by a clock of ours, would be another."""
    truth = flowing(sim, "5m")[0]
    found = document(truth, "5m")
    closed = found["markets"][1]["rows"][row]
    closed[5] *= 1 - 2**-50
    assert problems(found, truth, "5m")
    closed[5] /= 1 - 2**-50
    del found["markets"][1]["rows"][row]
    assert problems(found, truth, "5m")  # a gap
    truth = flowing(sim, "5m")[0]
    found = document(truth, "5m")
    found["markets"][1]["rows"].insert(row, found["markets"][1]["rows"][row])
    assert problems(found, truth, "5m")  # twice


BATCH: Final = (
    b'[["candle","A-USDT-SWAP",900000,"1.5","2.0","1","1.50","10","15.0",1200300,1200310,1,"stream",null],'
    b'["candle","AUSDT",600000,"1","1","1","1","0","0",1200300,1200310,1,"stream","not_whole"],'
    b'["candle","AUSDT",600000,"1","1","1","1","0","0",1200300,1200310,0,"rest",null],'
    b'["lapse",["AUSDT"],"silent",1200000]]'
)


def test_a_candle_that_a_stream_told_is_held_against_the_true_one() -> None:
    (told,) = proven("okx", BATCH, lambda exchange, name: {("okx", "A-USDT-SWAP"): "okx:AUSDT"}[
        exchange, name
    ])  # fmt: skip
    assert tuple(told) == ("okx:AUSDT", 900_000, (1.5, 2.0, 1.0, 1.5, 10.0, 15.0))
    true = {900_000: [900_000, 1.5, 2.0, 1.0, 1.5, 10.0, 15.0, None, None]}
    assert problem_of(told, 1_200_310, true, ()) is None
    assert problem_of(told, 1_198_000, true, ())  # by somebody's clock
    assert problem_of(told, 1_200_310, {}, ())  # invented
    true[900_000][5] = 11.0
    assert problem_of(told, 1_200_310, true, ())  # its last forming state
    assert problem_of(told, 1_200_310, true, {900_000}) is None


STREAMS: Final = Disturbance(90.0, until_s=110.0)
UNTOLD_CLOSES: Final = Disturbance(90.0, untold=True, until_s=110.0)
NETWORK: Final = Disturbance(90.0, blocks=True, until_s=110.0)


@pytest.mark.parametrize(
    ("disturbances", "owed"),
    [
        ([], 100 + SOON_S),
        ([STREAMS], 100 + SOON_S),  # REST has it
        ([UNTOLD_CLOSES], 100 + UNTOLD_S),
        ([Disturbance(20.0, untold=True, until_s=30.0)], 100 + SOON_S),  # long over
        ([Disturbance(101 + UNTOLD_S, untold=True)], 100 + SOON_S),  # after all was due
        ([NETWORK], 110 + AFTER_FAULT_S),
        ([Disturbance(90.0, blocks=True)], float("inf")),
        ([Disturbance(0.0, blocks=True, until_s=5.0)], 100 + SOON_S),
        ([NETWORK, Disturbance(195.0, blocks=True, until_s=199.0)], 199 + AFTER_FAULT_S),
        ([NETWORK, Disturbance(201.0, blocks=True, until_s=209.0)], 110 + AFTER_FAULT_S),
    ],
)
def test_what_is_owed_depends_on_the_faults(disturbances: list[Disturbance], owed: float) -> None:
    assert owed_s(100.0, disturbances) == owed
    silent = max(owed, 100 + UNTOLD_S)
    assert owed_s(100.0, disturbances, silent=True) == silent


def read_5m(close_ms: int, *fresh: str) -> Any:
    markets = [
        {
            "exchange": key.partition(":")[0], "symbol": key.partition(":")[2],
            "rows": [[close_ms - 2 * M5_MS], *([[close_ms - M5_MS]] if key in fresh else [])],
        }
        for key in ("binance:A", "bybit:A")
    ]  # fmt: skip
    return {"as_of": close_ms + 1, "markets": markets}


def test_a_market_that_stays_behind_is_found() -> None:
    close_ms = NOW_MS - NOW_MS % M5_MS
    assert has_closed(read_5m(close_ms, "bybit:A"), close_ms) == {"bybit:A"}
    freshness = Freshness()
    freshness.closed(close_ms, 100.0, {"binance:A", "bybit:A"})
    freshness.seen({**read_5m(close_ms, "binance:A"), "as_of": close_ms - 1}, 100.5)
    assert freshness.waiting == {"binance:A", "bybit:A"}  # a document of before
    freshness.seen(read_5m(close_ms, "binance:A"), 102.0)
    assert freshness.waiting == {"bybit:A"}
    assert freshness.lags == freshness.calm == [2.0]
    assert not freshness.overdue(100 + SOON_S)
    assert freshness.found == []
    assert freshness.overdue(101 + SOON_S)
    (problem,) = freshness.found
    assert problem.startswith("bybit:A lacked the candle")

    freshness.closed(close_ms + M5_MS, 200.0, {"binance:A", "bybit:A"})
    freshness.gone("bybit:A")
    freshness.seen(read_5m(close_ms + M5_MS, "binance:A", "bybit:A"), 201 + SOON_S)  # too late
    assert len(freshness.found) == 2
    assert freshness.waiting == frozenset()


def test_a_clock_that_flows_shows_all_but_what_was_passed_over() -> None:
    clock = ExchangeClock(1_000_000, flows=True)
    clock.instants = [(1_000_000, 50.0), (1_300_000, 60.0)]
    assert clock.at(55.0) == 1_005_000
    assert clock.at(61.0) == 1_301_000
    assert clock.was_shown(1_009_999, 70.0)
    assert not clock.was_shown(1_200_000, 70.0)
    assert not clock.was_shown(1_400_000, 70.0)
    assert not clock.was_shown(1_305_000, 59.0)
    assert clock.moments(1_301_000, 65.0) == [1_301_000, 1_305_000]
    assert clock.shown_s(1_302_000) == 62.0
    still = ExchangeClock(1_000_000, flows=False)
    still.instants = [(1_000_000, 50.0), (1_300_000, 60.0)]
    assert still.at(55.0) == 1_000_000
    assert still.was_shown(1_300_000, 70.0)
    assert not still.was_shown(1_300_001, 70.0)
    assert not still.was_shown(1_300_000, 59.0)
    assert still.moments(1_000_000, 70.0) == [1_000_000, 1_300_000]


def test_processes_of_a_run_count_what_was_passed_over(tmp_path: Path) -> None:
    passed = PassedOver(tmp_path / "passed")
    passed.add(1_000.0)
    passed.add(200.0)
    found = subprocess.run(
        [
            sys.executable, "-c",
            "import time; from live.exchange_time import ExchangeTime; now = ExchangeTime(0);"
            "print(now._elapsed_s() - time.clock_gettime(time.CLOCK_BOOTTIME))",
        ],
        env={
            **os.environ,
            "PYTHONPATH": f"{_ROOT / 'chaos' / 'passed_over'}{os.pathsep}{_ROOT}",
            "CHAOS_PASSED_OVER": str(passed.path),
        },
        capture_output=True,
        check=True,
        text=True,
    )  # fmt: skip
    assert float(found.stdout) == pytest.approx(1_200, abs=1)


def test_every_stream_fault_is_one_that_the_simulator_takes(sim: Simulator) -> None:
    chance = random.Random(1)  # noqa: S311 - as the plan draws
    drawn = set()
    for kind in sorted(set(STREAM_FAULTS)):
        for _ in range(12):
            lasts_s, details = stream_fault(kind, chance)
            assert lasts_s > 0
            if details["rules"]:
                sim.post("/sim/faults", [*details["rules"]])
            if settings := details.get("settings"):
                sim.post("/sim/streams", settings)
            drawn |= {rule["kind"] for rule in details["rules"]}
    sim.delete("/sim/faults")
    assert drawn == set(STREAM_KINDS)
    assert set(STREAM_FAULTS) >= UNTOLD
