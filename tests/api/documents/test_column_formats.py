"""Tables of any document: every row and null is the JSON's, also of markets without rows."""

import gzip
import math
import zlib
from unittest.mock import patch

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.documents.column_formats import write_table
from api.documents.content_coding import Coding
from api.formats import Format
from documents import columns
from documents.building import DocumentBuilder
from documents.columns import read_rows
from documents.text import DocumentError, DocumentFilter, DocumentText
from market.markets import Exchange, Market, MarketSeries, Missing
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.documents import AS_OF_MS, FORMING_MS, document
from tests.fixtures.tables import read_table, rows_of, rows_of_csv, rows_of_json

TABLES = (Format.ARROW, Format.PARQUET, Format.CSV)
NUMBERS = st.one_of(
    st.floats(min_value=0, max_value=1e15, allow_subnormal=False),
    st.sampled_from([0.0, 1e-05, 0.1, 1e-12, 123456789.123, 5e-324, 1.7976931348623157e308]),
)
LINES = st.lists(
    st.tuples(*[NUMBERS] * 6, st.none() | NUMBERS, st.none() | NUMBERS.map(lambda n: -n)),
    max_size=6,
)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    builder = DocumentBuilder(Timeframe.H4, "collected")
    for place, lines in enumerate(draw(st.lists(LINES, max_size=5))):
        exchange = draw(st.sampled_from(list(Exchange)))
        first_ms = FORMING_MS - 4 * HOUR_MS * (len(lines) - 1 + draw(st.integers(0, 8)))
        rows = [(first_ms + at * 4 * HOUR_MS, *line) for at, line in enumerate(lines)]
        stale_ms = draw(st.none() | st.just(AS_OF_MS - HOUR_MS))
        market = Market(exchange, f"{place}USDT", f"{place}", "USDT")
        builder.add(MarketSeries(market, rows, AS_OF_MS, stale_ms), {"hurst": 0.5})
    missing = [Missing(Exchange.BYBIT, "XYZUSDT", "klines", "gone")]
    return builder.finish(
        version=AS_OF_MS, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS, missing=missing
    )


FILTERS = st.builds(
    DocumentFilter,
    exchanges=st.none() | st.just(frozenset(("bybit",))),
    symbols=st.none() | st.just(frozenset(("0USDT", "3USDT"))),
    since_ms=st.none() | st.integers(-8, 9).map(lambda n: FORMING_MS + n * 2 * HOUR_MS),
    closed=st.booleans(),
    limit=st.none() | st.integers(1, 4),
)


@settings(deadline=None)
@given(documents(), FILTERS)
def test_every_row_and_null_is_the_jsons(whole: bytes, where: DocumentFilter) -> None:
    json = b"".join(DocumentText(whole).filtered(where))
    expected = rows_of_json(json)
    heads = [
        {name: value for name, value in market.items() if name != "rows"}
        for market in orjson.loads(json)["markets"]
    ]
    for format_ in TABLES:
        body = b"".join(write_table(format_, DocumentText(json), Coding.IDENTITY))
        assert rows_of(format_, body) == expected
        if format_ is not Format.CSV:
            # Stale markets, and those without rows, are told beside the rows.
            metadata = read_table(format_, body).schema.metadata
            assert orjson.loads(metadata[b"markets"]) == heads


@settings(deadline=None)
@given(documents())
def test_without_simdjson_the_rows_are_the_same(whole: bytes) -> None:
    text = DocumentText(whole)
    with patch.object(columns, "simdjson", None):
        slow = list(read_rows(text))
    fast = list(read_rows(text))
    assert [each.counts for each in slow] == [each.counts for each in fast]
    for one, other in zip(slow, fast, strict=True):
        assert np.array_equal(one.times, other.times)
        assert np.array_equal(one.values, other.values, equal_nan=True)


def test_columns_of_trades_are_columns_like_others() -> None:
    """As documents have them where TRADE_COLUMNS is on."""
    json = document().replace(
        b'"funding_rate"]', b'"funding_rate","trades","taker_buy_volume","taker_buy_turnover"]'
    )
    for rate in (b"1e-05", b"0.00001"):
        json = json.replace(b",%b]" % rate, b",1e-05,17,null,2.5]")
    for format_ in TABLES:
        rows = rows_of(format_, b"".join(write_table(format_, DocumentText(json), Coding.IDENTITY)))
        assert rows == rows_of_json(json)
        assert {(row["trades"], row["taker_buy_volume"]) for row in rows} == {(17.0, None)}
        assert list(rows[0])[-1] == "closed"


def test_csv_in_a_coding_is_the_same_csv() -> None:
    text = DocumentText(document(rows=2000))
    plain = b"".join(write_table(Format.CSV, text, Coding.IDENTITY))
    assert len(rows_of_csv(plain)) == 6000
    for coding, decode in ((Coding.DEFLATE, zlib.decompress), (Coding.GZIP, gzip.decompress)):
        assert decode(b"".join(write_table(Format.CSV, text, coding))) == plain


def test_many_rows_are_read_in_steps() -> None:
    """More rows than one step, of markets of very different lengths."""
    builder = DocumentBuilder(Timeframe.H4, "collected")
    for place, count in enumerate((20_000, 0, 1, 17_000, 3)):
        times = range(FORMING_MS - (count - 1) * 4 * HOUR_MS, FORMING_MS + 1, 4 * HOUR_MS)
        rows = [(t, 1.0, 2.0, 0.5, 1.5 + place, t / 3, 1.0, None, 1e-4) for t in times]
        market = Market(Exchange.BINANCE, f"{place}USDT", f"{place}", "USDT")
        builder.add(MarketSeries(market, rows, AS_OF_MS), {})
    json = builder.finish(version=1, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=[])
    assert len(list(read_rows(DocumentText(json)))) > 1
    for format_ in TABLES:
        body = b"".join(write_table(format_, DocumentText(json), Coding.IDENTITY))
        assert rows_of(format_, body) == rows_of_json(json)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"1.25,10.0", b"1.25"),  # one number less
        (b"1.25,10.0", b"1.25,10.0,3.0"),
        (b"1.25,10.0", b'1.25,"10.0"'),
        (b"1.25,10.0", b"1.25,true"),
        (b"[%d,1.5" % FORMING_MS, b"[null,1.5"),
        (b"[%d,1.5" % FORMING_MS, b"[1e300,1.5"),
    ],
)
def test_rows_of_another_form_are_refused(old: bytes, new: bytes) -> None:
    damaged = document().replace(old, new, 1)
    assert damaged != document()
    for with_simdjson in (True, False):
        parser = columns.simdjson if with_simdjson else None
        with patch.object(columns, "simdjson", parser), pytest.raises(DocumentError):
            write_table(Format.ARROW, DocumentText(damaged), Coding.IDENTITY)


def test_numbers_keep_every_bit() -> None:
    values = [0.1 + 0.2, 1 / 3, 5e-324, 2.0**53 + 2, math.pi * 1e-9]
    builder = DocumentBuilder(Timeframe.H4, "collected")
    market = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")
    rows = [
        (FORMING_MS + (at - len(values)) * 4 * HOUR_MS, v, v, v, v, v, v, v, -v)
        for at, v in enumerate(values)
    ]
    builder.add(MarketSeries(market, rows, AS_OF_MS), {})
    json = builder.finish(version=1, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=[])
    for format_ in TABLES:
        body = b"".join(write_table(format_, DocumentText(json), Coding.IDENTITY))
        assert [row["turnover"] for row in rows_of(format_, body)] == values
