"""BackfillWishes: what was asked for by `backfill`, and how far each of it is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import asyncpg
import orjson

from stores.cold.names import encoding_of, storable
from stores.cold.pool import Connection, Pool

WishState = Literal["queued", "running", "complete", "failed", "cancelled"]
_COLUMNS: Final = (
    "id, wanted::text, requested_at, started_at, finished_at, state, done, total, requests, rows,"
    " seconds_left, failures::text, error"
)
_LONGEST_ERROR: Final = 2000
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BackfillWish:
    """One wish. `wanted`: plain data for JSON. `done` of `total` requests are not needed any more;
    `requests` were sent, and brought so many new or corrected `rows`. `failures`: causes, by market
    or exchange. Times are UTC ms."""

    id: int
    wanted: Mapping[str, Any]
    requested_at_ms: int
    started_at_ms: int | None
    finished_at_ms: int | None
    state: WishState
    done: int
    total: int
    requests: int
    rows: int
    seconds_left: int | None
    failures: Mapping[str, str]
    error: str | None


class BackfillWishes:
    """All methods raise DatabaseUnavailable. Those that change a wish return False, and change
    nothing, if it is over or not there."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, wanted: Mapping[str, Any], now_ms: int) -> int:
        """Adds a wish that is `queued`; returns its id."""

        async def write(connection: Connection) -> int:
            found: int = await connection.fetchval(
                "INSERT INTO history_backfills (wanted, requested_at) VALUES ($1, $2) RETURNING id",
                json.dumps(wanted),
                now_ms,
            )
            return found

        return await self._pool.write(write)

    async def find(self, wish_id: int) -> BackfillWish | None:
        """The wish; None if there is none with that id."""
        rows = await self._read("WHERE id = $1", wish_id)
        return rows[0] if rows else None

    async def newest(self, limit: int = 100) -> list[BackfillWish]:
        """The newest wishes, in the order in which they came, newest first."""
        return await self._read("ORDER BY id DESC LIMIT $1", limit)

    async def open(self) -> list[BackfillWish]:
        """Those that are queued or running, oldest first: a running one whose process has ended
        is to be taken up again."""
        return await self._read("WHERE state IN ('queued', 'running') ORDER BY id")

    async def start(self, wish_id: int, now_ms: int) -> bool:
        """It is running: since now, or since it was first started."""
        return await self._change(
            "state = 'running', started_at = coalesce(started_at, $2)", wish_id, now_ms
        )

    async def progress(
        self,
        wish_id: int,
        *,
        done: int,
        total: int,
        requests: int,
        rows: int,
        seconds_left: int | None = None,
        failures: Mapping[str, str] = _NONE,
    ) -> bool:
        """How far it is, in all."""
        return await self._change(
            "done = $2, total = $3, requests = $4, rows = $5, seconds_left = $6,"
            " failures = $7::json",
            *(wish_id, done, total, requests, rows, seconds_left),
            json.dumps(dict(failures)),
        )

    async def finish(
        self, wish_id: int, state: WishState, now_ms: int, error: str | None = None
    ) -> bool:
        """It is over: `complete`, `failed` or `cancelled`."""
        return await self._change(
            "state = $2, finished_at = $3, error = $4, seconds_left = NULL",
            *(wish_id, state, now_ms, None if error is None else error[:_LONGEST_ERROR]),
        )

    async def cancel(self, wish_id: int, now_ms: int) -> bool:
        """Whoever works on it learns so from its next `progress`."""
        return await self.finish(wish_id, "cancelled", now_ms)

    async def _read(self, which: str, *arguments: object) -> list[BackfillWish]:
        async def read(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(
                f"SELECT {_COLUMNS} FROM history_backfills {which}",  # noqa: S608 - our own text
                *arguments,
            )

        return [_wish(row) for row in await self._pool.read(read)]

    async def _change(self, change: str, *arguments: object) -> bool:
        async def write(connection: Connection) -> bool:
            encoding = await encoding_of(connection)
            told = [
                storable(each, encoding) if isinstance(each, str) else each for each in arguments
            ]
            done = await connection.execute(
                f"UPDATE history_backfills SET {change}"  # noqa: S608 - our own text
                " WHERE id = $1 AND state IN ('queued', 'running')",
                *told,
            )
            return done != "UPDATE 0"

        return await self._pool.write(write)


def _wish(row: asyncpg.Record) -> BackfillWish:
    found = list(row)
    found[1], found[-2] = orjson.loads(found[1]), orjson.loads(found[-2] or "{}")
    return BackfillWish(*found)
