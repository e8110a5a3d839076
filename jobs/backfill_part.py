"""The part of a backfill that a host does for another: asks for pages, and stores them.

It asks within this host's own limits. What it does not bring is asked for by the holder, so that a
trouble here is no failure of the wish. It ends, and stores nothing more, as soon as the holder has
lost its lease or gives the run up.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

import structlog

from data_collector.run import together
from database import BackfillWish, DatabaseUnavailable
from history.backfill.asks import Ask
from history.backfill.requesting import shares_of
from jobs.backfill_asking import Asking, SharedSender, asked_at_once
from jobs.backfill_chunk import Chunk, ChunkEnd
from jobs.backfill_pages import Pages
from jobs.backfill_storing import Storing, Windows
from jobs.backfill_tally import Tally
from jobs.context import JobContext
from stores.cold.pool import Connection
from stores.hot.leases import lock_key
from stores.hot.replies import text_or_null
from stores.hot.store import StoreUnavailable

# An exchange in trouble here may not be in trouble elsewhere: the holder asks for what is left.
_PATIENCE_S: Final = 20.0
# How often it looks whether the holder is still there; Upstash bills every command.
_LOOK_EVERY_S: Final = {"native": 1.0, "upstash": 10.0}
_OVER: Final = "nobody waits for it any more"

log = structlog.get_logger(__name__)


async def backfill_part(
    context: JobContext,
    given: Mapping[str, Any],
    still_ours: Callable[[Connection], Awaitable[None]],
) -> Mapping[str, Any]:
    """Does the chunk that the run is given, and returns what the run's row tells of it, which
    ChunkEnd reads. `still_ours`: raises in a transaction that may not commit any more.

    Raises DatabaseUnavailable, StoreUnavailable; ValueError for what is no chunk.
    """
    chunk = Chunk.decoded(given)
    wish = await _awaited(context, chunk)
    if wish is None:
        return {"over": _OVER}
    tally, loop = Tally(wish), asyncio.get_running_loop()
    sender = SharedSender(context.client, await shares_of(context.database, context.settings))
    exchange, began_s = chunk.stage.exchange, loop.time()

    def now_ms(_: object) -> int:
        return chunk.now_ms + round((loop.time() - began_s) * 1000)

    asking = {exchange: Asking(sender, exchange, patience_s=_PATIENCE_S)}
    pages = Pages(context, tally, asking, now_ms)
    windows = await Windows.read(context.database, context.store)
    storing = Storing(context.database, context.store, context.now_ms, windows, tally, still_ours)
    left = set(range(len(chunk.asks)))
    shared = iter(enumerate(chunk.asks))
    workers = asked_at_once(context.settings)
    work = together(_work_through(shared, pages, storing, left) for _ in range(workers))
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_until_over(context, chunk))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        ended = working.done()
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
    tally.requests = sender.requests
    result = ChunkEnd.of(sorted(left), tally).encoded()
    if tally.failures:
        result["failed"] = tally.error()
    return result if ended else {**result, "over": _OVER}


async def _work_through(
    asks: Iterator[tuple[int, Ask]], pages: Pages, storing: Storing, left: set[int]
) -> None:
    for number, ask in asks:
        if pages.is_left(ask):
            continue
        answer = await pages.answer(ask)
        if answer is not None:
            await storing.store(answer.rows)
            left.discard(number)


async def _until_over(context: JobContext, chunk: Chunk) -> None:
    """Returns once nobody waits for the chunk any more."""
    every_s = _LOOK_EVERY_S[context.store.kind]
    while True:
        await asyncio.sleep(every_s)
        try:
            if await _awaited(context, chunk) is None:
                return
        except (StoreUnavailable, DatabaseUnavailable) as error:
            log.warning("backfill_part_cannot_look", error=str(error))


async def _awaited(context: JobContext, chunk: Chunk) -> BackfillWish | None:
    """The wish; None if it is over, or the holder that handed the chunk out has lost its lease."""
    held = text_or_null(await context.store.execute("GET", lock_key(chunk.lane)))
    if held is None or held.decode(errors="replace") != chunk.lease:
        return None
    wish = await context.database.backfills.find(chunk.wish)
    return wish if wish is not None and wish.state == "running" else None
