"""Problem: one thing that is wrong, in words that say what an operator can do about it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """Critical: data is not served, or it is wrong or old."""

    WARNING = "warning"
    CRITICAL = "critical"


class ProblemKind(StrEnum):
    """What may be wrong; docs/status.md has a line for each."""

    STORE_AWAY = "store_away"
    STORE_READ_ONLY = "store_read_only"
    DATABASE_AWAY = "database_away"
    DATABASE_READ_ONLY = "database_read_only"
    REPLICA_BEHIND = "replica_behind"
    NO_WORKER = "no_worker"
    LEASE_STUCK = "lease_stuck"
    DISK_NEARLY_FULL = "disk_nearly_full"
    MEMORY_NEARLY_FULL = "memory_nearly_full"
    DOCUMENT_OLD = "document_old"
    DOCUMENT_LOST = "document_lost"
    JOB_FAILING = "job_failing"
    EXCHANGE_ABSENT = "exchange_absent"
    EXCHANGE_BANNED = "exchange_banned"
    EXCHANGE_GEO_BLOCKED = "exchange_geo_blocked"
    EXCHANGE_PAUSED = "exchange_paused"
    LIST_UNREAD = "list_unread"
    MARKETS_MISSING = "markets_missing"
    MARKETS_STALE = "markets_stale"
    STREAMS_UNPROVEN = "streams_unproven"
    COLLECTOR_FAILED = "collector_failed"
    SCHEDULE_FAILING = "schedule_failing"
    CHAIN_DEAD = "chain_dead"
    VALUE_QUARANTINED = "value_quarantined"
    CANDLE_CORRECTED = "candle_corrected"
    HISTORY_BEHIND = "history_behind"


@dataclass(frozen=True, slots=True)
class Problem:
    """`subject`: what it is about, such as `binance`, `4h` or `price.spot`. `text`: what is wrong,
    with the value and the limit; `todo`: what the operator can do, one sentence. Neither has an
    address or a secret. `since_ms` (UTC): since when, where the data say so."""

    kind: ProblemKind
    subject: str
    severity: Severity
    text: str
    todo: str
    since_ms: int | None = None

    @property
    def id(self) -> str:
        """The same for as long as the problem lasts, whatever its text says."""
        return f"{self.kind}:{self.subject}"


_KINDS: Final = {kind: place for place, kind in enumerate(ProblemKind)}


def worst_first(problem: Problem) -> tuple[bool, int, str]:
    """The key to sort problems by: critical ones first, then by kind and subject."""
    return problem.severity is not Severity.CRITICAL, _KINDS[problem.kind], problem.subject
