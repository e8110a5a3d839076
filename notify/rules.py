"""When a problem is told: how long it must last and be gone, and what quiet hours hold back."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from status.problem import Problem, ProblemKind, Severity
from timing.quiet_hours import QuietHours

MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class KindRule:
    """`after_s`: how long a problem must last before it is told. `gone_s`: how long it must be gone
    before its end is told, so that one that comes and goes is told once. `database`: whether only
    the database tells of it, so that nothing is known of it while that is away. `warning_after_s`:
    the same as `after_s` of one that is a warning, where that differs."""

    after_s: float
    gone_s: float
    database: bool = False
    warning_after_s: float | None = None


# At once, because nothing is served or it gets old; and over when it is seen to be over.
_AT_ONCE: Final = KindRule(0, 15)
# What a restart or a failover brings for some seconds.
_SHORTLY: Final = KindRule(20, 30)
# What comes and goes by itself.
_FLAPPING: Final = KindRule(MINUTE_S, MINUTE_S)

KIND_RULES: Final[Mapping[ProblemKind, KindRule]] = MappingProxyType(
    {
        ProblemKind.STORE_AWAY: _SHORTLY,
        ProblemKind.STORE_READ_ONLY: _SHORTLY,
        ProblemKind.DATABASE_AWAY: _SHORTLY,
        ProblemKind.DATABASE_READ_ONLY: KindRule(20, 30, database=True),
        ProblemKind.REPLICA_BEHIND: KindRule(MINUTE_S, MINUTE_S, database=True),
        ProblemKind.NO_WORKER: _SHORTLY,
        ProblemKind.LEASE_STUCK: _AT_ONCE,
        ProblemKind.DISK_NEARLY_FULL: _AT_ONCE,
        ProblemKind.MEMORY_NEARLY_FULL: _FLAPPING,
        ProblemKind.DOCUMENT_OLD: _AT_ONCE,
        ProblemKind.DOCUMENT_LOST: _AT_ONCE,
        # One that failed once: most complete the next time. Failing again it is critical.
        ProblemKind.JOB_FAILING: KindRule(0, 15, warning_after_s=10 * MINUTE_S),
        ProblemKind.EXCHANGE_ABSENT: _AT_ONCE,
        ProblemKind.EXCHANGE_BANNED: _AT_ONCE,
        ProblemKind.EXCHANGE_GEO_BLOCKED: _AT_ONCE,
        ProblemKind.EXCHANGE_PAUSED: _AT_ONCE,
        ProblemKind.LIST_UNREAD: KindRule(MINUTE_S, MINUTE_S, database=True),
        ProblemKind.MARKETS_MISSING: _FLAPPING,
        ProblemKind.MARKETS_STALE: _FLAPPING,
        ProblemKind.STREAMS_UNPROVEN: _FLAPPING,
        ProblemKind.COLLECTOR_FAILED: _FLAPPING,
        ProblemKind.SCHEDULE_FAILING: KindRule(0, MINUTE_S, database=True),
        ProblemKind.CHAIN_DEAD: _FLAPPING,
        ProblemKind.VALUE_QUARANTINED: _AT_ONCE,
        # The figures of the record are asked in the background, once a minute.
        ProblemKind.CANDLE_CORRECTED: KindRule(0, 3 * MINUTE_S, database=True),
        ProblemKind.HISTORY_BEHIND: KindRule(MINUTE_S, 3 * MINUTE_S),
    }
)


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of notifications. `after_s` replaces that of all kinds where it is set, `over_s`
    the `gone_s`. `most`: messages in a minute; `quiet_critical`: whether quiet hours hold back
    critical problems, too."""

    after_s: float | None = None
    again_s: float = 3600
    over_s: float | None = None
    quiet: QuietHours | None = None
    quiet_critical: bool = False
    most: int = 3

    def of(self, problem: Problem) -> KindRule:
        return KIND_RULES.get(problem.kind, _FLAPPING)

    def after_ms(self, problem: Problem) -> int:
        rule = self.of(problem)
        after_s = rule.after_s
        if self.after_s is not None:
            after_s = self.after_s
        elif problem.severity is Severity.WARNING and rule.warning_after_s is not None:
            after_s = rule.warning_after_s
        return round(after_s * 1000)

    def gone_ms(self, problem: Problem) -> int:
        gone_s = self.of(problem).gone_s if self.over_s is None else self.over_s
        return round(gone_s * 1000)

    def holds_back(self, severity: Severity, moment_ms: int) -> bool:
        """Whether a message of this severity waits at this moment for the end of quiet hours."""
        if self.quiet is None or (severity is Severity.CRITICAL and not self.quiet_critical):
            return False
        return self.quiet.hold(moment_ms)
