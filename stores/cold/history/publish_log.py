"""PublishLog: reads the log of publishes, which version of a document was the newest at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from stores.cold.pool import Connection, Pool

_NAMES: Final = 4  # of a market: exchange, symbol, base, quote


@dataclass(frozen=True, slots=True)
class LoggedVersion:
    """A version of a document as the log tells it. Times are UTC ms.

    `first_ms`: the first open time of its window, None without rows; `candles`: the size of that
    window, None if it is not known. `funding_updated_ms`: the
    `updated_at` of the funding that it used, None without. `markets`: (exchange, symbol, base,
    quote) of all, sorted. `missing`: (exchange, symbol or None, part, reason) each. `stale`: of
    each market that was carried over (exchange, symbol, stale_since, first open time, checked_at).
    `entry`: of the journal, a zlib stream (documents/journal.py); None once it is forgotten.
    `intervals`: of funding, in hours by exchange and symbol; none in what earlier releases told.
    """

    document: str
    version: int
    updated_at_ms: int
    as_of_ms: int
    first_ms: int | None
    candles: int | None
    funding_updated_ms: int | None
    markets: Sequence[tuple[str, str, str, str]]
    missing: Sequence[tuple[str, str | None, str, str]]
    stale: Sequence[tuple[str, str, int, int | None, int]]
    entry: bytes | None
    intervals: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogBounds:
    """The `updated_at` of a document's first recorded version, and its newest one (UTC ms)."""

    first_ms: int
    last_version: int
    last_ms: int


class PublishLog:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def version_at(self, document: str, as_of_ms: int) -> LoggedVersion | None:
        """The newest version with an `updated_at` of at most `as_of_ms`; None before the first."""

        async def read(connection: Connection) -> LoggedVersion | None:
            row = await connection.fetchrow(_VERSION_AT, document, as_of_ms)
            if row is None:
                return None
            lists = {name: _list(row[name]) for name in ("markets", "missing", "stale")}
            intervals = {each[:2]: each[4] for each in lists["markets"] if len(each) > _NAMES}
            lists["markets"] = [each[:_NAMES] for each in lists["markets"]]
            return LoggedVersion(**{**row, **lists}, intervals=intervals)

        return await self._pool.read(read)

    async def bounds(self, document: str) -> LogBounds | None:
        """The ends of what is recorded of a document; None if nothing is."""

        async def read(connection: Connection) -> LogBounds | None:
            row = await connection.fetchrow(_BOUNDS, document)
            return None if row is None else LogBounds(*row)

        return await self._pool.read(read)


def _list(text: str | None) -> list[tuple[Any, ...]]:
    return [tuple(each) for each in orjson.loads(text or "[]")]


_VERSION_AT = """
    SELECT p.document, p.version, p.updated_at AS updated_at_ms, p.as_of AS as_of_ms,
        p.first_open_time AS first_ms, p.candles, p.funding_updated_at AS funding_updated_ms,
        u.markets::text, p.missing::text, p.stale::text, j.entry
    FROM (
        SELECT * FROM history_publishes WHERE document = $1 AND updated_at <= $2
        ORDER BY updated_at DESC, version DESC LIMIT 1
    ) AS p
    LEFT JOIN history_universes AS u USING (universe_id)
    LEFT JOIN history_journal AS j ON j.document = p.document AND j.version = p.version
"""

_BOUNDS = """
    SELECT first.updated_at, last.version, last.updated_at
    FROM (SELECT updated_at FROM history_publishes WHERE document = $1
        ORDER BY updated_at LIMIT 1) AS first
    JOIN history_stored AS last ON last.document = $1
"""
