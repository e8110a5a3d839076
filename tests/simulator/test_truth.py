"""The truth equals what a careful reader of the wire finds with Decimal, and nothing else."""

from decimal import Decimal
from typing import Any

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
INTERVALS = {"5m": HOUR_MS // 12, "1h": HOUR_MS, "2h": 2 * HOUR_MS, "4h": 4 * HOUR_MS,
             "12h": 12 * HOUR_MS, "1d": DAY_MS}  # fmt: skip
BYBIT = {"5m": "5", "1h": "60", "2h": "120", "4h": "240", "12h": "720", "1d": "D"}
# The finest snapshots Bybit has of each timeframe.
BYBIT_OI = {"5m": "5min", "1h": "1h", "2h": "1h", "4h": "4h", "12h": "4h", "1d": "1d"}

Row = list[Any]


def _binance_rows(simulator: Simulator, symbol: str, timeframe: str, n: int) -> list[Row]:
    first = NOW_MS - NOW_MS % INTERVALS[timeframe] - (n - 1) * INTERVALS[timeframe]
    candles = simulator.get(
        "/fapi/v1/klines", symbol=symbol, interval=timeframe, startTime=first, limit=n
    )
    oi = simulator.get(
        "/futures/data/openInterestHist", symbol=symbol, period=timeframe, limit=500,
        startTime=NOW_MS - 30 * DAY_MS, endTime=NOW_MS,
    )  # fmt: skip
    snapshots = {row["timestamp"]: Decimal(row["sumOpenInterest"]) for row in oi}
    funding = [
        (row["fundingTime"], Decimal(row["fundingRate"]))
        for row in _binance_funding(simulator, symbol, first)
        if row["rateType"] == "Regular"
    ]
    plain = [[row[0], *(Decimal(row[i]) for i in (1, 2, 3, 4, 5, 7))] for row in candles]
    return _merged(plain, snapshots, funding, INTERVALS[timeframe])


def _binance_funding(simulator: Simulator, symbol: str, first: int) -> list[Any]:
    rows: list[Any] = []
    start = first - 2 * DAY_MS
    while True:
        page = simulator.get("/fapi/v1/fundingRate", symbol=symbol, startTime=start, limit=1000)
        rows += page
        if len(page) < 1000:
            return rows
        start = page[-1]["fundingTime"] + 1


def _bybit_rows(simulator: Simulator, symbol: str, timeframe: str, n: int) -> list[Row]:
    first = NOW_MS - NOW_MS % INTERVALS[timeframe] - (n - 1) * INTERVALS[timeframe]
    query = {"category": "linear", "symbol": symbol}
    candles = simulator.get(
        "/v5/market/kline", **query, interval=BYBIT[timeframe], start=first, end=NOW_MS, limit=1000
    )["result"]["list"]
    snapshots = {}
    cursor = ""
    while True:
        page = simulator.get(
            "/v5/market/open-interest", **query, intervalTime=BYBIT_OI[timeframe],
            startTime=first, endTime=NOW_MS, limit=200, cursor=cursor,
        )["result"]  # fmt: skip
        for row in page["list"]:
            single = row.get("singleOpenInterest")
            both = Decimal(row["openInterest"]) / 2
            assert single is None or Decimal(single) == both
            snapshots[int(row["timestamp"])] = both
        cursor = page["nextPageCursor"]
        if not cursor:
            break
    funding: list[tuple[int, Decimal]] = []
    end = NOW_MS
    while end >= first - 2 * DAY_MS:
        rows = simulator.get("/v5/market/funding/history", **query, endTime=end)["result"]["list"]
        if not rows:
            break
        funding += [(int(r["fundingRateTimestamp"]), Decimal(r["fundingRate"])) for r in rows]
        end = funding[-1][0] - 1
    plain = [[int(row[0]), *(Decimal(value) for value in row[1:])] for row in reversed(candles)]
    return _merged(plain, snapshots, funding[::-1], INTERVALS[timeframe])


def _merged(
    candles: list[Row], snapshots: dict[int, Decimal], funding: list[tuple[int, Decimal]],
    interval_ms: int,
) -> list[Row]:  # fmt: skip
    rows = []
    for candle in candles:
        end = min(candle[0] + interval_ms - 1, NOW_MS)
        known = [rate for time, rate in funding if time <= end]
        oi = snapshots.get(candle[0])
        rows.append(
            [
                candle[0],
                *(float(value) for value in candle[1:]),
                None if oi is None else float(oi),
                float(known[-1]) if known else None,
            ]
        )
    return rows


@pytest.mark.parametrize("timeframe", list(INTERVALS))
def test_truth_is_what_the_wire_says(frozen: Simulator, timeframe: str) -> None:
    n = 130
    truth = frozen.truth(timeframe, candles=n)
    assert len(truth) == 40
    # Plain, hourly funding, holes, missing snapshots, young, intervals changed, none yet.
    picked = list(truth)[:16:3] + list(truth)[5:12] + list(truth)[20::4]
    for key in picked:
        exchange, symbol = key.split(":")
        read = _binance_rows if exchange == "binance" else _bybit_rows
        assert read(frozen, symbol, timeframe, n) == truth[key], key


def test_truth_of_8h_is_made_from_4h(frozen: Simulator) -> None:
    n = 499
    four, eight = frozen.truth("4h", candles=n), frozen.truth("8h", candles=n)
    window = NOW_MS - NOW_MS % (4 * HOUR_MS) - (n - 1) * 4 * HOUR_MS
    groups_cut = 0
    for key, rows in four.items():
        groups: dict[int, list[Row]] = {}
        for row in rows:
            groups.setdefault(row[0] - row[0] % (8 * HOUR_MS), []).append(row)
        cut = [start for start in groups if start < window]
        groups_cut += len(cut)
        wanted = []
        for start, group in groups.items():
            if start in cut:
                continue
            sums = [float(sum(Decimal(repr(row[i])) for row in group)) for i in (5, 6)]
            wanted.append(
                [
                    start, group[0][1], max(r[2] for r in group), min(r[3] for r in group),
                    group[-1][4], sums[0], sums[1],
                    group[0][7] if group[0][0] == start else None, group[-1][8],
                ]
            )  # fmt: skip
        found = eight[key]
        assert [row[:6] for row in found] == [row[:6] for row in wanted], key
        assert [row[7:] for row in found] == [row[7:] for row in wanted], key
        # Sums of more than 15 digits are exact in the truth, not in the sum of shortest floats.
        for mine, theirs in zip(found, wanted, strict=True):
            assert abs(mine[6] - theirs[6]) <= 1e-15 * mine[6]
    assert groups_cut > 0  # 499 is odd, so a leading half group was there to be dropped


def test_sums_are_the_floats_of_exact_decimals(frozen: Simulator) -> None:
    """A turnover of 17 digits and more: the exact sum of texts, rounded once."""
    rows = frozen.truth("8h", symbol="1000PEPEUSDT", exchange="binance")["binance:1000PEPEUSDT"]
    candles = frozen.get("/fapi/v1/klines", symbol="1000PEPEUSDT", interval="4h", limit=500)
    assert max(len(row[7].replace(".", "")) for row in candles) >= 17
    by_start: dict[int, Decimal] = {}
    for row in candles:
        start = row[0] - row[0] % (8 * HOUR_MS)
        by_start[start] = by_start.get(start, Decimal(0)) + Decimal(row[7])
    for row in rows:
        assert row[6] == float(by_start[row[0]])


def test_funding_truth(frozen: Simulator) -> None:
    answer = frozen.get("/sim/funding", exchange="binance", symbol="XRPUSDT", funding_history=50)
    market = answer["markets"][0]
    rows = frozen.get("/fapi/v1/fundingRate", symbol="XRPUSDT", limit=50)
    assert market["interval_hours"] == 1
    assert market["rows"] == [[row["fundingTime"], float(row["fundingRate"])] for row in rows]


def test_known_history_limits_the_rates(frozen: Simulator) -> None:
    query = {"exchange": "bybit", "symbol": "1INCHUSDT"}
    rows = frozen.truth("4h", **query, funding_history=24)["bybit:1INCHUSDT"]
    known = [row for row in rows if row[8] is not None]
    assert len(known) == 7  # 24 settlements of 1 h and the forming candle
    assert all(row[8] is not None for row in rows[-7:])
    everything = frozen.truth("4h", **query)["bybit:1INCHUSDT"]
    assert all(row[8] is not None for row in everything)
    assert everything[-7:] == rows[-7:]


def test_truth_of_the_past_and_of_a_skewed_exchange(start_simulator: Any) -> None:
    simulator: Simulator = start_simulator(binance=3, bybit=3, now=NOW_MS, frozen=True)
    before = simulator.truth("1h", candles=20)
    simulator.post("/sim/clock", {"advance_ms": 3 * HOUR_MS})
    assert simulator.truth("1h", candles=20, as_of=NOW_MS) == before
    assert simulator.truth("1h", candles=20) != before
    clock = simulator.post("/sim/clock", {"now_ms": NOW_MS, "skew_ms": {"bybit": -1500}})
    assert (clock["binance_ms"], clock["bybit_ms"]) == (NOW_MS, NOW_MS - 1500)
    assert simulator.get("/fapi/v1/time")["serverTime"] == NOW_MS
    assert simulator.get("/v5/market/time")["time"] == NOW_MS - 1500
    answer = simulator.get("/sim/truth", timeframe="1h", candles=1)
    assert answer["as_of"] == NOW_MS - 1500


def test_questions_that_make_no_sense(frozen: Simulator) -> None:
    for query in (
        {"timeframe": "7h"},
        {"timeframe": "4h", "exchange": "kraken"},
        {"timeframe": "4h", "candles": 0},
        {"timeframe": "4h", "as_of": "yesterday"},
    ):
        status, _, body = frozen.full("GET", "/sim/truth", query=query)
        assert status == 400, query
        assert b"detail" in body
    assert frozen.full("GET", "/sim/nothing")[0] == 404


def test_truth_costs_the_client_nothing(frozen: Simulator) -> None:
    before = frozen.stats()["total"]
    frozen.truth("4h", candles=3)
    assert frozen.stats()["total"] == before
