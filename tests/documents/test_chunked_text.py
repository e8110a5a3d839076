"""A slice made from a document's chunks is the very slice made from its whole text."""

import binascii
import zlib
from dataclasses import replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from documents.building import DocumentBuilder
from documents.chunk_index import (
    ChunkedDocument,
    ChunkIndex,
    Size,
    decode_index,
    encode_index,
)
from documents.chunked_text import ChunkedText, ChunksDamaged
from documents.text import DocumentFilter, DocumentText
from market.markets import Exchange, Market, MarketSeries, Missing
from market.rows import Rows
from market.timeframes import Timeframe
from tests.documents.samples import AS_OF_MS, H4_MS, LAST_CLOSED_4H_MS, row
from tests.documents.test_text import SYMBOLS, queries

NEWEST_MS = LAST_CLOSED_4H_MS + H4_MS
HASH = "0123456789abcdef"


def rows(steps: list[int]) -> Rows:
    """Rows that opened so many steps before the forming one."""
    return Rows.of([row(NEWEST_MS - step * H4_MS, close=step + 0.5) for step in steps])


def built(markets: dict[Market, Rows], missing: list[Missing] | None = None) -> ChunkedDocument:
    builder = DocumentBuilder(Timeframe.H4, "collected")
    for market, each in markets.items():
        builder.add(MarketSeries(market, each, AS_OF_MS), {"hurst": 0.5})
    return builder.finish_deflated(
        version=7, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS, missing=missing or []
    )


def many(count: int, length: int = 300) -> ChunkedDocument:
    each = rows(list(reversed(range(length))))
    markets = [Market(Exchange.BINANCE, f"C{n:03}USDT", "C", "USDT") for n in range(count)]
    return built(dict.fromkeys(markets, each))


def chunked(document: ChunkedDocument, index: ChunkIndex | None = None) -> ChunkedText:
    return ChunkedText(b"".join(document.pieces), index or document.index)


@st.composite
def documents(draw: st.DrawFn) -> ChunkedDocument:
    markets = {}
    names = st.tuples(st.sampled_from(Exchange), st.sampled_from(SYMBOLS))
    for exchange, symbol in draw(st.lists(names, unique=True, max_size=6)):
        steps = draw(
            st.builds(range, st.integers(0, 90), st.integers(0, 200))
            | st.sets(st.integers(0, 200), max_size=40)
        )
        found = rows(sorted(steps, reverse=True))
        markets[Market(exchange, symbol, "X", "USDT")] = found
    lacking = st.tuples(st.sampled_from(Exchange), st.none() | st.sampled_from(SYMBOLS))
    missing = draw(st.lists(lacking, max_size=3))
    return built(markets, [Missing(e, s, "klines", "r") for e, s in missing])


@settings(max_examples=400, deadline=None)
@given(documents(), st.lists(queries, min_size=1, max_size=6))
def test_a_slice_has_the_bytes_of_one_of_the_whole_text(
    document: ChunkedDocument, asked: list[DocumentFilter]
) -> None:
    text = DocumentText(document.inflate())
    source = chunked(document)
    assert source.missing() == text.missing()
    assert [market[:2] for market in source.markets] == [span[:2] for span in text.markets]
    for where in asked:
        expected = b"".join(text.filtered(where))
        assert b"".join(source.filtered(where)) == expected
        assert source.filtered_size(where).copied >= len(expected)


# A market of 300 rows: its chunks by the steps of their rows before the newest.
CHUNKS = ((299, 296), (295, 232), (231, 168), (167, 104), (103, 40), (39, 0))
C7 = frozenset(["C007USDT"])


def opened(step: int) -> int:
    return NEWEST_MS - step * H4_MS


@pytest.mark.parametrize(
    ("where", "needed"),
    [
        (DocumentFilter(symbols=C7), [0, 1, 2, 3, 4, 5]),
        (DocumentFilter(symbols=C7, limit=1), [0, 5]),
        (DocumentFilter(symbols=C7, limit=40), [0, 5]),
        (DocumentFilter(symbols=C7, limit=41), [0, 4, 5]),
        (DocumentFilter(symbols=C7, limit=40 + 64), [0, 4, 5]),
        (DocumentFilter(symbols=C7, limit=40 + 64 + 1), [0, 3, 4, 5]),
        (DocumentFilter(symbols=C7, limit=300), [0, 1, 2, 3, 4, 5]),
        # How many rows of the last chunk are forming is not known before it is read.
        (DocumentFilter(symbols=C7, limit=1, closed=True), [0, 4, 5]),
        (DocumentFilter(symbols=C7, limit=64, closed=True), [0, 4, 5]),
        (DocumentFilter(symbols=C7, limit=65, closed=True), [0, 3, 4, 5]),
        (DocumentFilter(symbols=C7, since_ms=opened(0)), [0, 5]),
        (DocumentFilter(symbols=C7, since_ms=opened(0) + 1), [0, 5]),
        (DocumentFilter(symbols=C7, since_ms=opened(39)), [0, 5]),
        (DocumentFilter(symbols=C7, since_ms=opened(39) - 1), [0, 4, 5]),
        (DocumentFilter(symbols=C7, since_ms=opened(295)), [0, 1, 2, 3, 4, 5]),
        (DocumentFilter(symbols=C7, since_ms=0), [0, 1, 2, 3, 4, 5]),
        (DocumentFilter(symbols=C7, since_ms=opened(45), limit=1), [0, 5]),
        (DocumentFilter(symbols=frozenset(["NOPE"])), []),
        (DocumentFilter(exchanges=frozenset(["bybit"])), []),
    ],
)
def test_a_slice_inflates_the_chunks_that_it_needs(
    where: DocumentFilter, needed: list[int]
) -> None:
    """The first one holds the market's head."""
    document = many(20)
    index, source = document.index, chunked(document)
    market = next(market for market in source.markets if market.symbol == "C007USDT")
    assert list(index.rows[market.first : market.end]) == [a - b + 1 for a, b in CHUNKS]
    found = b"".join(source.filtered(where))
    assert found == b"".join(DocumentText(document.inflate()).filtered(where))
    headers = 1 + where.closed
    fixed = headers * index.header.text + index.end.text
    sizes = [index.text[market.first + place] for place in needed]
    assert source.inflated_bytes == fixed + sum(sizes)
    size = source.filtered_size(where)
    commas = len(",]}") * bool(needed)
    assert size == (index.header.text + index.end.text + sum(sizes) + commas, False)


def test_a_market_whose_rows_are_all_too_new_has_its_head() -> None:
    document = built({Market(Exchange.BYBIT, "AUSDT", "A", "USDT"): rows([70, 40, 3, 0])})
    future = replace(document.index, first=[each + 500 for each in document.index.first])
    text = DocumentText(document.inflate().replace(b'1699977600000,"source', b'0,"source'))
    assert text.header["last_closed_open_time"] == 0
    where = DocumentFilter(closed=True)
    found = b"".join(chunked(document, future).filtered(where))
    assert found.replace(b"1699977600000", b"0") == b"".join(text.filtered(where))


def test_the_index_tells_where_each_part_lies() -> None:
    """The text of every part, cut from the stream by the index alone, and inflated by zlib."""
    document = many(3)
    index, stream = document.index, b"".join(document.pieces)
    text = document.inflate()
    sizes = [index.header]
    for place, (_, _, first, end) in enumerate(index.markets):
        sizes += [index.comma] * (place > 0)
        sizes += map(Size, index.deflated[first:end], index.text[first:end])
    sizes.append(index.end)
    at, position = 2, 0
    parts = []
    for size in sizes:
        part = zlib.decompressobj(wbits=-15).decompress(stream[at : at + size.deflated])
        assert part == text[position : position + size.text]
        at, position = at + size.deflated, position + size.text
        parts.append(part)
    assert (at + 6, position) == (len(stream), len(text)) == index.size
    assert parts[2].startswith(b"[%d," % (index.first[1] * H4_MS))
    assert parts[2].count(b"[") == index.rows[1] == 64
    assert sum(index.rows) == 3 * 300
    assert index.memory_bytes == 24 * 18 + 250 * 3


def test_an_index_of_another_document_is_none() -> None:
    document = many(2)
    stored = encode_index(document.index, version=7, stored_hash=HASH)
    size = document.index.size
    assert zlib.decompress(binascii.a2b_base64(stored)).startswith(b'{"version":7,')
    found = decode_index(stored, version=7, stored_hash=HASH, size=size)
    assert found is not None
    assert list(found.deflated) == list(document.index.deflated)
    where = DocumentFilter(limit=3)
    assert chunked(document, found).filtered(where) == chunked(document).filtered(where)
    for version, stored_hash in ((8, HASH), (7, HASH[::-1])):
        assert decode_index(stored, version=version, stored_hash=stored_hash, size=size) is None


def test_a_damaged_index_is_told() -> None:
    document = many(2)
    size = document.index.size
    stored = encode_index(document.index, version=7, stored_hash=HASH)

    def read(text: bytes) -> None:
        decode_index(text, version=7, stored_hash=HASH, size=size)

    whole = orjson.loads(zlib.decompress(binascii.a2b_base64(stored)))
    broken = [
        *({key: value for key, value in whole.items() if key != lost} for lost in whole),
        whole | {"rows": whole["rows"][:-1]},
        whole | {"text": [1, *whole["text"][1:]]},
        whole | {"first": [-1, *whole["first"][1:]]},
        whole | {"first": [0.5, *whole["first"][1:]]},
        whole | {"first": [2**40, *whole["first"][1:]]},
        whole | {"markets": [["binance", 5, 6], ["binance", "B", 6]]},
        whole | {"markets": [[5, "A", 6], ["binance", "B", 6]]},
        whole | {"markets": [["binance", "A", 12], ["binance", "B", 0]]},
        whole | {"markets": [["binance", "A", 13], ["binance", "B", -1]]},
        whole | {"markets": [["binance", "A"]]},
        whole | {"interval_ms": 0},
        whole | {"header": [1]},
        [whole],
        7,
    ]
    texts = [binascii.b2a_base64(zlib.compress(orjson.dumps(each))) for each in broken]
    raw = binascii.a2b_base64(stored)
    cut = [stored[: len(stored) // 2], b"", b"\xff", b"AAAA", stored[:-8] + b"AAAAAAAA"]
    flipped = binascii.b2a_base64(raw[:40] + bytes([raw[40] ^ 1]) + raw[41:])
    for text in (*texts, *cut, flipped):
        with pytest.raises(ValueError):
            read(text)
    bomb = binascii.b2a_base64(zlib.compress(bytes(2**27)))
    with pytest.raises(ValueError, match="does not end within 67108864 bytes"):
        read(bomb)


def test_chunks_that_are_not_where_the_index_says_are_told() -> None:
    document = many(4)
    index = document.index
    one = DocumentFilter(symbols=frozenset(["C002USDT"]))
    swapped = replace(index, markets=[*index.markets[1::-1], *index.markets[2:]])
    renamed = replace(
        index, markets=[market._replace(symbol=f"{market.symbol}X") for market in index.markets]
    )
    shifted = replace(index, deflated=[*index.deflated[1:], index.deflated[0]])
    longer = replace(index, text=[size + 1 for size in index.text])
    for wrong, where in (
        (swapped, DocumentFilter(limit=1)),
        (renamed, DocumentFilter(symbols=frozenset(["C002USDTX"]))),
        (shifted, one),
        (longer, one),
    ):
        with pytest.raises(ChunksDamaged, match="the chunks of the document are damaged"):
            chunked(document, wrong).filtered(where)


def test_large_slices_are_views_of_one_text() -> None:
    """What follows each other in the document is inflated at once, and not copied again."""
    document = many(40)
    parts = chunked(document).filtered(DocumentFilter(exchanges=frozenset(["binance"])))
    views = [part for part in parts if isinstance(part, memoryview)]
    assert sum(map(len, views)) > 0.9 * document.text_bytes
    assert len({id(view.obj) for view in views}) == 1


def test_a_document_without_markets() -> None:
    document = built({})
    text = document.inflate()
    for where in (DocumentFilter(limit=1), DocumentFilter(closed=True)):
        assert b"".join(chunked(document).filtered(where)) == text
