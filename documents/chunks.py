"""Chunks: a market's JSON in parts of at most 64 rows, aligned to the timeframe's grid.

The first part begins with the market's head, the last one ends with the market's end. The parts
between them hold closed rows; they are kept, and used again where the rows are the same to the
last bit.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from typing import Final, NamedTuple

import numpy as np
import orjson

from documents.chunked_text import ChunkText
from documents.deflated import DeflatedPart, deflate, deflate_each, stored_part
from market.rows import Rows, Times

CHUNK_ROWS: Final = 64
_END: Final = b"]}"
_NO_ROWS: Final = Rows.of(())


class NotFinite(ValueError):
    """A row has a number that JSON lacks."""


class Chunk(NamedTuple):
    """A part of a market's JSON; `first_ms`: the open time of its first row, 0 without rows."""

    part: DeflatedPart
    first_ms: int
    rows: int


class KeptMarket(NamedTuple):
    """All rows of a market, and its chunks between the first and the last; `first`: the number of
    rows before those."""

    chunks: Sequence[Chunk] = ()
    rows: Rows = _NO_ROWS
    first: int = 0


def encode_market(
    head: bytes, rows: Rows, interval_ms: int, kept: KeptMarket
) -> tuple[list[Chunk], KeptMarket]:
    """The market's chunks in order, and what to keep of them: a copy of the rows, and the chunks.

    `head` ends with `"rows":[`, and the rows ascend on the grid. Raises NotFinite.
    """
    if not len(rows):
        return [Chunk(deflate(head + _END), 0, 0)], KeptMarket()
    bounds = _bounds(rows.times, interval_ms)
    spans = list(pairwise(bounds))
    known = _unchanged(rows, interval_ms, spans, kept)
    changed = [place for place in range(len(spans)) if place not in known]
    texts = _texts(rows, interval_ms, [spans[place] for place in changed])
    texts[0] = head + texts[0]
    texts[-1] = texts[-1][:-1] + _END  # in place of the comma
    for place, part in zip(changed, deflate_each(texts), strict=True):
        start, end = spans[place]
        known[place] = Chunk(part, int(rows.times[start]), end - start)
    chunks = [known[place] for place in range(len(spans))]
    return chunks, KeptMarket(chunks[1:-1], _frozen(rows), bounds[1])


def stored_market(rows: Rows, interval_ms: int, stored: Sequence[ChunkText]) -> KeptMarket:
    """What to keep of a market of a stored document: its rows, which nobody can change then, and
    its chunks; none of them if they are cut elsewhere, or not where the index tells."""
    bounds = list(accumulate((chunk.rows for chunk in stored), initial=0))
    if not len(rows) or bounds != _bounds(rows.times, interval_ms):
        return KeptMarket()
    starts_ms = rows.times[bounds[1:-1]].tolist()
    chunks = []
    for chunk, first_ms in zip(stored[1:], starts_ms, strict=True):
        begin = b"[%d," % first_ms
        part = stored_part(chunk.deflated, chunk.text)
        if part is None or chunk.text[: len(begin)] != begin:
            return KeptMarket()
        chunks.append(Chunk(part, first_ms, chunk.rows))
    if stored_part(stored[0].deflated, stored[0].text) is None:
        return KeptMarket()
    rows.times.flags.writeable = rows.values.flags.writeable = False
    return KeptMarket(chunks[:-1], rows, bounds[1])


def _frozen(rows: Rows) -> Rows:
    """A copy of the rows that nobody can change."""
    times, values = rows.times.copy(), rows.values.copy()
    times.flags.writeable = values.flags.writeable = False
    return Rows(times, values)


def _unchanged(
    rows: Rows, interval_ms: int, spans: Sequence[tuple[int, int]], kept: KeptMarket
) -> dict[int, Chunk]:
    """The chunks of spans, without the first and the last one, whose rows are those of a kept one,
    by their place among the spans."""
    found = _unmoved(rows, spans, kept)
    if found is not None:
        return found
    ends = accumulate((chunk.rows for chunk in kept.chunks), initial=kept.first)
    places = {
        _number(chunk.first_ms, interval_ms): (chunk, slice(start, start + chunk.rows))
        for chunk, start in zip(kept.chunks, ends, strict=False)
    }
    found = {}
    for place, (start, end) in enumerate(spans[1:-1], 1):
        place_then = places.get(_number(int(rows.times[start]), interval_ms))
        if place_then is None:
            continue
        chunk, then = place_then
        if _same(rows, slice(start, end), kept.rows, then):
            found[place] = chunk
    return found


def _unmoved(
    rows: Rows, spans: Sequence[tuple[int, int]], kept: KeptMarket
) -> dict[int, Chunk] | None:
    """All kept chunks by their place, if all rows between the first and the last chunk are those
    of before; None if not."""
    first, last = spans[0][1], spans[-1][0]
    then = slice(kept.first, kept.first + sum(chunk.rows for chunk in kept.chunks))
    if first >= last or not _same(rows, slice(first, last), kept.rows, then):
        return None
    return dict(enumerate(kept.chunks, 1))


def _same(one: Rows, ours: slice, other: Rows, theirs: slice) -> bool:
    """Whether the rows are the same to the last bit, NaN included."""
    return np.array_equal(one.times[ours], other.times[theirs]) and np.array_equal(
        one.values[ours].view(np.int64), other.values[theirs].view(np.int64)
    )


def _number(time_ms: int, interval_ms: int) -> int:
    """The number of the chunk that holds a row of this time."""
    return time_ms // (interval_ms * CHUNK_ROWS)


def _bounds(times: Times, interval_ms: int) -> list[int]:
    """Where chunks begin among the rows, and the number of rows."""
    count, first_ms = len(times), int(times[0])
    if int(times[-1]) - first_ms == (count - 1) * interval_ms:
        until_next = CHUNK_ROWS - first_ms // interval_ms % CHUNK_ROWS
        return [0, *range(until_next, count, CHUNK_ROWS), count]
    numbers = times // (interval_ms * CHUNK_ROWS)
    return [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist(), count]


def _texts(rows: Rows, interval_ms: int, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """The JSON of the rows of each span, every row with a comma behind it. Raises NotFinite."""
    picked = Rows(rows.times, np.concatenate([rows.values[start:end] for start, end in spans]))
    if not picked.is_finite():
        raise NotFinite
    # orjson gives the values alone, [[1.5,null],[2.0,0.1]]; the times are spliced in as integers.
    lines = orjson.dumps(picked.values, option=orjson.OPT_SERIALIZE_NUMPY).split(b"[")[2:]
    lines[-1] = lines[-1][:-1] + b","
    texts = []
    position = 0
    for start, end in spans:
        following = position + end - start
        starts = _row_starts(rows.times[start:end], interval_ms)
        pairs = zip(starts, lines[position:following], strict=True)
        texts.append(b"".join(chain.from_iterable(pairs)))
        position = following
    return texts


def _row_starts(times: Times, interval_ms: int) -> list[bytes]:
    """`[<time>,` of each row of a chunk."""
    count, first_ms = len(times), int(times[0])
    if int(times[-1]) - first_ms == (count - 1) * interval_ms:
        chunk_ms = interval_ms * CHUNK_ROWS
        skipped = first_ms % chunk_ms // interval_ms
        return _whole_chunk_starts(first_ms - first_ms % chunk_ms, interval_ms)[
            skipped : skipped + count
        ]
    return [b"[%d," % time_ms for time_ms in times.tolist()]


@lru_cache(maxsize=128)
def _whole_chunk_starts(first_ms: int, interval_ms: int) -> list[bytes]:
    """`[<time>,` of each row of a chunk without a gap; cached because most markets share them."""
    last_ms = first_ms + interval_ms * CHUNK_ROWS
    return [b"[%d," % time_ms for time_ms in range(first_ms, last_ms, interval_ms)]
