"""Problems of the stores, of the workers that use them, and of the record that waits in one."""

from collections.abc import Iterator
from typing import Final

from config import Settings
from market.timeframes import HOUR_MS
from status.document_limits import spoken
from status.found import Found
from status.low_disks import LowDisk, host_name
from status.parts_state import DatabaseFound
from status.problem import Problem, ProblemKind, Severity
from status.readiness import journal_faults
from status.snapshot import Snapshot
from stores.hot.beats import BEAT_TIMES, StoreHealth
from stores.hot.journal import JournalState, whole
from stores.hot.store import Kind
from texts.foreign import cut
from timing.clock import utc_text

CORRECTED_TOLD_MS: Final = HOUR_MS
# A lease that its holder renews never has longer left; one of a dead holder ends by itself then.
_LEAST_SUSPICIOUS_MS: Final = 60_000
_LONGEST_REASON: Final = 300
_DISK_CRITICAL: Final = 0.25  # of DISK_FREE_MIN
_MEMORY_FULL: Final = 0.9  # of maxmemory
_MEMORY_CRITICAL: Final = 0.97


def store_problems(settings: Settings, found: Found, now_ms: int) -> Iterator[Problem]:
    snapshot = found.snapshot
    yield from _database(found.database)
    yield from _disk(settings, found)
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
    yield from _hot_store(settings, health, snapshot.kind, snapshot.prefix)
    yield from _memory(snapshot)
    if settings.history == "on" and snapshot.store.journal is not None:
        yield from history_problems(settings, snapshot.store.journal, now_ms)


def _hot_store(
    settings: Settings, health: StoreHealth, kind: Kind, prefix: str
) -> Iterator[Problem]:
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
            f"no worker has sent a heartbeat for {BEAT_TIMES[kind].ttl_s} s, so no job runs: it was"
            " killed, cannot start, or does not reach the hot store",
            "Start one: python main.py serve, or python main.py worker; if one runs or ends at"
            " once, its log says why.",
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


def history_problems(settings: Settings, journal: JournalState, now_ms: int) -> Iterator[Problem]:
    """Publishes that wait for the database, or that found no room to wait."""
    faults = journal_faults(journal, now_ms, settings.history_late_s)
    yield from _corrections(journal, now_ms)
    if faults:
        yield Problem(
            ProblemKind.HISTORY_BEHIND,
            "history",
            Severity.WARNING,
            f"{'; '.join(faults)} (limit {spoken(round(settings.history_late_s * 1000))})",
            "See that the database takes writes and that a worker runs (GET /jobs, job record);"
            " raise JOURNAL_BYTES, or the hot store's maxmemory, if there was no room.",
            journal.oldest_ms if journal.waiting else journal.cut_ms,
        )


def _corrections(journal: JournalState, now_ms: int) -> Iterator[Problem]:
    at_ms, count = whole(journal.told.get("corrected_at")), whole(journal.told.get("corrected"))
    if at_ms is None or not count or now_ms - at_ms >= CORRECTED_TOLD_MS:
        return
    yield Problem(
        ProblemKind.CANDLE_CORRECTED,
        "history",
        Severity.WARNING,
        f"{count} closed values were corrected by the exchanges on the day of the last one, which"
        f" was recorded at {utc_text(at_ms)}",
        "Nothing, if your bots do not keep candles: documents have the corrected values, and GET"
        " /api/historical with as_of what was known before.",
        at_ms,
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


def _disk(settings: Settings, found: Found) -> Iterator[Problem]:
    low, own = dict(found.snapshot.disks), found.disk
    if own is not None and own.free < settings.disk_free_min:
        low[host_name()] = LowDisk(own.free, own.total, settings.disk_free_min)
    for host, disk in sorted(low.items()):
        yield Problem(
            ProblemKind.DISK_NEARLY_FULL,
            host,
            Severity.CRITICAL if disk.free < _DISK_CRITICAL * disk.limit else Severity.WARNING,
            f"the disk of DATA_DIR on {host} has {_size(disk.free)} free of {_size(disk.total)}"
            f" (limit {_size(disk.limit)})",
            f"Make room on {host} or move its DATA_DIR to a larger disk; RETENTION_..._DAYS,"
            " JOURNAL_DAYS and RUN_LOG_DAYS say how long things are kept, DISK_FREE_MIN is the"
            " limit.",
        )


def _memory(snapshot: Snapshot) -> Iterator[Problem]:
    memory = snapshot.memory
    if memory is None or memory.most is None or memory.used < _MEMORY_FULL * memory.most:
        return
    share = memory.used / memory.most
    yield Problem(
        ProblemKind.MEMORY_NEARLY_FULL,
        "hot",
        Severity.CRITICAL if share >= _MEMORY_CRITICAL else Severity.WARNING,
        f"the hot store uses {_size(memory.used)} of {_size(memory.most)} (maxmemory),"
        f" {share:.0%} (limit {_MEMORY_FULL:.0%})",
        "Raise its maxmemory, or lower MARKETS_LIMIT, HISTORY_CANDLES, TIMEFRAMES or JOURNAL_BYTES:"
        " a full store takes no new documents.",
    )


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
