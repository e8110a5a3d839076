"""Journal: the entries for the history that publishes have left in the hot store, oldest first.

`journal:history` is a list of documents/journal.py's entries, `journal:document:<name>:<version>` a
copy of the document of an entry that says so. `journal:history:state` is a hash: `bytes`, what both
take together; `cut` and `cut_at`, how many publishes found no room, and when the last one did:
a store with a maxmemory keeps room for what is published, whatever the journal may take;
beside them, what the recorder tells of itself. `journal:history:store` is the store's id. A list of
another type is replaced; one that others
have emptied counts from nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from documents.journal import StoredEntry, read_stored_entry
from documents.names import DOCUMENTS
from stores.hot.read import Read, read
from stores.hot.replies import elements, list_of, named_texts, text, whole_number
from stores.hot.store import PIECE_DEADLINE_S, HotStore, Word

JOURNAL: Final = "journal:history"
STATE: Final = "journal:history:state"
STORE_ID: Final = "journal:history:store"
_COPY_TTL_S: Final = 30 * 24 * 3600  # of a copy whose entry was lost, which nobody would remove
_LARGEST_VERSION: Final = 10**14

# has_room(bytes, reserve): whether the store can hold so many more bytes and have the reserve and a
# tenth of its maxmemory left; true if it has no maxmemory, or does not tell. An allocation takes up
# to a quarter more than its bytes.
_HAS_ROOM: Final = """
local function has_room(bytes, reserve)
  local info = redis.pcall('INFO', 'memory')
  if type(info) ~= 'string' then return true end
  local function told(name) return tonumber(string.match(info, name .. ':(%d+)') or 0) end
  local most = told('maxmemory')
  local used = told('used_memory') - told('mem_not_counted_for_evict')
  return most == 0 or used + 1.25 * bytes + math.max(reserve, most / 10) <= most
end
"""

# journal(list, state, copy, document; entry, bytes of the copy or 0, limit, reserve): appends an
# entry, unless it and the copy of its document would take the journal over the limit, or leave less
# than the reserve of the store's memory. Nothing that the store refuses here keeps the caller from
# going on.
APPEND: Final = (
    _HAS_ROOM
    + f"""
local function journal(list, state, copy, document, entry, copied, limit, reserve)
  local length, bytes = redis.pcall('LLEN', list), redis.pcall('HGET', state, 'bytes')
  if type(length) ~= 'number' then
    redis.pcall('DEL', list)
    length = 0
  end
  if type(bytes) == 'table' then redis.pcall('DEL', state) end
  local counted = type(bytes) == 'string' and string.match(bytes, '^%d+$')
  bytes = (length > 0 and counted and tonumber(bytes) or 0) + #entry + copied
  if bytes > limit or not has_room(#entry + copied, reserve) then
    local time = redis.call('TIME')
    redis.pcall('HINCRBY', state, 'cut', 1)
    redis.pcall('HSET', state, 'cut_at', time[1] * 1000 + math.floor(time[2] / 1000))
    return
  end
  local added = redis.pcall('RPUSH', list, entry)
  if type(added) ~= 'number' then return end
  redis.pcall('HSET', state, 'bytes', bytes)
  if copied > 0 then
    redis.pcall('COPY', document, copy, 'REPLACE')
    redis.pcall('EXPIRE', copy, {_COPY_TTL_S})
  end
end
"""
)

# take(list, state, copy of the done entry, metas...; head of the done entry or '', bytes of its
# copy, (field, value)...): removes the first entry if it begins so, notes the fields (to `+field`
# the value is added), and reads the entry that is the first then. If there is none, it reads the
# versions of the documents.
# Returns {entry or '', how many there are, version of each document: '' without one}.
_TAKE: Final = """
local function first()
  local found = redis.pcall('LINDEX', KEYS[1], 0)
  while found == '' do
    redis.call('LPOP', KEYS[1])
    found = redis.pcall('LINDEX', KEYS[1], 0)
  end
  return type(found) == 'string' and found
end
local entry = first()
local done = ARGV[1]
if done ~= '' and entry and string.sub(entry, 1, #done) == done then
  redis.call('LPOP', KEYS[1])
  redis.pcall('HINCRBY', KEYS[2], 'bytes', -(#entry + ARGV[2]))
  redis.pcall('UNLINK', KEYS[3])
  entry = first()
end
local function note(field, value)
  local added = string.match(field, '^+(.+)$')
  return redis.pcall(added and 'HINCRBY' or 'HSET', KEYS[2], added or field, value)
end
for i = 3, #ARGV, 2 do
  local noted = note(ARGV[i], ARGV[i + 1])
  if type(noted) == 'table' and string.find(noted.err or '', 'WRONGTYPE', 1, true) then
    redis.pcall('DEL', KEYS[2])
    note(ARGV[i], ARGV[i + 1])
  end
end
local versions = {}
for i = 4, entry and 3 or #KEYS do
  local meta = redis.pcall('GET', KEYS[i])
  versions[i - 3] = type(meta) == 'string' and string.match(meta, '"version":(%d+)') or ''
end
local length = redis.pcall('LLEN', KEYS[1])
return {entry or '', type(length) == 'number' and length or 0, versions}
"""

# store_id(key; id): the id of the store, which is this one if it has none.
_STORE_ID: Final = """
local id = redis.pcall('GET', KEYS[1])
if type(id) == 'string' and #id == 32 and not string.find(id, '%X') then return id end
redis.pcall('SET', KEYS[1], ARGV[1])
return ARGV[1]
"""

# state(list, state): returns {number of entries, what the oldest one begins with or '', fields}.
_READ: Final = """
local length, first = redis.pcall('LLEN', KEYS[1]), redis.pcall('LRANGE', KEYS[1], 0, 0)
local state = redis.pcall('HGETALL', KEYS[2])
first = type(first[1]) == 'string' and string.sub(first[1], 1, 200) or ''
return {type(length) == 'number' and length or 0, first, state.err and {} or state}
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """`entry`: the first of the list, None if it is empty or its first element is `unreadable`, and
    `waiting`: how many there are with it. `versions`: of the documents, read in the same instant if
    there is none."""

    entry: StoredEntry | None
    waiting: int
    versions: Mapping[str, int] = field(default_factory=dict)
    unreadable: bytes | None = None


@dataclass(frozen=True, slots=True)
class JournalState:
    """`waiting`: the entries, `bytes` what they take, `oldest_ms` the `updated_at` of the first.
    `cut`: the publishes that found no room, the last one at `cut_ms`. `told`: by the recorder."""

    waiting: int
    bytes: int
    oldest_ms: int | None
    cut: int
    cut_ms: int | None
    told: Mapping[str, str]


class Journal:
    """Reads and removes entries; one reader at a time, under a lease. Both methods send one
    command and raise StoreUnavailable."""

    def __init__(self, store: HotStore, meta_keys: Sequence[str]) -> None:
        """`meta_keys`: of each of DOCUMENTS the key of its meta."""
        self._store = store
        self._take = store.script("take_entry", _TAKE)
        self._meta_keys = meta_keys

    async def take(
        self, done: StoredEntry | bytes | None = None, told: Mapping[str, Word] | None = None
    ) -> Taken:
        """Removes `done` (an entry, or an unreadable element) if it is the first, notes what is
        told, and reads the entry that is the first then."""
        head, copied, copy = b"", 0, f"{JOURNAL}:none"
        if isinstance(done, StoredEntry):
            head, copied = done.head, done.stored_bytes if done.is_whole else 0
            copy = copy_key(done.document, done.version)
        elif done is not None:
            head = done
        fields = [word for pair in (told or {}).items() for word in pair]
        element, waiting, versions = await self._take.run(
            [JOURNAL, STATE, copy, *self._meta_keys],
            [head, copied, *fields],
            reply=elements(text, whole_number(), list_of(text)),
            deadline_s=PIECE_DEADLINE_S,
        )
        if not element:
            return Taken(None, 0, dict(_versions(versions)))
        try:
            return Taken(read_stored_entry(element), waiting)
        except ValueError:
            return Taken(None, waiting, unreadable=element[:200])


async def store_id(store: HotStore, known: str | None) -> str:
    """The id of the hot store: 32 hex digits, chosen at random. `known`: what it was when this
    process last asked, which a store that has lost its data gets again. Raises StoreUnavailable."""
    script = store.script("store_id", _STORE_ID)
    return (await script.run([STORE_ID], [known or uuid4().hex], reply=text)).decode()


def copy_key(document: str, version: int) -> str:
    """The key of the copy of a document."""
    return f"journal:document:{document}:{version}"


def _versions(texts: Sequence[bytes]) -> "list[tuple[str, int]]":
    found = []
    for name, words in zip(DOCUMENTS, texts, strict=True):
        version = int(words[:20]) if words else _LARGEST_VERSION
        if version < _LARGEST_VERSION:
            found.append((name, version))
    return found


async def read_state(store: HotStore) -> JournalState:
    """The state of the journal, in one command. Raises StoreUnavailable."""
    return await read(store, read_of_state())


def read_of_state() -> Read[JournalState]:
    """The read of `read_state`."""
    shape = elements(whole_number(), text, named_texts)
    return Read("journal", _READ, [JOURNAL, STATE], (), shape, _state_of)


def _state_of(reply: Sequence[Any]) -> JournalState:
    waiting, first, flat = reply
    told = {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in zip(flat[::2], flat[1::2], strict=True)
    }
    try:
        oldest_ms = read_stored_entry(first).updated_at_ms if first else None
    except ValueError:
        oldest_ms = None
    return JournalState(
        waiting,
        whole(told.get("bytes")) or 0 if waiting else 0,
        oldest_ms,
        whole(told.get("cut")) or 0,
        whole(told.get("cut_at")),
        told,
    )


def whole(words: str | None) -> int | None:
    """The number of a field; None if it is none."""
    return int(words) if words and words.isdecimal() and len(words) < 16 else None
