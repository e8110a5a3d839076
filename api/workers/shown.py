"""Workers, runs and queues in the form of models.py, without network addresses in their errors."""

from typing import Any, Final

from database import QueueRow, RunRow, WorkerRow
from stores.cold.workers.queues import FOR_EVER
from stores.cold.workers.rows import OVERRIDABLE
from texts.hidden_addresses import without_addresses
from workers.config_control import Explained
from workers.state import WorkerState

_UNKNOWN: Final = WorkerState()


def worker_json(row: WorkerRow, state: WorkerState | None) -> dict[str, Any]:
    """The form of `Worker`."""
    return {
        "name": row.name,
        "kind": row.kind,
        "origin": row.origin,
        "description": str(row.declared.get("description") or ""),
        **{name: getattr(row, name) for name in OVERRIDABLE},
        "next_run_at": row.next_run_ms,
        "refreshes": list(row.refreshes),
        "overridden": sorted(row.overrides),
        "changed_at": row.changed_at_ms,
        "changed_by": row.changed_by,
        "live": live_json(state),
    }


def declared_json(row: WorkerRow) -> dict[str, Any]:
    """What `OneWorker` has of the code beside `Worker`, without the schema of its configuration."""
    return {
        "place": str(row.declared.get("place") or ""),
        "declared": {name: row.declared.get(name) for name in OVERRIDABLE},
        "url": _without_userinfo(row.declared.get("url")),
        "databases": list(row.declared.get("databases") or ()),
    }


def live_json(state: WorkerState | None) -> dict[str, Any] | None:
    """The form of `WorkerLive`; None if nothing is known."""
    if state is None or state == _UNKNOWN:
        return None
    stream = state.stream
    connection = (
        None
        if stream is None
        else {
            "holder": stream.holder,
            "status": stream.status,
            "since": stream.since_ms,
            "messages": stream.messages,
            "published": stream.published,
            "connections": stream.connections,
            "restarts": stream.restarts,
            "waiting": stream.waiting,
            "last_message_at": stream.last_message_ms,
            "lag_s": stream.lag_s,
            "error": error_json(stream.error),
        }
    )
    return {
        "state": state.state,
        "run": state.run,
        "started_at": state.started_at_ms,
        "last_result": state.last_result,
        "last_error": error_json(state.last_error),
        "host": state.host,
        "connection": connection,
    }


def run_json(run: RunRow) -> dict[str, Any]:
    """The form of `Run`."""
    return {
        "id": run.id,
        "worker": run.worker,
        "slot": run.slot_ms,
        "why": run.why,
        "state": run.state,
        "queue": run.queue,
        "input": run.input,
        "attempts": run.attempts,
        "host": run.host,
        "egress": run.egress,
        "queued_at": run.queued_at_ms,
        "started_at": run.started_at_ms,
        "finished_at": run.finished_at_ms,
        "error": error_json(run.error),
        "result": run.result,
    }


def queue_json(queue: QueueRow) -> dict[str, Any]:
    """The form of `Queue`."""
    until = queue.paused_until_ms
    return {
        "name": queue.name,
        "concurrency": queue.concurrency,
        "paused": until is not None,
        "paused_until": None if until == FOR_EVER else until,
        "queued": queue.queued,
        "running": queue.running,
    }


def value_json(found: Explained) -> dict[str, Any]:
    """The form of `ConfiguredValue`."""
    return {
        "key": found.key,
        "value": found.value,
        "level": found.level,
        "secret": found.secret,
        "required": found.required,
        "problem": found.problem,
        "environment": list(found.environment),
        "changed_at": found.changed_ms,
        "changed_by": found.changed_by,
    }


def error_json(error: str | None) -> str | None:
    """An error as strangers may read it."""
    return None if error is None else without_addresses(error)


def _without_userinfo(url: object) -> str | None:
    """The address without user, password and what follows a `?`, which may be a key."""
    if not isinstance(url, str):
        return None
    scheme, separator, rest = url.partition("://")
    host = rest.partition("?")[0]
    return f"{scheme}{separator}{host.rpartition('@')[2]}"
