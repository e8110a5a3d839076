"""Problems of the stores, of the workers that use them, and of the record that waits in one."""

from collections.abc import Iterator
from typing import Final

from config import Settings
from market.timeframes import HOUR_MS, MINUTE_MS
from status.parts_state import DatabaseFound
from status.problem import Problem, ProblemKind, Severity
from status.snapshot import Snapshot
from stores.hot.beats import StoreHealth
from stores.hot.journal import JournalState
from texts.foreign import cut
from timing.clock import utc_text

LATE_MS: Final = 15 * MINUTE_MS  # of publishes that wait to be recorded
CUT_TOLD_MS: Final = HOUR_MS
# A lease that its holder renews never has longer left; one of a dead holder ends by itself then.
_LEAST_SUSPICIOUS_MS: Final = 60_000
_LONGEST_REASON: Final = 300


def store_problems(
    settings: Settings, snapshot: Snapshot, database: DatabaseFound, now_ms: int
) -> Iterator[Problem]:
    yield from _database(database)
    health = snapshot.store.health
    if health is None:
        why = snapshot.store.away or "no answer in time"
        yield Problem(
            ProblemKind.STORE_AWAY,
            "hot",
            Severity.CRITICAL,
            f"the hot store does not answer: {cut(why, _LONGEST_REASON)}",
            "Start the server of REDIS_URL, or look into its log; readers get what API processes"
            " still have, and nothing is collected until it answers.",
        )
        return
    yield from _hot_store(settings, health, snapshot.prefix)
    if settings.history == "on" and snapshot.store.journal is not None:
        yield from history_problems(snapshot.store.journal, now_ms)


def _hot_store(settings: Settings, health: StoreHealth, prefix: str) -> Iterator[Problem]:
    if health.refusal is not None:
        yield Problem(
            ProblemKind.STORE_READ_ONLY,
            "hot",
            Severity.CRITICAL,
            f"the hot store takes no writes: {cut(health.refusal, _LONGEST_REASON)}",
            "Give it more memory (maxmemory) if it is full, or name the primary server in"
            " REDIS_URL if it is a replica; nothing is published until then.",
        )
    if not health.worker_alive and health.can_beat:
        yield Problem(
            ProblemKind.NO_WORKER,
            "workers",
            Severity.CRITICAL,
            "no worker has sent a heartbeat lately, so no job runs",
            "Start one: python main.py serve, or python main.py worker; if one runs, its log says"
            " why it does not reach the hot store.",
        )
    longest_ms = max(_LEAST_SUSPICIOUS_MS, 4 * round(settings.worker_lock_ttl_s * 1000))
    for key, lock in health.locks.items():
        if lock.left_ms is None:
            how_long = "and never expires"
        elif lock.left_ms > longest_ms and not lock.holder_alive:
            how_long = f"for {lock.left_ms // 1000} s more and has sent no heartbeat"
        else:
            continue
        yield Problem(
            ProblemKind.LEASE_STUCK,
            key.removeprefix("lock:"),
            Severity.CRITICAL,
            f"the lease {key} is held by {lock.holder} {how_long}, so no job of this lane runs",
            f"If that process is gone, delete the key {prefix}{key} in the hot store.",
        )


def history_problems(journal: JournalState, now_ms: int) -> Iterator[Problem]:
    """Publishes that wait for the database, or that found no room to wait."""
    problems = []
    since_ms = journal.oldest_ms
    if journal.waiting and since_ms is not None and now_ms - since_ms > LATE_MS:
        problems.append(
            f"{journal.waiting} publishes wait to be recorded, the oldest since"
            f" {utc_text(since_ms)} (limit {LATE_MS // MINUTE_MS} min)"
        )
    if journal.cut_ms is not None and now_ms - journal.cut_ms < CUT_TOLD_MS:
        problems.append(
            f"the journal had no room for {journal.cut} publishes, last at"
            f" {utc_text(journal.cut_ms)}"
        )
    if problems:
        yield Problem(
            ProblemKind.HISTORY_BEHIND,
            "history",
            Severity.WARNING,
            "; ".join(problems),
            "See that the database takes writes and that a worker runs (GET /jobs, job record);"
            " raise JOURNAL_BYTES, or the hot store's maxmemory, if there was no room.",
            since_ms if journal.waiting else journal.cut_ms,
        )


def _database(database: DatabaseFound) -> Iterator[Problem]:
    if database.state != "ok":
        away = database.state.startswith("away: ")
        yield Problem(
            ProblemKind.DATABASE_AWAY,
            "cold",
            Severity.CRITICAL,
            f"the database {'does not answer' if away else 'refuses us'}:"
            f" {cut(database.state.removeprefix('away: '), _LONGEST_REASON)}",
            "Start the server of DATABASE_URL, or mend what its answer names; documents are still"
            " collected with the markets last known, schedules and history wait.",
        )
    elif database.refusal is not None:
        yield Problem(
            ProblemKind.DATABASE_READ_ONLY,
            "cold",
            Severity.CRITICAL,
            f"the database takes no writes: {cut(database.refusal, _LONGEST_REASON)}",
            "Name the primary server in DATABASE_URL, or let its user write; until then nothing is"
            " recorded.",
        )
    if database.history not in (None, "ok", "unknown while the database is away"):
        yield Problem(
            ProblemKind.REPLICA_BEHIND,
            "history",
            Severity.WARNING,
            f"the replica for history: {cut(str(database.history), _LONGEST_REASON)}",
            "See to the replication of HISTORY_DATABASE_URL; GET /api/historical answers with what"
            " the replica has.",
        )
