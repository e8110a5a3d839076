"""The processes that hold WebSocket workers, and their leases and beats, in the hot store.

`worker:hosts` is a hash: each process that may hold some, with `<ms of its last look> <how many it
holds> <JSON list of the names that it may>`. `worker:ws:<name>` is the holder's beat, a hash of a
minute or more. `worker:ws:<name>:given_up`, which expires, keeps all processes from a worker that
failed too often: the changed_at of its row then, so that a changed row is a new try.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stores.hot.leases import Lease, lock_key
from stores.hot.replies import elements, list_of, named_texts, text, whole_number
from stores.hot.store import HotStore, Kind, Word
from workers.state import beat_key, stream_lease
from workers.streams.counts import StreamCounts
from workers.streams.placement import Host

HOSTS: Final = "worker:hosts"
_DAY_S: Final = 86_400
_LONGEST_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Pace:
    """The times of a kind of store, in seconds: leases, looks at them, beats, for how long a look
    proves that its process lives, and from the first look until workers are taken, so that
    processes that begin together share."""

    ttl_s: float
    look_s: float
    beat_s: float
    alive_s: float
    settle_s: float = 1.5
    wishes_s: float = 0.75  # how often the rows are read: a change is in effect within a second


# Upstash bills each command: there a renewal each 20 s, a look and a beat each 30 s.
_PACES: Final[Mapping[Kind, Pace]] = {
    "native": Pace(15.0, 0.75, 2.0, 4.0),
    "upstash": Pace(60.0, 30.0, 30.0, 75.0),
}


# look(hosts, {lock, given up of each worker}...; host, how many it holds, names as JSON, alive ms,
# ttl s of the list): tells that this process lives, and reads which others do.
# Returns {{host, its entry...}, {the lock's value or '', given up or ''}...}. Hosts that have not
# looked for too long are removed; a hash of another type is replaced.
_LOOK: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entry = string.format('%.0f', now) .. ' ' .. ARGV[2] .. ' ' .. ARGV[3]
redis.call('EXPIRE', KEYS[1], ARGV[5])
local told = redis.pcall('HSET', KEYS[1], ARGV[1], entry)
if type(told) == 'table' and string.find(told.err or '', 'WRONGTYPE', 1, true) then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], ARGV[1], entry)
end
redis.call('EXPIRE', KEYS[1], ARGV[5])
local all, hosts = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local at = tonumber(string.match(all[i + 1], '^%d+') or '') or 0
  if math.abs(now - at) > tonumber(ARGV[4]) then
    redis.call('HDEL', KEYS[1], all[i])
  else
    hosts[#hosts + 1] = all[i]
    hosts[#hosts + 1] = all[i + 1]
  end
end
local workers = {}
for i = 2, #KEYS, 2 do
  local lock, given_up = redis.pcall('GET', KEYS[i]), redis.pcall('GET', KEYS[i + 1])
  workers[#workers + 1] = {
    type(lock) == 'string' and lock or '', type(given_up) == 'string' and given_up or ''
  }
end
return {hosts, workers}
"""

# beat({lock, beat}...; ttl s, number of fields, {lease, fields...}...): writes the beats of the
# workers whose lease this process holds. Returns how many.
_BEAT: Final = """
local count, told = 2 * ARGV[2], 0
for i = 1, #KEYS, 2 do
  local from = 3 + (i - 1) / 2 * (count + 1)
  if redis.pcall('GET', KEYS[i]) == ARGV[from] then
    redis.call('DEL', KEYS[i + 1])
    for j = from + 1, from + count, 2 do
      redis.call('HSET', KEYS[i + 1], ARGV[j], ARGV[j + 1])
    end
    redis.call('EXPIRE', KEYS[i + 1], ARGV[1])
    told = told + 1
  end
end
return told
"""

# give_up(lock, given up; lease, changed at, ms): lets no process take the worker for a while.
# Returns 1, or 0 when the lock does not hold the lease.
_GIVE_UP: Final = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
"""

# leave(hosts; host): the process holds none any more, and takes none. Returns 1 or 0.
_LEAVE: Final = """
local left = redis.pcall('HDEL', KEYS[1], ARGV[1])
return type(left) == 'number' and left or 0
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look has found: the processes that live, this one included, and of each worker
    whether its lease is held, and the row's changed_at at which it was given up, if it was."""

    hosts: Mapping[str, Host]
    held: Mapping[str, bool]
    given_up: Mapping[str, str]


class Fleet:
    """What this process tells and reads. All methods raise StoreUnavailable."""

    def __init__(self, store: HotStore, host: str, pace: Pace | None = None) -> None:
        self.pace = pace or _PACES[store.kind]
        self._host = host
        self._look = store.script("look_at_streams", _LOOK)
        self._beat = store.script("beat_of_streams", _BEAT)
        self._give_up = store.script("give_stream_up", _GIVE_UP)
        self._leave = store.script("leave_streams", _LEAVE)

    async def look(self, names: Sequence[str], held: int) -> Look:
        """Looks at these workers, which this process may hold; `held`: how many it does."""
        keys = [HOSTS]
        for name in names:
            keys += [lock_key(stream_lease(name)), given_up_key(name)]
        words: list[Word] = [
            self._host,
            held,
            json.dumps(names),
            round(self.pace.alive_s * 1000),
            _DAY_S,
        ]
        shape = elements(named_texts, list_of(elements(text, text), len(names)))
        flat, workers = await self._look.run(keys, words, reply=shape)
        hosts = _hosts_of(flat)
        hosts[self._host] = Host(held, frozenset(names))
        found = list(zip(names, workers, strict=True))
        return Look(
            hosts,
            {name: bool(lock) for name, (lock, _) in found},
            {name: mark.decode(errors="replace") for name, (_, mark) in found if mark},
        )

    async def beat(self, held: Sequence[tuple[str, Lease, StreamCounts]]) -> None:
        """Tells what the held workers do."""
        if not held:
            return
        keys: list[str] = []
        words: list[Word] = []
        count = 0
        for name, lease, counts in held:
            keys += [lease.key, beat_key(name)]
            fields = _beat_fields(lease, counts)
            count = len(fields)
            words.append(lease.value)
            for field, value in fields.items():
                words += [field, value]
        ttl_s = round(max(60.0, 3 * self.pace.beat_s))
        await self._beat.run(keys, [ttl_s, count, *words], reply=whole_number())

    async def give_up(self, name: str, lease: Lease, changed_at_ms: int, for_s: float) -> None:
        """Keeps all processes from the worker for `for_s`, or until its row is changed."""
        keys = [lease.key, given_up_key(name)]
        words: list[Word] = [lease.value, changed_at_ms, round(for_s * 1000)]
        await self._give_up.run(keys, words, reply=whole_number(0, 1))

    async def leave(self) -> None:
        """This process takes no worker any more."""
        await self._leave.run([HOSTS], [self._host], reply=whole_number(0, 1), deadline_s=1.0)


def given_up_key(worker: str) -> str:
    return f"{beat_key(worker)}:given_up"


def _hosts_of(flat: Sequence[bytes]) -> dict[str, Host]:
    """The hosts whose entry can be read; others may have written something else."""
    hosts = {}
    for id_, entry in zip(flat[::2], flat[1::2], strict=True):
        _, _, rest = entry.decode(errors="replace").partition(" ")
        held, _, names = rest.partition(" ")
        try:
            may = json.loads(names)
            if not isinstance(may, list) or len(held) > 9:
                continue
            hosts[id_.decode(errors="replace")] = Host(int(held), frozenset(map(str, may)))
        except (ValueError, RecursionError):
            continue
    return hosts


def _beat_fields(lease: Lease, counts: StreamCounts) -> dict[str, str | int]:
    last = "" if counts.last_message_ms is None else counts.last_message_ms
    return {
        "token": lease.token,
        "holder": lease.holder,
        "status": counts.status,
        "since_ms": counts.since_ms,
        "messages": counts.messages,
        "published": counts.published,
        "connections": counts.connections,
        "restarts": counts.restarts,
        "waiting": counts.waiting,
        "last_message_ms": last,
        "lag_ms": round(counts.lag_s * 1000),
        "error": (counts.error or "")[:_LONGEST_ERROR],
    }
