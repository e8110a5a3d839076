"""Documents read back: exact series and funding, and errors for other documents."""

import math
from typing import Any

import orjson
import pytest

from documents.building import DocumentBuilder, encode_funding
from documents.reading import decode_funding, decode_series
from documents.text import DocumentError, DocumentText
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


# --- cutting -----------------------------------------------------------------------------------
