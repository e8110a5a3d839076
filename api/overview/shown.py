"""What GET /status shows of a snapshot, in the form of models.py."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from api.documents.listing import document_state
from api.overview.exchange_models import ClosingStatus
from api.overview.shown_work import chains_json, collectors_json, history_json, schedules_json
from budgets.used import BudgetUse
from cache_manager import DocumentMeta
from config import Settings
from database import ListingState
from job_queue.kinds import ALL, Lane, job_id_of
from job_queue.records import JobRecord
from live.feed_state import FeedState
from market.markets import Exchange
from status.exchange_runs import clock_offset_of, failing_of, last_success_ms
from status.looking import Look
from status.parts_state import pauses_of
from status.problem import Problem
from status.runs import told_error
from stores.hot.beats import StoreHealth
from stores.hot.leases import lock_key
from stores.hot.store import HotStore
from texts.hidden_addresses import without_addresses

_PASS: Final = job_id_of("collect", ALL)
_OF_RUN: Final = ("as_of", "finished_at")  # what the run adds to a closing journal


def status_json(
    settings: Settings,
    store: HotStore,
    look: Look,
) -> dict[str, Any]:
    """The form of `Status`, but for `version` and the names of this process."""
    snapshot, database, state, asked_ms = look.snapshot, look.database, look.state, look.at_ms
    found = snapshot.store
    feeds, jobs = snapshot.feeds, found.jobs
    closings = _closings(found.jobs)
    pauses = pauses_of(settings, found.health)
    return {
        "at": asked_ms,
        "status": state.status,
        "parts": dict(state.states),
        "problems": [_problem(each) for each in look.problems],
        "documents": {
            name: meta and _document(meta, asked_ms, is_stored=name not in found.lost)
            for name, meta in found.metas.items()
        },
        "exchanges": {
            str(exchange): {
                "list": _list(database.lists.get(exchange)),
                "pause": _pause(pauses.get(exchange)),
                "clock": _clock(exchange, feeds.get(exchange), jobs),
                "budgets": _budgets(snapshot.used.get(exchange)),
                "last_success": last_success_ms(exchange, jobs),
                "failing_markets": _failing(exchange, jobs),
                "is_live": exchange in settings.live_exchanges,
                "feed": _feed(snapshot.feeds.get(exchange)),
                "closing": closings.get(exchange),
            }
            for exchange in settings.exchanges
        },
        "collectors": collectors_json(look.found),
        "schedules": schedules_json(look.found.schedules),
        "providers": chains_json(look.found.chains),
        "jobs": [_job(job) for job in found.jobs],
        "history": history_json(settings, look),
        "leases": _leases(found.health),
        "stores": {
            "hot": {
                "kind": store.kind,
                "state": state.states["store"],
                "memory": snapshot.memory
                and {
                    "used": snapshot.memory.used,
                    "most": snapshot.memory.most,
                    "policy": snapshot.memory.policy,
                },
            },
            "cold": {
                "kind": "postgresql",
                "state": state.states["database"],
                "bytes": look.found.record and look.found.record.database_bytes,
            },
            "disk": look.found.disk
            and {
                "free": look.found.disk.free,
                "total": look.found.disk.total,
                "limit": settings.disk_free_min,
            },
        },
        "processes": {
            "workers": list(snapshot.workers),
            "live": list(snapshot.live),
            "api": list(snapshot.api),
        },
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "id": problem.id,
        "kind": problem.kind,
        "subject": problem.subject,
        "severity": problem.severity,
        "text": problem.text,
        "todo": problem.todo,
        "since": problem.since_ms,
    }


def _document(meta: DocumentMeta, asked_ms: int, *, is_stored: bool) -> dict[str, Any]:
    counts = meta.counts
    return {
        **document_state(meta, asked_ms),
        "json_bytes": meta.json_bytes,
        "markets": counts and counts.markets,
        "stale": counts and counts.stale,
        "missing": counts and counts.missing,
        "at": counts and counts.at,
        "assets": counts and counts.assets,
        "is_stored": is_stored,
    }


def _list(listing: ListingState | None) -> dict[str, Any] | None:
    if listing is None:
        return None
    return {
        "discovered_at": listing.discovered_ms,
        "markets": listing.active,
        "enabled": listing.enabled,
        "failures": listing.failures,
    }


def _pause(pause: tuple[int, str] | None) -> dict[str, Any] | None:
    return pause and {"left_s": pause[0] / 1000, "cause": pause[1]}


def _feed(feed: FeedState | None) -> dict[str, Any] | None:
    if feed is None:
        return None
    last = feed.last_close
    failure = feed.last_failure
    return {
        "holder": feed.holder,
        "at": feed.at_ms,
        "clock_offset_ms": feed.clock_offset_ms,
        "connections": feed.connections,
        "streams": feed.streams,
        "markets": feed.markets,
        "messages_per_s": feed.messages_per_s,
        "lag_ms": {share: feed.lag_ms.get(share) for share in ("p50", "p99")},
        "unproven": dict(feed.unproven),
        "reconnects": dict(feed.reconnects),
        "last_failure": failure and without_addresses(failure),
        "refused": feed.refused,
        "log_restarts": feed.restarts,
        "last_close": last
        and {
            "close": last.close_ms,
            "without_soon": last.without_soon,
            "without": last.without,
            "silent": last.silent,
        },
    }


def _closings(jobs: Sequence[JobRecord]) -> dict[str, dict[str, int]]:
    """The closing journal of the last pass by exchange, if it completed: of an exchange whose entry
    has another form none."""
    last = next((job.last for job in jobs if job.id == _PASS), None)
    if last is None or last.state != "complete" or last.as_of_ms is None:
        return {}
    told = (last.result or {}).get("closing")
    of_run = dict(zip(_OF_RUN, (last.as_of_ms, last.finished_at_ms), strict=True))
    return {
        exchange: {**{name: entry[name] for name in _JOURNAL}, **of_run}
        for exchange, entry in (told.items() if isinstance(told, dict) else ())
        if isinstance(entry, dict) and all(_is_count(entry.get(name)) for name in _JOURNAL)
    }


_JOURNAL: Final = tuple(name for name in ClosingStatus.model_fields if name not in _OF_RUN)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _job(job: JobRecord) -> dict[str, Any]:
    last = job.last
    return {
        "id": job.id,
        "state": job.state,
        "phase": job.phase,
        "done": job.done,
        "total": job.total,
        "enqueued_at": job.enqueued_at,
        "started_at": job.started_at,
        "last": last
        and {
            "run": last.run,
            "state": last.state,
            "as_of": last.as_of_ms,
            "finished_at": last.finished_at_ms,
            "error": told_error(last.error),
        },
    }


def _clock(
    exchange: Exchange, feed: FeedState | None, jobs: Sequence[JobRecord]
) -> dict[str, Any] | None:
    """By the streams, which read it all the time, or by the last run."""
    if feed is not None:
        return {"offset_ms": feed.clock_offset_ms, "at": feed.at_ms - feed.clock_offset_ms}
    found = clock_offset_of(exchange, jobs)
    return found and {"offset_ms": found[0], "at": found[1]}


def _budgets(used: Mapping[str, BudgetUse] | None) -> dict[str, Any] | None:
    if used is None:
        return None
    return {
        counter: {
            "quantity": each.quantity,
            "window_s": each.window_s,
            "used": each.used,
            "left": each.left,
        }
        for counter, each in used.items()
    }


def _failing(exchange: Exchange, jobs: Sequence[JobRecord]) -> dict[str, Any] | None:
    failing = failing_of(exchange, jobs)
    if failing is None:
        return None
    return {
        "count": failing.markets,
        "names": list(failing.names),
        "job": failing.job_id,
        "at": failing.finished_at_ms,
    }


def _leases(health: StoreHealth | None) -> Mapping[str, Any]:
    locks = health.locks if health is not None else {}
    return {
        str(lane): {
            "holder": lock.holder,
            "left_s": None if lock.left_ms is None else lock.left_ms / 1000,
        }
        for lane in Lane
        if (lock := locks.get(lock_key(lane))) is not None
    }
