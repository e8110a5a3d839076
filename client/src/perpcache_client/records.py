"""Jobs, markets and what is missing, as typed records made from the service's JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that a table lacks, and why.

    `symbol` None: the whole exchange brought nothing, or, if `part` is not `listing`, it does not
    serve that part of the oldest rows any more.
    """

    exchange: str
    symbol: str | None
    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class Market:
    """A market. `meta` has its Hurst exponent, entropy and realised volatility, where known.

    Of a table: `checked_at`, when it was last read with success, `stale_since`, since when its rows
    are carried over from an earlier version, and `interval_hours` of funding. Of markets as of a
    time: `launched_at`, `listed_from` and `listed_to`. Times are UTC milliseconds.
    """

    exchange: str
    symbol: str
    base: str
    quote: str
    meta: Mapping[str, float | None]
    checked_at: int | None = None
    stale_since: int | None = None
    interval_hours: int | None = None
    launched_at: int | None = None
    listed_from: int | None = None
    listed_to: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """How a run of a job ended: `state` is complete, failed or aborted."""

    run: int
    state: str
    as_of: int | None
    finished_at: int
    result: Mapping[str, Any] | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Job:
    """A job of the service. `run` is the run that answers the request, `last` the one that ended
    last; `phase`, `done` and `total` are the progress of the present one."""

    id: str
    kind: str
    timeframe: str | None
    produces: tuple[str, ...]
    run: int
    state: str
    phase: str
    done: int
    total: int
    error: str | None
    result: Mapping[str, Any] | None
    last: Run | None


def missing_from(entry: Mapping[str, Any]) -> Missing:
    return Missing(entry["exchange"], entry["symbol"], entry["part"], entry["reason"])


def market_from(entry: Mapping[str, Any]) -> Market:
    return Market(
        exchange=entry["exchange"],
        symbol=entry["symbol"],
        base=entry["base"],
        quote=entry["quote"],
        meta=entry.get("meta") or {},
        checked_at=entry.get("checked_at"),
        stale_since=entry.get("stale_since"),
        interval_hours=entry.get("interval_hours"),
        launched_at=entry.get("launched_at"),
        listed_from=entry.get("listed_from"),
        listed_to=entry.get("listed_to"),
    )


def job_from(entry: Mapping[str, Any]) -> Job:
    last = entry["last"]
    progress = entry["progress"]
    return Job(
        id=entry["id"],
        kind=entry["kind"],
        timeframe=entry["timeframe"],
        produces=tuple(entry["produces"]),
        run=entry["run"],
        state=entry["state"],
        phase=progress["phase"],
        done=progress["done"],
        total=progress["total"],
        error=entry["error"],
        result=entry["result"],
        last=None
        if last is None
        else Run(
            run=last["run"],
            state=last["state"],
            as_of=last["as_of"],
            finished_at=last["finished_at"],
            result=last["result"],
            error=last["error"],
        ),
    )
