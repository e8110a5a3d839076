"""The state of each part of the service, as GET /ready and GET /status judge it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from budgets.proxies import egress_id_of, pause_key
from cache_manager import DocumentMeta
from config import Settings
from database import (
    DATABASE_TEXT,
    LASTING_TEXTS,
    REPLICA_TEXT,
    DatabaseUnavailable,
    ListingState,
)
from job_queue.records import JobRecord
from market.markets import Exchange
from status.kept import Recent
from status.readiness import (
    exchanges_state,
    failures_state,
    history_state,
    locks_state,
    lost_state,
    writes_state,
)
from status.stores import Stores
from stores.hot.beats import StoreHealth, beat_times
from stores.hot.journal import JournalState
from stores.hot.store import HotStore, StoreUnavailable
from texts.hidden_addresses import without_addresses
from timing.clock import now_ms

DEADLINE_S: Final = 2.0  # for the answers of a store
_MOST_LAG_S: Final = 60.0  # of a replica that is told as ok
_BEATS_UNKNOWN: Final = "unknown while the store takes no writes"


@dataclass(frozen=True, slots=True)
class StoreFound:
    """What the hot store tells. `away`: why it does not answer, None if it does. `metas` of the
    documents, `lost` those whose value is gone. `jobs_unknown`: why `jobs` are not known.
    `journal`: what waits to be recorded."""

    away: str | None = None
    metas: Mapping[str, DocumentMeta | None] = field(default_factory=dict)
    lost: Sequence[str] = ()
    health: StoreHealth | None = None
    jobs: Sequence[JobRecord] = ()
    jobs_unknown: str | None = None
    journal: JournalState | None = None


@dataclass(frozen=True, slots=True)
class DatabaseFound:
    """What the database tells: `ok` or why it is away; the state of each exchange's list of
    markets; why it takes no writes; the state of the replica for history, and its lag."""

    state: str = "ok"
    lists: Mapping[Exchange, ListingState] = field(default_factory=dict)
    refusal: str | None = None
    history: str | None = None  # of HISTORY_DATABASE_URL, None if it is not set
    history_lag_s: float | None = None


@dataclass(frozen=True, slots=True)
class PartsState:
    """`states`: 'ok' or what is wrong, by part; `failed`: those that make the service
    unavailable."""

    status: Literal["ready", "degraded", "unavailable"]
    states: Mapping[str, str]
    failed: Sequence[str]


def why_away(error: StoreUnavailable | TimeoutError) -> str:
    return without_addresses(error) or "no answer in time"


def pause_keys(settings: Settings) -> list[tuple[Exchange, str]]:
    """The key of each exchange's pause."""
    return [(each, pause_key(egress_id_of(settings, each), each)) for each in settings.exchanges]


def pauses_of(settings: Settings, health: StoreHealth | None) -> dict[Exchange, tuple[int, str]]:
    """The pauses that last, as (ms left, cause)."""
    lasting = health.pauses if health is not None else {}
    return {each: lasting[key] for each, key in pause_keys(settings) if key in lasting}


def judged(
    settings: Settings, store: HotStore, found: StoreFound, database: DatabaseFound
) -> PartsState:
    """The state of all parts, and of the service."""
    health = found.health
    worker, no_worker = _worker_state(store, settings, health)
    if not no_worker:
        failures = failures_state(settings.exchanges, found.jobs, settings.timeframes)
        worker = _together(worker, failures)
    of_database = database.state
    if of_database == "ok":
        of_database = writes_state(database.refusal, found.jobs)
    pauses = pauses_of(settings, health)
    states = {
        "store": _store_state(found),
        "worker": worker,
        "database": of_database,
        "exchanges": found.jobs_unknown
        or exchanges_state(settings.exchanges, found.jobs, database.lists, pauses),
    }
    of_history = [] if database.history is None else [database.history]
    if settings.history == "on":
        of_history.append(history_state(found.journal, now_ms(), settings.history_late_s))
    if of_history:
        states["history"] = _together(*of_history)
    down = {"store": health is None, "worker": no_worker}
    failed = [f"{part}: {states[part]}" for part, is_down in down.items() if is_down]
    if failed:
        return PartsState("unavailable", states, failed)
    all_ok = all(state == "ok" for state in states.values())
    return PartsState("ready" if all_ok else "degraded", states, ())


def _store_state(found: StoreFound) -> str:
    if found.health is None:
        return f"away: {found.away or 'no answer in time'}"
    refusal = found.health.refusal
    refused = "ok" if refusal is None else f"takes no writes: {refusal}"
    return _together(refused, lost_state(found.lost))


def _worker_state(
    store: HotStore, settings: Settings, health: StoreHealth | None
) -> tuple[str, bool]:
    """The state of workers and leases, and whether no worker can run jobs."""
    if health is None:
        return "unknown while the store is away", True
    if health.worker_alive:
        return locks_state(health, store.prefix, settings.worker_lock_ttl_s), False
    if not health.can_beat:
        return _BEATS_UNKNOWN, False
    return f"no heartbeat from any worker for {beat_times(store).ttl_s} s", True


def _together(*states: str) -> str:
    return "; ".join(state for state in states if state != "ok") or "ok"


def database_probe(settings: Settings) -> Recent[DatabaseFound]:
    """Asks the database what `judged` needs of it."""

    async def ask(stores: Stores) -> DatabaseFound:
        found, (history, lag_s) = await asyncio.gather(lists(stores), _replica(stores))
        return replace(found, history=history, history_lag_s=lag_s)

    async def lists(stores: Stores) -> DatabaseFound:
        try:
            async with asyncio.timeout(DEADLINE_S):
                lists, refusal = await stores.database.listings.probe(
                    settings.exchanges, settings.quote
                )
        except DatabaseUnavailable as error:
            told = without_addresses(error)
            if told.startswith(LASTING_TEXTS):  # it is there
                return DatabaseFound(told.removeprefix(DATABASE_TEXT))
            return DatabaseFound(f"away: {told}")
        except TimeoutError:
            return DatabaseFound(f"away: no answer within {DEADLINE_S:g} s")
        return DatabaseFound("ok", lists, refusal)

    return Recent(ask)


async def _replica(stores: Stores) -> tuple[str | None, float | None]:
    """The state of the replica for history, and its lag; None without one."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            lag_s = await stores.database.history_lag_s(now_ms())
    except DatabaseUnavailable as error:
        told = without_addresses(error)
        is_replica = told.startswith(REPLICA_TEXT)
        return (f"away: {told}" if is_replica else "unknown while the database is away"), None
    except TimeoutError:
        return f"away: no answer within {DEADLINE_S:g} s", None
    if lag_s is not None and lag_s > _MOST_LAG_S:
        return f"the replica for history is {lag_s:.0f} s behind the database", lag_s
    return (None if lag_s is None else "ok"), lag_s
