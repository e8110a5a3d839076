"""Helped: a run whose markets other hosts fetch, too; their answers count as if it had asked.

Each helper works through its part from the first market on, the run itself from the last one of the
longest part: they meet where their speeds let them, and whatever a helper does not bring, because
it is slow, fails or dies, the run asks for by itself. Nothing waits for a helper alone.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import orjson
import structlog

from budgets.request_counts import RequestCounts
from data_collector.part_fetching import Bodies
from data_collector.run import Sender
from market.markets import Exchange, Market
from venues.venue import Request

log = structlog.get_logger(__name__)

_LARGEST_BODIES: Final = 64 * 2**20  # of one market; a collection's are a hundredth of it


class HasMarket(Protocol):
    @property
    def market(self) -> Market: ...


Item = TypeVar("Item", bound=HasMarket)


def packed(bodies: Bodies) -> bytes:
    """The answers about one market. CPU work: about 2 ms for 200 KB."""
    heads = [[target, len(body)] for target, body in bodies.items()]
    head = orjson.dumps(heads)
    whole = b"".join((len(head).to_bytes(4, "big"), head, *bodies.values()))
    return zlib.compress(whole, 1)


def unpacked(blob: bytes) -> Bodies:
    """The inverse of `packed`. Raises ValueError for anything else."""
    try:
        inflater = zlib.decompressobj()
        whole = inflater.decompress(blob, _LARGEST_BODIES)
        at = 4 + int.from_bytes(whole[:4], "big")
        bodies: Bodies = {}
        for target, length in orjson.loads(whole[4:at]):
            body = whole[at : at + length]
            if not isinstance(target, str) or len(body) != length:
                raise ValueError("cut off")
            bodies[target] = body
            at += length
    except (zlib.error, TypeError, ValueError) as error:
        raise ValueError(f"answers of a part that cannot be read: {error}") from None
    return bodies


class Helped:
    """A Sender in place of the run's own; `parts`: the markets of each helper, in its order."""

    def __init__(self, sender: Sender, parts: Sequence[Sequence[Market]]) -> None:
        self._sender = sender
        self.clock = sender.clock
        self.concurrency = sender.concurrency
        self.counts = sender.counts
        self._left: list[dict[Exchange, list[str]]] = []  # by part: Market.key, not yet begun here
        self._coming: dict[str, asyncio.Event] = {}  # by Market.key: set when its answers are here
        self._blobs: dict[str, bytes] = {}
        self._bodies: dict[str, Bodies] = {}
        self._arrived: dict[Exchange, deque[str]] = {}
        self.used = 0  # answers of helpers
        for part in parts:
            by_exchange: dict[Exchange, list[str]] = {}
            for market in part:
                by_exchange.setdefault(market.exchange, []).append(market.key)
                self._coming[market.key] = asyncio.Event()
            self._left.append(by_exchange)

    def arrived(self, key: str, blob: bytes) -> None:
        """The answers about a market have come; others are ignored."""
        event = self._coming.get(key)
        if event is None or event.is_set():
            return
        exchange = Exchange(key.partition(":")[0])
        self._blobs[key] = blob
        self._arrived.setdefault(exchange, deque()).append(key)
        event.set()

    def done(self, part: int) -> Mapping[str, int]:
        """From which number on the exchange's markets of a part need not be fetched: all but those
        that are being asked for here, which may wait for room in a limit."""
        return {
            str(exchange): len(keys) + self.concurrency
            for exchange, keys in self._left[part].items()
        }

    def in_turn(self, exchange: Exchange, items: Sequence[Item]) -> Iterator[Item]:
        """The items: first those whose answers have come, then those of no part, then the last ones
        of the part that has the most left."""
        left = {item.market.key: item for item in items}
        others = deque(key for key in left if key not in self._coming)
        while left:
            key = self._next(exchange, left, others)
            yield left.pop(key)

    def _next(self, exchange: Exchange, left: Mapping[str, Any], others: deque[str]) -> str:
        arrived = self._arrived.get(exchange, ())
        while arrived:
            if (key := arrived.popleft()) in left:
                return key
        if others:
            return others.popleft()
        parts = [part[exchange] for part in self._left if part.get(exchange)]
        while parts:
            longest = max(parts, key=len)
            if (key := longest.pop()) in left:
                return key
            parts = [part for part in parts if part]
        return next(iter(left))

    async def send(self, request: Request, counts: RequestCounts) -> bytes:
        """The body of a successful answer, whoever asked for it. Raises ExchangeError."""
        coming = self._coming.get(f"{request.exchange}:{request.symbol}")
        if coming is None:
            return await self._sender.send(request, counts)
        if coming.is_set():
            body = self._take(request, counts)
            return await self._sender.send(request, counts) if body is None else body
        return await self._first(request, counts, coming)

    async def _first(self, request: Request, counts: RequestCounts, coming: asyncio.Event) -> bytes:
        """The answer that comes first: our own, which may wait for room, or a helper's."""
        own = asyncio.ensure_future(self._sender.send(request, counts))
        arrival = asyncio.ensure_future(coming.wait())
        try:
            await asyncio.wait((own, arrival), return_when=asyncio.FIRST_COMPLETED)
            if not own.done() and (body := self._take(request, counts)) is not None:
                return body
            return await own
        finally:
            for task in (own, arrival):
                task.cancel()
            await asyncio.gather(own, arrival, return_exceptions=True)

    def _take(self, request: Request, counts: RequestCounts) -> bytes | None:
        """The helper's answer to the request, once: if it is asked for again, it was no good."""
        key = f"{request.exchange}:{request.symbol}"
        if (blob := self._blobs.pop(key, None)) is not None:
            try:
                self._bodies[key] = unpacked(blob)
            except ValueError as error:
                log.warning("part_unreadable", market=key, error=str(error))
        bodies = self._bodies.get(key)
        body = bodies.pop(request.target, None) if bodies else None
        if body is not None:
            self.used += 1
            counts.requests += 1
        return body
