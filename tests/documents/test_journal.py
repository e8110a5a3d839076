"""Entries for the history: what they say of a version, against the documents themselves."""

import json
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from documents import journal_draft
from documents.comparison import Comparison
from documents.journal import (
    EncodedEntry,
    JournalEntry,
    decode_entry,
    deflated_entry,
    read_stored_entry,
)
from documents.journal_draft import JournalDraft, funding_entry
from documents.meta import DocumentMeta
from documents.reading import decode_series
from market.markets import Exchange, FundingSeries, Market, MarketSeries, Missing
from market.rows import TimedValues
from market.timeframes import Timeframe
from tests.documents.test_comparison import (
    AS_OF_MS,
    MARKETS,
    Drawn,
    _document,
    build,
    closed,
    made,
    naive,
)

HOUR_MS = 3_600_000


def entry_of(before: bytes | None, now: list[MarketSeries], *missing: Missing) -> JournalEntry:
    draft = JournalDraft(Timeframe.M5, candles=10, funding_updated_ms=5)
    found = Comparison(Timeframe.M5, None if before is None else decode_series(before), draft)
    for series in now:
        found.add(series)
    found.finish(missing)
    encoded = found.journal_entry(
        version=42, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS + 1, missing=missing
    )
    assert encoded is not None
    return decode_entry(deflated_entry(encoded.text))


@given(before=_document, now=_document)
@settings(deadline=None, max_examples=100)
def test_an_entry_has_every_market_of_the_document_and_what_changed(
    before: Drawn, now: Drawn
) -> None:
    old, new = made(before), made(now)
    lack = Missing(Exchange.BYBIT, "XUSDT", "klines", "of no interest")
    entry = entry_of(build(old, 41), new, lack)
    document = json.loads(build(new, 42))
    assert (entry.document, entry.version, entry.base, entry.candles) == ("5m", 42, 41, 10)
    assert (entry.as_of_ms, entry.updated_at_ms) == (AS_OF_MS, AS_OF_MS + 1)
    assert (entry.funding_updated_ms, entry.is_whole) == (5, False)
    assert list(entry.missing) == [lack]
    assert [(m.exchange, m.symbol, m.base, m.quote, m.checked_at_ms, m.stale_since_ms)
            for m in entry.markets] == [
        tuple(m[name] for name in ("exchange", "symbol", "base", "quote", "checked_at",
                                   "stale_since"))
        for m in document["markets"]
    ]  # fmt: skip
    series = {each.market.key: each for each in new}
    changes = naive(old, new)
    for market, stored in zip(entry.markets, document["markets"], strict=True):
        assert market.is_new == (market.key not in {each.market.key for each in old})
        assert market.first_ms == (stored["rows"][0][0] if stored["rows"] else None)
        of_closed = closed(series[market.key])
        assert list(market.forming) == [row for row in stored["rows"] if row[0] not in of_closed]
        change = None if market.change is None else tuple(market.change)[2:]
        assert change == changes.get(market.key)


def test_too_many_rows_are_left_to_a_copy_of_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 2 * len(MARKETS)
    new = made([({1: (1.0, None), 2: (1.5, 7.0)}, 9, False)] * len(MARKETS))
    assert sum(len(m.change.closed) for m in entry_of(None, new).markets if m.change) == rows
    monkeypatch.setattr("documents.comparison.MOST_ROWS", rows - 1)
    entry = entry_of(None, new)
    assert (entry.is_whole, entry.base, len(entry.markets)) == (True, 0, len(MARKETS))
    assert all(market.change is None and market.is_new for market in entry.markets)


def test_a_market_that_was_taken_out_again_is_not_in_the_entry() -> None:
    new = made([({1: (1.0, None)}, 9, False)] * len(MARKETS))
    draft = JournalDraft(Timeframe.M5, candles=10)
    found = Comparison(Timeframe.M5, None, draft)
    for series in new:
        found.add(series)
    found.remove(new[0].market)
    found.finish([])
    encoded = found.journal_entry(version=1, as_of_ms=2, updated_at_ms=3, missing=[])
    assert encoded is not None
    keys = [market.key for market in decode_entry(deflated_entry(encoded.text)).markets]
    assert keys == [each.market.key for each in new[1:]]


def test_rows_that_cannot_be_told_cost_the_entry_and_not_the_document() -> None:
    draft = JournalDraft(Timeframe.M5, candles=10)
    bad: Any = [("x",)]
    odd = MarketSeries(Market(Exchange.BYBIT, "AUSDT", "A", "USDT"), bad, 5)
    draft.add(odd, is_new=True)
    finished = {"version": 1, "as_of_ms": 2, "updated_at_ms": 3, "missing": []}
    assert draft.finish(0, {}, **finished) is None  # type: ignore[arg-type]
    draft.remove(odd.market)
    assert draft.finish(0, {}, **finished) is not None  # type: ignore[arg-type]


def settled(rows: dict[int, float], symbol: str = "AUSDT") -> FundingSeries:
    market = Market(Exchange.BYBIT, symbol, "A", "USDT")
    lines = [(hour * HOUR_MS, rate) for hour, rate in sorted(rows.items())]
    return FundingSeries(market, TimedValues.of(lines), 8, 99 * HOUR_MS)


def funding(before: FundingSeries | None, now: FundingSeries) -> JournalEntry:
    encoded = funding_entry(
        {} if before is None else {before.market.key: before},
        {now.market.key: now},
        base=6,
        version=7,
        as_of_ms=8,
        updated_at_ms=9,
        missing=[],
    )
    assert encoded is not None
    return decode_entry(deflated_entry(encoded.text))


def test_an_entry_of_funding_tells_settlements_that_came_changed_or_went() -> None:
    before = settled({0: 0.1, 8: 0.2, 16: 0.3, 20: 0.9})
    entry = funding(before, settled({8: 0.2, 16: 0.4, 24: 0.5}))
    (market,) = entry.markets
    assert (entry.document, entry.base, entry.version) == ("global_fr", 6, 7)
    assert (market.first_ms, market.checked_at_ms) == (8 * HOUR_MS, 99 * HOUR_MS)
    assert (market.is_new, market.change is not None) == (False, True)
    assert market.change is not None
    assert list(market.change.closed) == [[24 * HOUR_MS, 0.5]]
    assert list(market.change.corrected) == [[16 * HOUR_MS, 0.4]]
    assert list(market.change.removed) == [20 * HOUR_MS]
    (market,) = funding(before, before).markets
    assert (market.change, market.is_new) == (None, False)
    (market,) = funding(None, settled({8: 0.2})).markets
    assert market.is_new and market.change is not None and len(market.change.closed) == 1
    (market,) = funding(None, settled({})).markets
    assert (market.change, market.first_ms) == (None, None)
    assert not funding(None, settled({8: float("nan")})).markets  # nor has the document


def test_an_entry_of_funding_tells_the_interval_of_each_market() -> None:
    now = settled({0: 0.1, 8: 0.2})
    entry = funding(None, now)
    assert entry.intervals == [now.interval_hours] == [8]
    # Of a market that it leaves out, it tells none.
    assert funding(None, settled({8: float("nan")})).intervals == []


@pytest.mark.parametrize(
    ("intervals", "told"), [({}, None), ({"intervals": None}, None), ({"intervals": [4]}, [4])]
)
def test_entries_of_earlier_releases_tell_no_intervals(intervals: Any, told: Any) -> None:
    assert decode_entry(funding_text(intervals)).intervals == told


@pytest.mark.parametrize("intervals", [[], [8, 8], [0], ["8"]])
def test_intervals_that_are_not_of_the_markets_are_refused(intervals: Any) -> None:
    with pytest.raises(ValueError):
        decode_entry(funding_text({"intervals": intervals}))


def funding_text(more: dict[str, Any]) -> bytes:
    """An entry of one market, as text."""
    now = settled({0: 0.1})
    encoded = funding_entry(
        {}, {now.market.key: now}, base=0, version=1, as_of_ms=1, updated_at_ms=1, missing=()
    )
    assert encoded is not None
    told = orjson.loads(zlib.decompress(deflated_entry(encoded.text)))
    del told["intervals"]
    return zlib.compress(orjson.dumps(told | more))


def test_too_many_settlements_are_left_to_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_draft, "MOST_ROWS", 1)
    entry = funding(None, settled({0: 0.1, 8: 0.2}))
    assert (entry.is_whole, entry.markets[0].change) == (True, None)


META = DocumentMeta("8h", 42, "ab", 1003, 1002, 400, 900, "cd")


def test_an_element_of_the_list_says_what_it_is_before_its_text() -> None:
    element = EncodedEntry(b"eJw=", is_whole=True).stored(META)
    assert element == b"8h 42 1003 1 400 900 cd eJw="
    found = read_stored_entry(element)
    assert (found.document, found.version, found.updated_at_ms) == ("8h", 42, 1003)
    assert (found.is_whole, found.text, found.head) == (True, b"eJw=", element[:-4])
    copy = found.copy_meta
    assert (copy.stored_bytes, copy.json_bytes, copy.stored_hash) == (400, 900, "cd")


@pytest.mark.parametrize(
    "element", [b"", b"8h 42", b"9h 42 1003 1 400 900 cd eJw=", b"8h x 1003 1 400 900 cd eJw="]
)
def test_another_element_is_refused(element: bytes) -> None:
    with pytest.raises(ValueError, match="not an entry"):
        read_stored_entry(element)


@pytest.mark.parametrize("text", [b"no base64!", b"eJw=", b"eJwrSS0uAQAEXQHB", b"eJyrrgUAAXUA+Q=="])
def test_another_text_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        decode_entry(deflated_entry(text))
