"""Documents and bases with the columns of trades: built, read back, and without them as before."""

from typing import Any

import orjson
import pytest

from documents.base import BASE_COLUMNS, WIDE_BASE_COLUMNS, BaseBuilder, decode_bases
from documents.building import DocumentBuilder
from documents.changes import decode_changes
from documents.comparison import Comparison, compare
from documents.journal import decode_entry, deflated_entry
from documents.journal_draft import JournalDraft
from documents.kept import KeptDocuments
from documents.reading import decode_series
from documents.text import DocumentError
from market.base import extended
from market.candles import Candle
from market.columns import COLUMNS, WIDE_COLUMNS
from market.markets import Exchange, Market, MarketSeries
from market.rows import Rows
from market.timeframes import Timeframe
from tests.fixtures.base_rows import MIDNIGHT, STEP_MS, base_of, five, same

BTC = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")
ETH = Market(Exchange.BYBIT, "ETHUSDT", "ETH", "USDT")
COUNT = 130
AS_OF_MS = MIDNIGHT + COUNT * STEP_MS + 7


def line(slot: int, *told: Any) -> tuple[Any, ...]:
    interest = None if slot % 3 else 5.25
    return (MIDNIGHT + slot * STEP_MS, 1.0, 2.0, 0.5, 1.5, 10.0 + slot, 15.0, interest, None, *told)


NARROW = [line(slot) for slot in range(COUNT)]
WIDE = [line(slot, *((7.0, 1.25, None) if slot % 4 else (None,) * 3)) for slot in range(COUNT)]


def series(rows: Any, market: Market = BTC) -> MarketSeries:
    return MarketSeries(market, rows, AS_OF_MS)


def built(
    *rows: Any, trade_columns: bool, kept: KeptDocuments | None = None, version: int = 5
) -> bytes:
    builder = DocumentBuilder(Timeframe.M5, "collected", kept, trade_columns=trade_columns)
    for market, each in zip((BTC, ETH), rows, strict=False):
        builder.add(series(each, market), {})
    return builder.finish(version=version, as_of_ms=AS_OF_MS, updated_at_ms=9, missing=[])


@pytest.mark.parametrize("as_columns", [True, False])
def test_every_row_is_as_wide_as_the_document(as_columns: bool) -> None:
    both = [Rows.of(rows) if as_columns else rows for rows in (WIDE, NARROW)]
    document = orjson.loads(built(*both, trade_columns=True))
    assert document["columns"] == list(WIDE_COLUMNS)
    wide, narrow = (market["rows"] for market in document["markets"])
    assert wide == [list(row) for row in WIDE]
    assert narrow == [[*row, None, None, None] for row in NARROW]
    without = built(*both, trade_columns=False)
    assert without == built(NARROW, NARROW, trade_columns=False), "byte for byte as without them"
    assert orjson.loads(without)["columns"] == list(COLUMNS)


def test_it_is_read_back_as_it_was_and_chunks_are_used_again() -> None:
    kept = KeptDocuments(64)
    text = built(Rows.of(WIDE), Rows.of(NARROW), trade_columns=True, kept=kept)
    again = built(Rows.of(WIDE), Rows.of(NARROW), trade_columns=True, kept=kept)
    assert again == text
    stored = decode_series(text)
    assert list(stored[BTC.key].rows) == WIDE
    assert list(stored[ETH.key].rows) == [(*row, None, None, None) for row in NARROW]
    # Switched off and on again over what is kept in memory.
    narrow = built(Rows.of(WIDE), Rows.of(NARROW), trade_columns=False, kept=kept)
    assert narrow == built(NARROW, NARROW, trade_columns=False)
    assert built(Rows.of(WIDE), Rows.of(NARROW), trade_columns=True, kept=kept) == text


@pytest.mark.parametrize("rows", [[WIDE[0], NARROW[1]], [(*WIDE[0], 1.0)], [WIDE[0][:10]]])
def test_rows_of_another_width_are_refused(rows: Any) -> None:
    builder = DocumentBuilder(Timeframe.M5, "collected", trade_columns=True)
    with pytest.raises(ValueError, match="finite numbers"):
        builder.add(series(rows), {})
    with pytest.raises(ValueError, match="finite numbers"):
        builder.add(series(Rows.of([line(0, float("inf"), 1.0, 1.0)])), {})


def test_other_columns_are_no_candle_document() -> None:
    text = built(WIDE, trade_columns=True).replace(b'"taker_buy_volume",', b'"another",')
    with pytest.raises(DocumentError):
        decode_series(text)


def test_a_base_is_read_back_as_wide_as_it_is() -> None:
    narrow = base_of(range(90), 89 * STEP_MS + 5)
    candles = [Candle(*five(slot)[:7], "7", "1.25", "9.5") for slot in range(91)]
    as_of_ms = MIDNIGHT + 90 * STEP_MS + 5
    wide = extended(narrow, [*candles[:40], *candles[41:]], asked_ms=MIDNIGHT, as_of_ms=as_of_ms)
    wide = wide.with_interest([(MIDNIGHT + 40 * STEP_MS, 8.5)], as_of_ms)  # of a hole
    for base, columns in ((wide, WIDE_BASE_COLUMNS), (narrow, BASE_COLUMNS)):
        builder = BaseBuilder(Exchange.BINANCE, trade_columns=base.is_wide)
        builder.add(BTC, base)
        found = builder.finish_deflated(version=1, as_of_ms=as_of_ms, updated_at_ms=2).inflate()
        assert orjson.loads(found)["columns"] == list(columns)
        assert same(decode_bases(found, Exchange.BINANCE)[BTC.key], base)
    # Beside a market that tells of trades, one that does not has nulls.
    builder = BaseBuilder(Exchange.BINANCE, trade_columns=True)
    builder.add(BTC, narrow)
    found = builder.finish_deflated(version=1, as_of_ms=as_of_ms, updated_at_ms=2).inflate()
    assert same(decode_bases(found, Exchange.BINANCE)[BTC.key].fitted(False), narrow)


def test_only_what_the_document_has_is_a_change() -> None:
    narrow, wide = series(Rows.of(NARROW)), series(Rows.of(WIDE))
    assert compare(Timeframe.M5, narrow, wide) is None
    assert compare(Timeframe.M5, wide, narrow) is None
    assert compare(Timeframe.M5, wide, wide, trade_columns=True) is None
    filled = compare(Timeframe.M5, narrow, wide, trade_columns=True)
    assert filled is not None
    assert list(filled.corrected) == [row for row in WIDE if row[9] is not None]


def test_the_history_is_told_what_it_holds() -> None:
    before = decode_series(built(Rows.of(NARROW[:-2]), trade_columns=False))
    told = Comparison(
        Timeframe.M5, before, JournalDraft(Timeframe.M5, candles=None), trade_columns=True
    )
    told.add(series(Rows.of(WIDE)))
    changes = told.finish([])
    entry = told.journal_entry(version=6, as_of_ms=AS_OF_MS, updated_at_ms=9, missing=[])
    assert changes is not None and entry is not None
    (market,) = decode_changes(changes.text).markets or ()
    assert [tuple(row) for row in market.closed] == WIDE[-2:]
    assert len(market.corrected) == sum(row[9] is not None for row in WIDE[:-2])
    (recorded,) = decode_entry(deflated_entry(entry.text)).markets
    assert recorded.change is not None
    assert [tuple(row) for row in recorded.change.closed] == NARROW[-2:]
    assert not recorded.change.corrected
