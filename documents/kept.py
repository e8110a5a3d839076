"""KeptDocuments: the closed chunks of a worker's documents, with their rows, for the next versions.

A kept chunk is compared with the rows at hand before it is used, so it may be of any age. Memory
is limited: over the limit the document of the coarsest timeframe goes first.
"""

from collections.abc import Collection
from threading import Lock
from typing import Final

from documents.chunks import KeptMarket
from market.timeframes import Timeframe

_MARKET_BYTES: Final = 400  # of a market's objects, beside its chunks
_CHUNK_BYTES: Final = 400  # of a chunk's objects, beside its compressed text and its rows
_NOTHING: Final = KeptMarket()

MarketKey = tuple[str, str]  # exchange and symbol


class KeptDocuments:
    """The chunks of markets by timeframe, within `limit_mb`; threads may share it."""

    def __init__(self, limit_mb: int) -> None:
        self._limit_bytes = limit_mb * 2**20
        self._lock = Lock()
        self._documents: dict[Timeframe, dict[MarketKey, tuple[KeptMarket, int]]] = {}
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """The memory that everything kept takes."""
        return self._bytes

    def get(self, timeframe: Timeframe, key: MarketKey) -> KeptMarket:
        """What is kept of the market; a KeptMarket without chunks if it is nothing."""
        with self._lock:
            market, _ = self._documents.get(timeframe, {}).get(key, (_NOTHING, 0))
        return market

    def put(self, timeframe: Timeframe, key: MarketKey, market: KeptMarket) -> None:
        """Keeps a market in place of the one before; nothing if there is no room for it and no
        coarser timeframe that could go."""
        size = _MARKET_BYTES + len(market.times) + len(market.values)
        size += sum(len(chunk.part.deflated) + _CHUNK_BYTES for chunk in market.chunks)
        with self._lock:
            self._forget(timeframe, key)
            while self._bytes + size > self._limit_bytes:
                coarsest = max(self._documents, key=_interval_ms, default=timeframe)
                if coarsest.interval_ms <= timeframe.interval_ms:
                    return
                self._bytes -= sum(freed for _, freed in self._documents.pop(coarsest).values())
            self._documents.setdefault(timeframe, {})[key] = market, size
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
