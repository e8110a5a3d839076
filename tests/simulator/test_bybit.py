"""Bybit's rules: parameters, windows, cursors, instrument pages."""

from typing import Any
from urllib.parse import unquote

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
STEP = 4 * HOUR_MS
FORMING = NOW_MS - NOW_MS % STEP


@pytest.mark.parametrize(
    "path, query, text",
    [
        ("kline", {"symbol": "btcusdt", "interval": "240"}, "params error: symbol invalid"),
        ("kline", {"interval": "240"}, "params error: symbol invalid"),
        ("kline", {"symbol": "BTCUSDT", "interval": "480"}, None),
        ("kline", {"symbol": "BTCUSDT"}, None),
        ("kline", {"symbol": "BTCUSDT", "interval": "240", "limit": 1001}, None),
        ("kline", {"symbol": "BTCUSDT", "interval": "240", "category": "spot"}, None),
        ("open-interest", {"symbol": "BTCUSDT", "intervalTime": "1h"}, None),  # no category
        (
            "open-interest",
            {"category": "linear", "symbol": "BTCUSDT", "intervalTime": "2h"},
            "params error: intervalTime is invalid",
        ),
        (
            "open-interest",
            {"category": "linear", "symbol": "BTCUSDT", "intervalTime": "1h", "limit": 201},
            None,
        ),
        (
            "open-interest",
            {"category": "linear", "symbol": "BTCUSDT", "intervalTime": "1h", "cursor": "x"},
            None,
        ),
        ("funding/history", {"category": "linear"}, "params error: symbol invalid"),
        (
            "funding/history",
            {"category": "linear", "symbol": "BTCUSDT", "startTime": 1},
            "params error: Time is invalid",
        ),
        ("instruments-info", {"category": "linear", "limit": 1001}, None),
        ("instruments-info", {"category": "linear", "cursor": "x"}, None),
    ],
)
def test_wrong_parameters(
    frozen: Simulator, path: str, query: dict[str, object], text: str | None
) -> None:
    """HTTP 200 with retCode 10001, and a result that is no list of rows."""
    body = frozen.get(f"/v5/market/{path}", **query)
    assert body["retCode"] == 10001
    assert body["retMsg"].startswith("params error")
    assert text is None or body["retMsg"] == text
    assert not body["result"].get("list")


def _klines(simulator: Simulator, **query: object) -> list[int]:
    query = {"category": "linear", "symbol": "BTCUSDT", "interval": "240", **query}
    body = simulator.get("/v5/market/kline", **query)
    assert body["retCode"] == 0
    return [int(row[0]) for row in body["result"]["list"]]


def test_kline_windows(frozen: Simulator) -> None:
    assert len(_klines(frozen)) == 200
    assert _klines(frozen, limit=3) == [FORMING, FORMING - STEP, FORMING - 2 * STEP]
    start = FORMING - 100 * STEP
    # A start alone runs forward; an unaligned one begins with the candle that holds it.
    assert _klines(frozen, start=start, limit=2) == [start + STEP, start]
    assert _klines(frozen, start=start + 1, limit=2) == [start + STEP, start]
    # Both inclusive; wider than the limit: the newest.
    assert _klines(frozen, start=start, end=start + 2 * STEP) == [
        start + 2 * STEP,
        start + STEP,
        start,
    ]
    assert _klines(frozen, start=start, end=start + 50 * STEP, limit=2) == [
        start + 50 * STEP,
        start + 49 * STEP,
    ]
    assert _klines(frozen, end=start + 1, limit=2) == [start, start - STEP]
    # Times in seconds: an empty list, not an error.
    assert _klines(frozen, start=start // 1000, end=NOW_MS // 1000) == []
    body = frozen.get("/v5/market/kline", symbol="BTCUSDT", interval="240", limit=1)
    assert body["result"]["category"] == "linear"  # the default


def _oi(simulator: Simulator, **query: object) -> tuple[list[int], str]:
    query = {"category": "linear", "symbol": "BTCUSDT", "intervalTime": "4h", **query}
    body = simulator.get("/v5/market/open-interest", **query)
    assert body["retCode"] == 0
    rows = body["result"]["list"]
    return [int(row["timestamp"]) for row in rows], body["result"]["nextPageCursor"]


def test_open_interest_windows(frozen: Simulator) -> None:
    times, _ = _oi(frozen)
    assert len(times) == 50
    assert times == sorted(times, reverse=True)
    start, end = FORMING - 100 * STEP, FORMING - 90 * STEP
    assert _oi(frozen, startTime=start) == _oi(frozen)  # a lone startTime is ignored
    assert _oi(frozen, endTime=end, limit=2)[0] == [end, end - STEP]
    assert _oi(frozen, startTime=start, endTime=end)[0] == list(range(end, start - 1, -STEP))
    # Far beyond 30 days: back to launch.
    old = FORMING - 2000 * STEP
    assert _oi(frozen, startTime=old, endTime=old + STEP)[0] == [old + STEP, old]


@pytest.mark.parametrize("encode", [unquote, str])
def test_cursors_run_inside_the_window(frozen: Simulator, encode: Any) -> None:
    """On the wire verbatim, as it was percent-encoded, or encoded once more."""
    start, end = FORMING - 500 * STEP, FORMING - 10 * STEP
    seen: list[int] = []
    cursor, pages = "", 0
    while True:
        window = {"startTime": start, "endTime": end, "limit": 200}
        times, cursor = _oi(frozen, **window, **({"cursor": encode(cursor)} if cursor else {}))
        seen += times
        pages += 1
        if not cursor:
            break
        assert "%3D" in cursor
        assert "%26" in cursor
    assert seen == list(range(end, start - 1, -STEP))
    assert pages == 3


def test_single_open_interest_is_half_and_absent_on_old_rows(frozen: Simulator) -> None:
    def rows(**query: object) -> list[dict[str, str]]:
        found: list[dict[str, str]] = frozen.get(
            "/v5/market/open-interest", category="linear", symbol="ETHUSDT", intervalTime="4h",
            limit=200, **query,
        )["result"]["list"]  # fmt: skip
        return found

    newest = rows()
    with_single = [row for row in newest if "singleOpenInterest" in row]
    assert 0 < len(with_single) < len(newest)
    for row in with_single:
        assert 2 * float(row["singleOpenInterest"]) == float(row["openInterest"])
    oldest_with = min(int(row["timestamp"]) for row in with_single)
    for row in newest:
        assert ("singleOpenInterest" in row) == (int(row["timestamp"]) >= oldest_with)


def test_funding_windows(frozen: Simulator) -> None:
    def rows(**query: object) -> list[dict[str, str]]:
        query = {"category": "linear", "symbol": "XRPUSDT", **query}
        body = frozen.get("/v5/market/funding/history", **query)
        assert body["retCode"] == 0
        found: list[dict[str, str]] = body["result"]["list"]
        return found

    every = rows()
    times = [int(row["fundingRateTimestamp"]) for row in every]
    assert len(times) == 200
    assert times == sorted(times, reverse=True)
    assert all(time % HOUR_MS == 0 for time in times)
    assert rows(endTime=times[50], limit=3) == every[50:53]
    assert rows(startTime=times[60], endTime=times[50]) == every[50:61]
    assert rows(startTime=times[60], endTime=times[50], limit=4) == every[50:54]
    assert not [
        row for row in every if row["fundingRate"].endswith("0") and row["fundingRate"] != "0"
    ]


def test_instrument_pages(start_simulator: Any) -> None:
    simulator: Simulator = start_simulator(binance=0, bybit=560, now=NOW_MS, frozen=True)

    def page(**query: object) -> tuple[list[dict[str, Any]], str]:
        body = simulator.get("/v5/market/instruments-info", category="linear", **query)
        return body["result"]["list"], body["result"]["nextPageCursor"]

    first, cursor = page()
    assert len(first) == 500  # the default loses some
    rest, end = page(cursor=unquote(cursor))
    assert rest
    assert end == ""
    whole, end = page(limit=1000)
    assert end == ""
    assert whole == first + rest
    one, cursor = page(limit=1)
    assert cursor == f"first%3D{one[0]['symbol']}%26last%3D{one[0]['symbol']}"

    assert {entry["status"] for entry in whole} == {"Trading"}  # the default
    assert {entry["status"] for entry in page(status="PreLaunch")[0]} == {"PreLaunch"}
    wanted = [
        entry for entry in whole
        if entry["contractType"] == "LinearPerpetual"
        and entry["quoteCoin"] == entry["settleCoin"] == "USDT"
        and entry["symbolType"] in ("", "innovation")
    ]  # fmt: skip
    assert len(wanted) == 560
    others = [entry for entry in whole if entry not in wanted]
    assert {entry["symbolType"] for entry in others} >= {"stock", "commodity", "forex"}
    assert "LinearFutures" in {entry["contractType"] for entry in others}
    assert "USDC" in {entry["settleCoin"] for entry in others}
    assert {entry["fundingInterval"] for entry in wanted} == {60, 120, 240, 480}


def test_tickers_agree_with_the_series(frozen: Simulator) -> None:
    every = frozen.get("/v5/market/tickers", category="linear")["result"]["list"]
    ticker = next(entry for entry in every if entry["symbol"] == "BTCUSDT")
    assert all(isinstance(value, str) for value in ticker.values())
    last = frozen.get("/v5/market/kline", symbol="BTCUSDT", interval="5", limit=1)["result"]["list"]
    assert ticker["lastPrice"] == last[0][4]
    assert int(ticker["nextFundingTime"]) > NOW_MS
    assert float(ticker["openInterest"]) == 2 * float(ticker["singleOpenInterest"])


def test_a_get_with_a_body_is_refused_at_the_edge(frozen: Simulator) -> None:
    status, headers, body = frozen.full("GET", "/v5/market/time", json_body={})
    assert status == 403
    assert headers["Content-Type"] == "text/html"
    assert b"CloudFront" in body or b"could not be satisfied" in body
    assert b"access too frequent" not in body


def test_limit_headers_can_be_switched_on(start_simulator: Any) -> None:
    simulator: Simulator = start_simulator(binance=0, bybit=1, bapi_headers=True)
    _, headers, _ = simulator.full("GET", "/v5/market/time")
    assert headers["X-Bapi-Limit"] == "600"
