"""HistoryTables: the record in PostgreSQL, behind one object: stored, compacted, kept and read."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from stores.cold.history.series import (
    Checked,
    Compacted,
    Kind,
    Retained,
    Revisions,
    SeriesKey,
    SeriesRows,
    Stored,
    Versions,
)
from stores.cold.pool import Connection, Pool

Within = Callable[[Connection], Awaitable[None]]


class Snapshot(Protocol):
    """Reads of one state of the record, whatever is stored or compacted meanwhile.

    `from_ms` is inclusive, `to_ms` exclusive. `as_of_ms`: what was known then; None: what is known
    now. `unrecorded`: also what an exchange had shown by then and is known only since a later
    time, in its earliest version. Series that are not stored have no rows. All methods raise
    DatabaseUnavailable.
    """

    async def series(
        self, *, kind: Kind | None = None, exchange: str | None = None, symbol: str | None = None
    ) -> list[SeriesKey]:
        """The stored series of that kind, exchange and symbol, sorted."""

    async def versions(
        self,
        keys: Sequence[SeriesKey],
        from_ms: int,
        to_ms: int,
        *,
        as_of_ms: int | None = None,
        unrecorded: bool = False,
    ) -> Mapping[SeriesKey, Versions]:
        """The rows of each of the keys, all in memory."""

    def stream(
        self,
        keys: Sequence[SeriesKey],
        from_ms: int,
        to_ms: int,
        *,
        as_of_ms: int | None = None,
        unrecorded: bool = False,
        with_values: bool = True,
    ) -> AsyncGenerator[tuple[SeriesKey, Versions], None]:
        """The same in pieces that are not empty, key by key, each ascending, in bounded memory.

        `with_values`: False for times and `known_at` alone, without reading the values, which are
        zeros then. Other reads of the snapshot may come between two pieces; who wants no more of
        them closes the generator.
        """

    async def revisions(
        self, keys: Sequence[SeriesKey], from_ms: int, to_ms: int
    ) -> Mapping[SeriesKey, Revisions]:
        """Every version of the rows of each of the keys, all in memory."""

    async def newest_change(
        self, keys: Sequence[SeriesKey], from_ms: int, to_ms: int
    ) -> int | None:
        """Since when the newest of the rows is known, or was superseded or removed: nothing of the
        range has changed after that. It may be later, by what lies in the same chunks."""

    async def newest_supersession(
        self, keys: Sequence[SeriesKey], from_ms: int, to_ms: int
    ) -> int | None:
        """When a value of the range was last superseded or removed."""


class HistoryTables:
    """The record of one database. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def store(
        self, rows: Sequence[SeriesRows], known_at_ms: int, *, within: Within | None = None
    ) -> Stored:
        """Stores what is known since `known_at_ms`, in one transaction; storing it again changes
        nothing.

        A value that differs supersedes the one before, which stays readable. `within` is called
        with the transaction's connection, before it is committed; if it raises, nothing has
        changed. Of values with the same key and time in `rows` the last counts. Raises ValueError
        for rows off the grid, unordered, or of another shape than their key's.
        """
        raise NotImplementedError

    async def compact(self, before_known_ms: int) -> Compacted:
        """Moves the rows known before then into chunks, in transactions of bounded size."""
        raise NotImplementedError

    async def retain(self, kind: Kind, interval_ms: int, before_ms: int) -> Retained:
        """Removes what lies before that time in all series of that kind and interval."""
        raise NotImplementedError

    async def check(self, keys: Sequence[SeriesKey] | None = None) -> Checked:
        """Checks the chunks' checksums and order, that nothing is stored twice, and lists holes.
        Reads all of the series (None: of all series), so it takes long."""
        raise NotImplementedError

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """`async with tables.snapshot() as snapshot`: reads of one state; a connection meanwhile.

        It is closed before anything else is awaited for long: the pool has few connections.
        """
        raise NotImplementedError
