"""Problems of the documents: old, lost, with markets that are stale or missing."""

from collections.abc import Iterator
from typing import Final

from config import Settings
from documents.names import GLOBAL_FR, OVERVIEW
from status.document_limits import old, refreshed_documents
from status.found import Found
from status.problem import Problem, ProblemKind, Severity

FEW: Final = 3
MOST_STALE: Final = 0.01  # of a document's markets
_MOST_STALE_CRITICAL: Final = 0.1


def document_problems(settings: Settings, found: Found, now_ms: int) -> Iterator[Problem]:
    store = found.snapshot.store
    if store.health is None:
        return
    for name in store.lost:
        yield Problem(
            ProblemKind.DOCUMENT_LOST,
            name,
            Severity.CRITICAL,
            f"the hot store has lost cache:{name}: it was evicted or deleted",
            "Set its maxmemory-policy to noeviction; the next run makes the document again, and"
            " processes that have read it serve their copy until then.",
        )
    yield from _old(settings, found, now_ms)
    yield from _stale(found)


def _old(settings: Settings, found: Found, now_ms: int) -> Iterator[Problem]:
    refreshed = refreshed_documents(settings, found.last_schedules)
    for name, meta in found.snapshot.store.metas.items():
        too_old = old(settings, name, meta, refreshed.get(name), now_ms)
        if too_old is None:
            continue
        post = (
            "POST /api/v1/internal/update-fr"
            if name == GLOBAL_FR
            else f'POST /get-market-data {{"timeframe":"{"5m" if name == OVERVIEW else name}"}}'
        )
        yield Problem(
            ProblemKind.DOCUMENT_OLD,
            name,
            Severity.CRITICAL,
            f"the document {name} is old: {too_old.why}",
            f"See which of the other problems keeps it from being refreshed, then {post}; its limit"
            " is DOCUMENT_AGE_LIMITS.",
            too_old.since_ms,
        )


def _stale(found: Found) -> Iterator[Problem]:
    told, worst = [], 0.0
    for name, meta in found.snapshot.store.metas.items():
        if meta is None or meta.counts is None or not meta.counts.markets:
            continue
        if name == OVERVIEW:  # its markets are those of 5m
            continue
        stale, markets = meta.counts.stale, meta.counts.markets
        if stale >= max(FEW, MOST_STALE * markets):
            told.append(f"{name} {stale} of {markets}")
            worst = max(worst, stale / markets)
    if told:
        yield Problem(
            ProblemKind.MARKETS_STALE,
            "documents",
            Severity.CRITICAL if worst > _MOST_STALE_CRITICAL else Severity.WARNING,
            f"markets whose rows are carried over from an earlier run: {', '.join(told)} (limit"
            f" {FEW} markets and {MOST_STALE:.0%})",
            "See which exchange failed and why (failing_markets, GET /jobs): they are asked for"
            " again with each run, and `stale_since` in a document says since when each is stale.",
        )
