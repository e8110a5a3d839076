"""Publishes a stored document again with open interest that it lacked; all else stays as it is."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import structlog

from cache_manager import StoredDocument
from documents.building import DocumentBuilder
from documents.comparison import Comparison
from documents.reading import StoredSeries, decode_series
from documents.text import DocumentError, DocumentText
from jobs.context import JobContext
from jobs.publishing import journal_of
from jobs.stored_documents import read_stored
from market.left_out import LeftOut, at_most_named, read_left_out
from market.markets import NOT_FETCHED_YET, MarketSeries, Missing, UnreadableSeries
from market.rows import Rows
from market.timeframes import Timeframe
from stores.hot.leases import Lease, retry_under_lease

# Markets that are encoded before others may use the event loop: about 2 ms each.
_AT_ONCE: Final = 4

log = structlog.get_logger(__name__)


class Refill(NamedTuple):
    """A market's rows with their open interest, and what is still to be said of what they lack."""

    rows: Rows
    left_out: Sequence[LeftOut] = ()
    reasons: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class WholeDocument:
    """A stored document with all that a later version of it repeats."""

    as_of_ms: int
    source: Any
    series: StoredSeries
    missing: Sequence[Missing]

    def failures(self, key: str) -> list[str]:
        """Why requests for the market's open interest failed."""
        return [
            lack.reason
            for lack in self.missing
            if lack.part == "open_interest"
            and f"{lack.exchange}:{lack.symbol}" == key
            and read_left_out(lack.reason) is None
        ]


@dataclass(frozen=True, slots=True)
class Refilled:
    """A published version: its size in the store, the snapshots that it got, and the markets whose
    open interest it has, or tells why not."""

    stored_bytes: int
    snapshots: int
    markets: frozenset[str]


async def read_whole(
    context: JobContext, timeframe: Timeframe, lease: Lease
) -> WholeDocument | None:
    """The stored document; None if it is missing or damaged. Raises as `read_stored`."""
    return await read_stored(context.cache, timeframe, _decode, lease)


async def publish_refilled(
    context: JobContext,
    timeframe: Timeframe,
    document: WholeDocument,
    refill: Callable[[MarketSeries], Refill | None],
    lease: Lease,
) -> Refilled | None:
    """Publishes the next version; None if no market's open interest is there.

    `refill`: what becomes of a market that awaits its open interest; None: it goes on to. The
    document stays as it is, too, if one of its markets cannot be read.
    """
    done: dict[str, Refill] = {}
    snapshots = 0
    try:
        if not any(each is not None for each in map(refill, _awaiting(document))):
            return None
        wide = context.settings.trade_columns
        builder = DocumentBuilder(timeframe, document.source, context.kept, trade_columns=wide)
        journal = journal_of(context, timeframe)
        comparison = Comparison(timeframe, document.series, journal, trade_columns=wide)
        metas = document.series.metas()
        for number, key in enumerate(document.series):
            series = document.series[key]
            found = refill(series) if series.awaits_open_interest else None
            if found is not None:
                done[key] = found
                snapshots += _nulls(series.rows) - _nulls(found.rows)
                series = replace(series, rows=found.rows)
            comparison.add(series)
            builder.add(series, metas[key])
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
    except (UnreadableSeries, LookupError, TypeError, ValueError) as error:
        log.error("document_damaged", document=str(timeframe), error=str(error))
        return None
    version = await retry_under_lease(
        lease, lambda: context.cache.next_version(timeframe, document.as_of_ms)
    )
    missing, updated_at_ms = _missing(document.missing, done), context.now_ms()
    text = await asyncio.to_thread(
        builder.finish_deflated,
        version=version,
        as_of_ms=document.as_of_ms,
        updated_at_ms=updated_at_ms,
        missing=missing,
    )
    changes = await asyncio.to_thread(comparison.finish, missing)
    entry = await asyncio.to_thread(
        comparison.journal_entry,
        version=version,
        as_of_ms=document.as_of_ms,
        updated_at_ms=updated_at_ms,
        missing=missing,
    )
    meta = await context.cache.save_to_cache(
        timeframe,
        text,
        version=version,
        as_of_ms=document.as_of_ms,
        updated_at_ms=updated_at_ms,
        lease=lease,
        changes=changes,
        entry=entry,
    )
    context.recorded(entry)
    context.kept.publish(timeframe, version, meta.content_hash, text)
    log.info("published", document=str(timeframe), version=version, bytes=meta.stored_bytes)
    return Refilled(meta.stored_bytes, snapshots, frozenset(done))


def _awaiting(document: WholeDocument) -> Iterator[MarketSeries]:
    return (series for series in document.series.values() if series.awaits_open_interest)


def _missing(before: Iterable[Missing], done: Mapping[str, Refill]) -> list[Missing]:
    """What the next version lacks: what the one before did, but for the markets' open interest."""
    told: dict[str, list[LeftOut]] = {}
    others: list[Missing] = []
    places: dict[str, Missing] = {}
    for lack in before:
        key = f"{lack.exchange}:{lack.symbol}"
        if lack.part == "open_interest" and key in done:
            if lack.reason == NOT_FETCHED_YET:
                places[key] = lack
                continue
            row = read_left_out(lack.reason)
            if row is not None and done[key].left_out:
                told.setdefault(key, []).append(row)
                continue
        others.append(lack)
    for key, place in places.items():
        rows = [*told.get(key, ()), *done[key].left_out]
        reasons = [*done[key].reasons, *(row.text() for row in at_most_named(rows))]
        others += [replace(place, reason=reason) for reason in reasons]
    return others


def _decode(stored: StoredDocument) -> WholeDocument:
    document = stored.inflate()
    text = DocumentText(document)
    entries = text.missing()
    return WholeDocument(
        text.header["as_of"],
        text.header["source"],
        decode_series(document),
        [Missing(*_fields(entry)) for entry in entries],
    )


def _fields(entry: Any) -> tuple[Any, ...]:
    """The fields of an entry, whatever a later release may have written into them."""
    if not isinstance(entry, dict):
        raise DocumentError(f"not an entry of what is missing: {entry!r:.50}")
    return entry["exchange"], entry["symbol"], entry["part"], entry["reason"]


def _nulls(rows: Sequence[Any]) -> int:
    return int(np.isnan(Rows.of(rows).column("open_interest")).sum())
