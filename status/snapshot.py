"""The snapshot that GET /status shows: read from the hot store by one command, of one instant."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from budgets.used import Used, read_of_budgets
from cache_manager import read_of_states
from config import Settings
from documents.names import SERVED
from job_queue.queue import read_of_jobs
from live.feed_state import FeedState, read_of_feeds
from status.low_disks import LowDisk, read_of_low_disks
from status.parts_state import DEADLINE_S, StoreFound, pause_keys, why_away
from status.readiness import LOCKS
from status.seen import read_of_seen
from status.stores import Stores
from stores.hot.beats import read_of_alive, read_of_health
from stores.hot.journal import read_of_state
from stores.hot.memory import StoreMemory, read_of_memory
from stores.hot.read import Read, read_together
from stores.hot.store import Kind, StoreUnavailable

_MOST_SHOWN: Final = 64  # processes of each kind


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`store`: what GET /ready judges by; `feeds` by exchange; the names of the processes that are
    alive; what is `used` of each exchange's limits; the server's `memory`, if it tells; when each
    problem was first `seen`, by its id; the `disks` that are nearly full, by host. Empty while the
    store is away. `kind` and `prefix`: of the hot store."""

    store: StoreFound
    kind: Kind
    prefix: str
    feeds: Mapping[str, FeedState] = field(default_factory=dict)
    workers: Sequence[str] = ()
    live: Sequence[str] = ()
    api: Sequence[str] = ()
    used: Used = field(default_factory=dict)
    memory: StoreMemory | None = None
    seen: Mapping[str, int] = field(default_factory=dict)
    disks: Mapping[str, LowDisk] = field(default_factory=dict)


async def read_snapshot(
    stores: Stores, settings: Settings, api_processes: Read[list[str]] | None
) -> Snapshot:
    """`api_processes`: the read of those that are alive behind this listener, if there is one."""
    store = stores.store
    reads: list[Read[Any]] = [
        read_of_states(SERVED),
        read_of_health(locks=LOCKS, pauses=[key for _, key in pause_keys(settings)]),
        read_of_jobs(),
        read_of_alive(notes=False),
        read_of_feeds(settings.live_exchanges),
        read_of_state(),
        read_of_budgets(settings),
        read_of_memory(),
        read_of_seen(),
        read_of_low_disks(),
        *([api_processes] if api_processes is not None else []),
    ]
    try:
        async with asyncio.timeout(DEADLINE_S):
            found = await read_together(store, "status", reads)
    except (StoreUnavailable, TimeoutError) as error:
        why = why_away(error)
        away = StoreFound(away=why, jobs_unknown=f"unknown: {why}")
        return Snapshot(away, store.kind, store.prefix)
    (metas, lost), health, jobs, (workers, live), feeds, journal, used, memory, *others = found
    seen, disks, *api = others
    return Snapshot(
        StoreFound(None, metas, lost, health, jobs, journal=journal),
        store.kind,
        store.prefix,
        feeds,
        sorted(workers)[:_MOST_SHOWN],
        sorted(live)[:_MOST_SHOWN],
        api[0] if api else (),
        used,
        memory,
        seen,
        disks,
    )
