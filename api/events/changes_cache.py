"""The changes of documents' versions, read once for all listeners of a process."""

import asyncio
from collections import OrderedDict
from typing import Final

import structlog

from cache_manager import CacheManager
from documents.changes import ReadChanges, decode_changes

# In the stored form, of which the read one takes about four times the memory. A close of one
# timeframe of 950 markets has 0.1 MB; listeners mostly ask for the newest ones.
MOST_BYTES: Final = 4 * 2**20

log = structlog.get_logger(__name__)

Key = tuple[str, int]  # document and version


class ChangesCache:
    """The changes that were read last, at most `most_bytes` in their stored form."""

    def __init__(self, cache: CacheManager, *, most_bytes: int = MOST_BYTES) -> None:
        self._cache = cache
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[Key, tuple[ReadChanges | None, int]] = OrderedDict()
        self._reading: dict[Key, asyncio.Lock] = {}

    async def get(self, name: str, version: int) -> ReadChanges | None:
        """The changes; None if they are no longer kept, or unreadable. Raises StoreUnavailable."""
        key = (name, version)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        lock = self._reading.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if key not in self._kept:
                    self._keep(key, await self._cache.read_changes(name, version))
                return self._kept[key][0]
        finally:
            self._reading.pop(key, None)

    def _keep(self, key: Key, text: bytes | None) -> None:
        changes = None
        if text is not None:
            try:
                changes = decode_changes(text)
            except ValueError as error:
                log.warning("changes_unreadable", document=key[0], reason=str(error))
        size = len(text or b"")
        self._kept[key] = changes, size
        self._bytes += size
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            _, (_, freed) = self._kept.popitem(last=False)
            self._bytes -= freed
