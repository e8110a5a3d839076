"""Spread: hosts with other addresses ask for parts of a backfill, handed out by who works on it.

What is to be asked follows from what is stored alone, and a page that is stored twice is stored
once: so a chunk that does not come back, from a host that died, was frozen, failed or is late,
costs time, and is asked for here.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import structlog

from database import DatabaseUnavailable
from history.backfill.asks import Ask
from history.backfill.planning import Where
from jobs.backfill_chunk import MOST_ASKS, Chunk, ChunkEnd
from jobs.backfill_pages import Pages
from jobs.backfill_queue import AskQueue
from jobs.context import JobContext
from logging_setup import OutageLog
from stores.hot.leases import Lease
from stores.hot.store import StoreUnavailable
from workers.hosts import other_addresses
from workers.parts import PartEnd, PartRuns
from workers.seam import queue_of_egress

WORKER: Final = "backfill_part"
# By the planned pace of one address: what is handed out at once, and what is not worth it.
CHUNK_S: Final = 10.0
WORTH_SHARING_S: Final = 2.0
# Of each limit an address has so many chunks, so that it need not wait for the next one.
_CHUNKS_AT_ONCE: Final = 2
_MOST_ADDRESSES: Final = 16
_LATE_S: Final = 60.0
_REST_S: Final = 60.0  # of an address that left most of a chunk of a limit undone
_LOOK_EVERY_S: Final = 0.5
_HOSTS_EVERY_S: Final = {"native": 5.0, "upstash": 30.0}
_CLEANUP_S: Final = 3.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Out:
    """A chunk that an address has. `late_s`: when it is taken back."""

    where: Where
    egress: str
    asks: Sequence[Ask]
    late_s: float


class Spread:
    """The chunks of one run of a backfill: handed out, taken back, and counted in its tally."""

    def __init__(
        self, context: JobContext, lease: Lease, pages: Pages, queues: Mapping[Where, AskQueue]
    ) -> None:
        self._context = context
        self._lease = lease
        self._pages = pages
        self._tally = pages.tally
        self._queues = queues
        self._addresses: list[str] = []
        self._looked_s = float("-inf")
        self._out: dict[int, _Out] = {}
        self._rests_until_s: dict[tuple[str, Where], float] = {}
        self._away = OutageLog(log, "backfill_chunks_stand", "backfill_chunks_go_on")

    async def work(self) -> None:
        """Hands out and collects, until cancelled. Troubles of it end the help alone."""
        parts = self._context.parts
        if parts is None:
            return
        try:
            while True:
                try:
                    await self._look_for_hosts()
                    await self._collect(parts)
                    await self._hand_out(parts)
                except (StoreUnavailable, DatabaseUnavailable) as error:
                    self._away.failed(error)
                else:
                    self._away.recovered()
                await asyncio.sleep(_LOOK_EVERY_S)
        except Exception:
            log.exception("backfill_spread_crashed")  # the backfill goes on alone
        finally:
            await self._end(parts)

    async def _look_for_hosts(self) -> None:
        now_s = _now_s()
        if now_s < self._looked_s + _HOSTS_EVERY_S[self._context.store.kind]:
            return
        found = await other_addresses(self._context.store, self._context.settings.egress_id)
        self._addresses, self._looked_s = found[:_MOST_ADDRESSES], now_s

    async def _collect(self, parts: PartRuns) -> None:
        if not self._out:
            return
        late, now_s, ends = [], _now_s(), await parts.ends([*self._out])
        for run_id, out in [*self._out.items()]:
            end = ends.get(run_id)
            if end is None or end.is_over:
                self._ended(run_id, end)
            elif now_s >= out.late_s or out.egress not in self._addresses:
                late.append(run_id)
        if late:
            await parts.abandon(late)
            ends = await parts.ends(late)  # one may have ended just before
            for run_id in late:
                self._ended(run_id, ends.get(run_id))

    def _ended(self, run_id: int, end: PartEnd | None) -> None:
        out = self._out.pop(run_id)
        chunk_end = _read(run_id, end, len(out.asks))
        chunk_end.add_to(self._tally)
        back = [out.asks[number] for number in chunk_end.left]
        self._tally.ask_done(out.where, len(out.asks) - len(back))
        self._queues[out.where].ended(len(out.asks), back)
        if not back:
            return
        if 2 * len(back) > len(out.asks):  # not single markets alone
            self._rests_until_s[out.egress, out.where] = _now_s() + _REST_S
        log.warning(
            "backfill_chunk_came_back",
            run=run_id,
            egress=out.egress,
            exchange=out.where[0],
            pages=len(out.asks),
            left=len(back),
            state="gone" if end is None else end.state,
            error=None if end is None else end.error,
        )

    async def _hand_out(self, parts: PartRuns) -> None:
        now_s = _now_s()
        have = Counter((out.egress, out.where) for out in self._out.values())
        helping = {egress for egress, _ in have}
        for where in self._queues:
            for egress in self._addresses:
                if now_s < self._rests_until_s.get((egress, where), now_s):
                    continue
                for _ in range(have[egress, where], _CHUNKS_AT_ONCE):
                    if not (asks := self._next_asks(where)):
                        break
                    helping.add(egress)
                    await self._give(parts, where, egress, asks)
        self._tally.addresses = 1 + len(helping)

    def _next_asks(self, where: Where) -> list[Ask]:
        """Of what is left the less, the less it is: so all hosts end at about the same time."""
        queue, pace_s = self._queues[where], self._tally.pace_s(where)
        left = self._tally.left(where) - queue.away
        if left * pace_s < WORTH_SHARING_S:
            return []
        share = ceil(left / (_CHUNKS_AT_ONCE * (len(self._addresses) + 1)))
        most = max(1, min(MOST_ASKS, share, int(CHUNK_S / pace_s)))
        asks: list[Ask] = []
        while not asks and (given := queue.give(most)):
            asks = [ask for ask in given if not self._pages.is_left(ask)]
            over = len(given) - len(asks)
            queue.ended(over)
            self._tally.ask_done(where, over)
        return asks

    async def _give(self, parts: PartRuns, where: Where, egress: str, asks: Sequence[Ask]) -> None:
        chunk = Chunk(
            *(self._tally.row.id, self._lease.name, self._lease.value),
            *(self._pages.now_ms(where[0]), asks),
        )
        try:
            run_id = await parts.ask(WORKER, queue_of_egress(egress), chunk.encoded())
        except BaseException:
            self._queues[where].ended(len(asks), asks)
            raise
        self._out[run_id] = _Out(where, egress, asks, _now_s() + _LATE_S)
        log.debug(
            "backfill_chunk_given",
            run=run_id,
            egress=egress,
            exchange=where[0],
            what=chunk.stage.name,
            pages=len(asks),
        )

    async def _end(self, parts: PartRuns) -> None:
        """Nobody waits for the chunks any more: their pages are asked for here, if at all."""
        run_ids = [*self._out]
        for out in self._out.values():
            self._queues[out.where].ended(len(out.asks), out.asks)
        self._out.clear()
        if not run_ids:
            return
        try:
            async with asyncio.timeout(_CLEANUP_S):
                await parts.abandon(run_ids)
        except (DatabaseUnavailable, TimeoutError) as error:
            log.warning("backfill_chunks_not_ended", error=str(error))  # they end by themselves


def _read(run_id: int, end: PartEnd | None, asks: int) -> ChunkEnd:
    """What the run did; nothing, where it did not end by itself or nobody can read its result."""
    if end is not None and end.state == "complete":
        try:
            return ChunkEnd.decoded(end.result, asks)
        except ValueError as error:
            log.warning("backfill_chunk_unreadable", run=run_id, error=str(error))
    return ChunkEnd(range(asks))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
