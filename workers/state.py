"""The operational state of workers in the hot store, for reading: never the truth, which is in SQL.

`worker:state:<name>` is a hash of one day: state, run, started_at, last_result, last_error, host.
`worker:ws:<name>` is the beat of the process that holds a WebSocket worker (streams/beats.py).
"""

import json
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from logging_setup import ThrottledLog
from stores.hot.leases import lock_key
from stores.hot.replies import elements, list_of, named_texts, text, whole_number
from stores.hot.store import HotStore, StoreUnavailable, Word
from texts.foreign import cut

KEPT_S: Final = 86_400
_LONGEST_RESULT: Final = 4_000  # characters of JSON; the whole one is in SQL
_LONGEST_ERROR: Final = 1_000
_AT_ONCE: Final = 500  # workers of one script
_RUN: Final = whole_number(0, 1)

# started(state; run, started at, host, ttl s): tells a run that has begun, unless a later one is
# told. Returns 1, or 0 when a later one is. A hash of another type is replaced.
_STARTED: Final = """
local told = redis.pcall('HGET', KEYS[1], 'run')
if type(told) == 'table' then
  redis.call('DEL', KEYS[1])
elseif tonumber(told or '') and tonumber(told) > tonumber(ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1], 'state', 'running', 'run', ARGV[1], 'started_at', ARGV[2],
  'host', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""

# ended(state; run, state, result or '', error or '', host, ttl s): tells how a run ended, unless a
# later one is told. The result and the error stay until others take their place; a run that ended
# well takes the error away. Returns 1, or 0 when a later one is told.
_ENDED: Final = """
local told = redis.pcall('HGET', KEYS[1], 'run')
if type(told) == 'table' then
  redis.call('DEL', KEYS[1])
elseif tonumber(told or '') and tonumber(told) > tonumber(ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'run', ARGV[1], 'host', ARGV[5])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'last_result', ARGV[3]) end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'last_error', ARGV[4])
elseif ARGV[2] == 'complete' then
  redis.call('HDEL', KEYS[1], 'last_error')
end
redis.call('EXPIRE', KEYS[1], ARGV[6])
return 1
"""

# rebuild(states...; ttl s, {run, state, started at, result, error, host} of each): writes what SQL
# has of each worker's last run, where the store has nothing as late. Returns how many it wrote.
_REBUILD: Final = """
local names = {'run', 'state', 'started_at', 'last_result', 'last_error', 'host'}
local written = 0
for i, key in ipairs(KEYS) do
  local from = 1 + (i - 1) * #names
  local told = redis.pcall('HGET', key, 'run')
  if type(told) == 'table' then
    redis.call('DEL', key)
    told = false
  end
  if not (tonumber(told or '') and tonumber(told) > tonumber(ARGV[from + 1])) then
    for j, name in ipairs(names) do
      if ARGV[from + j] ~= '' then redis.call('HSET', key, name, ARGV[from + j])
      else redis.call('HDEL', key, name) end
    end
    redis.call('EXPIRE', key, ARGV[1])
    written = written + 1
  end
end
return written
"""

# states(state, lock and beat of each worker): reads them.
# Returns {the state's fields, the lock's value or '', the beat's fields} of each.
_READ: Final = """
local function hash(key)
  local found = redis.pcall('HGETALL', key)
  return found.err and {} or found
end
local found = {}
for i = 1, #KEYS, 3 do
  local lock = redis.pcall('GET', KEYS[i + 1])
  if type(lock) ~= 'string' then lock = '' end
  found[#found + 1] = {hash(KEYS[i]), lock, hash(KEYS[i + 2])}
end
return found
"""
_ONE: Final = elements(named_texts, text, named_texts)

log = structlog.get_logger(__name__)


def state_key(worker: str) -> str:
    return f"worker:state:{worker}"


def stream_lease(worker: str) -> str:
    """The name of the lease of a WebSocket worker; its key is `lock:` and this."""
    return f"ws:{worker}"


def beat_key(worker: str) -> str:
    """The key of the beat of a WebSocket worker."""
    return f"worker:ws:{worker}"


@dataclass(frozen=True, slots=True)
class StreamBeat:
    """A WebSocket worker that a process holds; `status` and what follows as StreamCounts has it.

    `holder`: of the lease. Without a beat of this holder, all but the holder are None.
    """

    holder: str
    status: str | None = None
    since_ms: int | None = None
    messages: int | None = None
    published: int | None = None
    connections: int | None = None
    restarts: int | None = None
    waiting: int | None = None
    last_message_ms: int | None = None
    lag_s: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What the hot store has of a worker; None where it has nothing.

    `state`: running, or how the last run ended. `last_result`: decoded JSON. `stream`: of a
    WebSocket worker, while a process holds it.
    """

    state: str | None = None
    run: int | None = None
    started_at_ms: int | None = None
    last_result: Any = None
    last_error: str | None = None
    host: str | None = None
    stream: StreamBeat | None = None


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of a worker as SQL has it, for `WorkerStates.rebuild`."""

    worker: str
    run: int
    state: str
    started_at_ms: int | None = None
    result: Any = None
    error: str | None = None
    host: str | None = None


class WorkerStates:
    """Tells the states of this host's runs. No method raises: a store that is away is logged once a
    minute, and the next start of a process or run tells the state again."""

    def __init__(self, store: HotStore, host: str) -> None:
        self._host = host
        self._log = ThrottledLog(log)
        self._started = store.script("worker_started", _STARTED)
        self._ended = store.script("worker_ended", _ENDED)
        self._rebuild = store.script("workers_rebuilt", _REBUILD)

    async def started(self, worker: str, run: int, started_at_ms: int) -> None:
        """A run has begun here. Of a WebSocket worker the run is its lease's token."""
        words: list[Word] = [run, started_at_ms, self._host, KEPT_S]
        await self._tell(self._started.run([state_key(worker)], words, reply=_RUN))

    async def ended(
        self, worker: str, run: int, state: str, *, result: Any = None, error: str | None = None
    ) -> None:
        """A run has ended here. `state`: complete, failed, aborted, or stopped for a WebSocket
        worker. `result`: what JSON can hold; of a long one only that it is long is told."""
        told = cut(error or "", _LONGEST_ERROR)
        words: list[Word] = [run, state, _result_text(result), told, self._host, KEPT_S]
        await self._tell(self._ended.run([state_key(worker)], words, reply=_RUN))

    async def rebuild(self, last: Sequence[LastRun]) -> None:
        """Tells the last run of each worker as SQL has it, where the store has no later one."""
        for first in range(0, len(last), _AT_ONCE):
            part = last[first : first + _AT_ONCE]
            words: list[Word] = [KEPT_S]
            for run in part:
                started = "" if run.started_at_ms is None else run.started_at_ms
                words += [run.run, run.state, started, _result_text(run.result)]
                words += [cut(run.error or "", _LONGEST_ERROR), run.host or ""]
            keys = [state_key(run.worker) for run in part]
            await self._tell(self._rebuild.run(keys, words, reply=whole_number()))

    async def _tell(self, writing: Awaitable[int]) -> None:
        try:
            await writing
        except StoreUnavailable as error:
            self._log.warning("worker_state_not_told", error=str(error))


async def worker_states(store: HotStore, names: Sequence[str]) -> dict[str, WorkerState]:
    """The states of these workers, one for each name, in one command for each 500 of them. Raises
    StoreUnavailable."""
    found: dict[str, WorkerState] = {}
    script = store.script("worker_states", _READ)
    for first in range(0, len(names), _AT_ONCE):
        part = names[first : first + _AT_ONCE]
        keys = [
            key
            for name in part
            for key in (state_key(name), lock_key(stream_lease(name)), beat_key(name))
        ]
        reply = await script.run(keys, reply=list_of(_ONE, len(part)))
        found |= {name: _state_of(*each) for name, each in zip(part, reply, strict=True)}
    return found


def _state_of(told: list[bytes], lock: bytes, beat: list[bytes]) -> WorkerState:
    fields = _fields(told)
    return WorkerState(
        state=fields.get("state"),
        run=_number(fields.get("run")),
        started_at_ms=_number(fields.get("started_at")),
        last_result=_decoded(fields.get("last_result")),
        last_error=fields.get("last_error"),
        host=fields.get("host"),
        stream=_stream_of(lock.decode(errors="replace"), _fields(beat)),
    )


def _stream_of(lock: str, beat: Mapping[str, str]) -> StreamBeat | None:
    if not lock:
        return None
    token, _, nonce_and_holder = lock.partition(" ")
    holder = nonce_and_holder.partition(" ")[2]
    if beat.get("token") != token:
        return StreamBeat(holder)
    lag_ms = _number(beat.get("lag_ms"))
    return StreamBeat(
        holder,
        status=beat.get("status"),
        since_ms=_number(beat.get("since_ms")),
        messages=_number(beat.get("messages")),
        published=_number(beat.get("published")),
        connections=_number(beat.get("connections")),
        restarts=_number(beat.get("restarts")),
        waiting=_number(beat.get("waiting")),
        last_message_ms=_number(beat.get("last_message_ms")),
        lag_s=None if lag_ms is None else lag_ms / 1000,
        error=beat.get("error") or None,
    )


def _fields(flat: Sequence[bytes]) -> dict[str, str]:
    texts = [word.decode(errors="replace") for word in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _number(written: str | None) -> int | None:
    """A number as we write it; None for anything else, which others may have written."""
    if written is None or not written.isascii() or not written.isdecimal() or len(written) > 18:
        return None
    return int(written)


def _decoded(written: str | None) -> Any:
    if written is None:
        return None
    try:
        return json.loads(written)
    except (ValueError, RecursionError):
        return None


def _result_text(result: Any) -> str:
    if result is None:
        return ""
    try:
        written = json.dumps(result, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        written = json.dumps({"not_told": f"the result is not JSON: {cut(str(error), 200)}"})
    if len(written) > _LONGEST_RESULT:
        written = json.dumps({"not_told": f"the result has {len(written)} characters"})
    return written
