"""The log of events in the hot store: how scripts write it, and its reading.

It is a stream (XADD) of at most MOST_EVENTS entries. An entry's id is `<ms>-<n>` by the store's
clock and never comes again: an id that is not in the log is of entries that have left it, of
another store or of nobody. An event is written in the very step that makes it true, and never
keeps that step from being done: a log of another type is replaced, a refused write is left out.

`events:pauses` is a hash: `<egress id> <exchange>` -> `<ends> <told>`, when the exchange's pause
ends, and when an event says that it does, in ms. A pause ends by itself, so whoever reads the log,
or begins the next pause, writes its end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stores.hot.replies import Shape, WrongShape, elements, list_of, named_texts, text, whole_number
from stores.hot.store import HotStore

LOG: Final = "events"  # the key, and the channel that tells of new entries
PAUSES: Final = "events:pauses"
MOST_EVENTS: Final = 4096  # about a day of closes of all documents; an entry has some 300 bytes
READ_AT_ONCE: Final = 1000
_LARGEST_MS: Final = 10**14
_LARGEST_NUMBER: Final = 10**19  # of the entries of one millisecond; Redis counts in 64 bits
# A begun pause is told again if it lasts longer than told by at least this.
_LENGTHENED_MS: Final = 1000

# tell(log; field, value...): appends an entry, and tells those who listen.
TELL: Final = f"""
local function tell(log, ...)
  local at = redis.pcall('XADD', log, 'MAXLEN', '{MOST_EVENTS}', '*', ...)
  if type(at) == 'table' and string.find(at.err or '', 'WRONGTYPE', 1, true) then
    redis.call('DEL', log)
    at = redis.pcall('XADD', log, 'MAXLEN', '{MOST_EVENTS}', '*', ...)
  end
  if type(at) == 'string' then redis.pcall('PUBLISH', log, at) end
end
"""

# now_ms(): the server's time.
# end_pauses(log, pauses, now): tells the ends of the pauses that are over. Returns the end of the
# next one, in ms, or nil. Its first write is one that a full store allows.
_PAUSES: Final = (
    TELL
    + """
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function end_pauses(log, pauses, now)
  local known, soonest = redis.pcall('HGETALL', pauses), nil
  if known.err then
    redis.call('DEL', pauses)
    known = {}
  end
  for i = 1, #known, 2 do
    local ends = tonumber(string.match(known[i + 1], '^%d+') or '') or 0
    if ends > now then
      soonest = math.min(soonest or ends, ends)
    else
      redis.call('HDEL', pauses, known[i])
      local egress, exchange = string.match(known[i], '^(.*) (%S+)$')
      if exchange and ends > 0 then
        tell(log, 'kind', 'pause', 'exchange', exchange, 'egress_id', egress, 'state', 'ended',
          'until', string.format('%.0f', ends), 'cause', '')
      end
    end
  end
  return soonest
end
"""
)

# begin_pause(log, pauses, egress, exchange, ms, cause): tells the pause, or that it lasts longer.
BEGIN_PAUSE: Final = (
    _PAUSES
    + f"""
local function begin_pause(log, pauses, egress, exchange, ms, cause)
  local now = now_ms()
  end_pauses(log, pauses, now)
  local name, ends = egress .. ' ' .. exchange, string.format('%.0f', now + ms)
  local told = string.match(redis.call('HGET', pauses, name) or '', '%d+$')
  if told and now + ms < tonumber(told) + {_LENGTHENED_MS} then
    redis.pcall('HSET', pauses, name, ends .. ' ' .. told)
  else
    redis.pcall('HSET', pauses, name, ends .. ' ' .. ends)
    tell(log, 'kind', 'pause', 'exchange', exchange, 'egress_id', egress, 'state', 'begun',
      'until', ends, 'cause', cause)
  end
end
"""
)

# end_pause(log, pauses, egress, exchange): tells that the pause has ended before its time.
END_PAUSE: Final = (
    _PAUSES
    + """
local function end_pause(log, pauses, egress, exchange)
  local name = egress .. ' ' .. exchange
  local known = redis.pcall('HGET', pauses, name)
  if type(known) ~= 'string' then return end
  redis.call('HDEL', pauses, name)
  tell(log, 'kind', 'pause', 'exchange', exchange, 'egress_id', egress, 'state', 'ended',
    'until', string.format('%.0f', now_ms()), 'cause', '')
end
"""
)

# read(log, pauses, metas...; position or '', how many, versions...): writes the ends of pauses
# that are over, and reads the entries after the position, or from the first one on.
# Returns {1 if the position is not in the log, entries, ms until the next pause ends or -1, for
# each meta '=' if it has the version, else its text, '' without one}.
_READ: Final = (
    _PAUSES
    + """
local now = now_ms()
local soonest = end_pauses(KEYS[1], KEYS[2], now)
local function range(...)
  local found = redis.pcall('XRANGE', KEYS[1], ...)
  return found.err and {} or found
end
local first, gap = '-', 0
if ARGV[1] ~= '' then
  if #range(ARGV[1], ARGV[1]) == 1 then first = '(' .. ARGV[1] else gap = 1 end
end
local metas = {}
for i = 3, #KEYS do
  local meta = redis.pcall('GET', KEYS[i])
  if type(meta) ~= 'string' then meta = '' end
  local version = string.match(meta, '"version":(%d+)') or ''
  metas[#metas + 1] = version == ARGV[i] and '=' or meta
end
return {gap, range(first, '+', 'COUNT', ARGV[2]), soonest and soonest - now or -1, metas}
"""
)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """An entry's id: the store's time in ms, and the number among the entries of that ms."""

    at_ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.at_ms}-{self.number}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log."""

    at: Position
    fields: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Reading:
    """`is_gap`: the position is not in the log, and `entries` are all that it has; else those
    after it, at most READ_AT_ONCE. `pause_ends_ms`: ms until the next pause ends, None if there is
    none. `metas`: of the documents whose version is another one, their meta's text, b"" without."""

    is_gap: bool
    entries: Sequence[Entry]
    pause_ends_ms: int | None
    metas: Mapping[str, bytes]

    @property
    def is_whole(self) -> bool:
        """Whether there are no further entries."""
        return len(self.entries) < READ_AT_ONCE


class EventLog:
    """Reads the log."""

    def __init__(self, store: HotStore) -> None:
        self._script = store.script("read_events", _READ)

    async def read(self, position: Position | None, versions: Mapping[str, str]) -> Reading:
        """The entries after `position`, or all. `versions`: by the key of a document's meta, the
        version that is known, "" for none. One command. Raises StoreUnavailable."""
        gap, entries, ends_ms, metas = await self._script.run(
            [LOG, PAUSES, *versions],
            ["" if position is None else str(position), READ_AT_ONCE, *versions.values()],
            reply=elements(
                whole_number(0, 1),
                list_of(_entry),
                whole_number(-1, _LARGEST_MS),
                list_of(text, len(versions)),
            ),
        )
        changed = {key: meta for key, meta in zip(versions, metas, strict=True) if meta != b"="}
        return Reading(bool(gap), entries, ends_ms if ends_ms >= 0 else None, changed)


def read_position(words: bytes) -> Position | None:
    """The position of a text such as `1795185441250-0`; None if it is none."""
    at_ms, dash, number = words.partition(b"-")
    if not (dash and at_ms.isdigit() and number.isdigit() and len(words) <= 40):
        return None
    found = Position(int(at_ms), int(number))
    return found if found.at_ms < _LARGEST_MS and found.number < _LARGEST_NUMBER else None


_pair: Final[Shape[list[object]]] = elements(text, named_texts)


def _entry(reply: object) -> Entry:
    at, flat = _pair(reply)
    position = read_position(at) if isinstance(at, bytes) else None
    if position is None or not isinstance(flat, list):
        raise WrongShape(reply, "an entry of a stream")
    return Entry(position, dict(zip(flat[::2], flat[1::2], strict=True)))
