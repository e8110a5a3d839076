"""Shards: a collection of many markets, parts of which hosts with other addresses fetch, too.

The lease holder asks, merges and publishes as if it had fetched everything: a part brings answers,
and what it does not bring is asked for here. So a part that fails, dies, waits or never begins
costs time alone, and the rows are those of one host.
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
import structlog

from budgets.exchange_client import ExchangeClient
from data_collector.helped import Helped
from data_collector.part_asks import PartAsks
from data_collector.run import CollectionRun
from database import DatabaseUnavailable
from jobs.context import JobContext
from market.markets import Market
from stores.hot.leases import Lease
from stores.hot.parcels import Fence, Parcels, new_part_id
from stores.hot.store import StoreUnavailable
from workers.hosts import other_addresses
from workers.seam import queue_of_egress

WORKER: Final = "collect_part"
# A collection that this host's limits let through faster is not worth asking others for.
WORTH_SHARING_S: Final = 4.0
_MOST_PARTS: Final = 16
# How often parcels are taken, by store: Upstash bills every command.
_TAKE_EVERY_S: Final = {"native": 0.1, "upstash": 1.0}
_CLEANUP_S: Final = 3.0

log = structlog.get_logger(__name__)


@asynccontextmanager
async def shared(
    context: JobContext, run: CollectionRun, asks: PartAsks, lease: Lease
) -> AsyncIterator[None]:
    """While it is open, other hosts fetch parts of `asks` for the run, if that is worth it and any
    are there."""
    egress = await _helpers(context, asks)
    if not egress:
        yield
        return
    parts = [asks.of(markets) for markets in dealt(asks.markets, len(egress))]
    helped = Helped(run.sender, [part.markets for part in parts])
    before, run.sender, run.order = run.sender, helped, helped
    sharing = _Sharing(context, lease, parts, helped)
    working = asyncio.create_task(sharing.work(egress), name="shards")
    try:
        yield
    finally:
        run.sender, run.order = before, None
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await sharing.end()
        log.info("shards_ended", parts=len(parts), answers_used=helped.used)


async def _helpers(context: JobContext, asks: PartAsks) -> list[str]:
    """The egress ids of the addresses that shall help."""
    if context.parts is None or not asks.markets:
        return []
    if seconds_alone(context.client, asks) < WORTH_SHARING_S:
        return []
    try:
        found = await other_addresses(context.store, context.settings.egress_id)
    except StoreUnavailable as error:
        log.warning("shards_not_asked", error=str(error))
        return []
    return found[:_MOST_PARTS]


def seconds_alone(client: ExchangeClient, asks: PartAsks) -> float:
    """How long the limits of this host's address would make the collection last."""
    now_s = client.clock.monotonic_s()
    longest_s = 0.0
    for (exchange, counter), weight in asks.cost().items():
        budget = client.limits.for_exchange(exchange).budgets[counter]
        at_once = max(0.0, budget.quantity * budget.limit.burst - budget.used(now_s))
        seconds = (weight - at_once) * budget.limit.window_s / budget.quantity
        longest_s = max(longest_s, seconds)
    return longest_s


def dealt(markets: Sequence[Market], parts: int) -> list[list[Market]]:
    """The markets of each exchange, in as many parts of equal size."""
    by_exchange: dict[str, list[Market]] = {}
    for market in markets:
        by_exchange.setdefault(market.exchange, []).append(market)
    found: list[list[Market]] = [[] for _ in range(parts)]
    for some in by_exchange.values():
        for number, part in enumerate(found):
            part += some[number * len(some) // parts : (number + 1) * len(some) // parts]
    return found


class _Sharing:
    """The parts of one collection: asked for, taken from the store, and ended."""

    def __init__(
        self, context: JobContext, lease: Lease, parts: Sequence[PartAsks], helped: Helped
    ) -> None:
        assert context.parts is not None  # noqa: S101 - else nobody is asked
        self._runs = context.parts
        self._fence = Fence.of(lease)
        self._parcels = Parcels(context.store)
        self._take_every_s = _TAKE_EVERY_S[context.store.kind]
        self._parts = parts
        self._helped = helped
        self._ids = [new_part_id() for _ in parts]
        self._run_ids: list[int] = []

    async def work(self, egress: Sequence[str]) -> None:
        """Asks, and takes what comes, until cancelled. Troubles of the stores end the help, not the
        collection."""
        try:
            for name, part_id, asks in zip(egress, self._ids, self._parts, strict=True):
                await self._ask(name, part_id, asks)
            while True:
                took = await self._take()
                await asyncio.sleep(0 if took else self._take_every_s)
        except (StoreUnavailable, DatabaseUnavailable) as error:
            log.warning("shards_left", error=str(error))
        except Exception:
            log.exception("shards_crashed")  # the collection goes on alone

    async def _ask(self, egress: str, part_id: str, asks: PartAsks) -> None:
        given = {"lane": self._fence.lane, "lease": self._fence.value, **asks.encoded()}
        text = await asyncio.to_thread(orjson.dumps, given)
        await self._parcels.offer(part_id, text.decode())
        run_id = await self._runs.ask(WORKER, queue_of_egress(egress), {"part": part_id})
        self._run_ids.append(run_id)
        log.info("part_asked", run=run_id, egress=egress, markets=len(asks.markets))

    async def _take(self) -> bool:
        told = [
            (part_id, orjson.dumps(self._helped.done(number)).decode())
            for number, part_id in enumerate(self._ids)
        ]
        parcels = await self._parcels.take(told)
        for parcel in parcels:
            for key, blob in await asyncio.to_thread(opened, parcel):
                self._helped.arrived(key, blob)
        return bool(parcels)

    async def end(self) -> None:
        """Nobody waits for the parts any more. Never raises: they end by themselves, too."""
        try:
            async with asyncio.timeout(_CLEANUP_S):
                await self._parcels.end(self._ids)
                if self._run_ids:
                    await self._runs.abandon(self._run_ids)
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
