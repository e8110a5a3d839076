"""Documents read back: exact series and funding, and errors for other documents."""

import math
from typing import Any

import orjson
import pytest

from documents.building import DocumentBuilder, encode_funding
from documents.reading import decode_funding, decode_series
from documents.text import DocumentError, DocumentText
from market.left_out import LeftOut
from market.markets import Exchange, FundingSeries, Market
from market.timeframes import Timeframe
from tests.documents.samples import AS_OF_MS, BTC, ETH, HOUR_MS, finished, row, series


def test_series_read_back_are_equal_and_exact() -> None:
    # Values whose shortest decimal form has 17 digits, or an exponent.
    hard = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, 2**53 + 2.0, 1e22, 123456789012345680.0]
    rows = [row(index * 4 * HOUR_MS, open=value) for index, value in enumerate(hard)]
    wide = Market(Exchange.BINANCE, '币安"人生],{"rows":[USDT', "币安人生", "USDT")
    builder = DocumentBuilder(Timeframe.H4, "collected")
    builder.add(series(wide, rows, stale_since_ms=7), {"hurst": 0.1})
    builder.add(series(ETH, []), {})
    book = decode_series(finished(builder))
    assert set(book) == {wide.key, ETH.key}
    assert book[wide.key] == series(wide, rows, stale_since_ms=7)
    assert book[ETH.key] == series(ETH, [])
    assert book.get("binance:NOPE") is None


def test_funding_document_and_back() -> None:
    rows = [(AS_OF_MS - 8 * HOUR_MS + 3, 0.0001), (AS_OF_MS, -0.00012345)]
    book = {
        m.key: FundingSeries(m, rows[:n], 8, AS_OF_MS) for n, m in enumerate((ETH, BTC), start=1)
    }
    document = encode_funding(
        book, version=3, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS, missing=[]
    )
    assert document.decode() == (
        '{"timeframe":"global_fr","interval_ms":null,"version":3,"as_of":1700000000000,'
        '"updated_at":1700000000000,"last_closed_open_time":null,"source":"collected",'
        '"columns":["funding_time","funding_rate"],"markets":['
        '{"exchange":"binance","symbol":"BTCUSDT","base":"BTC","quote":"USDT",'
        '"interval_hours":8,"checked_at":1700000000000,'
        '"rows":[[1699971200003,0.0001],[1700000000000,-0.00012345]]},'
        '{"exchange":"bybit","symbol":"ETHUSDT","base":"ETH","quote":"USDT",'
        '"interval_hours":8,"checked_at":1700000000000,"rows":[[1699971200003,0.0001]]}],'
        '"missing":[]}'
    )
    assert decode_funding(document) == book


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([(2, 0.1), (1, 0.1)], "its settlements do not ascend"),
        ([(1, 0.1), (1, 0.1)], "its settlements do not ascend"),
        ([(1, math.nan)], "a funding rate is not a finite number"),
        ([(1.5, 0.1)], "its settlements do not ascend"),
        ([(1, "0.1")], "a funding rate is not a finite number"),
    ],
)
def test_invalid_settlements_cost_their_own_market(rows: Any, reason: str) -> None:
    book = {ETH.key: FundingSeries(ETH, [(1, 0.1)], 8, 1), BTC.key: FundingSeries(BTC, rows, 8, 1)}
    document = orjson.loads(
        encode_funding(book, version=1, as_of_ms=1, updated_at_ms=1, missing=[])
    )
    assert [market["symbol"] for market in document["markets"]] == ["ETHUSDT"]
    assert document["missing"] == [
        {"exchange": "binance", "symbol": "BTCUSDT", "part": "funding_rate", "reason": reason}
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"markets":[]}',
        b'{"a":1,"markets":[',
        b'{"a":1,"markets":[{"exchange":"binance","symbol":"A","rows":[]}',
        b'{"a":1,"markets":[{"exchange":"binance","rows":[]}],"missing":[]}',
        b'{"a":1, "markets": [], "missing": []}',
    ],
)
def test_what_is_no_document_is_told(text: bytes) -> None:
    with pytest.raises(DocumentError):
        DocumentText(text)


def test_a_document_of_another_kind_is_told() -> None:
    funding = encode_funding({}, version=1, as_of_ms=1, updated_at_ms=1, missing=[])
    with pytest.raises(DocumentError):
        decode_series(funding)
    with pytest.raises(DocumentError):
        decode_funding(finished(DocumentBuilder(Timeframe.H4, "collected")))


# --- odd documents -----------------------------------------------------------------------------

CANDLES = (
    b'{"timeframe":"4h","columns":["open_time","open","high","low","close","volume","turnover",'
    b'"open_interest","funding_rate"],"markets":[{"exchange":"bybit","symbol":"A","base":"a",'
    b'"quote":"USDT","meta":{"hurst":0.5},"checked_at":5,"stale_since":null,"rows":%b},'
    b'{"exchange":"binance","symbol":"B","base":"b","quote":"USDT","meta":null,"checked_at":6,'
    b'"stale_since":7,"rows":[]}],"missing":%b}'
)
FUNDING = (
    b'{"columns":["funding_time","funding_rate"],"markets":[{"exchange":"bybit","symbol":"A",'
    b'"base":"a","quote":"USDT","interval_hours":4,"checked_at":5,"rows":%b}],"missing":%b}'
)
FULL = b"[[14400000,1,2,0.5,1.5,10,20,null,-0.1]]"


def missing(*entries: object) -> bytes:
    return orjson.dumps(entries)


def entry(part: str, reason: object, symbol: str | None = "A") -> dict[str, Any]:
    return {"exchange": "bybit", "symbol": symbol, "part": part, "reason": reason}


def test_a_document_of_two_markets() -> None:
    book = decode_series(CANDLES % (FULL, b"[]"))
    assert (list(book), len(book)) == (["bybit:A", "binance:B"], 2)
    assert book.metas() == {"bybit:A": {"hurst": 0.5}, "binance:B": {}}
    a, b = book["bybit:A"], book["binance:B"]
    assert list(a.rows) == [(14400000, 1.0, 2.0, 0.5, 1.5, 10.0, 20.0, None, -0.1)]
    assert a.market == Market(Exchange.BYBIT, "A", "a", "USDT")
    assert (a.checked_at_ms, a.stale_since_ms, a.lacks_open_interest, a.left_out) == (
        *(5, None, False),
        {},
    )
    assert (list(b.rows), b.checked_at_ms, b.stale_since_ms) == ([], 6, 7)


def test_what_was_missing_is_known_to_the_next_run() -> None:
    told = missing(
        7,
        {"reason": "no part"},
        entry("of another release", "row at 5 left out: x"),
        entry("klines", "row at 5 left out: no number"),
        entry("klines", "row after 6 left out: no time"),
        entry("klines", "and 3 more, up to 4"),
        entry("open_interest", "row at 7 left out: y"),
        entry("klines", "timeout"),
        entry("klines", None),
        {**entry("open_interest", "timeout", "B"), "exchange": "binance"},
    )
    book = decode_series(CANDLES % (b"[]", told))
    a, b = book["bybit:A"], book["binance:B"]
    assert a.left_out == {
        "klines": [
            LeftOut(5, "no number"),
            LeftOut(6, "no time", after=True),
            LeftOut(4, "", rows=3),
        ],
        "open_interest": [LeftOut(7, "y")],
    }
    assert (a.lacks_open_interest, b.lacks_open_interest, b.left_out) == (False, True, {})


def test_settlements_that_were_left_out_are_known_to_the_next_run() -> None:
    told = missing(
        entry("funding_rate", "row at 5 left out: x"),
        entry("klines", "row at 6 left out: x"),
        entry("funding_rate", "row at 7 left out: x", "B"),
        entry("funding_rate", "timeout"),
    )
    (series,) = decode_funding(FUNDING % (b"[[5,-0.5]]", told)).values()
    assert (list(series.rows), series.left_out) == ([(5, -0.5)], (LeftOut(5, "x"),))
    assert (series.interval_hours, series.checked_at_ms) == (4, 5)
    (series,) = decode_funding(FUNDING % (b"[]", b"[]")).values()
    assert (list(series.rows), series.left_out) == ([], ())


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (b"[[14400000,1,2,0.5,1.5,10,20,null]]", "unreadable rows: "),
        (b'[[14400000,1,2,0.5,1.5,10,20,null,"x"]]', "unreadable rows: "),
        (b"[[14400000,1,2,0.5,1.5,10,20,null,]]", "unreadable rows: "),
        (b"[[null,1,2,0.5,1.5,10,20,null,-0.1]]", "a row has no time"),
    ],
)
def test_rows_that_cannot_be_read(rows: bytes, reason: str) -> None:
    book = decode_series(CANDLES % (rows, b"[]"))
    with pytest.raises(DocumentError) as raised:
        book["bybit:A"]
    assert str(raised.value).startswith(reason)
    assert list(book["binance:B"].rows) == []


@pytest.mark.parametrize("rows", [b"[[5]]", b"[[5,null]]", b"[[5,0.1,7]]", b"[[5.5,0.1]]", b"[5]"])
def test_settlements_that_cannot_be_read(rows: bytes) -> None:
    with pytest.raises(DocumentError, match="unreadable rows: "):
        decode_funding(FUNDING % (rows, b"[]"))


def test_markets_of_exchanges_that_only_a_later_release_knows_are_passed_by() -> None:
    """Processes of that release share the store; what is known of ours is none the worse."""
    rows = [(AS_OF_MS, 0.0001)]
    both = {each.key: FundingSeries(each, rows, 8, AS_OF_MS) for each in (BTC, ETH)}
    document = encode_funding(
        both, version=3, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS, missing=[]
    )
    later = document.replace(b'"exchange":"bybit"', b'"exchange":"later"')
    assert decode_funding(later) == {BTC.key: both[BTC.key]}
    candles = CANDLES.replace(b'"exchange":"bybit"', b'"exchange":"later"') % (FULL, b"[]")
    found = decode_series(candles)
    assert (list(found), dict(found.metas()), len(found)) == (["binance:B"], {"binance:B": {}}, 1)


def test_a_market_that_cannot_be_read() -> None:
    nameless = CANDLES.replace(b'"base":"a",', b"") % (FULL, b"[]")
    with pytest.raises(DocumentError, match="A: unreadable market: 'base'"):
        decode_series(nameless)["bybit:A"]


def test_which_kind_of_document_it_is() -> None:
    with pytest.raises(DocumentError, match=r"^not a candle document$"):
        decode_series(FUNDING % (b"[]", b"[]"))
    with pytest.raises(DocumentError, match=r"^not a funding document$"):
        decode_funding(CANDLES % (b"[]", b"[]"))
