"""HistoryPublishes: the log of publishes, and the cursor up to which each document is recorded."""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from documents.names import GLOBAL_FR
from market.timeframes import Timeframe
from stores.cold.history.hot_store_note import OtherStore, note_hot_store
from stores.cold.history.record_tables import lock_writers
from stores.cold.pool import Connection, Pool

# Market: exchange, symbol, base, quote; of funding its interval, too, in hours.
Universe = Sequence[tuple[str, str, str, str] | tuple[str, str, str, str, int]]


class Cursor(NamedTuple):
    """The newest recorded version of a document, and its `updated_at` (UTC ms)."""

    version: int
    updated_at_ms: int


class CursorMoved(Exception):
    """Another process has recorded the document meanwhile; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Publish:
    """A version of a document, as the record tells it. Times are UTC ms.

    `base`: the version up to which the document was recorded, None if it was not. `first_ms`: the
    first time that its window shows; `candles`: the size of that window, None if it is not known.
    `funding_updated_ms`: the `updated_at` of the funding that it used, None if it is that of
    `base`. `missing`, `stale`: plain data for JSON. `entry`: as the journal had it, a zlib stream.
    """

    document: str
    base: int | None
    version: int
    updated_at_ms: int
    as_of_ms: int
    first_ms: int | None
    candles: int | None
    funding_updated_ms: int | None
    universe: Universe
    missing: Sequence[Any]
    stale: Sequence[Any]
    entry: bytes


@dataclass(frozen=True, slots=True)
class DocumentWindow:
    """What the newest recorded version of a document shows: from `first_ms`, at the earliest, to
    `last_ms`, the newest open time that was closed, or of funding the time of the version (UTC ms).
    `first_ms` is None if it has no rows. `markets`: (exchange, symbol) of all. `firsts`: where
    each begins in the document of funding, which has of each so many settlements, not days; empty
    where that is forgotten."""

    first_ms: int | None
    last_ms: int
    updated_at_ms: int
    markets: frozenset[tuple[str, str]]
    firsts: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def first_of(self, market: tuple[str, str]) -> int | None:
        """From when it shows the market, at the earliest; None if it does not show it."""
        return self.firsts.get(market, self.first_ms) if market in self.markets else None


class HistoryPublishes:
    """Reads cursors, and what writes them and the log within a transaction of HistoryTables."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def cursors(self) -> Mapping[str, Cursor]:
        """The cursor of each recorded document. Raises DatabaseUnavailable."""

        async def read(connection: Connection) -> Mapping[str, Cursor]:
            rows = await connection.fetch(
                "SELECT document, version, updated_at FROM history_stored"
            )
            return {document: Cursor(version, updated_at) for document, version, updated_at in rows}

        return await self._pool.read(read)

    async def windows(self) -> Mapping[str, DocumentWindow]:
        """The window of each recorded document. Raises DatabaseUnavailable."""

        return await self._pool.read(read_windows)

    async def note_hot_store(self, store_id: str, now_ms: int) -> OtherStore | None:
        """Notes the hot store whose publishes are recorded, unless another one is in use; returns
        the other one that was noted, if any. Raises DatabaseUnavailable."""
        return await note_hot_store(self._pool, store_id, now_ms)

    async def retain(self, document: str, before_ms: int) -> int:
        """Removes the document's versions with an earlier `updated_at` from the log, but for the
        newest one, and lists of markets that no version has any more; returns how many versions.
        Raises DatabaseUnavailable."""

        async def remove(connection: Connection) -> int:
            async with connection.transaction():
                await lock_writers(connection)
                done = await connection.execute(_REMOVE, document, before_ms, _MOST_REMOVED)
                return int(done.rpartition(" ")[2])

        async def remove_lists(connection: Connection) -> None:
            async with connection.transaction():
                await lock_writers(connection)
                await connection.execute(_REMOVE_UNIVERSES)

        count = 0
        while some := await self._pool.write(remove):
            count += some
        if count:
            await self._pool.write(remove_lists)
        return count

    async def forget_entries(self, before_ms: int) -> int:
        """Removes the entries of the journal with an earlier `updated_at`, and returns how many.
        Raises DatabaseUnavailable."""

        async def remove(connection: Connection) -> int:
            done = await connection.execute(
                "DELETE FROM history_journal WHERE updated_at < $1", before_ms
            )
            return int(done.rpartition(" ")[2])

        return await self._pool.write(remove)


def _window(
    document: str,
    first_ms: int | None,
    as_of_ms: int,
    updated_at_ms: int,
    stale: str | None,
    markets: str | None,
    entry: bytes | None,
) -> DocumentWindow:
    # Markets that were carried over begin earlier, and are left out of the document's first time.
    firsts = [each[3] for each in orjson.loads(stale or "[]")]
    known = [each for each in (first_ms, *firsts) if each is not None]
    try:
        last_ms = Timeframe(document).last_closed_open_time(as_of_ms)
    except ValueError:  # not of a timeframe
        last_ms = as_of_ms
    named = frozenset((each[0], each[1]) for each in orjson.loads(markets or "[]"))
    return DocumentWindow(
        min(known, default=None), last_ms, updated_at_ms, named, _firsts(entry) if entry else {}
    )


def _firsts(entry: bytes) -> dict[tuple[str, str], int]:
    """When the rows of each market begin, of an entry of the journal (documents/journal.py)."""
    markets = orjson.loads(zlib.decompress(entry))["markets"]
    return {(each[0], each[1]): each[4] for each in markets if each[4] is not None}


_MOST_REMOVED: Final = 20_000  # versions in one transaction

_REMOVE: Final = """
    DELETE FROM history_publishes AS p USING (
        SELECT o.document, o.version FROM history_publishes AS o
        WHERE o.document = $1 AND o.updated_at < $2 AND o.version IS DISTINCT FROM
            (SELECT s.version FROM history_stored AS s WHERE s.document = $1)
        ORDER BY o.updated_at LIMIT $3
    ) AS old WHERE p.document = old.document AND p.version = old.version
"""

_REMOVE_UNIVERSES: Final = """
    DELETE FROM history_universes AS u WHERE NOT EXISTS (
        SELECT FROM history_publishes AS p WHERE p.universe_id = u.universe_id)
"""

_NEWEST = """
    SELECT s.document, p.first_open_time, p.as_of, p.updated_at, p.stale::text, u.markets::text,
        j.entry
    FROM history_stored AS s
    JOIN history_publishes AS p ON p.document = s.document AND p.version = s.version
    LEFT JOIN history_universes AS u USING (universe_id)
    LEFT JOIN history_journal AS j
        ON j.document = s.document AND j.version = s.version AND s.document = $1
"""


async def read_windows(connection: Connection) -> Mapping[str, DocumentWindow]:
    """The window of each recorded document."""
    rows = await connection.fetch(_NEWEST, GLOBAL_FR)
    return {document: _window(document, *row) for document, *row in rows}


async def check_cursor(connection: Connection, document: str, base: int | None) -> None:
    """Raises CursorMoved unless the document is recorded up to `base`."""
    found = await connection.fetchval(
        "SELECT version FROM history_stored WHERE document = $1 FOR UPDATE", document
    )
    if found != base:
        raise CursorMoved(f"{document} is recorded up to {found}, not {base}")


async def write_publish(connection: Connection, publish: Publish, stored_at_ms: int) -> None:
    """Moves the cursor from `base` to the version, and logs that. Raises CursorMoved if it is not
    at `base`."""
    await check_cursor(connection, publish.document, publish.base)
    await connection.execute(
        """
        INSERT INTO history_stored (document, version, updated_at, stored_at)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (document) DO UPDATE SET version = excluded.version,
            updated_at = excluded.updated_at, stored_at = excluded.stored_at
        """,
        *(publish.document, publish.version, publish.updated_at_ms, stored_at_ms),
    )
    await connection.execute(
        """
        INSERT INTO history_publishes (document, version, updated_at, as_of, first_open_time,
            candles, funding_updated_at, universe_id, missing, stale)
        VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, (SELECT funding_updated_at
            FROM history_publishes WHERE document = $1 AND version = $8)), $9, $10, $11)
        ON CONFLICT (document, version) DO NOTHING
        """,
        *(publish.document, publish.version, publish.updated_at_ms, publish.as_of_ms),
        *(publish.first_ms, publish.candles, publish.funding_updated_ms, publish.base),
        await _universe_id(connection, publish.universe),
        *(json.dumps(publish.missing), json.dumps(publish.stale)),
    )
    await connection.execute(
        """
        INSERT INTO history_journal (document, version, updated_at, entry) VALUES ($1, $2, $3, $4)
        ON CONFLICT (document, version) DO NOTHING
        """,
        *(publish.document, publish.version, publish.updated_at_ms, publish.entry),
    )


async def _universe_id(connection: Connection, universe: Universe) -> int:
    """The id of this list of markets, which is stored once."""
    text = json.dumps(list(universe))
    key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    known = "SELECT universe_id FROM history_universes WHERE hash = $1"
    found = await connection.fetchval(known, key)
    if found is None:
        await connection.execute(
            "INSERT INTO history_universes (hash, markets) VALUES ($1, $2)"
            " ON CONFLICT (hash) DO NOTHING",
            *(key, text),
        )
        found = await connection.fetchval(known, key)
    return int(found)
