"""Binance's rules: parameters, windows, horizons, all-symbol answers."""

import json
from typing import Any

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FORMING_4H = NOW_MS - NOW_MS % (4 * HOUR_MS)


def _refused(simulator: Simulator, path: str, **query: object) -> tuple[int, Any]:
    status, _, body = simulator.full("GET", path, query=query)
    return status, json.loads(body)


@pytest.mark.parametrize(
    "path, query, code",
    [
        ("/fapi/v1/klines", {"interval": "4h"}, -1102),
        ("/fapi/v1/klines", {"symbol": "", "interval": "4h"}, -1102),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT"}, -1102),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "7h"}, -1120),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "4H"}, -1120),
        ("/fapi/v1/klines", {"symbol": "btcusdt", "interval": "4h"}, -1121),
        ("/fapi/v1/klines", {"symbol": "NOSUCHPAIR", "interval": "4h"}, -1121),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "4h", "limit": 1501}, -1130),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "4h", "limit": 0}, -1130),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "4h", "limit": "1e3"}, -1100),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "4h", "startTime": "-5"}, -1100),
        (
            "/fapi/v1/klines",
            {"symbol": "BTCUSDT", "interval": "4h", "startTime": 2, "endTime": 1},
            -1023,
        ),
        ("/futures/data/openInterestHist", {"symbol": "BTCUSDT"}, -1102),
        ("/futures/data/openInterestHist", {"symbol": "BTCUSDT", "period": "8h"}, -1130),
        (
            "/futures/data/openInterestHist",
            {"symbol": "BTCUSDT", "period": "4h", "limit": 501},
            -1130,
        ),
        ("/fapi/v1/openInterest", {}, -1102),
        ("/fapi/v1/fundingRate", {"symbol": "NOSUCHPAIR"}, -1121),
    ],
)
def test_wrong_parameters(
    frozen: Simulator, path: str, query: dict[str, object], code: int
) -> None:
    status, body = _refused(frozen, path, **query)
    assert status == 400
    assert body["code"] == code
    assert set(body) == {"code", "msg"}


def test_the_other_error_shape_of_funding(frozen: Simulator) -> None:
    status, body = _refused(frozen, "/fapi/v1/fundingRate", symbol="BTCUSDT", limit=1001)
    assert status == 400
    assert body["code"] == "000002"
    assert "msg" not in body
    assert body["errorData"] == {"limit": "limit can not greater than 1000"}
    assert body["data"] is None


def test_unknown_parameters_are_ignored(frozen: Simulator) -> None:
    rows = frozen.get("/fapi/v1/klines", symbol="BTCUSDT", interval="4h", limit=3, colour="blue")
    assert len(rows) == 3


def _klines(simulator: Simulator, **query: object) -> list[int]:
    rows = simulator.get("/fapi/v1/klines", symbol="BTCUSDT", interval="4h", **query)
    return [row[0] for row in rows]


def test_kline_windows(frozen: Simulator) -> None:
    step = 4 * HOUR_MS
    # Without times: the newest `limit`, the forming one last, 500 by default.
    assert len(_klines(frozen)) == 500
    assert _klines(frozen, limit=3) == [FORMING_4H - 2 * step, FORMING_4H - step, FORMING_4H]
    # A start alone: forward from it, an unaligned one from the next candle on.
    start = FORMING_4H - 100 * step
    assert _klines(frozen, startTime=start, limit=2) == [start, start + step]
    assert _klines(frozen, startTime=start + 1, limit=2) == [start + step, start + 2 * step]
    # Both bounds are inclusive.
    assert _klines(frozen, startTime=start, endTime=start + 2 * step) == [
        start,
        start + step,
        start + 2 * step,
    ]
    assert _klines(frozen, startTime=start + 1, endTime=start + step - 1) == []
    # An end alone: the newest up to it.
    assert _klines(frozen, endTime=start + 1, limit=2) == [start - step, start]
    # The forming candle obeys the window too.
    assert _klines(frozen, startTime=FORMING_4H, limit=10) == [FORMING_4H]
    assert _klines(frozen, startTime=FORMING_4H + 1, limit=10) == []
    assert _klines(frozen, startTime=FORMING_4H - step, limit=1) == [FORMING_4H - step]
    # From listing: nothing before.
    first = _klines(frozen, startTime=0, limit=1)[0]
    assert _klines(frozen, endTime=first - 1) == []


def test_limits_count_rows_that_exist(frozen: Simulator) -> None:
    """In a market with holes 499 rows reach further back."""
    rows = frozen.get("/fapi/v1/klines", symbol="1000SHIBUSDT", interval="4h", limit=499)
    times = [row[0] for row in rows]
    assert len(times) == 499
    assert times[-1] - times[0] > 498 * 4 * HOUR_MS


def test_young_markets(frozen: Simulator) -> None:
    def rows(symbol: str, interval: str) -> list[Any]:
        found: list[Any] = frozen.get("/fapi/v1/klines", symbol=symbol, interval=interval)
        return found

    # Listed four minutes ago: one candle. Listed but not trading: none.
    assert len(rows("TURBOUSDT", "5m")) in (1, 2)
    assert len(rows("TURBOUSDT", "4h")) == 1
    assert rows("1000BONKUSDT", "4h") == []
    # Listed inside a group of 8 hours: each interval begins with the candle that holds the start.
    starts = {interval: rows("1000CATUSDT", interval)[0][0] for interval in ("1h", "4h", "8h")}
    assert starts["8h"] < starts["4h"] <= starts["1h"] < starts["4h"] + 4 * HOUR_MS
    assert starts["1h"] - starts["1h"] % (8 * HOUR_MS) == starts["8h"]
    # A contract that awaits its first trade, and one that is settled: flat, no volume.
    assert rows("BTCSTUSDT", "4h") == []
    settled = rows("FTTUSDT", "4h")
    assert len(settled) == 500
    assert {row[5] for row in settled[-50:]} == {"0.0"} or {
        float(row[5]) for row in settled[-50:]
    } == {0.0}
    assert len({row[4] for row in settled[-50:]}) == 1


def _oi(simulator: Simulator, **query: object) -> list[int]:
    rows = simulator.get("/futures/data/openInterestHist", symbol="BTCUSDT", **query)
    return [row["timestamp"] for row in rows]


def test_open_interest_windows(frozen: Simulator) -> None:
    step = 4 * HOUR_MS
    assert len(_oi(frozen, period="4h")) == 30
    everything = _oi(frozen, period="4h", limit=500)
    assert everything == sorted(everything)
    assert len(everything) == 180  # as measured
    assert len(_oi(frozen, period="1d", limit=500)) in (30, 31)
    # Anchored at the end: a lone startTime gives the newest rows.
    start = FORMING_4H - 100 * step
    newest = everything[-1]
    assert _oi(frozen, period="4h", startTime=start, limit=2) == [newest - step, newest]
    # Both ends: inside, inclusive, the newest if there are more than the limit.
    end = start + 10 * step
    assert _oi(frozen, period="4h", startTime=start, endTime=end, limit=500) == list(
        range(start, end + 1, step)
    )
    assert _oi(frozen, period="4h", startTime=start, endTime=end, limit=2) == [end - step, end]


def test_open_interest_horizon(frozen: Simulator) -> None:
    horizon = NOW_MS - 30 * DAY_MS
    assert _oi(frozen, period="1h", startTime=horizon - 60_000, endTime=horizon + HOUR_MS)
    status, body = _refused(
        frozen, "/futures/data/openInterestHist",
        symbol="BTCUSDT", period="1h", startTime=horizon - 60_001, endTime=horizon + HOUR_MS,
    )  # fmt: skip
    assert (status, body) == (400, {"code": -1130, "msg": "parameter 'startTime' is invalid."})


def test_open_interest_is_published_late(start_simulator: Any) -> None:
    boundary = NOW_MS - NOW_MS % HOUR_MS
    simulator: Simulator = start_simulator(binance=12, bybit=0, now=boundary, frozen=True)
    markets = simulator.get("/sim/markets", exchange="binance")["markets"]
    symbols = [
        m["symbol"] for m in markets if m["collected"] and m["first_candle_ms"] < NOW_MS - DAY_MS
    ]

    def late(after_ms: int) -> int:
        simulator.post("/sim/clock", {"now_ms": boundary + after_ms})
        newest = [
            simulator.get("/futures/data/openInterestHist", symbol=symbol, period="1h", limit=1)
            for symbol in symbols
        ]
        return sum(rows[0]["timestamp"] != boundary for rows in newest)

    counts = [late(after_ms) for after_ms in (0, 4_999, 60_000, 120_000, 180_001)]
    assert counts[0] == counts[1] == len(symbols)
    assert counts[1] > counts[2] > counts[3] >= counts[4]
    assert counts[4] <= 1  # a market that misses snapshots may miss this one


def _funding(simulator: Simulator, **query: object) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = simulator.get("/fapi/v1/fundingRate", **query)
    return rows


def test_funding_windows(frozen: Simulator) -> None:
    every = _funding(frozen, symbol="BTCUSDT", limit=1000)
    times = [row["fundingTime"] for row in every]
    assert times == sorted(times)
    assert len(times) == 1000
    assert times[-1] <= NOW_MS
    assert len(_funding(frozen, symbol="BTCUSDT")) == 100
    assert _funding(frozen, symbol="BTCUSDT", limit=7) == every[-7:]
    # From startTime forward, both bounds inclusive.
    assert _funding(frozen, symbol="BTCUSDT", startTime=times[500], limit=3) == every[500:503]
    inside = _funding(frozen, symbol="BTCUSDT", startTime=times[500], endTime=times[510])
    assert inside == every[500:511]
    assert _funding(frozen, symbol="BTCUSDT", startTime=times[500] + 1, limit=1) == every[501:502]
    assert _funding(frozen, symbol="BTCUSDT", endTime=times[500], limit=2) == every[499:501]


def test_times_beyond_all_reason(frozen: Simulator) -> None:
    for time in (0, 1, 10**19, 10**20 - 1):
        rows = _funding(frozen, symbol="BTCUSDT", startTime=time, limit=3)
        assert len(rows) == (3 if time < 2 else 0)
        assert len(_klines(frozen, startTime=time, limit=3)) == (3 if time < 2 else 0)
        query = {
            "category": "linear",
            "symbol": "BTCUSDT",
            "startTime": time,
            "endTime": 10**20 - 1,
        }
        body = frozen.get("/v5/market/funding/history", **query)
        assert len(body["result"]["list"]) == (200 if time < 2 else 0)
        body = frozen.get("/v5/market/open-interest", **query, intervalTime="4h")
        assert len(body["result"]["list"]) == (50 if time < 2 else 0)


def test_special_rows_share_a_stamp_with_regular_ones(frozen: Simulator) -> None:
    rows = _funding(frozen, symbol="1MBABYDOGEUSDT", limit=1000)
    kinds = {row["rateType"] for row in rows}
    assert kinds == {"Regular", "Special"}
    regular = {row["fundingTime"] for row in rows if row["rateType"] == "Regular"}
    special = [row["fundingTime"] for row in rows if row["rateType"] == "Special"]
    assert set(special) <= regular


def test_funding_of_all_symbols(frozen: Simulator) -> None:
    rows = _funding(frozen, limit=60)
    keys = [(row["fundingTime"], row["symbol"]) for row in rows]
    assert keys == sorted(keys)
    assert len(keys) == 60
    for row in rows[-10:]:
        assert row in _funding(frozen, symbol=row["symbol"], limit=10)
    start = NOW_MS - 16 * HOUR_MS
    forward = _funding(frozen, startTime=start, limit=1000)
    assert forward[0]["fundingTime"] >= start
    assert {row["fundingTime"] // HOUR_MS for row in forward} >= {
        (NOW_MS - 14 * HOUR_MS) // HOUR_MS
    }
    assert len(_funding(frozen)) == 100


def test_intervals_are_listed_where_they_are_not_8_hours(frozen: Simulator) -> None:
    listed = {
        row["symbol"]: row["fundingIntervalHours"] for row in frozen.get("/fapi/v1/fundingInfo")
    }
    absent = 0
    for market in frozen.get("/sim/markets", exchange="binance")["markets"]:
        if market["collected"]:
            assert listed.get(market["symbol"], 8) == market["funding_hours"]
            absent += market["symbol"] not in listed
    assert absent > 0


def test_names_in_any_script(frozen: Simulator) -> None:
    symbols = [s["symbol"] for s in frozen.get("/fapi/v1/exchangeInfo")["symbols"]]
    name = next(symbol for symbol in symbols if not symbol.isascii())
    assert len(frozen.get("/fapi/v1/klines", symbol=name, interval="1d", limit=5)) == 5
    row = frozen.get("/futures/data/openInterestHist", symbol=name, period="1d", limit=1)[0]
    assert row["symbol"] == name


def test_tickers(frozen: Simulator) -> None:
    one = frozen.get("/fapi/v1/ticker/24hr", symbol="BTCUSDT")
    every = frozen.get("/fapi/v1/ticker/24hr")
    assert one in every
    last = frozen.get("/fapi/v1/klines", symbol="BTCUSDT", interval="5m", limit=1)[0][4]
    assert one["lastPrice"] == last
    assert frozen.get("/fapi/v1/ticker/price", symbol="BTCUSDT")["price"] == last
    assert float(one["quoteVolume"]) > 1e9


def test_unknown_paths(frozen: Simulator) -> None:
    assert frozen.full("GET", "/fapi/v1/nothing")[0] == 404
    assert frozen.full("POST", "/fapi/v1/time", json_body={})[0] == 405
