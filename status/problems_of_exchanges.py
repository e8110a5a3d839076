"""Problems of the exchanges: pauses, bans, absences, lists of markets, and markets that fail."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from config import Settings
from database import ListingState
from job_queue.records import JobRecord, LastRun
from market.markets import Exchange
from status.exchange_runs import failing_of
from status.found import Found
from status.parts_state import pauses_of
from status.problem import Problem, ProblemKind, Severity
from status.readiness import newest_of_exchanges, told_by
from status.snapshot import Snapshot
from texts.foreign import cut
from timing.clock import utc_text

_LONGEST_PAUSE_MS: Final = 60_000  # a longer one ends an exchange's part of a job
_LONGEST_REASON: Final = 300
_BANNED: Final = re.compile(r"\bban(?:ned)?\b|HTTP 418|access too frequent", re.IGNORECASE)
_LOCATION: Final = re.compile(r"restricted location|country|region|eligib|HTTP 451", re.IGNORECASE)
_MOST_MISSING: Final = 0.01  # of an exchange's enabled markets
_FEW: Final = 3


def exchange_problems(settings: Settings, found: Found, now_ms: int) -> Iterator[Problem]:
    snapshot = found.snapshot
    yield from _pauses(settings, snapshot, now_ms)
    for exchange in settings.exchanges:
        yield from _list(exchange, found.database.lists.get(exchange))
    yield from _absences(settings.exchanges, snapshot.store.jobs)
    yield from _missing(settings, found)


def _pauses(settings: Settings, snapshot: Snapshot, now_ms: int) -> Iterator[Problem]:
    for exchange, (left_ms, cause) in pauses_of(settings, snapshot.store.health).items():
        banned = _BANNED.search(cause) is not None
        if left_ms <= _LONGEST_PAUSE_MS and not banned:
            continue
        until = utc_text(now_ms + left_ms)
        yield Problem(
            ProblemKind.EXCHANGE_BANNED if banned else ProblemKind.EXCHANGE_PAUSED,
            exchange,
            Severity.CRITICAL if banned else Severity.WARNING,
            f"{exchange} {'has banned this address' if banned else 'is paused'} for"
            f" {left_ms // 1000} s more, until {until}: {cut(cause, _LONGEST_REASON)}",
            "Wait, and lower RATE_FRACTION or end other programs at this address; DELETE"
            f" /exchanges/{exchange}/pause asks again at once, but does not lift the exchange's"
            " own ban."
            if banned
            else f"Wait, or lift it with DELETE /exchanges/{exchange}/pause (python main.py unpause"
            f" {exchange}) if its cause is gone.",
        )


def _list(exchange: Exchange, state: ListingState | None) -> Iterator[Problem]:
    if state is None:
        return
    if state.failure is not None and state.failed_ms is not None:
        yield Problem(
            ProblemKind.LIST_UNREAD,
            exchange,
            Severity.WARNING,
            f"the list of markets of {exchange} could not be read, last at"
            f" {utc_text(state.failed_ms)} ({state.failures} in a row):"
            f" {cut(state.failure, _LONGEST_REASON)}",
            "Nothing, if the exchange is being maintained: it is asked again by itself, and the"
            " markets last known are collected; else see that this host reaches it.",
        )
    elif state.unconfirmed_ms is not None:
        yield Problem(
            ProblemKind.LIST_UNREAD,
            exchange,
            Severity.WARNING,
            f"the list of markets of {exchange} would remove {state.unconfirmed} of"
            f" {state.active}: not believed since {utc_text(state.unconfirmed_ms)}",
            "Nothing: the markets stay unless the exchange says so again, in a minute.",
            state.unconfirmed_ms,
        )


def _absences(exchanges: Sequence[Exchange], jobs: Sequence[JobRecord]) -> Iterator[Problem]:
    """What the newest collection and the newest run of funding did not bring."""
    for job_id, run in newest_of_exchanges(exchanges, jobs).values():
        for exchange, why in _absent(exchanges, run).items():
            blocked = _LOCATION.search(why) is not None
            yield Problem(
                ProblemKind.EXCHANGE_GEO_BLOCKED if blocked else ProblemKind.EXCHANGE_ABSENT,
                exchange,
                Severity.CRITICAL,
                f"{exchange} "
                + ("does not serve this location" if blocked else "brought nothing")
                + f" (run of {job_id} that ended at {utc_text(run.finished_at_ms)}):"
                f" {cut(why, _LONGEST_REASON)}",
                f"Collect it from an address that it serves ({exchange.upper()}_PROXY), or leave"
                " it out of EXCHANGES."
                if blocked
                else "See that this host reaches the exchange; its markets keep their last rows,"
                " and the next job asks again.",
            )


def _absent(exchanges: Sequence[Exchange], run: LastRun) -> Mapping[Exchange, str]:
    if run.state == "complete":
        absent = told_by(run, "absent")
        return {each: str(absent[each]) for each in exchanges if each in absent}
    # The error of a run that an exchange failed has a part for each that failed, which begins with
    # its name; a part may have a semicolon, and name others.
    names = "|".join(map(re.escape, exchanges))
    parts = re.split(rf"; (?=(?:{names})\b)", run.error or "")
    told = {each: [part for part in parts if re.match(rf"{each}\b", part)] for each in exchanges}
    return {each: "; ".join(own) for each, own in told.items() if own}


def _missing(settings: Settings, found: Found) -> Iterator[Problem]:
    """Markets whose candles or rates the newest run could not fetch."""
    for exchange in settings.exchanges:
        failing = failing_of(exchange, found.snapshot.store.jobs)
        state = found.database.lists.get(exchange)
        markets = state.enabled if state is not None else 0
        if failing is None or failing.markets < max(_FEW, _MOST_MISSING * markets):
            continue
        names = ", ".join(failing.names)
        more = f" and {failing.markets - len(failing.names)} more"
        yield Problem(
            ProblemKind.MARKETS_MISSING,
            exchange,
            Severity.WARNING,
            f"{failing.markets}{f' of {markets}' if markets else ''} markets of {exchange} could"
            f" not be fetched by {failing.job_id}: {names}"
            f"{more if failing.markets > len(failing.names) else ''} (limit {_FEW} markets and"
            f" {_MOST_MISSING:.0%})",
            "See why: `missing` in the document names each with its reason, GET /api/failures has"
            " them all; they are asked for again with each run.",
            failing.finished_at_ms,
        )
