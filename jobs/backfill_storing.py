"""Storing of a backfill: many answers in one transaction, never into what the documents tell."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from database import (
    Cursor,
    CursorMoved,
    Database,
    DocumentWindow,
    FillRows,
    check_cursor,
    read_windows,
)
from documents.names import GLOBAL_FR
from history.backfill.bounds import told_interest, told_range
from history.backfill.ranges import Range, without
from jobs.backfill_tally import Tally
from market.timeframes import MINUTE_MS, Timeframe
from stores.cold.pool import Connection
from stores.hot.journal import read_state
from stores.hot.store import HotStore

# Of rows whose windows move meanwhile: a recorder that catches up records versions by the second.
_MOST_TRIES: Final = 20
_PAUSE_S: Final = 0.05  # after the first try, and so much more after each one


@dataclass(slots=True)
class Windows:
    """What the newest recorded version of each document tells by itself.

    `cursors`: of the versions that were recorded before it was read. `waiting`: entries of newer
    versions waited for the recorder then.
    """

    cursors: Mapping[str, Cursor]
    by_document: Mapping[str, DocumentWindow]
    waiting: bool = False

    @classmethod
    async def read(cls, database: Database, store: HotStore) -> "Windows":
        """Raises DatabaseUnavailable, StoreUnavailable."""
        waiting = (await read_state(store)).waiting > 0
        cursors = await database.publishes.cursors()
        return cls(cursors, await database.publishes.windows(), waiting)

    def outside(self, rows: FillRows, now_ms: int) -> list[FillRows]:
        """The rows in the ranges that no document tells by itself."""
        found = self._window(rows, now_ms)
        if found is None or found[0] >= rows.to_ms or found[1] <= rows.from_ms:
            return [rows]
        parts = []
        for part in without([(rows.from_ms, rows.to_ms)], [found]):
            begin, end = rows.times.searchsorted(part)
            times, values = rows.times[begin:end], rows.values[begin:end]
            parts.append(replace(rows, from_ms=part[0], to_ms=part[1], times=times, values=values))
        return parts

    def _window(self, rows: FillRows, now_ms: int) -> Range | None:
        document, key = document_of(rows), rows.key
        market = key.exchange, key.symbol
        if document is None:
            return told_interest(self.by_document, market, waiting=self.waiting)
        length_ms = MINUTE_MS if key.kind == "funding" else key.interval_ms
        told_until_ms = 0 if self.waiting else now_ms
        return told_range(self.by_document.get(document), market, length_ms, told_until_ms)


def document_of(rows: FillRows) -> str | None:
    """The document whose window rules the rows; None for open interest, which none takes away."""
    if rows.key.kind == "funding":
        return GLOBAL_FR
    if rows.key.kind == "open_interest":
        return None
    return next(str(each) for each in Timeframe if each.interval_ms == rows.key.interval_ms)


@dataclass(slots=True)
class _Waiting:
    rows: Sequence[FillRows]
    stored: "asyncio.Future[None]"


@dataclass(slots=True)
class Storing:
    """Stores answers; those that come while a transaction is under way share the next one.

    The tally counts them. `still_ours`: raises, inside each transaction, where they may not be
    stored any more.
    """

    database: Database
    store_of_documents: HotStore
    now_ms: Callable[[], int]
    windows: Windows
    tally: Tally
    still_ours: Callable[[Connection], Awaitable[None]] | None = None
    _waiting: list[_Waiting] = field(default_factory=list)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def store(self, rows: Sequence[FillRows]) -> None:
        """Returns when the rows and their coverage are stored. Raises DatabaseUnavailable."""
        if not rows:
            return
        ours = _Waiting(rows, asyncio.get_running_loop().create_future())
        self._waiting.append(ours)
        async with self._one_at_a_time:
            if not ours.stored.done():
                some, self._waiting = self._waiting, []
                await self._store_for_all(some)
        ours.stored.result()

    async def _store_for_all(self, some: Sequence[_Waiting]) -> None:
        try:
            await self._fill([rows for each in some for rows in each.rows])
        except BaseException as error:
            for each in some:
                each.stored.set_exception(error)
                each.stored.exception()  # seen, should nobody wait for it any more
            raise
        for each in some:
            each.stored.set_result(None)

    async def _check(
        self,
        documents: Sequence[str],
        allowed: Sequence[FillRows],
        now_ms: int,
        connection: Connection,
    ) -> None:
        if self.still_ours is not None:
            await self.still_ours(connection)
        await _check(documents, self.windows, allowed, now_ms, connection)

    async def _fill(self, rows: Sequence[FillRows]) -> None:
        documents = sorted({name for each in rows if (name := document_of(each)) is not None})
        for tried in range(1, _MOST_TRIES + 1):
            now_ms = self.now_ms()
            allowed = [part for each in rows for part in self.windows.outside(each, now_ms)]
            check = partial(self._check, documents, allowed, now_ms)
            try:
                filled = await self.database.history.fill(allowed, "rest", now_ms, within=check)
            except CursorMoved:
                await asyncio.sleep(tried * _PAUSE_S)
                self.windows = await Windows.read(self.database, self.store_of_documents)
                continue
            self.tally.filled += filled
            self.tally.to_documents += _rows(rows) - _rows(allowed)
            return
        raise CursorMoved("documents are published faster than answers are stored")


async def _check(
    documents: Sequence[str],
    known: Windows,
    allowed: Sequence[FillRows],
    now_ms: int,
    connection: Connection,
) -> None:
    """Raises CursorMoved if versions were recorded since the windows were read that tell some of
    the rows. Called under the lock of all writers: no document's rows come in between."""
    try:
        for name in documents:
            cursor = known.cursors.get(name)
            await check_cursor(connection, name, None if cursor is None else cursor.version)
    except CursorMoved:
        newer = replace(known, by_document=await read_windows(connection))
        for rows in allowed:
            if [(part.from_ms, part.to_ms) for part in newer.outside(rows, now_ms)] != [
                (rows.from_ms, rows.to_ms)
            ]:
                raise


def _rows(some: Sequence[FillRows]) -> int:
    return sum(len(each.times) for each in some)
