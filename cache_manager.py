"""Documents in the hot store: their keys and format, publishing and reading.

`cache:<name>` is base64(zlib(JSON)) as one plain value; `cache:<name>:meta` is JSON with version,
times, sizes and hashes. One script replaces both, so a reader sees the old or the new pair.
`cache:<name>:chunks`, replaced with them, is the index of the document's chunks; without it, or
with another document's, a document is read whole. No message tells of a base: nobody waits for it.

The same script writes an event, and keeps what has changed since the version before, if that is
known, at `events:changes:<name>:<version>` for CHANGES_KEPT_S. It also appends the entry for the
history, so that no publish is lost to it when the process is killed.

Others may write to the store: a value of another type, a meta that cannot be read and a version
that no time leads to count as absent, and the next publish replaces them.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson
import structlog

from documents.changes import Changes
from documents.chunk_index import ChunkedDocument, ChunkIndex, Size, decode_index, encode_index
from documents.deflated import Deflated, deflate_whole, inflate
from documents.journal import EncodedEntry
from documents.meta import LARGEST_TIME, DocumentCounts, DocumentMeta, meta_text, read_meta_text
from documents.names import BASES, SERVED
from documents.stored_text import TextDecoder, TextStream, stored_hash
from stores.hot.event_log import LOG, TELL
from stores.hot.journal import APPEND, JOURNAL, STATE, copy_key
from stores.hot.leases import Lease, retry_under_lease
from stores.hot.read import Read, read
from stores.hot.replies import elements, list_of, one_of, text, whole_number
from stores.hot.store import (
    PIECE_DEADLINE_S,
    HotStore,
    StoreRefused,
    StoreUnavailable,
    Word,
)

__all__ = [
    "CHANGES_KEPT_S",
    "PIECE_BYTES",
    "PUBLISHED",
    "CacheManager",
    "DamagedDocument",
    "DocumentMeta",
    "StaleVersion",
    "StoredDocument",
    "meta_key",
]

PUBLISHED: Final = "published"  # the channel of messages "<name> <version>"
# Upstash refuses requests and answers over 10 MB, and its client encodes JSON on the event loop.
PIECE_BYTES: Final = {"native": 8_000_000, "upstash": 4_000_000}
# A reader holds up to two pieces and the stream so far. Upstash bills each read.
_READ_BYTES: Final = {"native": 1_000_000, "upstash": 4_000_000}
_READS: Final = 5  # attempts while the document is replaced between its pieces
_STAGING_TTL_MS: Final = 120_000  # after the last piece; a piece has 30 s
CHANGES_KEPT_S: Final = 3600  # how long readers of events may be away and miss no row
JOURNAL_BYTES: Final = 100_000_000  # about a day of publishes of 1000 markets
_VERSION: Final = re.compile(rb'"version":(\d+)')  # as _PUBLISH finds it
_EXPIRED: Final = "the staged pieces of the document expired before it was complete"

_TIME: Final = whole_number(0, LARGEST_TIME)
log = structlog.get_logger(__name__)

# put_piece(lock, staging; lease, offset, ttl, piece): appends to this lease's staging key.
# Returns 'ok', 'lost', or 'gap' if earlier pieces have expired.
_PUT_PIECE: Final = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
if ARGV[2] == '0' then
  redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[3])
  return 'ok'
end
if redis.call('STRLEN', KEYS[2]) < tonumber(ARGV[2]) then return 'gap' end
redis.call('SETRANGE', KEYS[2], ARGV[2], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 'ok'
"""

# publish(lock, staging, log, changes, journal, its state, copy, document, meta, chunks; lease,
# version, length, meta, channel, message, chunks, event, base, rows, stale, changes, keep_s,
# journal entry or '', 1 if it needs a copy of the document, limit of the journal). Without chunks,
# an index that another document left is removed. The event, if any, names `base` only if that is
# the version before and the changes are kept.
# Returns 'ok' (also if this document is published already), 'lost', 'stale' or 'gap'.
_PUBLISH: Final = (
    TELL
    + APPEND
    + f"""
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
local stored = redis.pcall('GET', KEYS[9])
if stored == ARGV[4] then return 'ok' end
stored = type(stored) == 'string' and string.match(stored, '"version":(%d+)')
local version = tonumber(stored or '')
if not version or version + 1 >= {LARGEST_TIME} then version = -1 end
if tonumber(ARGV[2]) <= version then return 'stale' end
if redis.call('STRLEN', KEYS[2]) ~= tonumber(ARGV[3]) then return 'gap' end
redis.call('RENAME', KEYS[2], KEYS[8])
redis.call('PERSIST', KEYS[8])
if ARGV[7] == '' then redis.pcall('UNLINK', KEYS[10]) else redis.pcall('SET', KEYS[10], ARGV[7]) end
redis.call('SET', KEYS[9], ARGV[4])
if ARGV[5] ~= '' then redis.pcall('PUBLISH', ARGV[5], ARGV[6]) end
if ARGV[14] ~= '' then
  local copied = ARGV[15] == '1' and tonumber(ARGV[3]) or 0
  -- Two documents like this one can be staged beside the journal.
  local limit, reserve = tonumber(ARGV[16]), 2 * tonumber(ARGV[3])
  journal(KEYS[5], KEYS[6], KEYS[7], KEYS[8], ARGV[14], copied, limit, reserve)
end
if ARGV[8] == '' then return 'ok' end
local base = ARGV[9]
if tonumber(base) ~= math.max(version, 0) then base = '' end
if base ~= '' and ARGV[12] ~= '' then
  local kept = redis.pcall('SET', KEYS[4], ARGV[12], 'EX', ARGV[13])
  if kept.err then base = '' end
end
tell(KEYS[3], 'kind', 'document', 'document', ARGV[8], 'base', base, 'rows', ARGV[10],
  'stale', ARGV[11])
return 'ok'
"""
)


# published_at(meta): the store's time in ms, or 1 ms after the stored document's if that is later.
_PUBLISHED_AT: Final = f"""
local stored = redis.pcall('GET', KEYS[1])
stored = type(stored) == 'string' and string.match(stored, '"published_at":(%d+)')
local last = tonumber(stored or '')
if not last or last + 1 >= {LARGEST_TIME} then last = -1 end
local time = redis.call('TIME')
return math.max(time[1] * 1000 + math.floor(time[2] / 1000), last + 1)
"""

# states(meta, document, ...): of each document its meta, '' if there is none, and the length of its
# value: 0 without one, -1 for one of another type.
_STATES: Final = """
local states = {}
for i = 1, #KEYS, 2 do
  local meta, length = redis.pcall('GET', KEYS[i]), redis.pcall('STRLEN', KEYS[i + 1])
  if type(meta) ~= 'string' then meta = '' end
  states[#states + 1] = {meta, type(length) == 'number' and length or -1}
end
return states
"""
_STATE: Final = elements(text, whole_number(-1))


class StaleVersion(Exception):
    """The stored document has this version or a later one; nothing was changed."""


class DamagedDocument(StoreUnavailable):
    """The stored document does not match its meta. The next publish replaces it."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document's meta and its zlib stream, which is also HTTP's `deflate`.

    `verified`: the stream has the hash in the meta. `stored_chunks`: what lies at the key of the
    index of its chunks.
    """

    meta: DocumentMeta
    deflated: bytes
    verified: bool = False
    stored_chunks: bytes | None = None

    def inflate(self) -> bytes:
        """The JSON. CPU work: call it in a thread. Raises DamagedDocument."""
        try:
            json = inflate(self.deflated, self.meta.json_bytes)
        except ValueError as error:
            raise DamagedDocument(f"cache:{self.meta.name} cannot be inflated: {error}") from None
        # A verified stream with a correct checksum is what was published. Hashing the JSON, too,
        # would take as long as inflating it.
        intact = self.verified and len(json) == self.meta.json_bytes
        content_hash = self.meta.content_hash
        if not intact and content_hash not in (stored_hash(self.deflated), stored_hash(json)):
            raise DamagedDocument(f"cache:{self.meta.name} does not match its content hash")
        return json

    def chunks(self) -> ChunkIndex | None:
        """The index of its chunks; None if it has none. CPU work, about 3 ms."""
        meta = self.meta
        if self.stored_chunks is None or not self.verified:
            return None
        size = Size(len(self.deflated), meta.json_bytes)
        try:
            return decode_index(
                self.stored_chunks, version=meta.version, stored_hash=meta.stored_hash, size=size
            )
        except ValueError as error:
            # The document itself is whole, and the next publish replaces both.
            log.warning("chunks_unreadable", document=meta.name, reason=str(error))
            return None


class CacheManager:
    """Publishes and reads documents. `name` is of documents/names.py, else ValueError.

    Every method raises StoreUnavailable if the store does not answer. CPU work runs in a thread,
    in slices short enough for the event loop.
    """

    def __init__(
        self,
        store: HotStore,
        *,
        piece_bytes: int | None = None,
        journal_bytes: int = JOURNAL_BYTES,
    ) -> None:
        """`journal_bytes`: the limit of the journal, above which it takes no further entries."""
        self.store = store
        self._journal_bytes = journal_bytes
        self._piece_bytes = (piece_bytes or PIECE_BYTES[store.kind]) // 4 * 4
        self._read_bytes = (piece_bytes or _READ_BYTES[store.kind]) // 4 * 4
        self._channel = store.channel(PUBLISHED) if store.kind == "native" else ""
        self._put_piece = store.script("put_piece", _PUT_PIECE)
        self._publish = store.script("publish", _PUBLISH)
        self._published_at = store.script("published_at", _PUBLISHED_AT)

    async def next_version(self, name: str, as_of_ms: int) -> int:
        """The version to publish with; it rises even if the store has lost the last one.

        Only a version that no time leads to is not followed by its next.
        """
        (text,) = await self.store.execute("MGET", f"{_key(name)}:meta")
        stored = _VERSION.search(text or b"")
        following = int(stored[1][:20]) + 1 if stored else 0
        return max(following if following < LARGEST_TIME else 0, as_of_ms)

    async def save_to_cache(
        self,
        name: str,
        document: bytes | Deflated,
        *,
        version: int,
        as_of_ms: int,
        updated_at_ms: int,
        lease: Lease,
        changes: Changes | None = None,
        counts: DocumentCounts | None = None,
        entry: EncodedEntry | None = None,
    ) -> DocumentMeta:
        """Publishes the document, JSON or compressed, in one atomic step.

        `changes`: what has changed since the version that they name; None if that is not known.
        `counts`: of its markets; a document made of chunks has its own. `entry`: what the history
        gets of it, as far as there is room in the journal. A step that the store does
        not answer is retried while the lease is held. Raises LeaseLost (checked inside the store),
        StaleVersion, StoreRefused.
        """
        key = _key(name)
        lease.check()
        if not isinstance(document, Deflated):
            document = await asyncio.to_thread(deflate_whole, document)
        staging = f"staging:{name}:{lease.token}"
        stream = TextStream(document, self._piece_bytes)
        try:
            await self._stage(staging, stream, lease)
            published_ms = await retry_under_lease(
                lease,
                lambda: self._published_at.run([f"{key}:meta"], reply=_TIME),
            )
            meta = DocumentMeta(
                name=name,
                version=version,
                content_hash=stream.hash,
                updated_at_ms=updated_at_ms,
                as_of_ms=as_of_ms,
                stored_bytes=stream.written,
                json_bytes=document.text_bytes,
                stored_hash=stream.hash,
                published_ms=int(published_ms),
                counts=document.counts if isinstance(document, ChunkedDocument) else counts,
            )
            chunks = await asyncio.to_thread(_stored_chunks, document, meta)
            answer = await retry_under_lease(
                lease,
                lambda: self._publish.run(
                    [
                        *(lease.key, staging, LOG, _changes_key(name, version)),
                        *(JOURNAL, STATE, copy_key(name, version)),
                        *(key, meta_key(name), f"{key}:chunks"),
                    ],
                    [
                        lease.value,
                        version,
                        meta.stored_bytes,
                        meta_text(meta),
                        self._channel if name in SERVED else "",
                        f"{name} {version}",
                        chunks,
                        *_event(meta, changes),
                        *_journal(meta, entry),
                        self._journal_bytes,
                    ],
                    reply=one_of(b"ok", b"lost", b"stale", b"gap"),
                ),
            )
            _raise_unless_ok(answer, meta, lease)
        except BaseException:
            await self._drop(staging)
            raise
        return meta

    async def read_meta(self, name: str) -> DocumentMeta | None:
        """The document's meta; None if there is none or it is unreadable."""
        return (await self.read_metas([name]))[name]

    async def read_metas(self, names: Iterable[str]) -> dict[str, DocumentMeta | None]:
        """The metas of several documents, in one command."""
        wanted = list(names)
        if not wanted:
            return {}
        texts = await self.store.execute("MGET", *(f"{_key(name)}:meta" for name in wanted))
        return {name: read_meta_text(name, text) for name, text in zip(wanted, texts, strict=True)}

    async def read_states(
        self, names: Iterable[str]
    ) -> tuple[dict[str, DocumentMeta | None], list[str]]:
        """As `read_metas`, and the names of those whose value is not what their meta describes:
        others deleted it, or the store evicted it."""
        return await read(self.store, read_of_states(names))

    async def read(self, name: str) -> StoredDocument | None:
        """The document with its meta, both of one version; None if there is none.

        A publish between two pieces shows as a wrong hash, and the document is read again from its
        meta on. Raises DamagedDocument if the stored value does not match its meta.
        """
        key = _key(name)
        previous: DocumentMeta | None = None
        for _ in range(_READS):
            text, chunks = await self.store.execute("MGET", f"{key}:meta", f"{key}:chunks")
            meta = read_meta_text(name, text)
            if meta is None:
                return None
            deflated = await self._read_as(meta, key)
            if deflated is not None:
                return StoredDocument(meta, deflated, verified=True, stored_chunks=chunks)
            if meta == previous:
                raise DamagedDocument(f"{key} does not match its meta: publish it again")
            previous = meta
        raise StoreUnavailable(f"{key} is being replaced faster than it can be read")

    async def read_copy(self, meta: DocumentMeta) -> StoredDocument | None:
        """The copy of a document that its entry in the journal asked for; None if it is not there.
        `meta`: as the entry tells it."""
        deflated = await self._read_as(meta, copy_key(meta.name, meta.version))
        return None if deflated is None else StoredDocument(meta, deflated, verified=True)

    async def read_changes(self, name: str, version: int) -> bytes | None:
        """What the version changed, as documents/changes.py writes it; None if it is not kept."""
        kept: bytes | None = await self.store.execute(
            "GET", _changes_key(name, version), deadline_s=PIECE_DEADLINE_S
        )
        return kept

    async def get_from_cache(self, name: str) -> Any | None:
        """The parsed JSON document, or None if there is none.

        Parsing holds the GIL throughout. A process that serves requests uses read() and filters
        the JSON text instead.
        """
        document = await self.read(name)
        if document is None:
            return None
        return await asyncio.to_thread(lambda: orjson.loads(document.inflate()))

    async def _stage(self, staging: str, stream: TextStream, lease: Lease) -> None:
        """Writes the document to the staging key; holds one piece in memory at a time."""
        offset = 0
        while piece := await asyncio.to_thread(stream.piece):
            put = partial(
                self._put_piece.run,
                [lease.key, staging],
                [lease.value, offset, _STAGING_TTL_MS, piece],
                reply=one_of(b"ok", b"lost", b"gap"),
                deadline_s=PIECE_DEADLINE_S,
            )
            answer = await retry_under_lease(lease, put)
            lease.raise_if_lost(answer)
            if answer != b"ok":
                raise StoreUnavailable(_EXPIRED)
            offset += len(piece)

    async def _drop(self, staging: str) -> None:
        try:
            await self.store.execute("UNLINK", staging)
        except StoreUnavailable as error:
            log.warning("staging_left_to_expire", key=staging, reason=str(error))

    async def _read_as(self, meta: DocumentMeta, key: str) -> bytes | None:
        """The zlib stream that `meta` describes; None if the stored value is another one."""
        decoder = TextDecoder()
        for start in range(0, meta.stored_bytes, self._read_bytes):
            end = min(start + self._read_bytes, meta.stored_bytes)
            try:
                piece = await self.store.execute(
                    "GETRANGE", key, start, end - 1, deadline_s=PIECE_DEADLINE_S
                )
            except StoreRefused as error:
                if error.code != "WRONGTYPE":
                    raise
                return None
            if len(piece) != end - start or not await asyncio.to_thread(decoder.feed, piece):
                return None
        if decoder.hash != meta.stored_hash:
            return None
        return await asyncio.to_thread(decoder.stream)


def _stored_chunks(document: Deflated, meta: DocumentMeta) -> bytes:
    """The stored form of the index of the document's chunks; empty if it is not made of chunks."""
    if not isinstance(document, ChunkedDocument):
        return b""
    return encode_index(document.index, version=meta.version, stored_hash=meta.stored_hash)


def meta_key(name: str) -> str:
    """The key of a document's meta, for scripts that read it."""
    return f"{_key(name)}:meta"


def _changes_key(name: str, version: int) -> str:
    return f"events:changes:{name}:{version}"


States = tuple[dict[str, DocumentMeta | None], list[str]]


def read_of_states(names: Iterable[str]) -> Read[States]:
    """The read of `CacheManager.read_states`."""
    wanted = list(names)

    def made(found: Sequence[tuple[bytes, int]]) -> States:
        metas = {
            name: read_meta_text(name, text) for name, (text, _) in zip(wanted, found, strict=True)
        }
        lost = [
            name
            for (name, meta), (_, length) in zip(metas.items(), found, strict=True)
            if meta is not None and meta.stored_bytes != length
        ]
        return metas, lost

    keys = [key for name in wanted for key in (meta_key(name), _key(name))]
    return Read("states", _STATES, keys, (), list_of(_STATE, len(wanted)), made)


def _event(meta: DocumentMeta, changes: Changes | None) -> Sequence[Word]:
    """The arguments of the publish script about the event, which bases have none of."""
    if meta.name not in SERVED:
        return ("", "", 0, 0, "", 0)
    document = orjson.dumps(
        {
            "name": meta.name,
            "version": meta.version,
            "as_of": meta.as_of_ms,
            "updated_at": meta.updated_at_ms,
        }
    )
    if changes is None:
        return (document, "", 0, 0, "", 0)
    return (
        *(document, changes.base, changes.rows, changes.stale, changes.text),
        CHANGES_KEPT_S,
    )


def _journal(meta: DocumentMeta, entry: EncodedEntry | None) -> Sequence[Word]:
    """The arguments of the publish script about the journal, but for its limit."""
    return ("", 0) if entry is None else (entry.stored(meta), int(entry.is_whole))


def _key(name: str) -> str:
    if name not in SERVED and name not in BASES:
        raise ValueError(f"unknown document {name!r}: use one of {', '.join(SERVED + BASES)}")
    return f"cache:{name}"


def _raise_unless_ok(answer: bytes, meta: DocumentMeta, lease: Lease) -> None:
    lease.raise_if_lost(answer)
    match answer:
        case b"ok":
            return
        case b"stale":
            raise StaleVersion(f"cache:{meta.name} is stored at version {meta.version} or later")
        case _:
            raise StoreUnavailable(_EXPIRED)
