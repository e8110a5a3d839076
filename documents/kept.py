"""KeptDocuments: the chunks that a worker keeps of the documents it published, with their rows.

A kept chunk is compared with the rows at hand before it is used, so it may be of any age. Memory
is limited: over the limit the document of the coarsest timeframe goes first.
"""

from collections.abc import Collection, Sequence
from threading import Lock
from typing import Final

from documents.chunks import Chunk
from market.timeframes import Timeframe

_MARKET_BYTES: Final = 400  # of a market's objects, beside its chunks
_CHUNK_BYTES: Final = 500  # of a chunk's objects, beside its compressed text and its rows

MarketKey = tuple[str, str]  # exchange and symbol


class KeptDocuments:
    """The chunks of markets by timeframe, within `limit_mb`; threads may share it."""

    def __init__(self, limit_mb: int) -> None:
        self._limit_bytes = limit_mb * 2**20
        self._lock = Lock()
        self._documents: dict[Timeframe, dict[MarketKey, tuple[Sequence[Chunk], int]]] = {}
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """The memory that everything kept takes."""
        return self._bytes

    def get(self, timeframe: Timeframe, key: MarketKey) -> Sequence[Chunk]:
        """The market's chunks in order; empty if none are kept."""
        with self._lock:
            chunks, _ = self._documents.get(timeframe, {}).get(key, ((), 0))
        return chunks

    def put(self, timeframe: Timeframe, key: MarketKey, chunks: Sequence[Chunk]) -> None:
        """Keeps a market's chunks in place of those before; nothing if there is no room for them
        and no coarser timeframe that could go."""
        size = _MARKET_BYTES + sum(
            len(chunk.part.deflated) + len(chunk.times) + len(chunk.values) + _CHUNK_BYTES
            for chunk in chunks
        )
        with self._lock:
            self._forget(timeframe, key)
            while self._bytes + size > self._limit_bytes:
                coarsest = max(self._documents, key=_interval_ms, default=timeframe)
                if coarsest.interval_ms <= timeframe.interval_ms:
                    return
                self._bytes -= sum(freed for _, freed in self._documents.pop(coarsest).values())
            self._documents.setdefault(timeframe, {})[key] = chunks, size
            self._bytes += size

    def retain(self, timeframe: Timeframe, keys: Collection[MarketKey]) -> None:
        """Forgets the timeframe's markets that are not among `keys`."""
        with self._lock:
            for key in self._documents.get(timeframe, {}).keys() - set(keys):
                self._forget(timeframe, key)

    def _forget(self, timeframe: Timeframe, key: MarketKey) -> None:
        markets = self._documents.get(timeframe, {})
        if key in markets:
            self._bytes -= markets.pop(key)[1]
        if not markets:
            self._documents.pop(timeframe, None)


def _interval_ms(timeframe: Timeframe) -> int:
    return timeframe.interval_ms
