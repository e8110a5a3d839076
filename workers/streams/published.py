"""What WebSocket workers publish, in the hot store: written under the lease, and read by anybody.

`worker:feed:<name>:latest` is a hash: `value` (JSON), `number` (from 1, in order, of one holding),
`token` (of the lease), `at` (ms of the store's clock), `id` (of its entry). `worker:feed:<name>` is
a stream (XADD) of the last `keep` values with the fields value, number and token; both expire a day
after the last value. The channel `worker:feed:<name>`, with REDIS_PREFIX before it, carries each as
JSON: {"id", "token", "number", "at", "value"}.
"""

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from stores.hot.leases import Lease, retry_under_lease
from stores.hot.replies import Shape, elements, list_of, named_texts, one_of, text
from stores.hot.store import HotStore, Word

KEPT_S: Final = 86_400
LARGEST_VALUE: Final = 256 * 1024  # bytes of JSON
_LARGEST_COMMAND: Final = 600 * 1024  # Upstash refuses requests of 1 MB
_MOST_AT_ONCE: Final = 500
READ_AT_ONCE: Final = 1_000
READ_BYTES_AT_ONCE: Final = 1024 * 1024  # but for a first value that is larger

# publish(lock, stream, latest; lease, token, number of the first, keep, ttl s, channel, values...):
# publishes the values in order, those but which an earlier try of the same command has published.
# Returns 'done', or 'lost' when the lock does not hold the lease.
# A stream that is none is replaced; a user who may not XADD or PUBLISH leaves the latest value.
_PUBLISH: Final = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
local told = redis.pcall('HMGET', KEYS[3], 'token', 'number')
if told.err then
  redis.call('DEL', KEYS[3])
  told = {}
end
local done = told[1] == ARGV[2] and tonumber(told[2]) or 0
local time = redis.call('TIME')
local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
for i = 7, #ARGV do
  local number = ARGV[3] + i - 7
  if number > done then
    local written = string.format('%.0f', number)
    local function add()
      return redis.pcall('XADD', KEYS[2], 'MAXLEN', ARGV[4], '*', 'value', ARGV[i],
        'number', written, 'token', ARGV[2])
    end
    local id = add()
    if type(id) == 'table' and string.find(id.err or '', 'WRONGTYPE', 1, true) then
      redis.call('DEL', KEYS[2])
      id = add()
    end
    if type(id) ~= 'string' then id = '' end
    redis.call('HSET', KEYS[3], 'value', ARGV[i], 'number', written, 'token', ARGV[2],
      'at', at, 'id', id)
    redis.pcall('PUBLISH', ARGV[6], '{"id":"' .. id .. '","token":' .. ARGV[2] .. ',"number":' ..
      written .. ',"at":' .. at .. ',"value":' .. ARGV[i] .. '}')
  end
end
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('EXPIRE', KEYS[3], ARGV[5])
return 'done'
"""
_PUBLISHED: Final = one_of(b"done", b"lost")

# published(stream, latest; the id after which to read or '', how many, how many bytes): reads what
# is published; without an id the last ones, from the newest on.
# Returns {the latest's fields, {{id, fields}...}, ms of its clock}.
_READ: Final = """
local latest = redis.pcall('HGETALL', KEYS[2])
if latest.err then latest = {} end
local is_newest_first = ARGV[1] == ''
local from = is_newest_first and '+' or '(' .. ARGV[1]
local function read(count)
  if is_newest_first then return redis.pcall('XREVRANGE', KEYS[1], from, '-', 'COUNT', count) end
  return redis.pcall('XRANGE', KEYS[1], from, '+', 'COUNT', count)
end
local entries, bytes, wanted = {}, 0, tonumber(ARGV[2])
while #entries < wanted do
  local found = read(math.min(16, wanted - #entries))
  if found.err or #found == 0 then break end
  for _, entry in ipairs(found) do
    for _, word in ipairs(entry[2]) do bytes = bytes + #word end
    if #entries > 0 and bytes > tonumber(ARGV[3]) then
      wanted = 0
      break
    end
    entries[#entries + 1] = entry
    from = '(' .. entry[1]
  end
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return {latest, entries, now}
"""
_ENTRY: Final[Shape[list[Any]]] = elements(text, named_texts)
_FOUND: Final = elements(named_texts, list_of(_ENTRY), text)


@dataclass(frozen=True, slots=True)
class PublishedValue:
    """A published value. `token` and `number` count the holdings of the worker and the values of
    one holding; `at_ms`: of the store's clock."""

    id: str
    token: int
    number: int
    at_ms: int
    value: Any


@dataclass(frozen=True, slots=True)
class Published:
    """The latest value, and older ones in their order. `next`: pass it as `after` to go on.
    `now_ms`: of the store's clock, which tells how old they are."""

    latest: PublishedValue | None
    values: list[PublishedValue]
    next: str | None
    now_ms: int


def feed_key(worker: str) -> str:
    """The key of the stream, and the name of the channel without REDIS_PREFIX."""
    return f"worker:feed:{worker}"


class Publisher:
    """Publishes the values of one holding of a worker, each once and in order."""

    def __init__(self, store: HotStore, worker: str, lease: Lease, keep: int) -> None:
        self._worker = worker
        self._lease = lease
        self._keep = keep
        self._publish = store.script("publish_feed", _PUBLISH)
        key = feed_key(worker)
        self._keys = [lease.key, key, f"{key}:latest"]
        self._channel = store.channel(key)
        self._next = 1
        self._order = asyncio.Lock()

    async def publish(self, values: Sequence[Any]) -> None:
        """Raises LeaseLost when another process may hold the worker, ValueError for a value that
        JSON cannot hold or that is too large, StoreRefused where the store is full. While the store
        is away it waits, as long as the lease is held."""
        written = [self._written(value) for value in values]
        async with self._order:
            for part in _parts(written):
                await self._publish_part(part)

    async def _publish_part(self, part: Sequence[str]) -> None:
        lease = self._lease
        words: list[Word] = [lease.value, lease.token, self._next, self._keep, KEPT_S]
        words += [self._channel, *part]

        async def write() -> bytes:
            return await self._publish.run(self._keys, words, reply=_PUBLISHED)

        lease.check()
        # Counted before it is known whether it is done: a number never stands for two values.
        self._next += len(part)
        lease.raise_if_lost(await retry_under_lease(lease, write))

    def _written(self, value: Any) -> str:
        try:
            written = json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{self._worker}: a published value is what JSON can hold: {error}"
            ) from None
        if len(written) > LARGEST_VALUE:
            raise ValueError(
                f"{self._worker}: a value of {len(written)} bytes of JSON; at most {LARGEST_VALUE}"
                " can be published"
            )
        return written


async def read_published(
    store: HotStore, worker: str, *, after: str | None = None, count: int = 100
) -> Published:
    """The latest value of a worker and its last `count` ones, or the first `count` after the id
    `after`; fewer where they are more than READ_BYTES_AT_ONCE. Raises StoreUnavailable, and
    ValueError for an id that is none."""
    if after is not None and not is_entry_id(after):
        raise ValueError("after: an id is that of a value: two numbers with a '-' between them")
    key = feed_key(worker)
    words: list[Word] = [after or "", min(max(count, 1), READ_AT_ONCE), READ_BYTES_AT_ONCE]
    latest, entries, now = await store.script("read_feed", _READ).run(
        [key, f"{key}:latest"], words, reply=_FOUND
    )
    if after is None:
        entries.reverse()
    values = [value for id_, flat in entries if (value := _value(id_.decode(), flat)) is not None]
    last = entries[-1][0].decode() if entries else after
    return Published(_value("", latest), values, last, int(now))


def is_entry_id(written: str) -> bool:
    """Whether a text is the id of an entry of a stream: `<ms>-<n>`."""
    first, dash, last = written.partition("-")
    return bool(dash) and all(
        part.isascii() and part.isdecimal() and len(part) <= 18 for part in (first, last)
    )


def _value(id_: str, flat: Sequence[bytes]) -> PublishedValue | None:
    """A value as it was written; None for one that others have written in another form."""
    texts = [word.decode(errors="replace") for word in flat]
    fields = dict(zip(texts[::2], texts[1::2], strict=True))
    id_ = id_ or fields.get("id", "")
    try:
        at_ms = int(fields["at"]) if "at" in fields else int(id_.partition("-")[0])
        value = json.loads(fields["value"], parse_constant=_refused)
        return PublishedValue(id_, int(fields["token"]), int(fields["number"]), at_ms, value)
    except (KeyError, ValueError, RecursionError):
        return None


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _parts(written: Sequence[str]) -> list[list[str]]:
    """The values in commands that a store takes."""
    parts: list[list[str]] = []
    size = math.inf
    for value in written:
        if size + len(value) > _LARGEST_COMMAND or len(parts[-1]) >= _MOST_AT_ONCE:
            parts.append([])
            size = 0
        parts[-1].append(value)
        size += len(value)
    return parts


def _plain(value: Any) -> Any:
    """Decimals as texts, moments as UTC ms, sets as lists; raises TypeError for the rest."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"{value!r} has no zone: which moment it is nobody knows")
        return round(value.timestamp() * 1000)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} is none of it")
