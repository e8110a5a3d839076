"""What bots ask beside candles, open interest and funding: all of it tells of the same market."""

import itertools
from decimal import Decimal
from typing import Any

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
_BYBIT = {"category": "linear", "symbol": "BTCUSDT"}


def _weight(simulator: Simulator, path: str, **query: object) -> int:
    """What a request adds to the weight that the exchange tells."""
    before = simulator.full("GET", "/fapi/v1/time")[1]
    status, headers, body = simulator.full("GET", path, query=query)
    assert status == 200, body
    after = simulator.full("GET", "/fapi/v1/time")[1]
    used = [int(head["x-mbx-used-weight-1m"]) for head in (before, after)]
    assert "x-mbx-used-weight-1m" in headers
    return used[1] - used[0] - 1


@pytest.mark.parametrize(
    "path, query, weight",
    [
        ("/fapi/v1/markPriceKlines", {"symbol": "BTCUSDT", "interval": "1h", "limit": 99}, 1),
        ("/fapi/v1/premiumIndexKlines", {"symbol": "BTCUSDT", "interval": "1h", "limit": 499}, 2),
        ("/fapi/v1/indexPriceKlines", {"pair": "BTCUSDT", "interval": "1h", "limit": 500}, 5),
        (
            "/fapi/v1/continuousKlines",
            {"pair": "BTCUSDT", "contractType": "PERPETUAL", "interval": "1h", "limit": 1500},
            10,
        ),
        ("/fapi/v1/trades", {"symbol": "BTCUSDT"}, 5),
        ("/fapi/v1/aggTrades", {"symbol": "BTCUSDT"}, 20),
        ("/fapi/v1/ticker/bookTicker", {"symbol": "BTCUSDT"}, 2),
        ("/fapi/v1/ticker/bookTicker", {}, 5),
    ],
)
def test_weights(sim: Simulator, path: str, query: dict[str, object], weight: int) -> None:
    assert _weight(sim, path, **query) == weight


def _klines(simulator: Simulator, name: str = "klines", **query: object) -> list[list[Any]]:
    named = {"symbol": "BTCUSDT", "interval": "1h", "limit": 40} | query
    rows: list[list[Any]] = simulator.get(f"/fapi/v1/{name}", **named)
    return rows


def test_binance_candles_of_prices(frozen: Simulator) -> None:
    """Mark price candles have the contract's prices, and end at the mark price of premiumIndex."""
    traded, marks = _klines(frozen), _klines(frozen, "markPriceKlines")
    assert [row[0] for row in marks] == [row[0] for row in traded]
    assert [row[6] for row in marks] == [row[6] for row in traded]
    for mark, row in zip(marks, traded, strict=True):
        assert [Decimal(text) for text in mark[1:5]] == [Decimal(text) for text in row[1:5]]
        assert mark[5] == mark[7] == mark[9] == mark[10] == mark[11] == "0"
        assert isinstance(mark[8], int)
    now = frozen.get("/fapi/v1/premiumIndex", symbol="BTCUSDT")
    assert marks[-1][4] == now["markPrice"]
    indices = _klines(frozen, "indexPriceKlines", pair="BTCUSDT")
    assert indices[-1][4] == now["indexPrice"]
    premiums = _klines(frozen, "premiumIndexKlines")
    for premium, mark, index in zip(premiums, marks, indices, strict=True):
        told = (Decimal(mark[4]) - Decimal(index[4])) / Decimal(index[4])
        assert abs(Decimal(premium[4]) - told) < Decimal("0.00000002")
        o, high, low, c = (Decimal(text) for text in premium[1:5])
        assert low <= min(o, c) <= max(o, c) <= high


def test_binance_continuous_candles(frozen: Simulator) -> None:
    """A pair and a type of contract name a symbol; a type that a pair does not have is refused."""
    listed = frozen.get("/fapi/v1/exchangeInfo")["symbols"]
    for contract in listed:
        if contract["pair"] not in ("BTCUSDT", "TSLAUSDT"):
            continue
        query = {"pair": contract["pair"], "contractType": contract["contractType"]}
        told = _klines(frozen, "continuousKlines", **query)
        assert told == _klines(frozen, symbol=contract["symbol"])
        assert len(told) > 30
    query = {"pair": "TSLAUSDT", "contractType": "NEXT_QUARTER", "interval": "1h"}
    status, _, body = frozen.full("GET", "/fapi/v1/continuousKlines", query=query)
    assert (status, b'"code":-4144,' in body) == (400, True)


@pytest.mark.parametrize(
    "path, query, code",
    [
        ("indexPriceKlines", {"interval": "1h"}, -1102),
        ("indexPriceKlines", {"pair": "NOSUCHPAIR", "interval": "1h"}, -4144),
        ("markPriceKlines", {"symbol": "BTCUSDT"}, -1102),
        ("markPriceKlines", {"symbol": "BTCUSDT", "interval": "7h"}, -1120),
        ("continuousKlines", {"pair": "BTCUSDT", "interval": "1h"}, -1102),
        (
            "continuousKlines",
            {"pair": "BTCUSDT", "interval": "1h", "contractType": "FOREVER"},
            -1130,
        ),
        ("trades", {"symbol": "BTCUSDT", "limit": 1001}, -1130),
        ("aggTrades", {}, -1102),
    ],
)
def test_wrong_parameters(
    frozen: Simulator, path: str, query: dict[str, object], code: int
) -> None:
    status, _, body = frozen.full("GET", f"/fapi/v1/{path}", query=query)
    assert (status, f'"code":{code},' in body.decode()) == (400, True), body


def test_binance_trades_add_up_to_the_candle(frozen: Simulator) -> None:
    """The orders since the minute began have the forming minute's volume, turnover and prices."""
    start_ms = NOW_MS - NOW_MS % MINUTE_MS
    found = frozen.get("/fapi/v1/aggTrades", symbol="BTCUSDT", startTime=start_ms, limit=1000)
    *_, minute = _klines(frozen, interval="1m", limit=1)
    assert found
    assert all(start_ms <= trade["T"] <= NOW_MS for trade in found)
    assert sum(Decimal(trade["q"]) for trade in found) == Decimal(minute[5])
    bought = sum(Decimal(trade["q"]) for trade in found if not trade["m"])
    assert 0 < bought < Decimal(minute[5])
    assert Decimal(found[-1]["p"]) == Decimal(minute[4])
    low, high = Decimal(minute[3]), Decimal(minute[2])
    assert all(low <= Decimal(trade["p"]) <= high for trade in found)
    numbers = [trade["a"] for trade in found]
    assert numbers == sorted(set(numbers))
    assert sum(trade["l"] - trade["f"] + 1 for trade in found) >= len(found)


def test_binance_lists_of_trades(frozen: Simulator) -> None:
    """The newest ones end now; an id leads on from where a page ended."""
    newest = frozen.get("/fapi/v1/aggTrades", symbol="BTCUSDT", limit=700)
    assert len(newest) == 700
    assert [trade["T"] for trade in newest] == sorted(trade["T"] for trade in newest)
    page = frozen.get("/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=newest[300]["a"], limit=50)
    assert page == newest[300:350]
    fills = frozen.get("/fapi/v1/trades", symbol="BTCUSDT", limit=5)
    assert [(fill["price"], fill["qty"], fill["time"]) for fill in fills] == [
        (trade["p"], trade["q"], trade["T"]) for trade in newest[-5:]
    ]
    for fill in fills:
        assert Decimal(fill["quoteQty"]) == Decimal(fill["price"]) * Decimal(fill["qty"])
    old = frozen.get("/fapi/v1/aggTrades", symbol="BTCUSDT", startTime=1, limit=5)
    assert old == []


def test_binance_best_prices_are_those_of_the_book(frozen: Simulator) -> None:
    book = frozen.get("/fapi/v1/depth", symbol="BTCUSDT", limit=5)
    best = frozen.get("/fapi/v1/ticker/bookTicker", symbol="BTCUSDT")
    assert [best["bidPrice"], best["bidQty"]] == book["bids"][0]
    assert [best["askPrice"], best["askQty"]] == book["asks"][0]
    every = frozen.get("/fapi/v1/ticker/bookTicker")
    assert best in every
    assert {entry["symbol"] for entry in every} == {
        entry["symbol"] for entry in frozen.get("/fapi/v1/ticker/24hr")
    }


def _bybit(simulator: Simulator, path: str, **query: object) -> Any:
    body = simulator.get(f"/v5/market/{path}", **query)
    assert body["retCode"] == 0, body
    return body["result"]


def test_bybit_candles_of_prices(frozen: Simulator) -> None:
    query = _BYBIT | {"interval": "60", "limit": 40}
    traded = _bybit(frozen, "kline", **query)["list"]
    for name in ("mark-price-kline", "index-price-kline"):
        told = _bybit(frozen, name, **query)
        assert told["symbol"] == "BTCUSDT"
        assert told["category"] == "linear"
        assert told["list"] == [row[:5] for row in traded]
    ticker = _bybit(frozen, "tickers", **_BYBIT)["list"][0]
    assert traded[0][4] == ticker["markPrice"] == ticker["indexPrice"]
    premiums = _bybit(frozen, "premium-index-price-kline", **query)["list"]
    assert premiums == [[row[0], "0", "0", "0", "0"] for row in traded]


def test_bybit_trades_add_up_to_the_candle(frozen: Simulator) -> None:
    start_ms = NOW_MS - NOW_MS % MINUTE_MS
    found = _bybit(frozen, "recent-trade", **_BYBIT, limit=1000)["list"]
    minute = _bybit(frozen, "kline", **_BYBIT, interval="1", limit=1)["list"][0]
    assert [int(trade["time"]) for trade in found] == sorted(
        (int(trade["time"]) for trade in found), reverse=True
    )
    of_minute = [trade for trade in found if int(trade["time"]) >= start_ms]
    assert 0 < len(of_minute) < 1000
    assert sum(Decimal(trade["size"]) for trade in of_minute) == Decimal(minute[5])
    assert found[0]["price"] == minute[4]
    assert len({trade["execId"] for trade in found}) == len(found)


def test_bybit_book(frozen: Simulator) -> None:
    book = _bybit(frozen, "orderbook", **_BYBIT, limit=20)
    assert len(book["b"]) == len(book["a"]) == 20
    bids, asks = ([Decimal(price) for price, _ in book[side]] for side in "ba")
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    last = Decimal(_bybit(frozen, "tickers", **_BYBIT)["list"][0]["lastPrice"])
    assert bids[0] <= last <= asks[0]
    assert bids[0] < asks[0]
    assert book["ts"] == NOW_MS
    assert len(_bybit(frozen, "orderbook", **_BYBIT)["b"]) == 25


def test_bybit_risk_limits_in_pages(frozen: Simulator) -> None:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(10):
        query = {"category": "linear"} | ({"cursor": cursor} if cursor else {})
        page = _bybit(frozen, "risk-limit", **query)
        assert len({entry["symbol"] for entry in page["list"]}) <= 15
        found += page["list"]
        cursor = page["nextPageCursor"]
        if not cursor:
            break
    by_symbol = itertools.groupby(found, key=lambda entry: entry["symbol"])
    listed = _bybit(frozen, "instruments-info", category="linear", limit=1000)["list"]
    limits = {symbol: list(entries) for symbol, entries in by_symbol}
    assert set(limits) == {entry["symbol"] for entry in listed}
    for entry in listed:
        most = limits[entry["symbol"]][0]["maxLeverage"]
        assert most == entry["leverageFilter"]["maxLeverage"]
    assert _bybit(frozen, "risk-limit", **_BYBIT)["list"] == limits["BTCUSDT"]


@pytest.mark.parametrize("category", ["spot", "inverse", "option"])
def test_bybit_lists_nothing_in_other_categories(frozen: Simulator, category: str) -> None:
    assert _bybit(frozen, "instruments-info", category=category)["list"] == []
    assert frozen.get("/v5/market/tickers", category=category)["retCode"] == 10001


def test_a_snapshot_is_the_same_in_every_period(frozen: Simulator) -> None:
    """Whatever the period and the window; as recorded of the exchange."""
    found: dict[int, dict[str, Any]] = {}
    for period, limit in (("5m", 500), ("1h", 40), ("4h", 10), ("4h", 60), ("1d", 25)):
        query = {"symbol": "BTCUSDT", "period": period, "limit": limit}
        for row in frozen.get("/futures/data/openInterestHist", **query):
            assert found.setdefault(row["timestamp"], row) == row
    assert len(found) > 500


def test_requests_are_told_with_their_query(sim: Simulator) -> None:
    sim.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1h", limit=3)
    *_, last = sim.get("/sim/requests")["requests"]
    assert last["query"] == "symbol=BTCUSDT&interval=1h&limit=3"
    assert (last["endpoint"], last["period"]) == ("klines", "1h")
