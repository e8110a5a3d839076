"""Storing of a backfill: many answers in one transaction, never into what the documents tell."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from database import Cursor, CursorMoved, Database, DocumentWindow, FillRows, check_cursor
from documents.names import GLOBAL_FR
from history.backfill.ranges import Range, without
from jobs.backfill_tally import Tally
from market.timeframes import MINUTE_MS, Timeframe
from stores.cold.pool import Connection

_MOST_TRIES: Final = 5  # documents are published a few times a minute


@dataclass(slots=True)
class Windows:
    """What the newest recorded version of each document tells by itself.

    `cursors`: of the versions that were recorded before it was read.
    """

    cursors: Mapping[str, Cursor]
    by_document: Mapping[str, DocumentWindow]

    @classmethod
    async def read(cls, database: Database) -> "Windows":
        """Raises DatabaseUnavailable."""
        cursors = await database.publishes.cursors()
        return cls(cursors, await database.publishes.windows())

    def outside(self, rows: FillRows) -> list[FillRows]:
        """The rows in the ranges that no document tells by itself."""
        found = self._window(rows)
        if found is None or found[0] >= rows.to_ms or found[1] <= rows.from_ms:
            return [rows]
        parts = []
        for part in without([(rows.from_ms, rows.to_ms)], [found]):
            begin, end = rows.times.searchsorted(part)
            times, values = rows.times[begin:end], rows.values[begin:end]
            parts.append(replace(rows, from_ms=part[0], to_ms=part[1], times=times, values=values))
        return parts

    def _window(self, rows: FillRows) -> Range | None:
        document = document_of(rows)
        window = self.by_document.get(document) if document is not None else None
        if window is None or window.first_ms is None:
            return None
        if (rows.key.exchange, rows.key.symbol) not in window.markets:
            return None
        length_ms = MINUTE_MS if rows.key.kind == "funding" else rows.key.interval_ms
        return window.first_ms, window.last_ms + length_ms


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

    The tally counts them.
    """

    database: Database
    now_ms: Callable[[], int]
    windows: Windows
    tally: Tally
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

    async def _fill(self, rows: Sequence[FillRows]) -> None:
        documents = sorted({name for each in rows if (name := document_of(each)) is not None})
        for _ in range(_MOST_TRIES):
            allowed = [part for each in rows for part in self.windows.outside(each)]
            cursors = self.windows.cursors

            async def unchanged(
                connection: Connection, cursors: Mapping[str, Cursor] = cursors
            ) -> None:
                # Under the lock of all writers: no document's rows come in between.
                for name in documents:
                    known = cursors.get(name)
                    await check_cursor(connection, name, None if known is None else known.version)

            try:
                filled = await self.database.history.fill(
                    allowed, "rest", self.now_ms(), within=unchanged
                )
            except CursorMoved:
                self.windows = await Windows.read(self.database)
                continue
            self.tally.filled += filled
            self.tally.to_documents += _rows(rows) - _rows(allowed)
            return
        raise CursorMoved("documents are published faster than answers are stored")


async def _check_cursors(
    documents: Sequence[str], cursors: Mapping[str, Cursor], connection: Connection
) -> None:
    """Raises CursorMoved if one was recorded since its window was read. Called under the lock of
    all writers: no document's rows come in between."""
    for name in documents:
        known = cursors.get(name)
        await check_cursor(connection, name, None if known is None else known.version)


def _rows(some: Sequence[FillRows]) -> int:
    return sum(len(each.times) for each in some)
