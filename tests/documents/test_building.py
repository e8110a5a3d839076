"""Documents: their exact JSON, what they refuse, reading them back, and cutting them as text."""

import json
import math
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from documents.building import DocumentBuilder, encode_funding
from documents.reading import decode_funding, decode_series
from documents.text import DocumentError, DocumentText, Query
from market.markets import Exchange, FundingSeries, Market, MarketSeries, Missing, Row
from market.rows import Rows
from market.timeframes import Timeframe

HOUR_MS = 3_600_000
H4_MS = 4 * HOUR_MS
AS_OF_MS = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC
LAST_CLOSED_4H_MS = 1_699_977_600_000  # 16:00 of that day: the candle of 20:00 is forming

BTC = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")
ETH = Market(Exchange.BYBIT, "ETHUSDT", "ETH", "USDT")


def row(open_time_ms: int, **changed: Any) -> Row:
    values = {
        "open": 1.5,
        "high": 2.0,
        "low": 1e-7,
        "close": 0.1,
        "volume": 12345678.9,
        "turnover": 0.0,
        "open_interest": None,
        "funding_rate": -0.0001,
    }
    return (open_time_ms, *(values | changed).values())


def series(market: Market, rows: list[Row], stale_since_ms: int | None = None) -> MarketSeries:
    return MarketSeries(market, rows, AS_OF_MS, stale_since_ms)


def finished(builder: DocumentBuilder, missing: list[Missing] | None = None) -> bytes:
    return builder.finish(
        version=AS_OF_MS + 1, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS + 9, missing=missing or []
    )


def test_document_is_the_json_of_the_contract() -> None:
    builder = DocumentBuilder(Timeframe.H4, "collected")
    builder.add(series(ETH, [], stale_since_ms=AS_OF_MS - 5), {})
    builder.add(
        series(BTC, [row(LAST_CLOSED_4H_MS), row(LAST_CLOSED_4H_MS + 4 * HOUR_MS)]),
        {"hurst": 0.53, "entropy": None},
    )
    assert (builder.markets, builder.rows) == (2, 2)
    missing = [Missing(Exchange.BYBIT, "XYZUSDT", "open_interest", 'said "no"')]
    assert finished(builder, missing).decode() == (
        '{"timeframe":"4h","interval_ms":14400000,"version":1700000000001,"as_of":1700000000000,'
        '"updated_at":1700000000009,"last_closed_open_time":1699977600000,"source":"collected",'
        '"columns":["open_time","open","high","low","close","volume","turnover","open_interest",'
        '"funding_rate"],"markets":['
        '{"exchange":"binance","symbol":"BTCUSDT","base":"BTC","quote":"USDT",'
        '"meta":{"hurst":0.53,"entropy":null},"checked_at":1700000000000,"stale_since":null,'
        '"rows":[[1699977600000,1.5,2.0,1e-7,0.1,12345678.9,0.0,null,-0.0001],'
        "[1699992000000,1.5,2.0,1e-7,0.1,12345678.9,0.0,null,-0.0001]]},"
        '{"exchange":"bybit","symbol":"ETHUSDT","base":"ETH","quote":"USDT","meta":{},'
        '"checked_at":1700000000000,"stale_since":1699999999995,"rows":[]}],'
        '"missing":[{"exchange":"bybit","symbol":"XYZUSDT","part":"open_interest",'
        '"reason":"said \\"no\\""}]}'
    )


def test_equal_input_gives_equal_bytes_in_any_order() -> None:
    documents = set()
    for order in ([BTC, ETH], [ETH, BTC]):
        builder = DocumentBuilder(Timeframe.H8, "aggregated")
        for market in order:
            builder.add(series(market, [row(0)]), {"hurst": 0.5})
        gaps = [Missing(m.exchange, m.symbol, "klines", "gone") for m in order]
        documents.add(finished(builder, [*gaps, gaps[0]]))
    (document,) = documents
    assert len(json.loads(document)["missing"]) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("column", ["open", "volume", "open_interest", "funding_rate"])
def test_no_number_that_json_lacks(column: str, value: float) -> None:
    builder = DocumentBuilder(Timeframe.H4, "collected")
    with pytest.raises(ValueError, match="binance:BTCUSDT"):
        builder.add(series(BTC, [row(0), row(4 * HOUR_MS, **{column: value})]), {})
    with pytest.raises(ValueError, match="metadata"):
        builder.add(series(BTC, [row(0)]), {"hurst": value})
    assert json.loads(finished(builder))["markets"] == []


@pytest.mark.parametrize(
    "rows",
    [
        [row(4 * HOUR_MS), row(0)],
        [row(0), row(0)],
        [row(1)],
        [row(0, close=None)],
        [row(0, close="1.5")],
        [row(0)[:8]],
        [row(0.0)],  # type: ignore[arg-type]
        [row(-4 * HOUR_MS)],
    ],
    ids=["unsorted", "twice", "off grid", "null price", "text", "short", "float time", "negative"],
)
def test_wrong_rows_are_refused(rows: list[Row]) -> None:
    builder = DocumentBuilder(Timeframe.H4, "collected")
    with pytest.raises(ValueError, match="binance:BTCUSDT"):
        builder.add(series(BTC, rows), {})
    assert builder.markets == builder.rows == 0


values = st.floats(allow_nan=False, allow_infinity=False)
lines = st.tuples(*[values] * 6, st.none() | values, st.none() | values)


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(0, 600), max_size=30), st.booleans(), st.data())
def test_columns_make_the_very_bytes_that_tuples_make(
    places: set[int], unbroken: bool, data: st.DataObject
) -> None:
    slots = range(600 - len(places), 600) if unbroken else sorted(places)
    rows = [(slot * 4 * HOUR_MS, *data.draw(lines)) for slot in slots]
    documents = []
    for given_rows in (rows, Rows.of(rows)):
        builder = DocumentBuilder(Timeframe.H4, "collected")
        builder.add(MarketSeries(BTC, given_rows, AS_OF_MS), {"hurst": 0.5})
        assert (builder.markets, builder.rows) == (1, len(rows))
        documents.append(finished(builder))
    assert documents[0] == documents[1]
    assert json.loads(documents[1])["markets"][0]["rows"] == [list(row) for row in rows]


@pytest.mark.parametrize("column", range(1, 9))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_columns_with_a_number_that_json_lacks_are_refused(column: int, value: float) -> None:
    good = Rows.of([row(0), row(4 * HOUR_MS)])
    good.values[1, column - 1] = value
    builder = DocumentBuilder(Timeframe.H4, "collected")
    if column > 6 and math.isnan(value):  # that is the null
        builder.add(MarketSeries(BTC, good, AS_OF_MS), {})
        return
    with pytest.raises(ValueError, match="binance:BTCUSDT: a row does not hold"):
        builder.add(MarketSeries(BTC, good, AS_OF_MS), {})


@pytest.mark.parametrize("times", [(H4_MS, 0), (0, 0), (0, 1), (-H4_MS, 0)])
def test_columns_off_the_grid_are_refused(times: tuple[int, int]) -> None:
    builder = DocumentBuilder(Timeframe.H4, "collected")
    with pytest.raises(ValueError, match="do not ascend on the 4h grid"):
        builder.add(MarketSeries(BTC, Rows.of([*map(row, times)]), AS_OF_MS), {})


def test_a_finished_document_is_one_zlib_stream() -> None:
    streams = []
    for order in ([BTC, ETH], [ETH, BTC]):
        builder = DocumentBuilder(Timeframe.H8, "aggregated")
        for market in order:
            builder.add(series(market, [row(0)]), {})
        streams.append(
            builder.finish_deflated(
                version=7, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS, missing=()
            )
        )
        assert (builder.markets, builder.rows) == (0, 0)
    assert streams[0] == streams[1]
    text = zlib.decompress(b"".join(streams[0].pieces))
    assert [market["symbol"] for market in json.loads(text)["markets"]] == ["BTCUSDT", "ETHUSDT"]
    assert streams[0].text_bytes == len(text)


def test_a_market_twice_and_a_row_of_the_future_are_refused() -> None:
    builder = DocumentBuilder(Timeframe.H4, "collected")
    builder.add(series(BTC, [row(LAST_CLOSED_4H_MS + 8 * HOUR_MS)]), {})
    with pytest.raises(ValueError, match="twice"):
        builder.add(series(BTC, []), {})
    with pytest.raises(ValueError, match="after as_of"):
        finished(builder)


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
    for bad in ([(2, 0.1), (1, 0.1)], [(1, math.nan)]):
        with pytest.raises(ValueError, match="binance:BTCUSDT"):
            encode_funding(
                {BTC.key: FundingSeries(BTC, bad, 8, 1)},
                version=1,
                as_of_ms=1,
                updated_at_ms=1,
                missing=[],
            )


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

SYMBOLS = ["AUSDT", "BUSDT", 'quote"]},[', "币USDT"]
numbers = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    builder = DocumentBuilder(Timeframe.H4, "collected")
    places = st.tuples(st.sampled_from(Exchange), st.sampled_from(SYMBOLS))
    newest = LAST_CLOSED_4H_MS + 4 * HOUR_MS
    for exchange, symbol in draw(st.lists(places, unique=True, max_size=5)):
        # Instants of the grid, with holes; sometimes more than fit a step back.
        steps = draw(st.sets(st.integers(0, 200), max_size=80))
        rows = [
            row(newest - step * 4 * HOUR_MS, close=draw(numbers) if index < 3 else 0.5)
            for index, step in enumerate(sorted(steps, reverse=True))
        ]
        builder.add(series(Market(exchange, symbol, "X", "USDT"), rows), {"hurst": 0.5})
    missing = draw(st.lists(places, max_size=3))
    return finished(builder, [Missing(e, s, "klines", "r") for e, s in missing])


queries = st.builds(
    Query,
    exchanges=st.none() | st.frozensets(st.sampled_from(["binance", "bybit"])),
    symbols=st.none() | st.frozensets(st.sampled_from([*SYMBOLS, "NOPE"])),
    since_ms=st.none()
    | st.integers(-2, 202).map(lambda n: LAST_CLOSED_4H_MS - n * 4 * HOUR_MS)
    | st.integers(0, 2 * AS_OF_MS),
    closed=st.booleans(),
    limit=st.none() | st.integers(1, 90) | st.just(10**17),
)


def cut_by_parsing(document: bytes, query: Query) -> bytes:
    """The same by the contract's words on parsed JSON."""
    value = orjson.loads(document)

    def wanted(entry: dict[str, Any]) -> bool:
        return (query.exchanges is None or entry["exchange"] in query.exchanges) and (
            query.symbols is None or entry["symbol"] in query.symbols
        )

    value["markets"] = [market for market in value["markets"] if wanted(market)]
    value["missing"] = [entry for entry in value["missing"] if wanted(entry)]
    for market in value["markets"]:
        if query.since_ms is not None:
            market["rows"] = [r for r in market["rows"] if r[0] >= query.since_ms]
        if query.closed:
            last = value["last_closed_open_time"]
            market["rows"] = [r for r in market["rows"] if r[0] <= last]
        if query.limit is not None:
            market["rows"] = market["rows"][-query.limit :]
    return orjson.dumps(value)


@settings(max_examples=150, deadline=None)
@given(documents(), st.lists(queries, min_size=1, max_size=6))
def test_cutting_text_equals_filtering_parsed_json(document: bytes, asked: list[Query]) -> None:
    text = DocumentText(document)
    for query in asked:
        assert b"".join(text.cut(query)) == cut_by_parsing(document, query)


def test_funding_is_cut_too_and_has_no_forming_row() -> None:
    rows = [(index * 8 * HOUR_MS + 4, 0.0001) for index in range(100)]
    document = encode_funding(
        {m.key: FundingSeries(m, rows, 8, AS_OF_MS) for m in (BTC, ETH)},
        version=1,
        as_of_ms=AS_OF_MS,
        updated_at_ms=AS_OF_MS,
        missing=[],
    )
    text = DocumentText(document)
    cut = json.loads(b"".join(text.cut(Query(since_ms=rows[90][0], limit=3, closed=True))))
    assert [market["rows"] for market in cut["markets"]] == [[list(r) for r in rows[-3:]]] * 2
    assert b"".join(text.cut(Query(closed=True))) == document


def test_equal_queries_have_one_canonical_form() -> None:
    one = Query(symbols=frozenset(["A", "B"]), limit=2)
    assert one.canonical() == Query(symbols=frozenset(["B", "A"]), limit=2).canonical()
    different = [Query(), one, Query(symbols=frozenset(["A,B"])), Query(limit=2), Query(since_ms=2)]
    assert len({query.canonical() for query in different}) == len(different)
