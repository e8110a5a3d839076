"""JournalDraft: makes the entry of a publish for the history, in the form of journal.py."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import orjson
import structlog
from isal import isal_zlib

from documents.changes import MarketChange
from documents.journal import EncodedEntry
from documents.names import GLOBAL_FR
from market.columns import VALUES
from market.markets import FundingByMarket, FundingSeries, Market, MarketSeries, Missing
from market.rows import Rows, TimedValues, are_among, located
from market.timeframes import Timeframe

# More rows than this are not told one by one: 20 of each of 1000 markets, about 2 MB of JSON.
MOST_ROWS: Final = 20_000
_LEVEL: Final = 3  # isal: 3 % less than level 1, in a millisecond for 1000 markets

log = structlog.get_logger(__name__)


class JournalDraft:
    """The entry of a document in the making: takes its markets in any order, as they are compared.

    `candles` and `funding_updated_ms`: as in JournalEntry. It raises nothing: a document is
    published without an entry rather than not at all.
    """

    def __init__(
        self, timeframe: Timeframe, *, candles: int | None, funding_updated_ms: int | None = None
    ) -> None:
        self._timeframe = timeframe
        self._candles = candles
        self._funding_updated_ms = funding_updated_ms
        self._heads: dict[str, bytes] = {}  # by Market.key: its JSON up to its change
        self._without_head: dict[str, Exception] = {}  # by Market.key

    def add(self, series: MarketSeries, *, is_new: bool) -> None:
        """Adds a market; what it changes is told at the end. `is_new`: as in JournalMarket."""
        key = series.market.key
        try:
            self._heads[key] = self._head(series, is_new)
        except Exception as error:
            self._without_head[key] = error  # the builder may refuse the market, too

    def _head(self, series: MarketSeries, is_new: bool) -> bytes:
        rows = Rows.of(series.rows)
        times, last_ms = rows.times, self._timeframe.last_closed_open_time(series.checked_at_ms)
        begin = len(times)
        while begin and times[begin - 1] > last_ms:  # once, or never
            begin -= 1
        # Not rows.tuples(): orjson writes null for NaN, and this takes a third of the time.
        values = rows.values[begin:, : len(VALUES)]  # the record does not hold those of trades
        lines = zip(times[begin:].tolist(), values.tolist(), strict=True)
        market = series.market
        head = (
            *(market.exchange, market.symbol, market.base, market.quote),
            int(times[0]) if len(times) else None,
            *(series.checked_at_ms, series.stale_since_ms, is_new),
            [(time_ms, *values) for time_ms, values in lines],
        )
        return orjson.dumps(head)[:-1]

    def remove(self, market: Market) -> None:
        """Takes the market out again, if it was added."""
        self._heads.pop(market.key, None)
        self._without_head.pop(market.key, None)

    def finish(
        self,
        base: int | None,
        changed: Mapping[str, bytes] | None,
        *,
        version: int,
        as_of_ms: int,
        updated_at_ms: int,
        missing: Iterable[Missing],
    ) -> EncodedEntry | None:
        """The entry; None if it cannot be made. `changed`: by Market.key what documents/changes.py
        encodes of a market, None if it is too much. CPU work: about 3 ms for 1000 markets."""
        for key, error in self._without_head.items():
            log.error("journal_entry_not_made", market=key, error=repr(error), exc_info=error)
            return None
        is_whole = base is None or changed is None
        changes = changed or {}
        markets = [
            orjson.Fragment(b"%b,%b]" % (self._heads[key], changes.get(key, b"null")))
            for key in sorted(self._heads)
        ]
        return _encoded(
            document=str(self._timeframe),
            version=version,
            base=base,
            updated_at=updated_at_ms,
            as_of=as_of_ms,
            candles=self._candles,
            funding_updated_at=self._funding_updated_ms,
            whole=is_whole,
            missing=[_fields(lack) for lack in sorted(set(missing))],
            markets=markets,
        )


def funding_entry(
    before: FundingByMarket,
    now: FundingByMarket,
    *,
    base: int | None,
    version: int,
    as_of_ms: int,
    updated_at_ms: int,
    missing: Iterable[Missing],
) -> EncodedEntry | None:
    """The entry of `global_fr`; None if it cannot be made. `before`: the funding of the version
    `base`. CPU work: about 10 ms for 1000 markets."""
    markets: list[tuple[Any, ...]] = []
    intervals: list[int] = []
    rows = 0
    for key in sorted(now):
        series, market = now[key], now[key].market
        try:
            ours = TimedValues.of(series.rows)
            if not np.isfinite(ours.numbers).all():
                continue  # the document lacks it, too
            change = _settled(before.get(key), series)
        except Exception as error:
            log.error("journal_entry_not_made", market=key, error=repr(error), exc_info=error)
            return None
        if change is not None:
            rows += len(change.closed) + len(change.corrected) + len(change.removed)
        first_ms = int(ours.times[0]) if len(ours) else None
        head = market.exchange, market.symbol, market.base, market.quote, first_ms
        told = series.checked_at_ms, None, key not in before, ()
        markets.append((*head, *told, change and tuple(change)))
        intervals.append(series.interval_hours)
    is_whole = base is None or rows > MOST_ROWS
    return _encoded(
        document=GLOBAL_FR,
        version=version,
        base=base,
        updated_at=updated_at_ms,
        as_of=as_of_ms,
        candles=None,
        funding_updated_at=None,
        whole=is_whole,
        missing=[_fields(lack) for lack in sorted(set(missing))],
        markets=[(*each[:-1], None) for each in markets] if is_whole else markets,
        intervals=intervals,
    )


def _settled(before: FundingSeries | None, now: FundingSeries) -> MarketChange | None:
    """What has changed among the settlements of a market; None if nothing has."""
    if before is not None and before.rows is now.rows:
        return None
    ours = TimedValues.of(now.rows)
    theirs = TimedValues.of(() if before is None else before.rows)
    is_known, lines = located(ours.times, theirs.times)
    same = ours.numbers[is_known] == theirs.numbers[lines[is_known]]
    in_window = theirs.times[theirs.times >= ours.times[0]] if len(ours) else theirs.times[:0]
    change = MarketChange(
        now.market.exchange,
        now.market.symbol,
        list(ours.select(np.flatnonzero(~is_known)).tuples()),
        list(ours.select(np.flatnonzero(is_known)[~same]).tuples()),
        in_window[~are_among(in_window, ours.times)].tolist(),
    )
    return change if change.closed or change.corrected or change.removed else None


def _fields(lack: Missing) -> tuple[str, str | None, str, str]:
    return lack.exchange, lack.symbol, lack.part, lack.reason


def _encoded(**fields: Any) -> EncodedEntry:
    deflated = isal_zlib.compress(orjson.dumps(fields), _LEVEL)
    return EncodedEntry(base64.b64encode(deflated), fields["whole"])
