"""Recorded series, replayed as if they ended now: text, alignment, native 8h, truth."""

import csv
import gzip
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator

HOUR_MS = 3_600_000
STEP = 4 * HOUR_MS


@pytest.fixture(scope="module")
def replay(recorded_data: Path) -> Iterator[Simulator]:
    options = {"recorded": recorded_data, "now": NOW_MS, "frozen": True, "no_limits": True}
    simulator = Simulator(options)
    yield simulator
    simulator.stop()


def _file(folder: Path, name: str) -> list[dict[str, str]]:
    path = folder / "history" / name
    if path.suffix == ".gz":
        with gzip.open(path, "rt") as file:
            return list(csv.DictReader(file))
    with path.open() as file:
        return list(csv.DictReader(file))


def _offset(replay: Simulator, exchange: str, symbol: str, interval: str) -> int:
    answer = replay.get("/sim/recorded", exchange=exchange, symbol=symbol, interval=interval)
    offset: int = answer["offset_ms"]
    assert offset % (8 * HOUR_MS) == 0
    return offset


@pytest.mark.parametrize("interval", ["1h", "4h", "8h"])
def test_native_candles_are_served_as_recorded(
    replay: Simulator, recorded_data: Path, interval: str
) -> None:
    ending = ".csv" if interval == "8h" else ".csv.gz"
    rows = _file(recorded_data, f"binance_BTCUSDT_kline_{interval}_2021-11-01_2022-06-08{ending}")
    offset = _offset(replay, "binance", "BTCUSDT", interval)
    found = replay.get("/fapi/v1/klines", symbol="BTCUSDT", interval=interval, limit=1500)
    recorded = {int(row["open_time"]) + offset: row for row in rows}
    now = found.pop()
    assert now[0] <= NOW_MS <= now[6]
    assert len(found) >= 600
    for row in found:
        theirs = recorded[row[0]]
        for place, name in enumerate(("open", "high", "low", "close", "volume"), 1):
            assert Decimal(row[place]) == Decimal(theirs[name])
    assert {len(row[1].partition(".")[2]) for row in found} == {2}
    assert {len(row[5].partition(".")[2]) for row in found} == {3}


@pytest.mark.parametrize("symbol", ["BTCUSDT", "LTCUSDT"])
def test_4h_makes_the_recorded_8h(replay: Simulator, symbol: str) -> None:
    """The main check of a collector, on real data: its 8h from 4h equals native 8h."""
    native = replay.get("/sim/recorded", exchange="binance", symbol=symbol, interval="8h")
    rows = {row[0]: row for row in native["rows"]}
    four = replay.get("/fapi/v1/klines", symbol=symbol, interval="4h", limit=1500)[:-1]
    groups: dict[int, list[list[Any]]] = {}
    for row in four:
        groups.setdefault(row[0] - row[0] % (8 * HOUR_MS), []).append(row)
    whole = {start: group for start, group in groups.items() if len(group) == 2}
    assert len(whole) >= 300
    for start, (first, second) in whole.items():
        made = [
            first[1], max(first[2], second[2], key=Decimal), min(first[3], second[3], key=Decimal),
            second[4], Decimal(first[5]) + Decimal(second[5]),
        ]  # fmt: skip
        if start in rows:
            assert [Decimal(value) for value in made] == [Decimal(v) for v in rows[start][1:6]]
    truth = replay.truth("8h", exchange="binance", symbol=symbol)[f"binance:{symbol}"]
    assert len(truth) == 249
    for row in truth[:-1]:
        assert row[1:6] == [float(value) for value in rows[row[0]][1:6]]


def test_270_symbols_with_open_interest_and_funding(replay: Simulator, recorded_data: Path) -> None:
    markets = [m for m in replay.get("/sim/markets")["markets"] if m["collected"]]
    assert sum(m["exchange"] == "binance" for m in markets) >= 270
    assert {m["symbol"] for m in markets if m["exchange"] == "bybit"} == {
        "BTCUSDT",
        "SOLUSDT",
        "1000BONKUSDT",
    }
    truth = replay.truth("4h")
    # At each closed candle of ETHUSDT: what was recorded of candle, snapshot and settlement.
    offset = _offset(replay, "binance", "ETHUSDT", "4h")

    def recorded(name: str, time: str) -> dict[int, dict[str, str]]:
        rows = _file(recorded_data, f"binance_ALL_{name}_2026-03-20.csv.gz")
        return {int(r[time]) + offset: r for r in rows if r["symbol"] == "ETHUSDT"}

    candles, snapshots = recorded("kline_4h", "open_time"), recorded("oi_4h", "timestamp")
    funding = sorted(recorded("funding", "funding_time").items())
    rows = truth["binance:ETHUSDT"][:-1]
    assert len(rows) == 165
    for row in rows:
        theirs = candles[row[0]]
        names = ("open", "high", "low", "close", "volume", "quote_volume")
        assert row[1:7] == [float(theirs[name]) for name in names]
        if row[0] in snapshots:
            assert row[7] == float(snapshots[row[0]]["sum_open_interest"])
        known = [r for time, r in funding if time < row[0] + STEP]
        assert row[8] == float(known[-1]["funding_rate"])
    assert sum(row[7] is not None for row in rows) >= 160


def test_wire_and_truth_agree(replay: Simulator) -> None:
    truth = replay.truth("4h")
    for symbol in ("0GUSDT", "KATUSDT", "1000PEPEUSDT", "LTCUSDT"):
        rows = replay.get("/fapi/v1/klines", symbol=symbol, interval="4h", limit=499)
        wire = [[r[0], *(float(value) for value in (*r[1:6], r[7]))] for r in rows]
        assert [row[:7] for row in truth[f"binance:{symbol}"]] == wire
    for symbol in ("BTCUSDT", "SOLUSDT", "1000BONKUSDT"):
        body = replay.get("/v5/market/kline", symbol=symbol, interval="240", limit=499)
        wire = [[int(r[0]), *map(float, r[1:])] for r in reversed(body["result"]["list"])]
        assert [row[:7] for row in truth[f"bybit:{symbol}"]] == wire


def test_bybit_open_interest_as_recorded(replay: Simulator, recorded_data: Path) -> None:
    offset = _offset(replay, "bybit", "SOLUSDT", "240")
    rows = _file(recorded_data, "bybit_SOLUSDT_oi_1h_2025-07-01_2026-01-05.csv.gz")
    recorded = {int(row["timestamp"]) + offset: row["open_interest"] for row in rows}
    found = replay.get(
        "/v5/market/open-interest",
        category="linear",
        symbol="SOLUSDT",
        intervalTime="1h",
        limit=200,
    )["result"]["list"]
    assert len(found) == 200
    for row in found:
        assert row["openInterest"] == recorded[int(row["timestamp"])]
        assert "singleOpenInterest" not in row
    truth = {row[0]: row for row in replay.truth("4h")["bybit:SOLUSDT"]}
    for time, row in truth.items():
        if row[7] is not None:
            assert row[7] == float(Decimal(recorded[time]) / 2)


def test_turnover_that_was_not_recorded(replay: Simulator, recorded_data: Path) -> None:
    """Close times volume of the finest candles, summed up: the same at every scale."""
    hours = replay.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1h", limit=1500)
    sums: dict[int, Decimal] = {}
    for row in hours:
        assert Decimal(row[7]) == Decimal(row[4]) * Decimal(row[5]) or row is hours[-1]
        sums[row[0] - row[0] % STEP] = sums.get(row[0] - row[0] % STEP, Decimal(0)) + Decimal(
            row[7]
        )
    four = replay.get("/fapi/v1/klines", symbol="BTCUSDT", interval="4h", limit=300)
    assert [Decimal(row[7]) for row in four] == [sums[row[0]] for row in four]


def test_lists_are_the_recorded_ones(replay: Simulator) -> None:
    symbols = replay.get("/fapi/v1/exchangeInfo")["symbols"]
    kinds = {(s["contractType"], s["status"], s["quoteAsset"]) for s in symbols}
    assert ("TRADIFI_PERPETUAL", "TRADING", "USDT") in kinds
    assert ("PERPETUAL", "SETTLING", "USDT") in kinds
    assert ("NEXT_QUARTER", "TRADING", "USDT") in kinds
    wanted = {
        s["symbol"] for s in symbols
        if (s["contractType"], s["status"], s["quoteAsset"]) == ("PERPETUAL", "TRADING", "USDT")
    }  # fmt: skip
    truth = replay.truth("4h", exchange="binance", candles=2)
    assert wanted == {key.partition(":")[2] for key in truth}
    hours = {
        row["symbol"]: row["fundingIntervalHours"] for row in replay.get("/fapi/v1/fundingInfo")
    }
    assert hours["BARDUSDT"] == 1
    listed = replay.get("/v5/market/instruments-info", category="linear")["result"]["list"]
    assert "BTCUSDT" in {entry["symbol"] for entry in listed}


def test_the_newest_period(start_simulator: Any, recorded_data: Path) -> None:
    simulator: Simulator = start_simulator(
        recorded=recorded_data, recorded_period="newest", now=NOW_MS, frozen=True
    )
    rows = simulator.truth("4h", exchange="binance", symbol="BTCUSDT")["binance:BTCUSDT"]
    assert len(rows) == 499
    with_oi = [row for row in rows if row[7] is not None]
    assert len(with_oi) >= 160
    assert with_oi[-1][7] > 80_000  # March 2026
    # Beyond the record: silent and flat, then still on the grid.
    simulator.post("/sim/clock", {"advance_ms": 5 * 24 * HOUR_MS})
    late = simulator.get("/fapi/v1/klines", symbol="BTCUSDT", interval="4h", limit=20)
    assert {float(row[5]) for row in late[-10:]} == {0.0}
    assert len({row[4] for row in late[-10:]}) == 1
    assert [row[0] % STEP for row in late] == [0] * 20


def test_a_small_replay_keeps_native_8h(start_simulator: Any, recorded_data: Path) -> None:
    simulator: Simulator = start_simulator(recorded=recorded_data, binance=2, bybit=0, now=NOW_MS)
    keys = set(simulator.truth("4h", candles=1))
    assert keys == {"binance:BTCUSDT", "binance:LTCUSDT"}
    status, _, _ = simulator.full("GET", "/sim/recorded?exchange=binance&symbol=X&interval=8h")
    assert status == 400


def test_an_exchange_without_recordings_takes_part_with_no_markets(
    start_simulator: Any, recorded_data: Path, tmp_path: Path
) -> None:
    for path in recorded_data.iterdir():
        if path.name != "bybit":
            (tmp_path / path.name).symlink_to(path)
    simulator: Simulator = start_simulator(recorded=tmp_path, binance=1, bybit=0, now=NOW_MS)
    assert set(simulator.truth("4h", candles=1)) == {"binance:BTCUSDT"}
    answer = simulator.get("/v5/market/instruments-info", category="linear")
    assert answer["result"]["list"] == []
