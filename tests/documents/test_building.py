"""Built documents: their exact JSON, and the input that raises errors."""

import json
import math
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from documents.building import DocumentBuilder, encode_funding
from market.markets import Exchange, FundingSeries, MarketSeries, Missing, Row
from market.rows import Rows
from market.timeframes import Timeframe
from tests.documents.samples import (
    AS_OF_MS,
    BTC,
    ETH,
    H4_MS,
    HOUR_MS,
    LAST_CLOSED_4H_MS,
    finished,
    row,
    series,
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


def test_an_absent_exchange_is_named_before_its_markets() -> None:
    entries = [
        Missing(Exchange.BYBIT, "AUSDT", "klines", "gone"),
        Missing(Exchange.BYBIT, None, "listing", "blocked here"),
        Missing(Exchange.BINANCE, "ZUSDT", "klines", "gone"),
    ]
    document = finished(DocumentBuilder(Timeframe.H4, "collected"), entries)
    assert json.loads(document)["missing"] == [
        {"exchange": "binance", "symbol": "ZUSDT", "part": "klines", "reason": "gone"},
        {"exchange": "bybit", "symbol": None, "part": "listing", "reason": "blocked here"},
        {"exchange": "bybit", "symbol": "AUSDT", "part": "klines", "reason": "gone"},
    ]


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
        [row(0), row(4 * HOUR_MS + 1)],
        [row(-4 * HOUR_MS), row(0)],
    ],
    ids=[
        *("unsorted", "twice", "off grid", "null price", "text", "short", "float time", "negative"),
        *("second off grid", "first negative"),
    ],
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


def test_a_row_may_open_at_as_of_but_not_after_it() -> None:
    for as_of_ms, fits in [(H4_MS, True), (H4_MS - 1, False)]:
        builder = DocumentBuilder(Timeframe.H4, "collected")
        builder.add(series(BTC, [row(0), row(H4_MS)]), {})
        builder.add(series(ETH, [row(0)]), {})
        if fits:
            builder.finish(version=1, as_of_ms=as_of_ms, updated_at_ms=1, missing=())
            continue
        with pytest.raises(ValueError, match="a row opened at 14400000, after as_of 14399999"):
            builder.finish(version=1, as_of_ms=as_of_ms, updated_at_ms=1, missing=())


def test_a_document_of_the_year_1970_without_rows() -> None:
    for rows in ([], [row(0)]):
        builder = DocumentBuilder(Timeframe.H4, "aggregated")
        assert (builder.markets, builder.rows) == (0, 0)
        builder.add(series(BTC, rows), {})
        document = json.loads(
            builder.finish(version=1, as_of_ms=0, updated_at_ms=2, missing=iter(()))
        )
        assert (document["as_of"], document["last_closed_open_time"]) == (0, -H4_MS)
        assert (document["source"], len(document["markets"][0]["rows"])) == (
            "aggregated",
            len(rows),
        )


def test_a_market_that_is_taken_out_again() -> None:
    builder = DocumentBuilder(Timeframe.H4, "collected")
    builder.add(series(BTC, [row(0), row(H4_MS)]), {})
    builder.add(series(ETH, [row(0)]), {})
    builder.remove(BTC)
    assert (builder.markets, builder.rows) == (1, 1)
    builder.remove(BTC)
    assert (builder.markets, builder.rows) == (1, 1)
    builder.add(series(BTC, [row(0)]), {})
    assert (builder.markets, builder.rows) == (2, 2)
    markets = json.loads(finished(builder))["markets"]
    assert [(m["symbol"], len(m["rows"])) for m in markets] == [("BTCUSDT", 1), ("ETHUSDT", 1)]


def test_an_error_names_market_and_cause() -> None:
    builder = DocumentBuilder(Timeframe.H4, "collected")
    builder.add(series(BTC, []), {})
    for wrong, cause in [
        (series(BTC, []), "binance:BTCUSDT: the market was added twice"),
        (series(ETH, [row(1)]), "bybit:ETHUSDT: its rows do not ascend on the 4h grid"),
        (series(ETH, [row(0, open=None)]), "bybit:ETHUSDT: a row does not hold 9 finite numbers"),
    ]:
        with pytest.raises(ValueError, match=rf"^{cause}$"):
            builder.add(wrong, {})
    with pytest.raises(ValueError, match=r"^bybit:ETHUSDT: its metadata is not finite$"):
        builder.add(series(ETH, []), {"hurst": None, "entropy": math.inf})
    assert (builder.markets, builder.rows) == (1, 0)


def test_rows_of_any_sequence_and_any_nulls_that_are_allowed() -> None:
    class Lines(tuple[Row, ...]):
        """A sequence that is neither a list nor just a tuple."""

    lines = [row(0, open_interest=None, funding_rate=None), row(H4_MS, open_interest=1.0)]
    texts = set()
    for given_rows in (lines, tuple(lines), Lines(lines), Rows.of(lines)):
        builder = DocumentBuilder(Timeframe.H4, "collected")
        builder.add(MarketSeries(BTC, given_rows, AS_OF_MS), {})
        texts.add(finished(builder))
    assert len(texts) == 1
    # As many nulls as the nullable columns hold, but one of them elsewhere.
    for odd in (row(0, close=None), row(0, close=math.nan, open_interest=1.0)):
        builder = DocumentBuilder(Timeframe.H4, "collected")
        with pytest.raises(ValueError, match="does not hold 9 finite"):
            builder.add(series(BTC, [odd]), {})


@pytest.mark.parametrize("count", [1, 2, 511, 512, 513, 1024, 1025])
@pytest.mark.parametrize("hole", [False, True])
def test_times_of_columns(count: int, hole: bool) -> None:
    times = [n * H4_MS for n in range(1000, 1000 + count)]
    if hole:
        times[0] -= H4_MS
    builder = DocumentBuilder(Timeframe.H4, "collected")
    builder.add(MarketSeries(BTC, Rows.of([row(time_ms) for time_ms in times]), AS_OF_MS), {})
    (market,) = json.loads(finished(builder))["markets"]
    assert [line[0] for line in market["rows"]] == times


# --- funding -------------------------------------------------------------------------------------


def test_funding_without_settlements_and_with_gaps_told() -> None:
    gaps = [Missing(Exchange.BYBIT, "B", "funding_rate", "late")] * 2
    book = {m.key: FundingSeries(m, [], hours, 5) for m, hours in ((ETH, 1), (BTC, 8))}
    document = encode_funding(book, version=1, as_of_ms=2, updated_at_ms=3, missing=iter(gaps))
    assert document.decode() == (
        '{"timeframe":"global_fr","interval_ms":null,"version":1,"as_of":2,"updated_at":3,'
        '"last_closed_open_time":null,"source":"collected",'
        '"columns":["funding_time","funding_rate"],"markets":['
        '{"exchange":"binance","symbol":"BTCUSDT","base":"BTC","quote":"USDT",'
        '"interval_hours":8,"checked_at":5,"rows":[]},'
        '{"exchange":"bybit","symbol":"ETHUSDT","base":"ETH","quote":"USDT",'
        '"interval_hours":1,"checked_at":5,"rows":[]}],"missing":['
        '{"exchange":"bybit","symbol":"B","part":"funding_rate","reason":"late"}]}'
    )
    empty = encode_funding({}, version=1, as_of_ms=2, updated_at_ms=3, missing=())
    assert empty.endswith(b'"markets":[],"missing":[]}')


def test_settlements_that_no_json_holds_are_left_out() -> None:
    rows = [(1, complex(1, 1))]
    book = {BTC.key: FundingSeries(BTC, rows, 8, 5)}  # type: ignore[arg-type]
    document = json.loads(encode_funding(book, version=1, as_of_ms=2, updated_at_ms=3, missing=()))
    (entry,) = document["missing"]
    assert (document["markets"], entry["symbol"], entry["part"]) == ([], "BTCUSDT", "funding_rate")
