"""Documents filtered as text give the same as filtering the parsed JSON."""

import json
from typing import Any

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
