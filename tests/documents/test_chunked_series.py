"""The series of a document's chunks are those of its whole text, and its chunks are used again."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

import documents.building
import documents.chunks
from documents.building import DocumentBuilder
from documents.chunk_index import ChunkedDocument, ChunkIndex, Size
from documents.chunked_series import ChunkedSeries
from documents.chunked_text import ChunkedText, ChunksDamaged
from documents.kept import KeptDocuments, KeptSeries
from documents.reading import decode_series
from documents.text import DocumentError
from market.markets import Market, MarketSeries, Meta
from market.rows import Rows
from market.timeframes import Timeframe
from tests.documents.test_kept import AS_OF_MS, H4, A, B, exact, rows, series, versions

FINEST, COARSE, COARSEST = Timeframe.H4, Timeframe.H12, Timeframe.D1


def built(
    found: Mapping[Market, Rows],
    *,
    kept: KeptDocuments | None = None,
    stored: ChunkedSeries | None = None,
    meta: Meta | None = None,
    timeframe: Timeframe = H4,
) -> ChunkedDocument:
    builder = DocumentBuilder(timeframe, "collected", kept, stored=stored)
    for market, each in found.items():
        builder.add(series(market, each), meta or {})
    return builder.finish_deflated(version=3, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=())


def text_of(document: ChunkedDocument) -> ChunkedText:
    return ChunkedText(b"".join(document.pieces), document.index)


@settings(max_examples=80, deadline=None)
@given(versions)
def test_chunks_give_the_series_of_the_whole_text(drawn: list[Any]) -> None:
    for markets, meta, missing in drawn:
        builder = DocumentBuilder(H4, "collected")
        for market, (table, stale_ms) in markets.items():
            builder.add(series(market, table, stale_since_ms=stale_ms), meta)
        document = builder.finish_deflated(
            version=9, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=missing
        )
        whole, found = decode_series(document.inflate()), ChunkedSeries(text_of(document))
        assert (found.version, list(found), len(found)) == (9, list(whole), len(whole))
        assert found.metas() == whole.metas()
        assert {key: exact(found[key]) for key in found} == {
            key: exact(whole[key]) for key in whole
        }
        assert found.chunks("binance:NONE") == documents.chunks.KeptMarket()


@settings(max_examples=60, deadline=None)
@given(versions)
def test_a_document_is_the_same_whatever_chunks_it_uses_again(drawn: list[Any]) -> None:
    before: ChunkedSeries | None = None
    for markets, meta, _ in drawn:
        found = {market: Rows.of(table) for market, (table, _) in markets.items()}
        alone = built(found, meta=meta)
        assert built(found, stored=before, meta=meta).pieces == alone.pieces
        before = ChunkedSeries(text_of(alone))


def test_chunks_whose_rows_stay_are_used_again_and_no_others() -> None:
    found = rows(400)
    stored = ChunkedSeries(text_of(built({A: Rows.of(found)})))
    known = [chunk.part.deflated for chunk in stored.chunks(A.key).chunks]
    assert len(known) == 5
    corrected = (*found[100][:4], 9.0, *found[100][5:])
    later = [*found[:100], corrected, *found[101:], *rows(1, first=400)]
    document = built({A: Rows.of(later)}, stored=stored)
    again = [piece in known and any(piece is each for each in known) for piece in document.pieces]
    assert sum(again) == len(known) - 1
    assert document.inflate() == built({A: Rows.of(later)}).inflate()


def test_chunks_of_another_length_are_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Rows.of(rows(400))
    monkeypatch.setattr(documents.chunks, "CHUNK_ROWS", 32)
    stored = ChunkedSeries(text_of(built({A: found})))
    monkeypatch.undo()
    documents.chunks._whole_chunk_starts.cache_clear()
    assert exact(stored[A.key])[-2:] == exact(MarketSeries(A, found, AS_OF_MS))[-2:]
    assert stored.chunks(A.key) == documents.chunks.KeptMarket()
    assert built({A: found}, stored=stored).pieces == built({A: found}).pieces


def shifted(index: ChunkIndex, column: str, by: int, behind: int = 1) -> ChunkIndex:
    """The index with the boundary behind a chunk elsewhere."""
    found = list(getattr(index, column))
    found[behind] += by
    found[behind + 1] -= by
    changed: dict[str, Any] = {column: found}
    return replace(index, **changed)


@pytest.mark.parametrize("by", [1, -1, 7])
@pytest.mark.parametrize("column", ["text", "deflated", "rows"])
@pytest.mark.parametrize("behind", [1, 5])
def test_chunks_that_are_not_where_the_index_tells_are_not_used_again(
    column: str, by: int, behind: int
) -> None:
    found = rows(400)
    document = built({A: Rows.of(found)})
    assert len(document.index.rows) == 7
    index = shifted(document.index, column, by, behind)
    stored = ChunkedSeries(ChunkedText(b"".join(document.pieces), index))
    for corrected in (found, [*found[:150], (*found[150][:4], 9.0, *found[150][5:]), *found[151:]]):
        again, alone = (built({A: Rows.of(corrected)}, stored=each) for each in (stored, None))
        assert again.pieces == alone.pieces
        assert again.index == alone.index


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("part", ["header", "comma"])
def test_an_index_with_another_header_or_end_is_told_at_once(part: str, place: int) -> None:
    document = built({A: Rows.of(rows(5)), B: Rows.of(rows(5, seed=2.0))})
    index = document.index
    for by in (1, -1):
        sizes: dict[str, Any] = {}
        for name, more in ((part, by), ("end", -by)):
            size: list[int] = [*getattr(index, name)]
            size[place] += more
            sizes[name] = Size(*size)
        other = replace(index, **sizes)
        assert other.size == index.size
        with pytest.raises(ChunksDamaged):
            ChunkedSeries(ChunkedText(b"".join(document.pieces), other))


def test_nobody_can_change_rows_whose_chunks_are_used_again() -> None:
    found = ChunkedSeries(text_of(built({A: Rows.of(rows(400))})))[A.key].rows
    assert isinstance(found, Rows)
    with pytest.raises(ValueError, match="read-only"):
        found.values[100, 0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        found.times[100] = 1


@pytest.mark.parametrize("lacking", ["base", "checked_at", "stale_since"])
def test_a_market_without_a_field_is_unreadable_and_encoded_whole(
    lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, whole = {A: Rows.of(rows(200))}, documents.building._head
    monkeypatch.setattr(
        documents.building,
        "_head",
        lambda head: whole({name: value for name, value in head.items() if name != lacking}),
    )
    stored = ChunkedSeries(text_of(built(found)))
    monkeypatch.undo()
    with pytest.raises(DocumentError, match=lacking):
        stored[A.key]
    assert built(found, stored=stored).pieces == built(found).pieces


def test_an_index_takes_no_more_memory_than_is_counted() -> None:
    index = built({A: Rows.of(rows(4000)), B: Rows.of(rows(4000))}).index
    columns = (index.deflated, index.text, index.first, index.rows)
    assert sum(map(sys.getsizeof, columns)) <= index.memory_bytes


def test_a_market_whose_chunks_are_damaged_is_unreadable_alone() -> None:
    found = {A: Rows.of(rows(200)), B: Rows.of(rows(200, seed=2.0))}
    document = built(found)
    stream, first = bytearray(b"".join(document.pieces)), document.index.markets[0]
    position = 2 + document.index.header.deflated + document.index.deflated[first.first]
    stream[position + 40] ^= 0xFF  # in the second chunk of the first market
    stored = ChunkedSeries(ChunkedText(bytes(stream), document.index))
    damaged, whole = sorted((A.key, B.key))
    with pytest.raises(DocumentError):
        stored[damaged]
    assert exact(stored[whole])[-2:] == exact(decode_series(document.inflate())[whole])[-2:]
    assert built(found, stored=stored).pieces == document.pieces


def test_chunks_of_other_markets_are_told_at_once() -> None:
    document = built({A: Rows.of(rows(5)), B: Rows.of(rows(5, seed=2.0))})
    one, other = document.index.markets
    swapped = [one._replace(symbol=other.symbol), other._replace(symbol=one.symbol)]
    index = replace(document.index, markets=swapped)
    with pytest.raises(ChunksDamaged, match="they are of another market"):
        ChunkedSeries(ChunkedText(b"".join(document.pieces), index))


def published(kept: KeptDocuments, found: Mapping[Market, Rows], timeframe: Timeframe) -> None:
    document = built(found, kept=kept, timeframe=timeframe)
    kept.publish(timeframe, 3, f"hash {timeframe}", document)


def of(timeframe: Timeframe, length: int = 150) -> Rows:
    step_ms = timeframe.interval_ms
    first_ms = AS_OF_MS // step_ms * step_ms - length * step_ms
    return Rows.of(
        [
            (first_ms + n * step_ms, n + 0.1, 2.0, 1.0, 1.5, 7.0, 8.0, None, None)
            for n in range(length)
        ]
    )


def test_a_document_whose_rows_find_no_room_is_held_as_it_is_stored() -> None:
    one = KeptDocuments(1)
    published(one, {A: of(FINEST)}, FINEST)
    kept = KeptDocuments(one.bytes * 1.2 / 2**20)  # rows of one document
    for timeframe in (FINEST, COARSE):
        published(kept, {A: of(timeframe)}, timeframe)
    assert isinstance(kept.series(FINEST, 3, f"hash {FINEST}"), KeptSeries)
    found = kept.series(COARSE, 3, f"hash {COARSE}")
    assert isinstance(found, ChunkedSeries)
    assert found.is_ours
    assert kept.is_published(COARSE)
    assert list(found[A.key].rows) == list(of(COARSE))
    assert kept.series(COARSE, 3, "another") is None
    assert kept.series(COARSE, 4, f"hash {COARSE}") is None
    assert one.bytes < kept.bytes < one.bytes * 1.5


def test_documents_without_rows_take_a_quarter_of_the_limit_the_finest_first() -> None:
    document = built({A: of(COARSE)}, timeframe=COARSE)
    size = text_of(document).memory_bytes

    def held(limit_bytes: int) -> list[Timeframe]:
        kept = KeptDocuments(limit_bytes / 2**20)
        kept.reserve("bases", limit_bytes)  # no rows find room
        for timeframe in (COARSEST, FINEST, COARSE):
            published(kept, {A: of(timeframe)}, timeframe)
        return [each for each in (FINEST, COARSE, COARSEST) if kept.is_published(each)]

    assert size == document.index.size.deflated + document.index.memory_bytes
    assert held(0) == []
    assert held(3 * size) == []
    assert held(4 * size + size) == [FINEST]
    assert held(8 * size + size) == [FINEST, COARSE]
    assert held(12 * size + 2 * size) == [FINEST, COARSE, COARSEST]


def test_rows_come_and_go_and_what_is_stored_stays_until_the_next_publish() -> None:
    kept = KeptDocuments(1)
    kept.reserve("bases", 2**20)
    published(kept, {A: of(COARSE)}, COARSE)
    stored_bytes = kept.bytes - 2**20
    assert isinstance(kept.series(COARSE, 3, f"hash {COARSE}"), ChunkedSeries)
    kept.reserve("bases", 0)
    published(kept, {A: of(COARSE)}, COARSE)
    assert isinstance(kept.series(COARSE, 3, f"hash {COARSE}"), KeptSeries)
    # The rows go for others' sake after the document was published.
    kept.reserve("bases", 2**20)
    assert kept.is_published(COARSE)
    found = kept.series(COARSE, 3, f"hash {COARSE}")
    assert isinstance(found, ChunkedSeries)
    assert list(found[A.key].rows) == list(of(COARSE))
    assert kept.bytes == 2**20 + stored_bytes
    kept.publish(COARSE, 4, "of another process")
    assert not kept.is_published(COARSE)
    assert kept.bytes == 2**20


def test_rows_of_a_finer_document_push_out_those_of_a_published_one() -> None:
    one = KeptDocuments(1)
    published(one, {A: of(FINEST)}, FINEST)
    kept = KeptDocuments(one.bytes * 1.2 / 2**20)
    for timeframe in (COARSEST, FINEST):
        published(kept, {A: of(timeframe)}, timeframe)
    assert isinstance(kept.series(FINEST, 3, f"hash {FINEST}"), KeptSeries)
    found = kept.series(COARSEST, 3, f"hash {COARSEST}")
    assert isinstance(found, ChunkedSeries)
    assert list(found[A.key].rows) == list(of(COARSEST))
