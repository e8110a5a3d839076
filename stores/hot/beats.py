"""Heartbeats of workers and live processes in the hot store, and the check that it takes writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from stores.hot.read import Read, read
from stores.hot.replies import Shape, elements, list_of, named_texts, text, whole_number
from stores.hot.store import HotStore, Word

_DAY_S: Final = 86_400
_MOST_PROCESSES: Final = 1_000  # of each kind
WORKERS: Final = "workers"
LIVE: Final = "processes:live"
_NO_KEY: Final = -2  # PTTL's reply
_FLAG: Final = whole_number(0, 1)
_LEFT: Final = whole_number(_NO_KEY)  # another reply of PTTL is -1: no expiry
_LOCK_STATE: Final = elements(text, _LEFT, _FLAG)
_PAUSE_STATE: Final = elements(_LEFT, text)

# beat(all ids, this process, any process; id, note, ttl s, ttl s of the list): writes a heartbeat.
# A full store refuses a script's first write if that takes memory, so EXPIRE is first.
# A list of ids that is no set, because others wrote it, is replaced.
_BEAT: Final = """
redis.call('EXPIRE', KEYS[1], ARGV[4])
local added = redis.pcall('SADD', KEYS[1], ARGV[1])
if type(added) == 'table' and string.find(added.err, 'WRONGTYPE') then
  redis.call('DEL', KEYS[1])
  redis.call('SADD', KEYS[1], ARGV[1])
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('SET', KEYS[3], '1', 'EX', ARGV[3])
"""

# alive(lists of ids...; most of each, 1 with notes or 0): the processes whose heartbeat counts,
# with their notes. The ids of others are removed; a process that comes back adds its own with its
# next heartbeat.
# Returns {{id, note, ...} of each list}.
_ALIVE: Final = """
local alive = {}
for i, list in ipairs(KEYS) do
  local ids, found = redis.pcall('SMEMBERS', list), {}
  if ids.err then ids = {} end
  table.sort(ids)
  for j = 1, math.min(#ids, ARGV[1]) do
    local note = redis.pcall('GET', list .. ':' .. ids[j])
    if not note then
      redis.pcall('SREM', list, ids[j])
    elseif type(note) == 'string' then
      found[#found + 1] = ids[j]
      found[#found + 1] = ARGV[2] == '1' and note or ''
    end
  end
  alive[i] = found
end
return alive
"""

# store_health(any worker, unused key, locks..., pauses...; number of locks): whether a worker is
# alive, whether writes are accepted, which leases are held and which pauses last.
# Returns {1 or 0, the write error or '', {value or '', ms left, 1 if its holder is alive} of each
# lock, {ms left, cause} of each pause}. Writing an empty string changes nothing; a value of another
# type there refuses it only after the server has accepted the write. A heartbeat expires.
_STORE_HEALTH: Final = """
local refused = redis.pcall('SETRANGE', KEYS[2], 0, '')
local why = type(refused) == 'table' and refused.err or ''
if string.find(why, 'WRONGTYPE') then why = '' end
local locks, pauses = {}, {}
for i = 3, #KEYS do
  local value = redis.pcall('GET', KEYS[i])
  if type(value) ~= 'string' then value = '' end
  local left = redis.call('PTTL', KEYS[i])
  if i <= 2 + ARGV[1] then
    local holder = string.match(value, '^%S+ %S+ (.*)$') or ''
    local alive = redis.pcall('EXISTS', (string.gsub(KEYS[1], 'any$', '')) .. holder)
    locks[#locks + 1] = {value, left, alive == 0 and 0 or 1}
  else
    pauses[#pauses + 1] = {left, value}
  end
end
return {redis.call('PTTL', KEYS[1]) > 0 and 1 or 0, why, locks, pauses}
"""


@dataclass(frozen=True, slots=True)
class BeatTimes:
    """How often processes send a heartbeat, and how long one counts, in seconds."""

    every_s: float
    ttl_s: int


# Of workers, by kind of store. Upstash bills every command; there, a heartbeat is also the look for
# new jobs.
BEAT_TIMES: Final = {"native": BeatTimes(10.0, 30), "upstash": BeatTimes(30.0, 60)}
# Nothing else hangs on those of live processes.
_LIVE_TIMES: Final = {"native": BeatTimes(10.0, 30), "upstash": BeatTimes(60.0, 150)}


def beat_times(store: HotStore) -> BeatTimes:
    """The times of workers for this kind of store."""
    return BEAT_TIMES[store.kind]


def live_beat_times(store: HotStore) -> BeatTimes:
    """The times of live processes for this kind of store."""
    return _LIVE_TIMES[store.kind]


@dataclass(frozen=True, slots=True)
class AfterBeat:
    """A script that runs with a heartbeat, in one command: its `keys` begin at KEYS[4], its
    `arguments` at ARGV[5], and `reply` is the shape of its reply."""

    lua: str
    reply: Shape[Any]
    keys: Sequence[str] = ()
    arguments: Sequence[Word] = ()


_NOTHING: Final = AfterBeat("return 1", whole_number(1, 1))


async def beat(store: HotStore, worker_id: str, note: str = "", then: AfterBeat = _NOTHING) -> Any:
    """Records that this worker is alive for the next `beat_times(store).ttl_s`.

    `note` is what `workers_alive` returns for it. Returns the reply of `then`. Raises
    StoreUnavailable.
    """
    return await _beat(store, WORKERS, worker_id, note, beat_times(store), then)


async def live_beat(store: HotStore, process: str, note: str) -> None:
    """Records that this live process is alive for the next `live_beat_times(store).ttl_s`, with its
    note. Raises StoreUnavailable."""
    await _beat(store, LIVE, process, note, live_beat_times(store), _NOTHING)


async def forget_live(store: HotStore, process: str) -> None:
    """The live process has ended. Raises StoreUnavailable."""
    await store.execute("UNLINK", f"{LIVE}:{process}")


async def _beat(
    store: HotStore, kind: str, process: str, note: str, times: BeatTimes, then: AfterBeat
) -> Any:
    keys = [kind, f"{kind}:{process}", f"{kind}:any", *then.keys]
    arguments = [process, note, times.ttl_s, _DAY_S, *then.arguments]
    return await store.script("beat", _BEAT + then.lua).run(keys, arguments, reply=then.reply)


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lease's key that exists: its holder, the ms until it expires (None: never), and whether a
    heartbeat of the holder counts."""

    holder: str
    left_ms: int | None
    holder_alive: bool


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """Whether a heartbeat of any worker still counts, and why the store refuses writes.

    `can_beat` is true on a full store (OOM), which still accepts heartbeats. `locks`: the leases
    asked for that are held, by key; `pauses`: the pauses asked for that last, as (ms left, cause)
    by key.
    """

    worker_alive: bool
    refusal: str | None
    locks: Mapping[str, HeldLock] = field(default_factory=dict)
    pauses: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def can_beat(self) -> bool:
        return self.refusal is None or self.refusal.startswith("OOM")


async def store_health(
    store: HotStore, *, locks: Sequence[str] = (), pauses: Sequence[str] = ()
) -> StoreHealth:
    """Checks workers, writes, leases and pauses with one command. Raises StoreUnavailable."""
    return await read(store, read_of_health(locks=locks, pauses=pauses))


def read_of_health(*, locks: Sequence[str] = (), pauses: Sequence[str] = ()) -> Read[StoreHealth]:
    """The read of `store_health`."""
    return Read(
        "store_health",
        _STORE_HEALTH,
        ["workers:any", "workers:none", *locks, *pauses],
        [len(locks)],
        elements(_FLAG, text, list_of(_LOCK_STATE, len(locks)), list_of(_PAUSE_STATE, len(pauses))),
        partial(_health_of, locks, pauses),
    )


def _health_of(locks: Sequence[str], pauses: Sequence[str], reply: Sequence[Any]) -> StoreHealth:
    alive, refusal, held, lasting = reply
    # Redis 6 prefixes the error with the protocol's "-".
    why = _decoded(refusal).removeprefix("-")
    return StoreHealth(
        bool(alive),
        why or None,
        {
            key: HeldLock(_holder(value), None if left_ms < 0 else left_ms, bool(holder_alive))
            for key, (value, left_ms, holder_alive) in zip(locks, held, strict=True)
            if left_ms != _NO_KEY
        },
        {
            key: (left_ms, _decoded(cause))
            for key, (left_ms, cause) in zip(pauses, lasting, strict=True)
            if left_ms > 0
        },
    )


def _holder(value: bytes) -> str:
    return _decoded(value).partition(" ")[2].partition(" ")[2] or "nobody known"


def _decoded(value: bytes) -> str:
    return value.decode(errors="replace")


Alive = tuple[dict[str, bytes], dict[str, bytes]]


async def processes_alive(store: HotStore) -> Alive:
    """The notes of the workers and of the live processes that are alive, by their ids, in one
    command. Raises StoreUnavailable."""
    return await read(store, read_of_alive())


def read_of_alive(*, notes: bool = True) -> Read[Alive]:
    """The read of `processes_alive`; without `notes` they are empty."""
    arguments = [_MOST_PROCESSES, int(notes)]
    return Read("alive", _ALIVE, [WORKERS, LIVE], arguments, list_of(named_texts, 2), _alive_of)


def _alive_of(reply: Sequence[Sequence[bytes]]) -> Alive:
    workers, live = (
        {_decoded(process): note for process, note in zip(flat[::2], flat[1::2], strict=True)}
        for flat in reply
    )
    return workers, live


async def workers_alive(store: HotStore) -> dict[str, bytes]:
    """The notes of the live workers by worker id, in one command. Raises StoreUnavailable."""
    workers, _ = await processes_alive(store)
    return workers
