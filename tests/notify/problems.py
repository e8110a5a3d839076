"""Problems as status/ finds them, for tests of what is told of them."""

from status.problem import Problem, ProblemKind, Severity

CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


def problem(
    kind: ProblemKind = ProblemKind.EXCHANGE_BANNED,
    subject: str = "binance",
    severity: Severity = CRITICAL,
    text: str = "",
    since_ms: int | None = None,
) -> Problem:
    words = text or f"{subject} has a problem"
    return Problem(kind, subject, severity, words, f"Look after {subject}.", since_ms)


BANNED = problem(text="binance has banned this address for 290 s more")
STALE = problem(ProblemKind.MARKETS_STALE, "bybit", WARNING, "12 markets of bybit are stale")
STORE_AWAY = problem(ProblemKind.STORE_AWAY, "hot store", CRITICAL, "the hot store is away")
DATABASE_AWAY = problem(ProblemKind.DATABASE_AWAY, "database", CRITICAL, "the database is away")
