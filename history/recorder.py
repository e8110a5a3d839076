"""Recorder: takes the journal's entries one by one into the record, each exactly once.

An entry and the cursor of its document are stored in one transaction, and only then is the entry
removed from the journal: after a kill between the two, the cursor has passed the entry. An entry
that does not go on from the cursor comes after a gap: others have published without the journal, or
it was full. Then the document as it is now fills in, with its own `updated_at`: late, never early.
A whole document is stored some markets at a time, and the cursor moves at its end.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog

from cache_manager import CacheManager, DamagedDocument, StoredDocument, meta_key
from database import (
    Cursor,
    CursorMoved,
    DamagedRecord,
    Database,
    Publish,
    SeriesKey,
    SeriesRows,
    Stored,
    Universe,
    Versions,
    check_cursor,
    write_publish,
)
from documents.journal import JournalEntry, StoredEntry, decode_entry, deflated_entry
from documents.names import DOCUMENTS
from history.entry_rows import ToldRows, rows_of_entry
from history.whole_document import WholeDocument
from market.timeframes import DAY_MS, HOUR_MS
from stores.cold.pool import Connection
from stores.hot.journal import Journal, read_state, whole
from stores.hot.store import Word

_AHEAD_MS: Final = HOUR_MS  # by which a clock may be ahead
_TRIES: Final = 3  # of an entry, while another process records, too

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gap:
    """Versions that were not told one by one: after the version that was updated at `since_ms`, up
    to the one that was updated at `until_ms`; None: the document was not there to fill in."""

    document: str
    since_ms: int
    until_ms: int | None


@dataclass(slots=True)
class Recorded:
    """What one run of the recorder has done. `entries`: taken from the journal; `rows`: added,
    corrected and removed; `newest_ms`: the `updated_at` of the newest version."""

    entries: int = 0
    rows: int = 0
    gaps: list[Gap] = field(default_factory=list)
    newest_ms: int = 0
    corrected: int = 0  # those of `rows` that replaced others or were removed


@dataclass(frozen=True, slots=True)
class Observer:
    """Whom the recorder tells of each recorded version (rows, its `updated_at`), of each gap, and
    of how many entries it has taken and how many are waiting."""

    recorded: Callable[[int, int], None] = lambda rows, updated_at_ms: None
    gap: Callable[[], None] = lambda: None
    progress: Callable[[int, int], None] = lambda done, waiting: None


class Recorder:
    """One at a time, under the lease of the lane; a second one does no harm.

    `record` raises DatabaseUnavailable and StoreUnavailable; what was recorded by then stays.
    """

    def __init__(
        self,
        cache: CacheManager,
        database: Database,
        now_ms: Callable[[], int],
        observer: Observer | None = None,
    ) -> None:
        self._cache = cache
        self._database = database
        self._now_ms = now_ms
        self._observer = observer or Observer()
        self._journal = Journal(cache.store, [meta_key(name) for name in DOCUMENTS])
        self._cursors: dict[str, Cursor] = {}
        self._result = Recorded()
        self._told_gaps = 0
        self._told_corrected = 0
        self._corrected_day: int | None = None

    async def record(self) -> Recorded:
        """Takes all entries that there are, and then what was published without one."""
        self._result, self._told_gaps, self._told_corrected = Recorded(), 0, 0
        await self._read_cursors()
        self._corrected_day = whole((await read_state(self._cache.store)).told.get("corrected_day"))
        taken = await self._journal.take()
        while (done := taken.entry or taken.unreadable) is not None:
            if isinstance(done, StoredEntry):
                await self._take(done)
            else:
                log.error("journal_entry_unreadable", entry=repr(done[:60]))
            self._result.entries += 1
            self._observer.progress(self._result.entries, taken.waiting - 1)
            taken = await self._journal.take(done, self._told())
        for name, version in taken.versions.items():
            cursor = self._cursors.get(name)
            if cursor is None or cursor.version < version:
                await self._retried(name, version, partial(self._fill_in, name, version))
        is_told = self._told_gaps == len(self._result.gaps)
        if not is_told or self._told_corrected < self._result.corrected:
            await self._journal.take(None, self._told())
        return self._result

    def _told(self) -> Mapping[str, Word]:
        """What the journal's state tells of the recorder."""
        found: dict[str, Word] = {}
        if self._result.newest_ms:
            found["recorded_at"] = self._result.newest_ms
        if new := self._result.gaps[self._told_gaps :]:
            found |= {
                "+gaps": len(new),
                "gap_document": new[-1].document,
                "gap_since": new[-1].since_ms,
                "gap_until": new[-1].until_ms or "",
            }
        self._told_gaps = len(self._result.gaps)
        if new_corrected := self._result.corrected - self._told_corrected:
            day = self._now_ms() // DAY_MS
            # Those of one day (UTC) are counted together.
            is_new = day != self._corrected_day
            found["corrected" if is_new else "+corrected"] = new_corrected
            found["corrected_day"] = self._corrected_day = day
            found["corrected_at"] = self._now_ms()
        self._told_corrected = self._result.corrected
        return found

    async def _read_cursors(self) -> None:
        self._cursors = dict(await self._database.publishes.cursors())

    def _cursor_of(self, document: str) -> Cursor | None:
        """The document's cursor. A time that has not come does not count: a clock was ahead, and
        the times since which later values are known would stay there until then."""
        cursor = self._cursors.get(document)
        if cursor is None or cursor.updated_at_ms <= self._now_ms() + _AHEAD_MS:
            return cursor
        return cursor._replace(updated_at_ms=0)

    async def _take(self, stored: StoredEntry) -> None:
        record = partial(self._record, stored)
        await self._retried(stored.document, stored.version, record, stored.updated_at_ms)

    async def _retried(
        self,
        document: str,
        version: int,
        record: "Callable[[Cursor | None], object]",
        updated_at_ms: int = 0,
    ) -> None:
        """Calls `record` with the document's cursor, unless that has passed the version; again if
        another process has moved it. A lower version that is later than the cursor comes from a
        store that has lost its data, and begins anew."""
        for tried in range(_TRIES):
            cursor = self._cursor_of(document)
            if cursor is not None and version <= cursor.version:
                if version == cursor.version or updated_at_ms <= cursor.updated_at_ms:
                    return
                log.warning("history_begins_anew", document=document, version=version)
            try:
                await record(cursor)  # type: ignore[misc]
                return
            except CursorMoved as moved:
                log.info("recorded_by_another", error=str(moved))
                if tried == _TRIES - 1:
                    raise
                await self._read_cursors()

    async def _record(self, stored: StoredEntry, cursor: Cursor | None) -> None:
        """Records what an entry tells, or what fills in where it does not go on from the cursor."""
        known = cursor.version if cursor is not None else 0
        entry: JournalEntry | None = None
        told: Sequence[ToldRows] = ()
        try:
            deflated = await asyncio.to_thread(deflated_entry, stored.text)
            found = await asyncio.to_thread(decode_entry, deflated)
            if (found.document, found.version) != (stored.document, stored.version):
                raise ValueError(f"it is of {found.document} {found.version}")
            told = await asyncio.to_thread(rows_of_entry, found)
            entry = found
        except ValueError as error:
            log.error("journal_entry_unreadable", document=stored.document, error=str(error))
        is_next = entry is not None and entry.base == known
        if entry is not None and not entry.is_whole and (is_next or entry.base == 0):
            await self._store_entry(entry, told, deflated, cursor)
            if not is_next:
                self._tell_gap(stored.document, cursor, entry.updated_at_ms)
            return
        if entry is not None and entry.is_whole:
            copy = await self._cache.read_copy(stored.copy_meta)
            if copy is not None and await self._store_whole(copy, cursor, (entry, deflated)):
                if not is_next:
                    self._tell_gap(stored.document, cursor, entry.updated_at_ms)
                return
        if await self._fill_in(stored.document, stored.version, cursor):
            return
        if entry is not None and not entry.is_whole:
            # What lies between is told by the next whole document, if ever.
            await self._store_entry(entry, told, deflated, cursor)
        self._tell_gap(stored.document, cursor, None)

    async def _fill_in(self, document: str, version: int, cursor: Cursor | None) -> bool:
        """Records the document as it is now; False if it is not there, or older than that."""
        try:
            found = await self._cache.read(document)
        except DamagedDocument as error:
            log.error("document_damaged", document=document, error=str(error))
            return False
        if found is None or found.meta.version < version:
            return False
        if not await self._store_whole(found, cursor):
            return False
        self._tell_gap(document, cursor, found.meta.updated_at_ms)
        return True

    def _tell_gap(self, document: str, cursor: Cursor | None, until_ms: int | None) -> None:
        """Tells of a gap; before the first version that was recorded there is none."""
        if cursor is None:
            return
        log.warning(
            "history_gap",
            document=document,
            after_version=cursor.version,
            since=cursor.updated_at_ms,
            until=until_ms,
            hint="values that came between are known since `until`, later than they were",
        )
        self._result.gaps.append(Gap(document, cursor.updated_at_ms, until_ms))
        self._observer.gap()

    async def _store_entry(
        self,
        entry: JournalEntry,
        told: Sequence[ToldRows],
        deflated: bytes,
        cursor: Cursor | None,
    ) -> None:
        publish = publish_of(entry, deflated, cursor)
        stored = await self._store(await self._against_stored(told), publish)
        self._result.corrected += stored.corrected + stored.removed
        self._moved(publish, _changed(stored))

    async def _store_whole(
        self,
        found: StoredDocument,
        cursor: Cursor | None,
        known: tuple[JournalEntry, bytes] | None = None,
    ) -> bool:
        """Records a whole document; False if it cannot be read. `known`: its entry."""
        name = found.meta.name
        base = cursor.version if cursor is not None else None
        changed = 0
        try:
            document = await asyncio.to_thread(WholeDocument, found)
            known_at_ms = _not_before(cursor, document.updated_at_ms)
            told = await asyncio.to_thread(document.next_rows) or ()
            while (following := await asyncio.to_thread(document.next_rows)) is not None:
                stored = await self._database.history.store(
                    await self._against_stored(told),
                    known_at_ms,
                    within=partial(_check, name, base),
                )
                changed += _changed(stored)
                self._result.corrected += stored.corrected + stored.removed
                told = following
            if known is None:
                encoded = await asyncio.to_thread(document.entry)
                if encoded is None:
                    return False
                deflated = deflated_entry(encoded.text)
                known = await asyncio.to_thread(decode_entry, deflated), deflated
        except (DamagedDocument, ValueError) as error:
            log.error("document_damaged", document=name, error=str(error))
            return False
        publish = publish_of(*known, cursor)
        stored = await self._store(await self._against_stored(told), publish)
        self._result.corrected += stored.corrected + stored.removed
        self._moved(publish, changed + _changed(stored))
        return True

    async def _against_stored(self, told: Sequence[ToldRows]) -> list[SeriesRows]:
        """The rows, with what is stored in their windows and is not among them as removed."""
        windows = [(each.rows.key, each.window) for each in told if each.window is not None]
        if not windows:
            return _storable([each.rows for each in told])
        first_ms = min(window[0] for _, window in windows)
        last_ms = max(window[1] for _, window in windows)
        keys = [key for key, _ in windows]
        try:
            stored = await self._stored(keys, first_ms, last_ms + 1)
        except DamagedRecord:
            stored = {}
            for key in keys:
                with suppress(DamagedRecord):  # storing tells of it
                    stored |= await self._stored([key], first_ms, last_ms + 1)
        return _storable([each.without_others(stored) for each in told])

    async def _stored(
        self, keys: Sequence[SeriesKey], from_ms: int, to_ms: int
    ) -> dict[SeriesKey, Versions]:
        async with self._database.history.snapshot() as snapshot:
            return dict(await snapshot.versions(keys, from_ms, to_ms))

    async def _store(self, rows: Sequence[SeriesRows], publish: Publish) -> Stored:
        return await self._database.history.store(
            rows,
            publish.updated_at_ms,
            within=lambda connection: write_publish(connection, publish, self._now_ms()),
        )

    def _moved(self, publish: Publish, changed: int) -> None:
        self._cursors[publish.document] = Cursor(publish.version, publish.updated_at_ms)
        self._result.rows += changed
        self._result.newest_ms = max(self._result.newest_ms, publish.updated_at_ms)
        self._observer.recorded(changed, publish.updated_at_ms)


async def _check(document: str, base: int | None, connection: Connection) -> None:
    await check_cursor(connection, document, base)


def _storable(rows: Sequence[SeriesRows]) -> list[SeriesRows]:
    """The rows without those that the record does not take, which cost only their series."""
    found = []
    for each in rows:
        try:
            each.check()
        except ValueError as error:
            log.error("rows_not_recorded", error=str(error))
        else:
            found.append(each)
    return found


def _changed(stored: Stored) -> int:
    return stored.added + stored.corrected + stored.removed


def _not_before(cursor: Cursor | None, updated_at_ms: int) -> int:
    """The time since which a version's values are known: not before that of the version before,
    even if the clock of the machine that made it was behind."""
    return max(updated_at_ms, cursor.updated_at_ms if cursor is not None else 0)


def publish_of(entry: JournalEntry, deflated: bytes, cursor: Cursor | None) -> Publish:
    """The version as the log of publishes tells it; `deflated`: the entry as it came."""
    firsts = [
        (market.stale_since_ms is not None, market.first_ms)
        for market in entry.markets
        if market.first_ms is not None
    ]
    return Publish(
        document=entry.document,
        base=cursor.version if cursor is not None else None,
        version=entry.version,
        updated_at_ms=_not_before(cursor, entry.updated_at_ms),
        as_of_ms=entry.as_of_ms,
        first_ms=min(firsts)[1] if firsts else None,
        candles=entry.candles,
        funding_updated_ms=entry.funding_updated_ms,
        universe=_universe(entry),
        missing=[[lack.exchange, lack.symbol, lack.part, lack.reason] for lack in entry.missing],
        stale=[
            [m.exchange, m.symbol, m.stale_since_ms, m.first_ms, m.checked_at_ms]
            for m in entry.markets
            if m.stale_since_ms is not None
        ],
        entry=deflated,
    )


def _universe(entry: JournalEntry) -> Universe:
    markets = [(m.exchange, m.symbol, m.base, m.quote) for m in entry.markets]
    if entry.intervals is None:
        return markets
    return [(*market, hours) for market, hours in zip(markets, entry.intervals, strict=True)]
