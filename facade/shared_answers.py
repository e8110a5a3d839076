"""SharedAnswers: answers of exchanges in the hot store for a moment, for all processes of ours.

Who asks an exchange says so before; others that want to know the same wait for the answer.
"""

import asyncio
import hashlib
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, cast

import structlog
from isal import isal_zlib

from logging_setup import OutageLog
from stores.hot.replies import elements, text, whole_number
from stores.hot.store import PIECE_DEADLINE_S, HotStore, StoreUnavailable, Word

_LARGEST: Final = 4_000_000  # characters; the list of all contracts has a tenth of it
_IN_THREAD: Final = 64 * 1024  # bytes of which packing would keep the event loop busy
_LEVEL: Final = 1  # isal: 0..3
_AGAIN_S: Final = {"native": 0.05, "upstash": 0.5}  # by kind of store: between two looks

# KEYS: the answer, who asks for it. ARGV: our token, ms until another may ask in our place.
# Reply: 1 and the answer with the ms that it is kept; or 2 if we are to ask; else 0.
_CLAIM: Final = """
local kept = redis.pcall('GET', KEYS[1])
if type(kept) == 'string' then return {1, kept, math.max(0, redis.call('PTTL', KEYS[1]))} end
local free = redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
return {free and 2 or 0, '', 0}
"""
# KEYS: as above. ARGV: our token, the answer or nothing, ms that it is kept.
_END: Final = """
if ARGV[2] ~= '' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
if redis.pcall('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1
"""

log = structlog.get_logger(__name__)
# The stubs of isal declare the class as an instance.
IsalError: type[Exception] = cast(Any, isal_zlib.error)


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """An answer of an exchange as it is given to clients. `kept_s`: for how long others are given
    it, too. `retry_after_s`: what it asks to wait."""

    status: int
    content_type: str
    body: bytes
    kept_s: float = 0.0
    retry_after_s: int | None = None


class Ours(Enum):
    """Nobody asks: it is on us. `ALONE`: the store is away, and nobody will know."""

    CLAIMED = auto()
    ALONE = auto()


@dataclass(frozen=True, slots=True)
class Kept:
    """`left_s`: for how long it is given to others."""

    given: Given
    left_s: float


class SharedAnswers:
    """No method raises an error of the store."""

    def __init__(self, store: HotStore) -> None:
        self._claim = store.script("claim_answer", _CLAIM)
        self._end = store.script("end_asking", _END)
        self._again_s = _AGAIN_S[store.kind]
        self._token = secrets.token_hex(8)
        self._outage = OutageLog(log, "facade_answers_not_shared", "facade_answers_shared_again")

    async def claim(self, name: str, within_s: float) -> Kept | Ours:
        """The answer, once whoever asks for it has it; or that it is on us to ask. It waits no
        longer than `within_s`, for which a claim of ours holds, too."""
        ends = asyncio.get_running_loop().time() + within_s
        while True:
            try:
                state, packed, left_ms = await self._claim.run(
                    _keys(name),
                    [self._token, round(within_s * 1000)],
                    reply=elements(whole_number(0, 2), text, whole_number()),
                    deadline_s=PIECE_DEADLINE_S,
                )
            except StoreUnavailable as error:
                self._outage.failed(error)
                return Ours.ALONE
            self._outage.recovered()
            if state == 1 and (given := await _unpacked(packed)) is not None:
                return Kept(given, left_ms / 1000)
            if state == 2:
                return Ours.CLAIMED
            if state == 1 or asyncio.get_running_loop().time() > ends:
                return Ours.ALONE  # what lies there is none of ours, or its asker has gone
            await asyncio.sleep(self._again_s)

    async def end(self, name: str, given: Given | None) -> None:
        """Ends a claim, and gives the answer to others while it is kept."""
        kept_ms = 0 if given is None else round(given.kept_s * 1000)
        packed = b"" if given is None or not kept_ms else await _packed(given)
        arguments: list[Word] = [self._token, packed, kept_ms]
        try:
            await self._end.run(
                _keys(name), arguments, reply=whole_number(1, 1), deadline_s=PIECE_DEADLINE_S
            )
        except StoreUnavailable as error:
            self._outage.failed(error)


def _keys(name: str) -> list[str]:
    digest = hashlib.sha256(name.encode()).hexdigest()[:40]
    return [f"facade:answer:{digest}", f"facade:asking:{digest}"]


async def _packed(given: Given) -> bytes:
    """Nothing if it is too large to be shared."""
    words = given.status, given.kept_s, given.retry_after_s or 0, given.content_type
    head = (" ".join(map(str, words)) + "\n").encode()

    def pack() -> bytes:
        return b64encode(isal_zlib.compress(head + given.body, _LEVEL))

    packed = await asyncio.to_thread(pack) if len(given.body) > _IN_THREAD else pack()
    return packed if len(packed) <= _LARGEST else b""


async def _unpacked(packed: bytes) -> Given | None:
    """None if it was not written here."""

    def unpack() -> Given | None:
        try:
            head, _, body = isal_zlib.decompress(b64decode(packed, validate=True)).partition(b"\n")
            status, kept_s, retry_after, content_type = head.decode().split(" ", 3)
            retry_after_s = int(retry_after) or None
            return Given(int(status), content_type, body, float(kept_s), retry_after_s)
        except (ValueError, IsalError) as error:
            log.warning("facade_answer_unreadable", error=str(error))
            return None

    return await asyncio.to_thread(unpack) if len(packed) > _IN_THREAD // 4 else unpack()
