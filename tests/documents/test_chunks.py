"""Chunks: what is kept between versions changes no byte of the text, and saves its work."""

import json
import math
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from documents import deflated
from documents.building import DocumentBuilder
from documents.chunks import CHUNK_ROWS, Chunk, _whole_chunk_starts
from documents.deflated import DeflatedPart
from documents.kept import KeptDocuments
from market.markets import Exchange, Market, MarketSeries
from market.rows import Rows
from market.timeframes import Timeframe

H4 = Timeframe.H4
STEP_MS = H4.interval_ms
CHUNK_MS = CHUNK_ROWS * STEP_MS
FIRST_MS = 6600 * CHUNK_MS  # a chunk begins here, and a day
MARKETS = [Market(Exchange.BINANCE, f"{name}USDT", name, "USDT") for name in "ABC"]
A, B, _ = MARKETS


def rows(places: Sequence[int], seed: int = 0) -> Rows:
    """Rows at these places of the grid, with numbers that depend on place and seed."""
    times = np.array([FIRST_MS + place * STEP_MS for place in places], np.int64)
    values = np.array(
        [[(place + 1) * (column + 1.25) + seed for column in range(8)] for place in places]
    ).reshape(len(places), 8)
    values[:, 7] = np.where(values[:, 7] % 3 < 1, np.nan, values[:, 7])
    return Rows(times, values)


def text(
    given_rows: dict[Market, Rows], kept: KeptDocuments | None, timeframe: Timeframe = H4
) -> bytes:
    builder = DocumentBuilder(timeframe, "collected", kept)
    for market, each in given_rows.items():
        builder.add(MarketSeries(market, each, FIRST_MS), {"hurst": 0.5})
    document = builder.finish_deflated(
        version=1, as_of_ms=2 * FIRST_MS, updated_at_ms=1, missing=()
    )
    found = zlib.decompress(b"".join(document.pieces))
    assert document.text_bytes == len(found)
    return found


def chunks(kept: KeptDocuments, market: Market, timeframe: Timeframe = H4) -> Sequence[Chunk]:
    """The chunks that are kept: those between the first and the last."""
    return kept.get(timeframe, (str(market.exchange), market.symbol)).chunks


@pytest.fixture
def compressed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The texts of the chunks that were compressed."""
    texts: list[bytes] = []

    def note(made: list[bytes]) -> list[DeflatedPart]:
        texts.extend(made)
        return deflated.deflate_each(made)

    monkeypatch.setattr("documents.chunks.deflate_each", note)
    return texts


places = st.one_of(
    st.builds(range, st.integers(0, 150), st.integers(0, 400)),
    st.sets(st.integers(0, 400), max_size=60).map(sorted),
)
changes = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 7), st.sampled_from([1.5, 0.0, -0.0, 1e-7])),
    max_size=3,
)
versions = st.lists(
    st.dictionaries(st.sampled_from(MARKETS), st.tuples(places, changes)), min_size=2, max_size=5
)


@settings(max_examples=150, deadline=None)
@given(versions, st.sampled_from([0, 1, 100]))
def test_what_is_kept_changes_no_byte(
    drawn: list[dict[Market, tuple[Sequence[int], list[tuple[int, int, float]]]]], limit_mb: int
) -> None:
    kept = KeptDocuments(limit_mb)
    for version in drawn:
        given_rows = {}
        for market, (where, changed) in version.items():
            given_rows[market] = rows(where)
            for row, column, value in changed:
                if row < len(where):
                    given_rows[market].values[row, column] = value
        assert text(given_rows, kept) == text(given_rows, None)
        assert kept.bytes <= limit_mb * 2**20


@pytest.mark.parametrize("first", [0, 10, CHUNK_ROWS - 1])
@pytest.mark.parametrize("last", [CHUNK_ROWS * 5 - 2, CHUNK_ROWS * 5 + 30])
def test_one_more_row_makes_two_chunks_anew(compressed: list[bytes], first: int, last: int) -> None:
    kept = KeptDocuments(10)
    text({A: rows(range(first, last))}, kept)
    assert len(compressed) == -(-last // CHUNK_ROWS)
    before = chunks(kept, A)
    compressed.clear()
    changed = rows(range(first + 1, last + 1))
    changed.values[-2] += 1  # the row that was forming
    assert text({A: changed}, kept).endswith(compressed[-1] + b'],"missing":[]}')
    assert len(compressed) == 2
    assert compressed[0].startswith(b'{"exchange":"binance","symbol":"AUSDT"')
    assert {id(chunk) for chunk in chunks(kept, A)} <= {id(chunk) for chunk in before}


def test_a_changed_row_makes_its_own_chunk_anew_and_no_other(compressed: list[bytes]) -> None:
    kept = KeptDocuments(10)
    text({A: rows(range(CHUNK_ROWS * 6))}, kept)
    before = chunks(kept, A)
    changed = rows(range(CHUNK_ROWS * 6))
    changed.values[CHUNK_ROWS * 3 + 5, 6] = 0.125
    compressed.clear()
    after = text({A: changed}, kept)
    assert len(compressed) == 3  # with the first and the last one
    assert after == text({A: changed}, None)
    assert [one is other for one, other in zip(before, chunks(kept, A), strict=True)] == [
        *(True, True, False, True)
    ]


def test_what_did_not_change_keeps_its_chunks() -> None:
    kept = KeptDocuments(10)
    text({A: rows(range(300)), B: rows(range(20))}, kept)
    before, size = chunks(kept, A), kept.bytes
    text({A: rows(range(1, 301)), B: rows(range(20))}, kept)
    assert [one is other for one, other in zip(before, chunks(kept, A), strict=True)] == [True] * 3
    assert kept.get(H4, ("binance", "AUSDT")).rows == rows(range(1, 301))
    assert kept.bytes == size


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([3, 63, 64, 130, 191, 200, 700], [(64, 1), (130, 2), (200, 1)]),
        # As many rows lack as an error of one in counting could hide.
        ([*range(63), *range(64, 300)], [(64, 64), (128, 64), (192, 64)]),
        ([*range(63), *range(65, 300)], [(65, 63), (128, 64), (192, 64)]),
        ([*range(10, 62), *range(65, 257)], [(65, 63), (128, 64), (192, 64)]),
        (range(40, 300), [(64, 64), (128, 64), (192, 64)]),
        (range(64, 256), [(128, 64)]),
        (range(63, 257), [(64, 64), (128, 64), (192, 64)]),
        (range(64, 192), []),
        (range(10), []),
        ([], []),
    ],
)
def test_chunks_begin_on_the_grid_however_rows_are_missing(
    where: Sequence[int], expected: list[tuple[int, int]]
) -> None:
    kept = KeptDocuments(10)
    (market,) = json.loads(text({A: rows(where)}, kept))["markets"]
    assert [row[0] for row in market["rows"]] == [FIRST_MS + place * STEP_MS for place in where]
    found = chunks(kept, A)
    assert [((each.first_ms - FIRST_MS) // STEP_MS, each.rows) for each in found] == expected


def test_markets_share_the_text_of_their_times() -> None:
    _whole_chunk_starts.cache_clear()
    for market, where in ((A, range(300)), (B, range(7, 301)), (A, [5, 6, 7, 70, 71])):
        text({market: rows(where)}, None)
    counted = _whole_chunk_starts.cache_info()
    assert (counted.misses, counted.hits) == (5, 7)  # of the chunks that begin at 0, 64, ... 256


def test_a_number_that_differs_in_its_sign_alone_is_another() -> None:
    kept = KeptDocuments(10)
    given_rows = rows(range(CHUNK_ROWS * 3))
    given_rows.values[100, 6] = 0.0
    assert b",-0.0," not in text({A: given_rows}, kept)
    given_rows.values[100, 6] = -0.0
    assert text({A: given_rows}, kept).count(b",-0.0,") == 1


def test_what_is_kept_is_a_copy() -> None:
    """Arrays that change afterwards must not make an old text look current."""
    kept = KeptDocuments(10)
    given_rows = rows(range(CHUNK_ROWS * 3))
    before = text({A: given_rows}, kept)
    given_rows.values[100, 0] = 77.5
    after = text({A: given_rows}, kept)
    assert before != after == text({A: given_rows}, None)


def test_a_first_or_last_chunk_is_not_taken_for_an_inner_one() -> None:
    """The first one holds the head, the last one the end of the market."""
    kept = KeptDocuments(10)
    for where in (
        range(CHUNK_ROWS, CHUNK_ROWS * 3),
        range(CHUNK_ROWS * 4),
        range(CHUNK_ROWS),
        range(CHUNK_ROWS * 3),
    ):
        assert text({A: rows(where)}, kept) == text({A: rows(where)}, None)


def test_a_market_with_a_number_that_json_lacks_leaves_what_is_kept() -> None:
    kept = KeptDocuments(10)
    text({A: rows(range(200))}, kept)
    before = chunks(kept, A)
    broken = rows(range(200))
    broken.values[100, 3] = math.inf
    with pytest.raises(ValueError, match="binance:AUSDT: a row does not hold 9 finite numbers"):
        text({A: broken}, kept)
    assert chunks(kept, A) is before != ()


def test_markets_that_a_document_lacks_are_forgotten() -> None:
    kept = KeptDocuments(10)
    text({A: rows(range(200)), B: rows(range(200))}, kept)
    both = kept.bytes
    text({B: rows(range(200))}, kept)
    assert chunks(kept, A) == ()
    assert len(chunks(kept, B)) == 2
    assert kept.bytes == pytest.approx(both / 2, rel=0.05)  # A had the times that they share
    text({}, kept)
    assert kept.bytes == 0


def test_over_the_limit_the_coarsest_timeframe_goes_first() -> None:
    def document(timeframe: Timeframe, kept: KeptDocuments) -> None:
        times = FIRST_MS + np.arange(4000) * timeframe.interval_ms
        text({market: Rows(times, rows(range(4000)).values) for market in (A, B)}, kept, timeframe)

    kept = KeptDocuments(1000)
    document(Timeframe.H4, kept)
    megabytes = round(kept.bytes * 2.5 / 2**20)
    kept = KeptDocuments(megabytes)
    for timeframe in (Timeframe.H8, Timeframe.D1, Timeframe.H4):
        document(timeframe, kept)
        assert 0 < kept.bytes <= megabytes * 2**20
    assert chunks(kept, A, Timeframe.D1) == chunks(kept, B, Timeframe.D1) == ()
    assert len(chunks(kept, B, Timeframe.H4)) == len(chunks(kept, B, Timeframe.H8)) == 61
    # There is no room for the coarsest one, whose markets cost no finer one.
    document(Timeframe.D1, kept)
    assert len(chunks(kept, A, Timeframe.H8)) == len(chunks(kept, B, Timeframe.H8)) == 61


def test_no_memory_keeps_nothing() -> None:
    kept = KeptDocuments(0)
    assert text({A: rows(range(200))}, kept) == text({A: rows(range(200))}, None)
    assert (chunks(kept, A), kept.bytes) == ((), 0)
