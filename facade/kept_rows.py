"""KeptRows: rows of open interest and funding as exchanges told them, in the hot store.

A value holds the rows of one market in a span of time. Whoever writes one has read it before, and
writes only where it still is what was read: rows that another process added meanwhile are merged
in, so that none is lost. A row that was told in two ways is none.
"""

import asyncio
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import structlog
from isal import isal_zlib

from facade.told_rows import ToldRow
from market.markets import Exchange
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from stores.hot.replies import list_of, whole_number
from stores.hot.store import HotStore
from timing.clock import now_ms
from venues.venue import Endpoint


class _Grid(NamedTuple):
    """Rows at multiples of `step_ms` that are on no longer grid: the span of time in one value, and
    for how long it is kept after it was written."""

    step_ms: int
    span_ms: int
    kept_ms: int


# The longest grid first. Exchanges tell 500 snapshots of a grid at most, so those that are on a
# short one alone are of no use sooner: a month of a market takes 1800 rows instead of 9000.
_GRIDS: Final = {
    Endpoint.OPEN_INTEREST: (
        _Grid(HOUR_MS, 8 * DAY_MS, 31 * DAY_MS),
        _Grid(30 * MINUTE_MS, 4 * DAY_MS, 11 * DAY_MS),
        _Grid(15 * MINUTE_MS, 2 * DAY_MS, 6 * DAY_MS),
        _Grid(1, 12 * HOUR_MS, 60 * HOUR_MS),
    ),
    Endpoint.FUNDING: (_Grid(1, 30 * DAY_MS, 150 * DAY_MS),),
}
_AT_ONCE: Final = 64  # values in one command: about a megabyte
_STAMP: Final = 16  # characters that begin each value, another one at each write
_TRIES: Final = 5
_LEVEL: Final = 1  # isal: 0..3
_DISPUTED: Final = ""  # in place of a row that was told in two ways
# KEYS: values. ARGV: for each, the stamp that it has (empty: there is none), the new value, ms that
# it is kept. Reply: for each, 1 where it was written.
_WRITE: Final = """
local reply = {}
for i = 1, #KEYS do
  local stored = redis.pcall('GET', KEYS[i])
  local stamp = type(stored) == 'string' and string.sub(stored, 1, 16) or ''
  reply[i] = 0
  if stamp == ARGV[3 * i - 2] then
    redis.call('SET', KEYS[i], ARGV[3 * i - 1], 'PX', ARGV[3 * i])
    reply[i] = 1
  end
end
return reply
"""

Rows = dict[tuple[int, str], str]  # by time and name
log = structlog.get_logger(__name__)

# The stubs of isal declare the class as an instance.
IsalError: type[Exception] = cast(Any, isal_zlib.error)


@dataclass(frozen=True, slots=True)
class _Place:
    """One value."""

    exchange: Exchange
    endpoint: Endpoint
    native: str
    grid: _Grid
    span: int

    @property
    def key(self) -> str:
        where = f"{self.exchange}:{self.endpoint}:{self.native}"
        return f"facade:rows:{where}:{self.grid.step_ms}:{self.span}"


class KeptRows:
    """All methods raise StoreUnavailable."""

    def __init__(self, store: HotStore) -> None:
        self._store = store
        self._write = store.script("facade_rows", _WRITE)
        self._newest_ms: dict[tuple[Exchange, Endpoint], int] = {}

    async def add(self, exchange: Exchange, endpoint: Endpoint, rows: Iterable[ToldRow]) -> None:
        """Keeps rows beside those that are there, but for what is much older than the newest."""
        by_place = await asyncio.to_thread(self._placed, exchange, endpoint, list(rows))
        places = list(by_place)
        for at in range(0, len(places), _AT_ONCE):
            await self._add({place: by_place[place] for place in places[at : at + _AT_ONCE]})

    def _placed(
        self, exchange: Exchange, endpoint: Endpoint, told: Sequence[ToldRow]
    ) -> dict[_Place, Rows]:
        """The rows by their places."""
        where = exchange, endpoint
        # A row of a time to come, which only a fault can tell, makes the others no older.
        newest_ms = min(max((row.time_ms for row in told), default=0), now_ms() + HOUR_MS)
        self._newest_ms[where] = newest_ms = max(newest_ms, self._newest_ms.get(where, 0))
        by_place: dict[_Place, Rows] = {}
        for row in told:
            grid = next(each for each in _GRIDS[endpoint] if row.time_ms % each.step_ms == 0)
            if row.time_ms > newest_ms - grid.kept_ms:
                place = _Place(exchange, endpoint, row.native, grid, row.time_ms // grid.span_ms)
                _put(by_place.setdefault(place, {}), row.place, row.text)
        return by_place

    async def _add(self, wanted: Mapping[_Place, Rows]) -> None:
        left = dict(wanted)
        for _ in range(_TRIES):
            left = await self._try(left)
            if not left:
                return
        log.warning("facade_rows_not_kept", values=len(left), reason="others go on writing them")

    async def _try(self, wanted: Mapping[_Place, Rows]) -> dict[_Place, Rows]:
        """What was not written, because another process wrote it meanwhile."""
        places = list(wanted)
        stored = await self._store.execute("MGET", *(place.key for place in places))
        changed, words = await asyncio.to_thread(_merged, wanted, stored)
        if not changed:
            return {}
        written = await self._write.run(
            [place.key for place in changed],
            words,
            reply=list_of(whole_number(0, 1), len(changed)),
        )
        return {
            place: wanted[place] for place, done in zip(changed, written, strict=True) if not done
        }

    async def read(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        native: str,
        first_ms: int,
        last_ms: int,
        *,
        step_ms: int = 1,
    ) -> list[ToldRow]:
        """The rows from `first_ms` to `last_ms`, both included, that lie on a grid, ascending; none
        of those that were told in two ways."""
        places = [
            _Place(exchange, endpoint, native, grid, span)
            for grid in _grids_of(endpoint, step_ms)
            for span in range(first_ms // grid.span_ms, last_ms // grid.span_ms + 1)
        ]
        stored: list[object] = []
        for at in range(0, len(places), _AT_ONCE):
            keys = [place.key for place in places[at : at + _AT_ONCE]]
            stored += await self._store.execute("MGET", *keys)
        rows = await asyncio.to_thread(_united, stored)
        return [
            ToldRow(native, time_ms, text, name)
            for (time_ms, name), text in rows
            if first_ms <= time_ms <= last_ms and text != _DISPUTED and time_ms % step_ms == 0
        ]


def _grids_of(endpoint: Endpoint, step_ms: int) -> Iterator[_Grid]:
    """Those that have rows at multiples of `step_ms`."""
    for grid in _GRIDS[endpoint]:
        yield grid
        if step_ms % grid.step_ms == 0:
            return  # the others have what is on no longer grid


def _merged(
    wanted: Mapping[_Place, Rows], stored: Sequence[object]
) -> tuple[list[_Place], list[str | bytes | int]]:
    """The values that change, and the arguments of the script that writes them."""
    words: list[str | bytes | int] = []
    changed: list[_Place] = []
    for (place, rows), value in zip(wanted.items(), stored, strict=True):
        known = _decoded(value)
        merged = dict(known)
        for where, text in rows.items():
            _put(merged, where, text)
        if merged != known:
            changed.append(place)
            stamp = value[:_STAMP] if isinstance(value, bytes) else b""
            words += [stamp, _encoded(merged), place.grid.kept_ms]
    return changed, words


def _united(values: Iterable[object]) -> list[tuple[tuple[int, str], str]]:
    return sorted(item for value in values for item in _decoded(value).items())


def _put(rows: Rows, where: tuple[int, str], text: str) -> None:
    if rows.setdefault(where, text) != text:
        rows[where] = _DISPUTED


def _encoded(rows: Rows) -> bytes:
    lines = [f"{time_ms}\t{name}\t{text}" for (time_ms, name), text in sorted(rows.items())]
    packed = isal_zlib.compress("\n".join(lines).encode(), _LEVEL)
    return secrets.token_hex(_STAMP // 2).encode() + b64encode(packed)


def _decoded(value: object) -> Rows:
    """The rows of a value; none where it is absent, or nothing that was written here."""
    if not isinstance(value, bytes):
        return {}
    try:
        text = isal_zlib.decompress(b64decode(value[_STAMP:], validate=True)).decode()
        found: Rows = {}
        for line in text.split("\n"):
            time_ms, name, row = line.split("\t", 2)
            found[int(time_ms), name] = row
        return found
    except (ValueError, IsalError) as error:
        log.warning("facade_rows_unreadable", error=str(error))
        return {}
