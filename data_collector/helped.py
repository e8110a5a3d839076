"""Helped: a run whose markets other hosts fetch, too; their answers count as if it had asked.

Parts of its markets are dealt whenever helpers come, of what nobody has begun. Each helper works
through its part from the first market on, the run itself from the last one of the longest part:
they meet where their speeds let them, and whatever a helper does not bring, because it is slow,
fails or dies, the run asks for by itself. Nothing waits for a helper alone.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Protocol, TypeVar

import orjson
import structlog

from budgets.exchange_client import Heard
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


@dataclass(slots=True)
class _Part:
    """The part of a helper, by exchange. `left`: Market.key of those that nobody has begun but the
    helper; `until`: the number of its markets, without those that were dealt again."""

    left: dict[Exchange, list[str]]
    until: dict[Exchange, int]


class Helped:
    """A Sender in place of the run's own, for `markets`. `heard` is told of each answer of a helper
    that is used, as a client tells of its own."""

    def __init__(
        self, sender: Sender, markets: Sequence[Market], heard: Heard | None = None
    ) -> None:
        self._sender = sender
        self._heard = heard
        self.clock = sender.clock
        self.concurrency = sender.concurrency
        self.counts = sender.counts
        self._markets = {market.key: market for market in markets}
        self._pool: dict[Exchange, list[str]] = {}  # Market.key of those in no part
        self._parts: dict[int, _Part] = {}
        self._dealt = 0
        self._begun: set[str] = set()  # here
        self._coming: dict[str, asyncio.Event] = {}  # of parts: set when the answers are here
        self._blobs: dict[str, bytes] = {}
        self._bodies: dict[str, Bodies] = {}
        self._arrived: dict[Exchange, deque[str]] = {}
        self.used = 0  # answers of helpers
        for market in markets:
            self._pool.setdefault(market.exchange, []).append(market.key)

    def deal(self, helpers: int) -> dict[int, list[Market]]:
        """Deals parts to so many new helpers, by number: of what is in no part, where that is
        nothing the second half of the longest part. Fewer, if there is not enough for all."""
        dealt: dict[int, list[Market]] = {}
        for others in reversed(range(helpers)):
            part = _Part({}, {})
            for exchange, pool in self._pool.items():
                pool[:] = filter(self._is_open, pool)
                share = -(-len(pool) // (others + 1))
                keys = pool[:share] or self._second_half(exchange)
                del pool[:share]
                part.left[exchange], part.until[exchange] = keys, len(keys)
                for key in keys:
                    self._coming.setdefault(key, asyncio.Event())
            every = [*chain.from_iterable(part.left.values())]
            if every:
                self._parts[self._dealt] = part
                dealt[self._dealt] = [self._markets[key] for key in every]
                self._dealt += 1
        return dealt

    def _second_half(self, exchange: Exchange) -> list[str]:
        """Takes it out of the longest part, unless most of that may be under way."""
        most: list[str] = []
        longest: _Part | None = None
        for part in self._parts.values():
            keys = [*filter(self._is_open, part.left[exchange])]
            if len(keys) > len(most):
                most, longest = keys, part
        if longest is None or len(most) <= 2 * self.concurrency:
            return []
        taken = most[(len(most) + 1) // 2 :]
        longest.until[exchange] = longest.left[exchange].index(taken[0])
        del longest.left[exchange][longest.until[exchange] :]
        return taken

    def _is_open(self, key: str) -> bool:
        """Whether the market is neither begun here nor there."""
        return key not in self._begun and not (key in self._coming and self._coming[key].is_set())

    def give_back(self, part: int) -> int:
        """The part has no helper any more. Returns how many of its markets are to be fetched."""
        left = self._parts.pop(part).left
        for exchange, keys in left.items():
            self._pool[exchange] += filter(self._is_open, keys)
        return sum(map(self._is_open, chain.from_iterable(left.values())))

    def left(self, exchange: Exchange) -> float:
        """The share of the exchange's markets that nobody has brought, nor begun here."""
        keys = [key for key, market in self._markets.items() if market.exchange is exchange]
        return sum(map(self._is_open, keys)) / max(1, len(keys))

    def arrived(self, key: str, blob: bytes) -> None:
        """The answers about a market have come; others are ignored."""
        event = self._coming.get(key)
        if event is None or event.is_set():
            return
        exchange = self._markets[key].exchange
        self._blobs[key] = blob
        self._arrived.setdefault(exchange, deque()).append(key)
        event.set()

    def done(self, part: int) -> Mapping[str, int]:
        """From which number on the exchange's markets of a part need not be fetched: those that
        others have, and those done here, but for the ones that are being asked for, which may wait
        for room in a limit."""
        dealt = self._parts[part]
        return {
            str(exchange): min(len(keys) + self.concurrency, dealt.until[exchange])
            for exchange, keys in dealt.left.items()
        }

    def in_turn(self, exchange: Exchange, items: Sequence[Item]) -> Iterator[Item]:
        """The items: first those whose answers have come, then those that are nobody's to share,
        then the last ones of no part, then of the part that has the most left."""
        left = {item.market.key: item for item in items}
        others = deque(key for key in left if key not in self._markets)
        while left:
            key = self._next(exchange, left, others)
            self._begun.add(key)
            yield left.pop(key)

    def _next(self, exchange: Exchange, left: Mapping[str, Any], others: deque[str]) -> str:
        arrived = self._arrived.get(exchange, ())
        while arrived:
            if (key := arrived.popleft()) in left:
                return key
        if others:
            return others.popleft()
        while True:
            parts = [part.left[exchange] for part in self._parts.values() if part.left[exchange]]
            longest = self._pool.get(exchange) or max(parts, key=len, default=None)
            if longest is None:
                return next(iter(left))
            if (key := longest.pop()) in left:
                return key

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
            if self._heard is not None:
                self._heard(request, body)
        return body
