"""Documents in memory: the series that they hand out are those that the stored text would give."""

import gc
import math
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from documents.building import DocumentBuilder
from documents.chunks import Chunk, KeptMarket
from documents.deflated import DeflatedPart
from documents.kept import KeptDocuments, KeptSeries
from documents.reading import decode_series
from market.left_out import LeftOut
from market.markets import NOT_FETCHED_YET, Exchange, Market, MarketSeries, Meta, Missing, Row
from market.previous_series import SAMPLED_SERIES, PreviousSeries
from market.rows import Rows
from market.timeframes import Timeframe

H4 = Timeframe.H4
STEP_MS = H4.interval_ms
FIRST_MS = 102_000 * STEP_MS  # a midnight
AS_OF_MS = FIRST_MS + 10_000 * STEP_MS
MARKETS = [
    Market(exchange, f"{name}USDT", name, "USDT", launched_ms=7, native=f"{name}-X", since_ms=9)
    for exchange in (Exchange.BYBIT, Exchange.BINANCE)
    for name in ("B", "A", '币安"')
]
A, B = MARKETS[4], MARKETS[3]


def rows(count: int, seed: float = 1.0, first: int = 0) -> list[Row]:
    return [
        (FIRST_MS + place * STEP_MS, seed + place * 0.1, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, None)
        for place in range(first, first + count)
    ]


def series(market: Market, found: Any, checked_ms: int = AS_OF_MS, **more: Any) -> MarketSeries:
    return MarketSeries(market, found, checked_ms, **more)


def built(
    kept: KeptDocuments | None,
    found: Iterable[MarketSeries],
    meta: Meta | None = None,
    missing: Iterable[Missing] = (),
    timeframe: Timeframe = H4,
) -> bytes:
    builder = DocumentBuilder(timeframe, "collected", kept)
    for each in found:
        builder.add(each, meta or {})
    return builder.finish(version=1, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=missing)


def held(kept: KeptDocuments, timeframe: Timeframe = H4) -> KeptSeries:
    kept.publish(timeframe, 5, "hash")
    found = kept.series(timeframe, 5, "hash")
    assert isinstance(found, KeptSeries)
    return found


def exact(found: MarketSeries) -> tuple[object, ...]:
    """All of a series, every number to its last bit."""
    table, market = found.rows, found.market
    assert isinstance(table, Rows)
    identity = (market.launched_ms, market.native, market.contract_size, market.since_ms)
    return (
        *(market, identity, found.checked_at_ms, found.stale_since_ms, found.lacks_open_interest),
        *(found.awaits_open_interest, dict(found.left_out)),
        *(table.times.dtype, table.times.tolist(), table.values.dtype, table.values.shape),
        list(table),
        [[math.copysign(1, value) for value in line if value == value] for line in table.values],
    )


numbers = st.sampled_from([0.1 + 0.2, 0.0, -0.0, 5e-324, 1.7e308, -0.1, 1e22, 2.0**53])
maybe = numbers | st.none()
tables = st.integers(0, 200).flatmap(
    lambda first: st.lists(st.tuples(*[numbers] * 6, maybe, maybe), max_size=6).map(
        lambda lines: [
            (FIRST_MS + (first + 30 * n) * STEP_MS, *line) for n, line in enumerate(lines)
        ]
    )
)
lefts = st.builds(
    LeftOut,
    st.integers(0, 10**14),
    st.sampled_from(["no number", "a\nb", "x" * 300]),
    st.booleans(),
)
reasons = st.one_of(
    st.sampled_from(["timeout", NOT_FETCHED_YET, "and 3 more, up to 4", "row at x left out: y"]),
    lefts.map(LeftOut.text),
)
missings = st.builds(
    Missing,
    st.sampled_from([Exchange.BINANCE, Exchange.BYBIT]),
    st.sampled_from([None, "AUSDT", "BUSDT", '币安"USDT', "GONEUSDT"]),
    st.sampled_from(["klines", "open_interest", "funding_rate", "listing"]),
    reasons,
)
metas = st.dictionaries(st.sampled_from(["hurst", "entropy"]), st.floats(-1e9, 1e9) | st.none())
made = st.builds(
    lambda table, as_rows, stale: (Rows.of(table) if as_rows else table, stale),
    tables,
    st.booleans(),
    st.none() | st.integers(0, AS_OF_MS),
)
versions = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(MARKETS), made),
        metas,
        st.lists(missings, max_size=8),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60, deadline=None)
@given(versions)
def test_what_is_in_memory_is_what_the_document_says(drawn: list[Any]) -> None:
    kept = KeptDocuments(10)
    for markets, meta, missing in drawn:
        told = [
            series(each, table, lacks_open_interest=True, stale_since_ms=stale)
            for each, (table, stale) in markets.items()
        ]
        document = decode_series(built(kept, told, meta, missing))
        kept.publish(H4, 5, "hash")
        memory = kept.series(H4, 5, "hash")
        assert (memory is None) == (not markets)
        if memory is None:
            continue
        assert (list(memory), len(memory)) == (list(document), len(document))
        assert memory.metas() == document.metas()
        for key in document:
            assert exact(memory[key]) == exact(document[key])


def test_a_market_that_awaits_its_open_interest_lacks_it_until_then() -> None:
    kept = KeptDocuments(10)
    missing = [
        Missing(Exchange.BINANCE, "AUSDT", "open_interest", NOT_FETCHED_YET),
        Missing(Exchange.BINANCE, "AUSDT", "open_interest", "row at 5 left out: no number"),
        Missing(Exchange.BYBIT, "BUSDT", "open_interest", "timeout"),
        Missing(Exchange.BYBIT, "AUSDT", "klines", NOT_FETCHED_YET),
    ]
    document = built(kept, [series(each, rows(3)) for each in MARKETS], missing=missing)
    found: PreviousSeries
    for found in (held(kept), decode_series(document)):
        flags = {
            key: (each.lacks_open_interest, each.awaits_open_interest)
            for key, each in found.items()
            if each.lacks_open_interest or each.awaits_open_interest
        }
        assert flags == {"binance:AUSDT": (True, True), "bybit:BUSDT": (True, False)}
    built(kept, [series(A, rows(3))])
    assert not held(kept)[A.key].lacks_open_interest


def test_only_what_was_published_as_a_whole_is_handed_out() -> None:
    kept = KeptDocuments(10)
    both = [series(A, rows(200)), series(B, rows(200))]
    assert kept.series(H4, 5, "hash") is None
    built(kept, both)
    assert kept.series(H4, 5, "hash") is None  # the store may not have it
    assert not kept.is_published(H4)
    kept.publish(H4, 5, "hash")
    assert kept.is_published(H4)
    assert kept.series(H4, 5, "other") is kept.series(H4, 6, "hash") is None
    assert kept.series(Timeframe.H8, 5, "hash") is None
    assert kept.series(H4, 5, "hash") is not None
    # A run that fails half-way has replaced some, and leaves the rest.
    DocumentBuilder(H4, "collected", kept).add(series(A, rows(201)), {})
    assert not kept.is_published(H4)
    kept.publish(H4, 5, "hash")
    assert kept.series(H4, 5, "hash") is None
    # The next one begins from the store, and completes what is here.
    built(kept, both)
    assert list(held(kept)) == [A.key, B.key]


def test_a_market_that_was_taken_out_again_is_not_handed_out() -> None:
    kept = KeptDocuments(10)
    builder = DocumentBuilder(H4, "collected", kept)
    for market in (A, B):
        builder.add(series(market, rows(200)), {})
    builder.remove(A)
    builder.finish(version=1, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=())
    assert list(held(kept)) == [B.key]


def test_a_market_that_is_refused_leaves_nothing_of_its_earlier_version() -> None:
    kept = KeptDocuments(10)
    built(kept, [series(A, rows(200)), series(B, rows(200))])
    held(kept)
    builder = DocumentBuilder(H4, "collected", kept)
    builder.add(series(A, rows(201)), {})
    with pytest.raises(ValueError, match="grid"):
        builder.add(series(B, rows(3)[::-1]), {})
    builder.finish(version=1, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=())
    assert list(held(kept)) == [A.key]


def test_an_earlier_series_goes_when_its_new_one_comes() -> None:
    """Two copies of ten documents would not fit into memory."""
    kept = KeptDocuments(10)
    built(kept, [series(A, rows(200)), series(B, rows(300))], {"hurst": 0.5})
    earlier = held(kept)
    builder = DocumentBuilder(H4, "collected", kept)
    builder.add(series(A, rows(201)), {})
    assert (list(earlier), A.key in earlier, earlier.get(A.key)) == ([B.key], False, None)
    assert len(earlier[B.key].rows) == 300
    assert earlier.metas() == {A.key: {"hurst": 0.5}, B.key: {"hurst": 0.5}}
    # What tells of the whole document stays.
    first, newest = earlier.sample()[A.key].rows
    assert (first[0], newest[0]) == (FIRST_MS, FIRST_MS + 199 * STEP_MS)
    assert earlier.sample()[A.key].checked_at_ms == AS_OF_MS


def test_one_copy_of_the_rows_is_held_through_a_run() -> None:
    kept = KeptDocuments(100)
    markets = [Market(Exchange.BINANCE, f"M{n}USDT", f"M{n}", "USDT") for n in range(200)]
    built(kept, [series(each, Rows.of(rows(500))) for each in markets])
    earlier = held(kept)
    builder = DocumentBuilder(H4, "collected", kept)
    gc.collect()
    tracemalloc.start()
    for each in markets:
        builder.add(series(each, Rows.of(rows(500, first=1))), {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(earlier) == 0
    # 7.2 MB are new, of which each takes the place of an old one that is not traced.
    assert peak < 11_000_000
    builder.finish(version=1, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=())
    assert len(held(kept)) == 200


def test_the_sample_has_the_first_of_each_exchange() -> None:
    kept = KeptDocuments(10)
    markets = [
        Market(exchange, f"M{n:03}USDT", "M", "USDT")
        for exchange in Exchange
        for n in range(SAMPLED_SERIES + 2)
    ]
    built(kept, [series(each, rows(each.symbol == "M000USDT" or 5)) for each in markets])
    sample = held(kept).sample()
    expected = {each.key: 2 for each in markets if each.symbol < f"M{SAMPLED_SERIES:03}"}
    counts = {key: len(each.rows) for key, each in sample.items()}
    assert counts == expected | {f"{exchange}:M000USDT": 1 for exchange in Exchange}


def test_a_run_keeps_what_it_was_given_when_memory_ends() -> None:
    """Otherwise a market whose fetch fails afterwards would lose its rows."""
    kept = KeptDocuments(10)
    built(kept, [series(A, rows(200)), series(B, rows(200))])
    earlier = held(kept)
    kept.reserve("others", 10 * 2**20)
    assert kept.bytes == 10 * 2**20
    assert kept.series(H4, 5, "hash") is None
    assert [len(each.rows) for each in earlier.values()] == [200, 200]


def test_markets_share_their_times() -> None:
    kept = KeptDocuments(10)
    table = Rows.of(rows(300))
    places = [series(A, table), series(B, Rows(table.times.copy(), table.values))]
    built(kept, [*places, series(MARKETS[0], rows(300, first=1))])
    found = held(kept)
    a, b, other = (found[market.key].rows for market in (A, B, MARKETS[0]))
    assert isinstance(a, Rows) and isinstance(b, Rows) and isinstance(other, Rows)
    assert a.times is b.times
    assert a == rows(300)
    assert other == rows(300, first=1)


def test_nobody_can_change_what_is_handed_out() -> None:
    kept = KeptDocuments(10)
    built(kept, [series(A, Rows.of(rows(200)))])
    found = held(kept)[A.key].rows
    assert isinstance(found, Rows)
    for array in (found.times, found.values):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_what_others_reserve_counts_and_documents_make_room_the_coarsest_first() -> None:
    kept = KeptDocuments(1)
    for timeframe in (H4, Timeframe.D1):
        built(kept, [series(A, rows(1))], timeframe=timeframe)
    both = kept.bytes
    kept.reserve("others", 2**20 - both)
    assert kept.bytes == 2**20
    kept.reserve("more", 1)
    assert kept.bytes == 2**20 - both // 2 + 1
    assert kept.get(Timeframe.D1, ("binance", "AUSDT")) == KeptMarket()
    assert kept.get(H4, ("binance", "AUSDT")).rows == rows(1)
    kept.reserve("others", 2**21)  # granted in any case
    assert kept.bytes == 2**21 + 1
    built(kept, [series(A, rows(1))])
    assert kept.bytes == 2**21 + 1
    kept.reserve("others", 5)
    kept.reserve("more", 0)
    assert kept.bytes == 5
    built(kept, [series(A, rows(1))])
    assert len(held(kept)) == 1


def test_what_fits_exactly_is_kept() -> None:
    def put(name: str, size: int, timeframe: Timeframe = H4) -> None:
        chunk = Chunk(DeflatedPart(bytes(size), 0, 0), 0, 0)
        market = Market(Exchange.BINANCE, name, name, "USDT")
        kept.put(timeframe, ("binance", name), KeptMarket([chunk]), series(market, ()), {})

    def is_kept(name: str) -> bool:
        return kept.get(H4, ("binance", name)) != KeptMarket()

    kept = KeptDocuments(1)
    put("A", 0)
    own = kept.bytes
    assert 0 < own < 3000
    put("A", 2**20 - own + 1)
    assert (kept.bytes, is_kept("A")) == (0, False)
    put("A", 2**20 - own)
    assert kept.bytes == 2**20
    # In place of itself it fits, beside itself it does not.
    put("A", 2**20 - own)
    put("B", 0)
    assert (kept.bytes, is_kept("B")) == (2**20, False)
    # A finer timeframe takes the place of all markets of a coarser one.
    put("B", 0, Timeframe.M5)
    assert (kept.bytes, is_kept("A")) == (own, False)
