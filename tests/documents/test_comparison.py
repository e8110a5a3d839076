"""What a version changes, against dicts of rows; and what it says of markets carried over."""

from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from documents import comparison
from documents.building import DocumentBuilder
from documents.changes import Changes, decode_changes
from documents.comparison import Comparison
from documents.kept import KeptDocuments
from documents.reading import decode_series
from market.markets import Exchange, Market, MarketSeries, Missing
from market.previous_series import PreviousSeries
from market.rows import Rows
from market.timeframes import Timeframe

STEP_MS: Final = Timeframe.M5.interval_ms
START_MS: Final = 1_763_726_400_000
AS_OF_MS: Final = START_MS + 12 * STEP_MS + 5_000
MARKETS: Final = [
    Market(exchange, f"{base}USDT", base, "USDT") for exchange in Exchange for base in "ABC"
]
NONE: Final = [None] * len(MARKETS)

_values = st.sampled_from((1.0, 1.5))
_rows = st.dictionaries(
    st.integers(0, 9), st.tuples(_values, st.sampled_from((None, 7.0))), max_size=10
)
# What a market's rows are, in how many steps it was fetched, and whether it is carried over.
_market = st.one_of(st.none(), st.tuples(_rows, st.integers(6, 12), st.booleans()))
_document = st.lists(_market, min_size=len(MARKETS), max_size=len(MARKETS))
Drawn = list[Any]


def made(drawn: Drawn) -> list[MarketSeries]:
    found = []
    for market, given_market in zip(MARKETS, drawn, strict=True):
        if given_market is None:
            continue
        rows, fetched, is_stale = given_market
        lines = [
            (START_MS + slot * STEP_MS, 1.0, 2.0, 0.5, close, 10.0, 15.0, interest, 0.001)
            for slot, (close, interest) in sorted(rows.items())
        ]
        checked_ms = START_MS + fetched * STEP_MS + 1_000
        found.append(
            MarketSeries(market, Rows.of(lines), checked_ms, checked_ms if is_stale else None)
        )
    return found


def build(series: list[MarketSeries], version: int, kept: KeptDocuments | None = None) -> bytes:
    builder = DocumentBuilder(Timeframe.M5, "collected", kept)
    for each in series:
        builder.add(each, {})
    return builder.finish(version=version, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=[])


def closed(series: MarketSeries) -> dict[int, Any]:
    return {row[0]: list(row) for row in series.rows if row[0] + STEP_MS <= series.checked_at_ms}


def naive(before: list[MarketSeries], now: list[MarketSeries]) -> dict[str, Any]:
    old, new = ({s.market.key: s for s in each} for each in (before, now))
    found: dict[str, Any] = {}
    for key, series in new.items():
        theirs, ours = closed(old[key]) if key in old else {}, closed(series)
        first_ms = min((row[0] for row in series.rows), default=0)
        change = (
            [ours[t] for t in sorted(ours.keys() - theirs.keys())],
            [ours[t] for t in sorted(ours.keys() & theirs.keys()) if ours[t] != theirs[t]],
            sorted(t for t in theirs.keys() - ours.keys() if t >= first_ms),
            False,
        )
        if any(change):
            found[key] = change
    return found | {key: ([], [], [], True) for key in old.keys() - new.keys()}


def told(changes: Changes | None) -> dict[str, Any]:
    assert changes is not None
    if not changes.text:
        assert (changes.rows, changes.stale) == (0, 0)
        return {}
    markets = decode_changes(changes.text).markets
    assert markets is not None
    assert bool(markets) == (changes.rows > 0)
    return {f"{m.exchange}:{m.symbol}": tuple(m)[2:] for m in markets}


def compared(
    previous: PreviousSeries | None, now: list[MarketSeries], *missing: Missing
) -> Changes | None:
    found = Comparison(Timeframe.M5, previous)
    for series in now:
        found.add(series)
    return found.finish(missing)


@given(before=_document, now=_document)
@settings(deadline=None, max_examples=150)
def test_the_rows_are_those_of_a_naive_comparison(before: Drawn, now: Drawn) -> None:
    old, new = made(before), made(now)
    changes = compared(decode_series(build(old, 41)), new)
    assert told(changes) == naive(old, new)
    assert changes is not None and changes.base == 41
    stale = {s.market.key for s in new if s.stale_since_ms is not None}
    was_stale = {s.market.key for s in old if s.stale_since_ms is not None}
    came = {s.market.exchange for s in new} - {s.market.exchange for s in old}
    if changes.text:
        read = decode_changes(changes.text)
        assert {f"{m.exchange}:{m.symbol}" for m in read.stale} == stale
        fresh = {s.market.key for s in new} & was_stale - stale
        recovered = {f"{exchange}:{symbol}" for exchange, symbol in read.recovered}
        assert recovered == fresh | {f"{exchange}:None" for exchange in came}
        assert read.counts == {
            e: n for e in Exchange if (n := sum(s.market.exchange is e for s in new))
        }


@given(before=_document, now=_document)
@settings(deadline=None, max_examples=30)
def test_a_document_in_memory_is_compared_alike(before: Drawn, now: Drawn) -> None:
    old, new = made(before), made(now)
    kept = KeptDocuments(64)
    build(old, 41, kept)
    kept.publish(Timeframe.M5, 41, "hash")
    previous = kept.series(Timeframe.M5, 41, "hash")
    if not old:
        assert previous is None  # nothing is kept of an empty document
        return
    found = Comparison(Timeframe.M5, previous)
    builder = DocumentBuilder(Timeframe.M5, "collected", kept)
    for series in new:
        found.add(series)
        builder.add(series, {})  # which takes the series of before out of memory
    assert told(found.finish([])) == naive(old, new)


def test_a_first_version_has_all_its_rows() -> None:
    series = made([({0: (1.0, None), 11: (1.0, 7.0)}, 12, False), *NONE[1:]])
    changes = compared(None, series)
    assert changes is not None and changes.base == 0
    assert told(changes) == naive([], series) and changes.rows == 2


def test_a_refused_market_counts_as_gone() -> None:
    series = made([({0: (1.0, None)}, 12, True), ({0: (1.0, None)}, 12, False), *NONE[2:]])
    found = Comparison(Timeframe.M5, decode_series(build(series, 41)))
    changed = [replace(each, rows=Rows.of(()), stale_since_ms=5) for each in series]
    for each in changed:
        found.add(each)
    found.remove(changed[0].market)
    changes = found.finish([])
    assert told(changes)["binance:AUSDT"] == ([], [], [], True)
    assert changes is not None
    assert [tuple(m) for m in decode_changes(changes.text).stale] == [("binance", "BUSDT", 5)]


def test_an_exchange_that_brings_nothing_is_named() -> None:
    series = made([({0: (1.0, None)}, 12, False), *NONE[1:]])
    lacks = [
        Missing(Exchange.BYBIT, None, "listing", "down"),
        Missing(Exchange.OKX, None, "open_interest", "known from 7 on"),  # it is not absent
        Missing(Exchange.BINANCE, "AUSDT", "open_interest", "late"),
    ]
    changes = compared(decode_series(build(series, 41)), series, *lacks)
    assert changes is not None and (changes.rows, changes.stale) == (0, 1)
    assert [tuple(each) for each in decode_changes(changes.text).absent] == [("bybit", "down")]


def test_more_rows_than_can_be_told_are_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "MOST_ROWS", 3)
    rows = {slot: (1.0, None) for slot in range(4)}
    series = made([(rows, 12, True), *NONE[1:]])
    changes = compared(None, series)
    assert changes is not None and changes.rows == 4
    read = decode_changes(changes.text)
    assert read.markets is None
    assert [m.symbol for m in read.stale] == ["AUSDT"]
    monkeypatch.setattr(comparison, "MOST_ROWS", 4)
    assert len(told(compared(None, series))) == 1


def test_without_the_version_before_nothing_is_told() -> None:
    series = made([({0: (1.0, None)}, 12, False), *NONE[1:]])
    damaged = build(series, 41).replace(b"[[1763726400000", b'[["x"')
    assert compared(decode_series(damaged), series) is None
    unnamed = build(series, 41).replace(b'"version":41', b'"version":"x"')
    assert compared(decode_series(unnamed), series) is None


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"markets":[[1]]}', b"null", b"\xff"])
def test_what_cannot_be_read_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        decode_changes(text)
