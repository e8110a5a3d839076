"""KeptRows: rows of open interest and funding as exchanges told them, in the hot store.

A value holds the rows of one market in a span of time. Whoever writes one has read it before, and
writes only where it still is what was read: rows that another process added meanwhile are merged
in, so that none is lost. A row that was told in two ways is none.
"""

import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
from isal import isal_zlib

from facade.told_rows import ToldRow
from market.markets import Exchange
from market.timeframes import DAY_MS
from stores.hot.replies import list_of, whole_number
from stores.hot.store import HotStore
from venues.venue import Endpoint

# Of an endpoint: the span of time in one value, and for how long it is kept after it was written.
SPAN_MS: Final = {Endpoint.OPEN_INTEREST: DAY_MS, Endpoint.FUNDING: 30 * DAY_MS}
_KEPT_MS: Final = {Endpoint.OPEN_INTEREST: 31 * DAY_MS, Endpoint.FUNDING: 150 * DAY_MS}
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
    span: int

    @property
    def key(self) -> str:
        return f"facade:rows:{self.exchange}:{self.endpoint}:{self.native}:{self.span}"


class KeptRows:
    """All methods raise StoreUnavailable."""

    def __init__(self, store: HotStore) -> None:
        self._store = store
        self._write = store.script("facade_rows", _WRITE)

    async def add(self, exchange: Exchange, endpoint: Endpoint, rows: Iterable[ToldRow]) -> None:
        """Keeps rows beside those that are there."""
        by_place: dict[_Place, Rows] = {}
        for row in rows:
            span = row.time_ms // SPAN_MS[endpoint]
            place = _Place(exchange, endpoint, row.native, span)
            _put(by_place.setdefault(place, {}), row.place, row.text)
        places = list(by_place)
        for at in range(0, len(places), _AT_ONCE):
            await self._add({place: by_place[place] for place in places[at : at + _AT_ONCE]})

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
        words: list[str | bytes | int] = []
        changed: list[_Place] = []
        for place, value in zip(places, stored, strict=True):
            known = _decoded(value)
            merged = dict(known)
            for where, text in wanted[place].items():
                _put(merged, where, text)
            if merged != known:
                changed.append(place)
                stamp = value[:_STAMP] if isinstance(value, bytes) else b""
                words += [stamp, _encoded(merged), _KEPT_MS[place.endpoint]]
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
        self, exchange: Exchange, endpoint: Endpoint, native: str, first_ms: int, last_ms: int
    ) -> list[ToldRow]:
        """The rows from `first_ms` to `last_ms`, both included, ascending; none of those that were
        told in two ways."""
        span_ms = SPAN_MS[endpoint]
        places = [
            _Place(exchange, endpoint, native, span)
            for span in range(first_ms // span_ms, last_ms // span_ms + 1)
        ]
        found: list[ToldRow] = []
        for at in range(0, len(places), _AT_ONCE):
            keys = [place.key for place in places[at : at + _AT_ONCE]]
            for value in await self._store.execute("MGET", *keys):
                found += [
                    ToldRow(native, time_ms, text, name)
                    for (time_ms, name), text in sorted(_decoded(value).items())
                    if first_ms <= time_ms <= last_ms and text != _DISPUTED
                ]
        return found


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
