"""Shards: a collection of many markets, parts of which hosts with other addresses fetch, too.

The lease holder asks, merges and publishes as if it had fetched everything: a part brings answers,
and what it does not bring is asked for here. So a part that fails, dies, waits or never begins
costs time alone, and the rows are those of one host.
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog

from budgets.exchange_client import ExchangeClient
from data_collector.helped import Helped
from data_collector.part_asks import PartAsks, Where
from data_collector.run import CollectionRun
from database import DatabaseUnavailable
from jobs.context import JobContext
from logging_setup import OutageLog
from stores.hot.leases import Lease
from stores.hot.parcels import Fence, Parcels, new_part_id
from stores.hot.store import StoreUnavailable
from workers.hosts import other_addresses
from workers.parts import PartRuns
from workers.seam import queue_of_egress

WORKER: Final = "collect_part"
# What this host's limits let through faster is not worth asking others for.
WORTH_SHARING_S: Final = 4.0
_MOST_PARTS: Final = 16  # at once
# How often parcels are taken, and other addresses looked for: Upstash bills every command.
_TAKE_EVERY_S: Final = {"native": 0.1, "upstash": 1.0}
_LOOK_EVERY_S: Final = {"native": 1.0, "upstash": 10.0}
_REST_S: Final = 30.0  # of an address that left something of its part undone
_CLEANUP_S: Final = 3.0

log = structlog.get_logger(__name__)


@asynccontextmanager
async def shared(
    context: JobContext, run: CollectionRun, asks: PartAsks, lease: Lease
) -> AsyncIterator[None]:
    """While it is open, other hosts fetch parts of `asks` for the run, as soon as any are there and
    for as long as that is worth it."""
    cost = asks.cost() if context.parts is not None else {}
    if context.parts is None or seconds_alone(context.client, cost) < WORTH_SHARING_S:
        yield
        return
    helped = Helped(run.sender, asks.markets, context.client.heard)
    before, run.sender, run.order = run.sender, helped, helped
    sharing = _Sharing(context, context.parts, lease, asks, cost, helped)
    await sharing.begin()
    working = asyncio.create_task(sharing.work(), name="shards")
    try:
        yield
    finally:
        run.sender, run.order = before, None
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await sharing.end()


def seconds_alone(client: ExchangeClient, cost: Mapping[Where, float]) -> float:
    """How long the limits of this host's address would make it last."""
    longest_s = 0.0
    for (exchange, counter), weight in cost.items():
        limits = client.limits.for_exchange(exchange)
        budget = limits.budgets[counter]
        at_once = max(0.0, budget.quantity * budget.limit.burst - limits.used(counter))
        seconds = (weight - at_once) * budget.limit.window_s / budget.quantity
        longest_s = max(longest_s, seconds)
    return longest_s


@dataclass(frozen=True, slots=True)
class _Part:
    """A part for an address: its number, its id in the store, and what is asked."""

    number: int
    id: str
    egress: str
    asks: PartAsks


class _Sharing:
    """The parts of one collection: asked for, taken from the store, and ended."""

    def __init__(
        self,
        context: JobContext,
        runs: PartRuns,
        lease: Lease,
        asks: PartAsks,
        cost: Mapping[Where, int],
        helped: Helped,
    ) -> None:
        self._context = context
        self._runs = runs
        self._fence = Fence.of(lease)
        self._parcels = Parcels(context.store)
        self._take_every_s = _TAKE_EVERY_S[context.store.kind]
        self._look_every_s = _LOOK_EVERY_S[context.store.kind]
        self._asks = asks
        self._cost = cost
        self._helped = helped
        self._dealt: list[_Part] = []  # not yet asked for
        self._parts: dict[int, _Part] = {}  # by run
        self._rests_until_s: dict[str, float] = {}
        self._away = OutageLog(log, "shards_stand", "shards_go_on")

    async def begin(self) -> None:
        """Deals parts to the addresses that are there, before the run begins with any market."""
        try:
            self._deal(await self._alive())
        except StoreUnavailable as error:
            self._away.failed(error)

    async def work(self) -> None:
        """Asks, and takes what comes, until cancelled. Troubles of it end the help alone."""
        look_s = _now_s()
        try:
            while True:
                try:
                    while await self._take():
                        pass
                    if _now_s() >= look_s:
                        look_s = _now_s() + self._look_every_s
                        await self._look()
                    self._away.recovered()
                except (StoreUnavailable, DatabaseUnavailable) as error:
                    self._away.failed(error)
                await asyncio.sleep(self._take_every_s if self._parts else look_s - _now_s())
        except Exception:
            log.exception("shards_crashed")  # the collection goes on alone

    async def _look(self) -> None:
        """Takes parts back that nobody works on any more, and gives some to addresses without."""
        await self._ask()
        alive = await self._alive()
        await self._take_back(alive)
        self._deal(alive)
        await self._ask()

    async def _alive(self) -> list[str]:
        return await other_addresses(self._context.store, self._context.settings.egress_id)

    def _deal(self, alive: Sequence[str]) -> None:
        helping, now_s = {part.egress for part in self._parts.values()}, _now_s()
        free = [
            egress
            for egress in alive
            if egress not in helping and self._rests_until_s.get(egress, now_s) <= now_s
        ][: _MOST_PARTS - len(helping)]
        if not free or self._seconds_left() < WORTH_SHARING_S * (1 + len(helping)):
            return
        dealt = self._helped.deal(len(free))
        for egress, (number, markets) in zip(free, dealt.items(), strict=False):
            self._dealt.append(_Part(number, new_part_id(), egress, self._asks.of(markets)))

    def _seconds_left(self) -> float:
        """How long the rest would last here, without help."""
        share = {exchange: self._helped.left(exchange) for exchange, _ in self._cost}
        left = {where: weight * share[where[0]] for where, weight in self._cost.items()}
        return seconds_alone(self._context.client, left)

    async def _take_back(self, alive: Collection[str]) -> None:
        if not self._parts:
            return
        ends = await self._runs.ends([*self._parts])
        while await self._take():  # all that was brought before those ends
            pass
        gone = []
        for run_id, part in [*self._parts.items()]:
            end = ends.get(run_id)
            if end is not None and not end.is_over and part.egress in alive:
                continue
            del self._parts[run_id]
            left = self._helped.give_back(part.number)
            if left:
                self._rests_until_s[part.egress] = _now_s() + _REST_S
            if end is not None and not end.is_over:
                gone.append(run_id)
            state = "gone" if end is None else end.state
            log.info("part_over", run=run_id, egress=part.egress, state=state, left=left)
        if gone:
            await self._runs.abandon(gone)

    async def _ask(self) -> None:
        """Asks for what is dealt; what cannot be asked for goes back."""
        try:
            while self._dealt:
                part = self._dealt[0]
                await self._ask_one(part)
                del self._dealt[0]
        finally:
            for part in self._dealt:
                self._helped.give_back(part.number)
            self._dealt.clear()

    async def _ask_one(self, part: _Part) -> None:
        given = {"lane": self._fence.lane, "lease": self._fence.value, **part.asks.encoded()}
        text = await asyncio.to_thread(orjson.dumps, given)
        await self._parcels.offer(part.id, text.decode())
        run_id = await self._runs.ask(WORKER, queue_of_egress(part.egress), {"part": part.id})
        self._parts[run_id] = part
        log.info("part_asked", run=run_id, egress=part.egress, markets=len(part.asks.markets))

    async def _take(self) -> bool:
        if not self._parts:
            return False
        told = [
            (part.id, orjson.dumps(self._helped.done(part.number)).decode())
            for part in self._parts.values()
        ]
        parcels = await self._parcels.take(told)
        for parcel in parcels:
            for key, blob in await asyncio.to_thread(opened, parcel):
                self._helped.arrived(key, blob)
        return bool(parcels)

    async def end(self) -> None:
        """Nobody waits for the parts any more. Never raises: they end by themselves, too."""
        log.info("shards_ended", answers_used=self._helped.used)
        try:
            async with asyncio.timeout(_CLEANUP_S):
                await self._parcels.end([part.id for part in self._parts.values()])
                if self._parts:
                    await self._runs.abandon([*self._parts])
        except (StoreUnavailable, DatabaseUnavailable, TimeoutError) as error:
            log.warning("parts_not_ended", error=str(error))


def parcel_of(answers: Sequence[tuple[str, bytes]]) -> bytes:
    """Answers by Market.key, as text, which every store takes."""
    return orjson.dumps([[key, base64.b64encode(blob).decode()] for key, blob in answers])


def opened(parcel: bytes) -> list[tuple[str, Any]]:
    """The inverse of `parcel_of`; nothing of what cannot be read."""
    try:
        return [(str(key), base64.b64decode(blob)) for key, blob in orjson.loads(parcel)]
    except (ValueError, TypeError, binascii.Error) as error:
        log.warning("parcel_unreadable", error=type(error).__name__, bytes=len(parcel))
        return []


def _now_s() -> float:
    return asyncio.get_running_loop().time()
