"""Problems of the exchanges' streams, and of the collectors of COLLECTORS."""

from collections.abc import Iterator
from typing import Final

from config import Settings
from live.feed_state import FeedState
from market.markets import Exchange
from status.found import Found
from status.problem import Problem, ProblemKind, Severity
from stores.hot.store import Kind
from texts.foreign import cut, foreign_text
from texts.hidden_addresses import without_addresses

# Feeds tell every 5 s; over Upstash every 30 s.
_TOLD_LATE_MS: Final = {"native": 12_000, "upstash": 75_000}
_MOST_UNPROVEN: Final = 0.1  # of an exchange's markets
_LEAST_UNPROVEN: Final = 3
# Markets without messages are silent, and new ones start; neither is wrong.
_NORMAL: Final = ("silent", "starting")
_LONGEST_REASON: Final = 300


def stream_problems(settings: Settings, found: Found, now_ms: int) -> Iterator[Problem]:
    snapshot = found.snapshot
    if snapshot.store.health is None:
        return
    for exchange in settings.live_exchanges:
        text, since_ms = _wrong(exchange, snapshot.feeds.get(exchange), snapshot.kind, now_ms)
        if text is None:
            continue
        yield Problem(
            ProblemKind.STREAMS_UNPROVEN,
            exchange,
            Severity.WARNING,
            text,
            "Candles are asked for by REST meanwhile; see that the live process runs (python"
            f" main.py serve, or live) and reaches the streams of {exchange}.",
            since_ms,
        )


def _wrong(
    exchange: Exchange, feed: FeedState | None, kind: Kind, now_ms: int
) -> tuple[str | None, int | None]:
    """What is wrong with the streams, if anything, and since when."""
    if feed is None:
        return f"no process feeds the streams of {exchange}", None
    told_ms = feed.at_ms - feed.clock_offset_ms  # by the machine's clock
    late_ms = _TOLD_LATE_MS[kind]
    if now_ms - told_ms > late_ms:
        return (
            f"the process that feeds the streams of {exchange} has told nothing for"
            f" {(now_ms - told_ms) // 1000} s (limit {late_ms // 1000} s)",
            told_ms,
        )
    if not feed.markets:
        return None, None
    if not feed.connections:
        failure = without_addresses(feed.last_failure or "")
        why = f": {cut(failure, _LONGEST_REASON)}" if failure else ""
        return f"no connection to the streams of {exchange} is open{why}", None
    if feed.messages_per_s == 0 if feed.is_silent is None else feed.is_silent:
        return (
            f"the streams of {exchange} are silent: no message of {feed.markets} markets came",
            None,
        )
    reasons = {why: count for why, count in feed.unproven.items() if why not in _NORMAL}
    if sum(reasons.values()) >= max(_LEAST_UNPROVEN, _MOST_UNPROVEN * feed.markets):
        told = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
        return (
            f"the streams of {sum(reasons.values())} of {feed.markets} markets of {exchange} are"
            f" not proven ({told}; limit {_MOST_UNPROVEN:.0%})",
            None,
        )
    return None, None


def collector_problems(found: Found) -> Iterator[Problem]:
    if found.snapshot.store.health is None:
        return
    for name, wanted in (found.wanted or {}).items():
        state = found.collectors.get(name)
        if not wanted.runs or (state is not None and state.status not in ("error", "failed")):
            continue
        if state is None:
            text = "it is to run, and no process runs it"
        else:
            error = state.error or (state.collector or {}).get("error") or "no reason is told"
            text = without_addresses(foreign_text(str(error), _LONGEST_REASON))
        yield Problem(
            ProblemKind.COLLECTOR_FAILED,
            name,
            Severity.WARNING,
            f"the collector {name} of {wanted.definition.exchange} does not run: {text}",
            f"See GET /api/collectors/{name} and the log of the live process (python main.py serve,"
            f" or live); POST /api/collectors/{name}/restart tries again.",
            None if state is None else state.since_ms,
        )
