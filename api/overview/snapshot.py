"""The snapshot that GET /status shows: read from the hot store by one command, of one instant."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from api.parts import Parts
from api.parts_state import DEADLINE_S, StoreFound, pause_keys, why_away
from api.readiness import LOCKS
from cache_manager import read_of_states
from config import Settings
from documents.names import DOCUMENTS
from job_queue.queue import read_of_jobs
from live.feed_state import FeedState, read_of_feeds
from stores.hot.beats import read_of_alive, read_of_health
from stores.hot.journal import read_of_state
from stores.hot.read import Read, read_together
from stores.hot.store import StoreUnavailable

_MOST_SHOWN: Final = 64  # processes of each kind


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`store`: what GET /ready judges by; `feeds` by exchange; the names of the processes that are
    alive. Empty while the store is away."""

    store: StoreFound
    feeds: Mapping[str, FeedState] = field(default_factory=dict)
    workers: Sequence[str] = ()
    live: Sequence[str] = ()
    api: Sequence[str] = ()


async def read_snapshot(
    parts: Parts, settings: Settings, api_processes: Read[list[str]]
) -> Snapshot:
    """`api_processes`: the read of those that are alive behind this listener."""
    reads: list[Read[Any]] = [
        read_of_states(DOCUMENTS),
        read_of_health(locks=LOCKS, pauses=[key for _, key in pause_keys(settings)]),
        read_of_jobs(),
        read_of_alive(notes=False),
        read_of_feeds(settings.live_exchanges),
        api_processes,
        read_of_state(),
    ]
    try:
        async with asyncio.timeout(DEADLINE_S):
            found = await read_together(parts.store, "status", reads)
    except (StoreUnavailable, TimeoutError) as error:
        why = why_away(error)
        return Snapshot(StoreFound(away=why, jobs_unknown=f"unknown: {why}"))
    (metas, lost), health, jobs, (workers, live), feeds, api, journal = found
    return Snapshot(
        StoreFound(None, metas, lost, health, jobs, journal=journal),
        feeds,
        sorted(workers)[:_MOST_SHOWN],
        sorted(live)[:_MOST_SHOWN],
        api,
    )
