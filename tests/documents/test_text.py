"""Documents filtered as text give the same as filtering the parsed JSON."""

import json
from typing import Any, Final

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from documents.building import DocumentBuilder, encode_funding
from documents.text import DocumentError, DocumentFilter, DocumentText
from market.markets import Exchange, FundingSeries, Market, Missing
from market.timeframes import Timeframe
from tests.documents.samples import (
    AS_OF_MS,
    BTC,
    ETH,
    HOUR_MS,
    LAST_CLOSED_4H_MS,
    finished,
    row,
    series,
)

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
    lacking = st.tuples(st.sampled_from(Exchange), st.none() | st.sampled_from(SYMBOLS))
    missing = draw(st.lists(lacking, max_size=3))
    return finished(builder, [Missing(e, s, "klines", "r") for e, s in missing])


queries = st.builds(
    DocumentFilter,
    exchanges=st.none() | st.frozensets(st.sampled_from(["binance", "bybit"])),
    symbols=st.none() | st.frozensets(st.sampled_from([*SYMBOLS, "NOPE"])),
    since_ms=st.none()
    | st.integers(-2, 202).map(lambda n: LAST_CLOSED_4H_MS - n * 4 * HOUR_MS)
    | st.integers(0, 2 * AS_OF_MS),
    closed=st.booleans(),
    limit=st.none() | st.integers(1, 90) | st.just(10**17),
)


def cut_by_parsing(document: bytes, query: DocumentFilter) -> bytes:
    """The same by the contract's words on parsed JSON."""
    value = orjson.loads(document)

    def wanted(entry: dict[str, Any]) -> bool:
        return (query.exchanges is None or entry["exchange"] in query.exchanges) and (
            query.symbols is None or entry["symbol"] is None or entry["symbol"] in query.symbols
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
def test_cutting_text_equals_filtering_parsed_json(
    document: bytes, asked: list[DocumentFilter]
) -> None:
    text = DocumentText(document)
    for query in asked:
        pieces = text.filtered(query)
        assert b"".join(pieces) == cut_by_parsing(document, query)
        copied = [piece for piece in pieces if isinstance(piece, bytes)]
        size = text.filtered_size(query)
        assert size == (sum(map(len, copied)), len(copied) < len(pieces))


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
    cut = json.loads(
        b"".join(text.filtered(DocumentFilter(since_ms=rows[90][0], limit=3, closed=True)))
    )
    assert [market["rows"] for market in cut["markets"]] == [[list(r) for r in rows[-3:]]] * 2
    assert b"".join(text.filtered(DocumentFilter(closed=True))) == document


def test_equal_queries_have_one_canonical_form() -> None:
    one = DocumentFilter(symbols=frozenset(["A", "B"]), limit=2)
    assert one.canonical() == DocumentFilter(symbols=frozenset(["B", "A"]), limit=2).canonical()
    different = [
        DocumentFilter(),
        one,
        DocumentFilter(symbols=frozenset(["A,B"])),
        DocumentFilter(limit=2),
        DocumentFilter(since_ms=2),
    ]
    assert len({query.canonical() for query in different}) == len(different)


TEXT = (
    b'{"timeframe":"4h","last_closed_open_time":0,"markets":['
    b'{"exchange":"binance","symbol":"kPEPE","rows":[]},'
    b'{"exchange":"binance","symbol":"BTCUSDT","rows":[]}],"missing":[]}'
)


def test_a_symbol_in_upper_case_names_a_market_in_any_case() -> None:
    cut = b"".join(DocumentText(TEXT).filtered(DocumentFilter(symbols=frozenset(["KPEPE"]))))
    assert b"kPEPE" in cut
    assert b"BTCUSDT" not in cut


def test_rows_without_beginnings_are_told() -> None:
    damaged = TEXT.replace(b'"rows":[]', b'"rows":[1,2,3]')
    with pytest.raises(DocumentError, match="a row has no beginning"):
        DocumentText(damaged).filtered(DocumentFilter(since_ms=2))


# --- sizes of parts ------------------------------------------------------------------------------

PART: Final = 262_144  # bytes: smaller pieces are copied and joined
HEADER: Final = b'{"last_closed_open_time":0,"markets":['
TAIL: Final = b'],"missing":[]}'


def market(symbol: str, size: int) -> bytes:
    """A market without rows whose JSON has this size."""
    text = b'{"exchange":"binance","symbol":"%b","base":"%b","rows":[]}'
    return text % (symbol.encode(), b"x" * (size - len(text % (symbol.encode(), b""))))


def parts(document: bytes, where: DocumentFilter) -> list[tuple[type, int]]:
    """The kinds and sizes of the parts; checks that what is said of their sizes is right."""
    text = DocumentText(document)
    pieces = text.filtered(where)
    copied = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
    views = any(isinstance(piece, memoryview) for piece in pieces)
    assert text.filtered_size(where) == (copied, views)
    return [(type(piece), len(piece)) for piece in pieces]


ONE: Final = DocumentFilter(symbols=frozenset(["A"]))


def test_a_large_piece_is_a_view_and_a_smaller_one_is_joined() -> None:
    document = HEADER + market("A", PART) + TAIL
    assert parts(document, ONE) == [(bytes, len(HEADER)), (memoryview, PART), (bytes, len(TAIL))]
    document = HEADER + market("A", PART - 1) + TAIL
    assert parts(document, ONE) == [(bytes, len(HEADER) + PART - 1), (bytes, len(TAIL))]


def test_small_pieces_are_joined_until_they_are_a_part() -> None:
    room = PART - len(HEADER)
    document = HEADER + market("A", room) + TAIL
    assert parts(document, ONE) == [(bytes, PART), (bytes, len(TAIL))]
    document = HEADER + market("A", room - 1) + TAIL
    assert parts(document, ONE) == [(bytes, PART - 1 + len(b'],"missing":')), (bytes, len(b"[]}"))]


def test_each_part_is_joined_anew() -> None:
    room = PART - len(HEADER)
    listed = [market("A", room), market("B", 100), market("A", PART - 2), market("B", 100)]
    document = HEADER + b",".join([*listed, market("A", 500)]) + TAIL
    assert parts(document, ONE) == [
        (bytes, PART),
        (bytes, PART),  # with the commas before and behind it
        (bytes, 500 + len(TAIL)),
    ]


def test_nothing_is_lost_behind_a_large_piece() -> None:
    document = HEADER + market("A", PART + 100) + TAIL
    head = PART + 100 - len(b"]}")
    where = DocumentFilter(limit=1)
    assert parts(document, where) == [
        (bytes, len(HEADER)),
        (memoryview, head),
        (bytes, len(b"]}") + len(TAIL)),
    ]
    assert b"".join(DocumentText(document).filtered(where)) == document


def test_markets_side_by_side_are_one_piece() -> None:
    listed = [market("A", PART), market("C", 500), market("B", 100), market("A", PART)]
    document = HEADER + b",".join([*listed, market("A", 300), market("B", 100)]) + TAIL
    where = DocumentFilter(symbols=frozenset("AC"))
    assert parts(document, where) == [
        (bytes, len(HEADER)),
        (memoryview, PART + 1 + 500),
        (bytes, 1),
        (memoryview, PART + 1 + 300),
        (bytes, len(TAIL)),
    ]
    assert parts(document, DocumentFilter(exchanges=frozenset(["binance"]))) == [
        (bytes, len(HEADER)),
        (memoryview, len(document) - len(HEADER) - len(TAIL)),
        (bytes, len(TAIL)),
    ]


def test_the_whole_document_is_itself() -> None:
    document = HEADER + market("A", PART) + TAIL
    (text,) = DocumentText(document).filtered(DocumentFilter())
    assert text is document


def test_what_is_missing_stays_as_it_is_where_nobody_is_left_out() -> None:
    entry = b'{"exchange": "binance", "symbol": "A", "reason": "%b"}' % (b"r" * PART)
    document = HEADER + b'],"missing":[' + entry + b"]}"
    text = DocumentText(document)
    assert b"".join(text.filtered(DocumentFilter(since_ms=0))) == document
    assert text.filtered_size(DocumentFilter(since_ms=0)).has_views
    compact = document.replace(b'": "', b'":"').replace(b'", "', b'","')
    for where in (ONE, DocumentFilter(exchanges=frozenset(["binance"]))):
        assert b"".join(text.filtered(where)) == compact
        assert text.filtered_size(where) == (len(compact), False)
    nothing = HEADER + TAIL
    assert b"".join(text.filtered(DocumentFilter(exchanges=frozenset(["bybit"])))) == nothing


# --- filters -------------------------------------------------------------------------------------


def test_the_canonical_form_of_a_query() -> None:
    assert DocumentFilter().canonical() == b"[null,null,null,false,null]"
    where = DocumentFilter(frozenset(["bybit", "binance"]), frozenset("BA"), 5, True, 7)
    assert where.canonical() == b'[["binance","bybit"],["A","B"],5,true,7]'
    assert DocumentFilter().is_whole
    assert not where.is_whole
    assert not DocumentFilter(since_ms=0).is_whole


@pytest.mark.parametrize(
    ("exchanges", "symbols", "matched"),
    [
        (None, None, True),
        (["bybit"], None, False),
        (["binance"], None, True),
        (None, ["KPEPE"], True),
        (None, ["kPEPE"], True),
        (None, ["kpepe"], False),
        (None, [], False),
        (["binance"], ["BTCUSDT"], False),
        (["bybit"], ["kPEPE"], False),
    ],
)
def test_which_markets_a_query_means(
    exchanges: list[str] | None, symbols: list[str] | None, matched: bool
) -> None:
    where = DocumentFilter(
        None if exchanges is None else frozenset(exchanges),
        None if symbols is None else frozenset(symbols),
    )
    assert where.matches("binance", "kPEPE") is matched
    # A whole exchange, of any symbol.
    assert where.matches("binance", None) is (exchanges != ["bybit"])


def rows_of(document: bytes, where: DocumentFilter) -> list[Any]:
    cut = json.loads(b"".join(DocumentText(document).filtered(where)))
    return [market["rows"] for market in cut["markets"]]


@pytest.mark.parametrize("count", range(6))
def test_rows_by_time_and_number(count: int) -> None:
    rows = [[118 + n, n] for n in range(count)]
    text = json.dumps(rows, separators=(",", ":")).encode()
    one = b'{"exchange":"binance","symbol":"A","rows":%b}' % text
    document = b'{"last_closed_open_time":120,"markets":[%b,%b],"missing":[]}' % (one, one)
    for since in (0, *range(117, 125), 10**18):
        late = [row for row in rows if row[0] >= since]
        assert rows_of(document, DocumentFilter(since_ms=since)) == [late, late]
        closed = [row for row in late if row[0] <= 120]
        where = DocumentFilter(since_ms=since, closed=True)
        assert rows_of(document, where) == [closed, closed]
        for limit in (1, 2, 5, 10**18):
            last = closed[-limit:]
            where = DocumentFilter(since_ms=since, closed=True, limit=limit)
            assert rows_of(document, where) == [last, last]


# --- what is no document -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "the document has no list of markets, or no end"),
        (b'{"markets":[]}', "the document has no list of markets, or no end"),
        (b'{"a":1,"markets":[],"missing":[]', "the document has no list of markets, or no end"),
        (b',"markets":[],"missing":[]}', "not JSON: "),
        (b'{"a","markets":[],"missing":[]}', "not JSON: "),
        (b'{"a":1,"markets":[]}', "a market has no end"),
        (b'{"a":{"b":[1]},"markets":[{"x":1}],"missing":[]}', "a market has no end"),
        (b'{"a":1,"markets":[{"x":1,"rows":[}],"missing":[]}', "a market has no end"),
        (b'{"a":1,"markets":[{"x":1,"rows":[1}],"missing":[]}', "a market has no end"),
        (b'{"a":1,"markets":[{"x","rows":[]}],"missing":[]}', "not JSON: "),
        (
            b'{"a":1,"markets":[{"exchange":"binance","rows":[]}],"missing":[]}',
            "a market lacks the key 'symbol'",
        ),
    ],
)
def test_why_a_text_is_no_document(text: bytes, reason: str) -> None:
    with pytest.raises(DocumentError) as raised:
        DocumentText(text)
    assert str(raised.value).startswith(reason)


def test_what_is_missing_must_be_a_list() -> None:
    assert DocumentText(HEADER + b'],"missing":[7]}').missing() == [7]
    with pytest.raises(DocumentError, match="not a list"):
        DocumentText(HEADER + b'],"missing":7}').missing()
    with pytest.raises(DocumentError, match="not JSON"):
        DocumentText(HEADER + b'],"missing":[}').missing()


def test_places_of_a_market_in_the_text() -> None:
    text = DocumentText(HEADER + b'{"exchange":"bybit","symbol":"A","x":1,"rows":[[5,6]]}' + TAIL)
    (span,) = text.markets
    assert (span.exchange, span.symbol) == ("bybit", "A")
    assert bytes(text.rows(span)) == b"[[5,6]]"
    assert text.head(span) == {"exchange": "bybit", "symbol": "A", "x": 1}
    assert text.header == {"last_closed_open_time": 0}
    assert text.missing() == []
    assert text.text[span.start : span.end].endswith(b"[[5,6]]}")
    assert text.text[span.rows_start : span.rows_end] == b"[5,6]"
