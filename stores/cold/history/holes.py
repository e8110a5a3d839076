"""HistoryHoles: the holes that were found in the record, and when each market was looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Final, Literal, NamedTuple, get_args

from market.timeframes import MINUTE_MS
from stores.cold.history.series import Kind, SeriesKey
from stores.cold.history.series_ids import find_ids
from stores.cold.history.stored_instants import StoredInstants, read_instants
from stores.cold.pool import Connection, Pool

HoleState = Literal["not_asked", "asked", "exchange", "out_of_reach", "document"]
# What is filled in counts as known since its transaction began.
_COMMITTED_MS: Final = MINUTE_MS
HOLE_STATES: Final[tuple[HoleState, ...]] = get_args(HoleState)


@dataclass(frozen=True, slots=True)
class NotedHole:
    """A maximal run of instants, `step_ms` apart, of which nothing is stored, with one state.

    `from_ms`: the first of them; `to_ms`: a step after the last. `first_asked_ms`, `asked_ms`: when
    the exchange first and last answered for it, None if it was not asked. Funding has no grid: its
    step is 1 ms, and a hole begins where a settlement may have been and ends at the next one.

    States: `not_asked`; `asked`: the exchange had nothing, and is asked again after a day;
    `exchange`: it had nothing a day later, either; `out_of_reach`: it tells nothing that is so old;
    `document`: the window of a document shows it, so that the next ones may bring it.
    """

    from_ms: int
    to_ms: int
    step_ms: int
    state: HoleState
    first_asked_ms: int | None = None
    asked_ms: int | None = None


class HolePlace(NamedTuple):
    """Where a hole is: no two have the same place, and they sort by it."""

    exchange: str
    symbol: str
    kind: Kind
    interval_ms: int
    from_ms: int


@dataclass(frozen=True, slots=True)
class ListedHole:
    """A hole, its series, and when that was last looked at (UTC ms)."""

    key: SeriesKey
    hole: NotedHole
    looked_at_ms: int | None

    @property
    def place(self) -> HolePlace:
        key = self.key
        return HolePlace(key.exchange, key.symbol, key.kind, key.interval_ms, self.hole.from_ms)


@dataclass(frozen=True, slots=True)
class HoleFilter:
    """Which holes: None stands for all."""

    exchanges: Sequence[str] | None = None
    symbols: Sequence[str] | None = None
    kinds: Sequence[str] | None = None
    intervals_ms: Sequence[int] | None = None  # of candles alone
    states: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class DueLook:
    """After how long (ms) a market is looked at again: one with a hole that may change, and any."""

    changing_ms: int
    usual_ms: int


class HistoryHoles:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def to_look_at(self, now_ms: int, due: DueLook, limit: int) -> list[tuple[str, str]]:
        """The recorded markets (exchange, symbol) to be looked at: those that never were, then
        those that were longest ago. One that was filled in since, or in the minute before, is due,
        too."""

        async def read(connection: Connection) -> list[tuple[str, str]]:
            rows = await connection.fetch(
                _TO_LOOK_AT,
                now_ms,
                now_ms - due.changing_ms,
                now_ms - due.usual_ms,
                limit,
                _COMMITTED_MS,
            )
            return [(exchange, symbol) for exchange, symbol in rows]

        return await self._pool.read(read)

    async def stored(self, keys: Sequence[SeriesKey]) -> Mapping[SeriesKey, StoredInstants]:
        """Which instants of each of the keys are stored, without their values."""

        async def read(connection: Connection) -> Mapping[SeriesKey, StoredInstants]:
            return await read_instants(connection, list(dict.fromkeys(keys)))

        return await self._pool.read(read)

    async def noted(self, keys: Sequence[SeriesKey]) -> Mapping[SeriesKey, list[NotedHole]]:
        """The noted holes of each of the keys, ascending."""

        async def read(connection: Connection) -> Mapping[SeriesKey, list[NotedHole]]:
            ids = await find_ids(connection, list(dict.fromkeys(keys)))
            by_id = {series_id: key for key, series_id in ids.items()}
            found: dict[SeriesKey, list[NotedHole]] = {key: [] for key in keys}
            rows = await connection.fetch(
                f"SELECT h.series_id, {_HOLE} FROM history_holes AS h"  # noqa: S608 - our own names
                " WHERE h.series_id = ANY($1::int[]) ORDER BY h.series_id, h.from_t",
                list(by_id),
            )
            for series_id, *columns in rows:
                found[by_id[series_id]].append(NotedHole(*columns))
            return found

        return await self._pool.read(read)

    async def note(
        self, market: tuple[str, str], holes: Mapping[SeriesKey, Sequence[NotedHole]], now_ms: int
    ) -> None:
        """Notes what a look at a market has found, in the place of all that was noted of it, in one
        transaction. Raises ValueError if two holes of a series overlap."""
        for key, each in holes.items():
            if any(one.to_ms > following.from_ms for one, following in pairwise(each)):
                raise ValueError(f"{key}: holes that overlap or do not ascend")

        async def write(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute(_FORGET, *market)
                ids = await find_ids(connection, list(holes))
                rows = [
                    (ids[key], *astuple(hole))
                    for key, each in holes.items()
                    for hole in each
                    if key in ids
                ]
                await connection.copy_records_to_table(
                    "history_holes", records=rows, columns=("series_id", *_COLUMNS)
                )
                await connection.execute(_LOOKED, *market, now_ms)

        await self._pool.write(write)

    async def due(
        self, now_ms: int, *, asked_before_ms: int, longest_ms: int, limit: int
    ) -> list[ListedHole]:
        """The holes to ask for (again): those that were asked before then, the longest ago first,
        and those that were never asked and are at most so long."""

        async def read(connection: Connection) -> list[ListedHole]:
            rows = await connection.fetch(_DUE, asked_before_ms, longest_ms, limit)
            return [_listed(*row) for row in rows]

        return await self._pool.read(read)

    async def listed(
        self, which: HoleFilter, after: HolePlace | None, limit: int
    ) -> list[ListedHole]:
        """So many holes after that place, in the order of places."""

        async def read(connection: Connection) -> list[ListedHole]:
            rows = await connection.fetch(
                _LISTED,
                *(which.exchanges, which.symbols, which.kinds, which.intervals_ms, which.states),
                *(after or HolePlace("", "", "candles", 0, -1)),
                limit,
            )
            return [_listed(*row) for row in rows]

        return await self._pool.read(read)

    async def counts(self) -> Mapping[tuple[str, HoleState], int]:
        """How many holes there are, by exchange and state."""

        async def read(connection: Connection) -> Mapping[tuple[str, HoleState], int]:
            rows = await connection.fetch(_COUNTS)
            return {(exchange, state): count for exchange, state, count in rows}

        return await self._pool.read(read)


def _listed(
    exchange: str, symbol: str, kind: Kind, interval_ms: int, looked_at: int | None, *hole: object
) -> ListedHole:
    key = SeriesKey(exchange, symbol, kind, interval_ms)
    return ListedHole(key, NotedHole(*hole), looked_at)  # type: ignore[arg-type]


_COLUMNS: Final = ("from_t", "to_t", "step_ms", "state", "first_asked_at", "asked_at")
_HOLE: Final = ", ".join(f"h.{column}" for column in _COLUMNS)

# A look in the future, by a clock that went back, is none.
_TO_LOOK_AT: Final = """
    WITH filled AS (
        SELECT series_id, max(at) AS at FROM (
            SELECT series_id, checked_at AS at FROM history_coverage
            UNION ALL SELECT series_id, known_at FROM history_batches
        ) AS parts GROUP BY series_id
    ), changing AS (
        SELECT DISTINCT series_id FROM history_holes WHERE state NOT IN ('exchange', 'out_of_reach')
    )
    SELECT s.exchange, s.symbol
    FROM history_series AS s
    LEFT JOIN history_looks AS l USING (exchange, symbol)
    LEFT JOIN filled AS f USING (series_id)
    LEFT JOIN changing AS c USING (series_id)
    GROUP BY s.exchange, s.symbol, l.looked_at
    HAVING l.looked_at IS NULL OR l.looked_at > $1 OR l.looked_at <= $3
        OR (l.looked_at <= $2 AND count(c.series_id) > 0) OR max(f.at) >= l.looked_at - $5
    ORDER BY l.looked_at NULLS FIRST, s.exchange, s.symbol LIMIT $4
"""

_FORGET: Final = """
    DELETE FROM history_holes AS h USING history_series AS s
    WHERE h.series_id = s.series_id AND s.exchange = $1 AND s.symbol = $2
"""

_LOOKED: Final = """
    INSERT INTO history_looks (exchange, symbol, looked_at) VALUES ($1, $2, $3)
    ON CONFLICT (exchange, symbol) DO UPDATE SET looked_at = excluded.looked_at
"""

_SELECT: Final = f"""
    SELECT s.exchange, s.symbol, s.kind, s.interval_ms, l.looked_at, {_HOLE}
    FROM history_holes AS h JOIN history_series AS s USING (series_id)
    LEFT JOIN history_looks AS l USING (exchange, symbol)
"""  # noqa: S608 - our own names

_DUE: Final = f"""
    {_SELECT}
    WHERE (h.state = 'asked' AND h.asked_at <= $1)
        OR (h.state = 'not_asked' AND h.to_t - h.from_t <= $2)
    ORDER BY h.asked_at NULLS LAST, h.series_id, h.from_t LIMIT $3
"""

_LISTED: Final = f"""
    {_SELECT}
    WHERE ($1::text[] IS NULL OR s.exchange = ANY($1))
        AND ($2::text[] IS NULL OR s.symbol = ANY($2))
        AND ($3::text[] IS NULL OR s.kind = ANY($3)) AND ($5::text[] IS NULL OR h.state = ANY($5))
        AND ($4::bigint[] IS NULL OR (s.kind = 'candles' AND s.interval_ms = ANY($4)))
        AND (s.exchange, s.symbol, s.kind, s.interval_ms, h.from_t) > ($6, $7, $8, $9, $10)
    ORDER BY s.exchange, s.symbol, s.kind, s.interval_ms, h.from_t LIMIT $11
"""

_COUNTS: Final = """
    SELECT s.exchange, h.state, count(*)
    FROM history_holes AS h JOIN history_series AS s USING (series_id) GROUP BY 1, 2
"""
