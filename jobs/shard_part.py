"""The part of a collection that a host does for another: fetches what it is asked, and hands it on.

It works within this host's own limits, and ends as soon as the asker has ended, has lost its lease,
or has everything.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson
import structlog

from data_collector.helped import packed
from data_collector.part_asks import PartAsks
from data_collector.part_fetching import Bodies, PartFetching
from jobs.context import JobContext
from jobs.shards import parcel_of
from market.markets import Exchange, Market
from stores.hot.parcels import LARGEST_PARCEL, Fence, Parcels, PartOver

_FULL_PAUSE_S: Final = 0.2
_FLUSH_EVERY_S: Final = {"native": 0.25, "upstash": 2.0}
_ROOM: Final = 40  # markets whose answers wait to be put into a parcel

log = structlog.get_logger(__name__)


async def collect_part(context: JobContext, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Does the part that the run is given, and returns what the run's row tells of it.

    Raises StoreUnavailable; ValueError for what is no part.
    """
    part_id = str(given["part"])
    parcels = Parcels(context.store)
    text = await parcels.asks(part_id)
    if text is None:
        return {"over": "nobody waits for it any more"}
    wanted = orjson.loads(text)
    asks = PartAsks.decoded(wanted)
    fence = Fence(str(wanted["lane"]), str(wanted["lease"]))
    outbox = _Outbox(parcels, part_id, fence, _FLUSH_EVERY_S[context.store.kind])
    fetching = PartFetching(context.client, asks, outbox.add, outbox.done)
    ended: str | None = None
    sending = asyncio.create_task(outbox.run())
    working = asyncio.create_task(fetching.fetch())
    try:
        await asyncio.wait((working, sending), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            outbox.close()
        await sending
    except PartOver as over:
        ended = str(over)
    finally:
        for task in (working, sending):
            task.cancel()
        await asyncio.gather(working, sending, return_exceptions=True)
    result = {"markets": fetching.markets, "failed": fetching.failed, "parcels": outbox.sent}
    return result if ended is None else {**result, "over": ended}


class _Outbox:
    """Answers on their way to the asker, in parcels; those that fetch wait while it is full."""

    def __init__(self, parcels: Parcels, part_id: str, fence: Fence, every_s: float) -> None:
        self._parcels = parcels
        self._part_id = part_id
        self._fence = fence
        self._every_s = every_s
        self._waiting: asyncio.Queue[tuple[Market, Bodies] | None] = asyncio.Queue(_ROOM)
        self._done: Mapping[str, int] = {}
        self.sent = 0

    async def add(self, market: Market, bodies: Bodies) -> None:
        await self._waiting.put((market, bodies))

    def done(self, exchange: Exchange) -> float:
        """From which number on the asker has the exchange's markets."""
        return self._done.get(exchange, float("inf"))

    def close(self) -> None:
        """No more is added: `run` ends when all is sent."""
        self._every_s = 0.0
        self._closing = asyncio.create_task(self._waiting.put(None))

    async def run(self) -> None:
        """Sends what is added. Raises PartOver, StoreUnavailable."""
        loop, is_last = asyncio.get_running_loop(), False
        while not is_last:
            answers: list[tuple[str, bytes]] = []
            size, until_s = 0, loop.time() + self._every_s
            while size < LARGEST_PARCEL * 3 // 8:  # base64, and the largest market beside it
                try:
                    async with asyncio.timeout_at(max(until_s, loop.time() + 0.001)):
                        item = await self._waiting.get()
                except TimeoutError:
                    break
                if item is None:
                    is_last = True
                    break
                market, bodies = item
                blob = await asyncio.to_thread(packed, bodies)
                answers.append((market.key, blob))
                size += len(blob)
            # An empty parcel asks whether somebody waits for more, and tells what is done.
            await self._put(parcel_of(answers) if answers else b"")

    async def _put(self, parcel: bytes) -> None:
        while True:
            has_room, done = await self._parcels.put(self._part_id, self._fence, parcel)
            self._done = _told(done)
            if has_room:
                self.sent += 1
                return
            await asyncio.sleep(_FULL_PAUSE_S)


def _told(done: bytes) -> Mapping[str, int]:
    try:
        found = orjson.loads(done or b"{}")
        return {str(name): int(number) for name, number in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
