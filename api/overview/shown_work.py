"""What GET /status shows of collectors, schedules, providers and the record, as in models.py."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from api.collectors.shown import actual_json
from api.workers.shown import error_json
from config import Settings
from database import ScheduleRow
from market.timeframes import DAY_MS
from status.found import Found
from status.looking import Look
from stores.hot.journal import whole

if TYPE_CHECKING:
    from providers.standing import ChainStanding


def collectors_json(found: Found) -> list[dict[str, Any]] | None:
    if found.wanted is None:
        return None
    return [
        {
            "name": name,
            "exchange": str(each.definition.exchange),
            "data_types": [str(kind) for kind in each.definition.data_types],
            "symbols": len(each.symbols),
            "enabled": each.enabled,
            "running": each.runs,
            "actual": actual_json(found.collectors.get(name)),
        }
        for name, each in found.wanted.items()
    ]


def schedules_json(rows: Sequence[ScheduleRow] | None) -> list[dict[str, Any]] | None:
    if rows is None:
        return None
    return [
        {
            "name": row.name,
            "cron": row.cron,
            "every_s": row.every_s,
            "tz": row.tz,
            "enabled": row.enabled,
            "next_run": row.next_run_ms,
            "last_run": None
            if row.state is None
            else {
                "state": row.state,
                "slot": row.slot_ms,
                "started_at": row.started_at_ms,
                "finished_at": row.finished_at_ms,
                "host": row.host,
            },
            "failures": row.failures,
            "error": error_json(row.error),
        }
        for row in rows
    ]


def chains_json(chains: "Sequence[ChainStanding] | None") -> dict[str, Any] | None:
    if chains is None:
        return None
    return {
        each.chain: {
            "serves": each.serves,
            "members": len(each.members),
            "out": [
                {
                    "resource": member.resource,
                    "why": member.out,
                    "until": member.until_ms or None,
                }
                for member in each.members
                if member.out is not None
            ],
            "off": each.off,
            "no_key": each.no_key,
            "asked": each.asked,
            "fallbacks": each.fallbacks,
            "unanswered": each.unanswered,
            "dead_since": each.dead_since_ms,
        }
        for each in chains
    }


def history_json(settings: Settings, look: Look) -> dict[str, Any] | None:
    journal, record = look.snapshot.store.journal, look.found.record
    if journal is None:
        return None
    told, oldest_ms = journal.told, journal.oldest_ms
    gap = {"document": told.get("gap_document"), "since": whole(told.get("gap_since"))}
    today = look.at_ms // DAY_MS
    is_today = whole(told.get("corrected_day")) == today
    return {
        "is_kept": settings.history == "on",
        "waiting": journal.waiting,
        "bytes": journal.bytes,
        "behind_s": max(0, look.at_ms - oldest_ms) / 1000 if oldest_ms is not None else 0.0,
        "recorded_at": whole(told.get("recorded_at")),
        "cut": journal.cut,
        "cut_at": journal.cut_ms,
        "gaps": whole(told.get("gaps")) or 0,
        "last_gap": {**gap, "until": whole(told.get("gap_until"))} if all(gap.values()) else None,
        "corrections_today": (whole(told.get("corrected")) or 0) if is_today else 0,
        "cursor_lag_s": _cursor_lag_s(look),
        "rows": record and record.rows,
        "stored_bytes": record and record.bytes,
        "holes": record and dict(record.holes),
    }


def _cursor_lag_s(look: Look) -> float | None:
    """By how much the newest recorded version is older than the document, of the document of which
    that is the most; of one that was never recorded, since it was made."""
    cursors = look.found.cursors
    if cursors is None:
        return None
    lags = [0]
    for name, meta in look.snapshot.store.metas.items():
        if meta is not None:
            version, updated_ms = cursors.get(name, (0, None))
            if version < meta.version:
                since_ms = meta.updated_at_ms if updated_ms is None else updated_ms
                until_ms = look.at_ms if updated_ms is None else meta.updated_at_ms
                lags.append(until_ms - since_ms)
    return max(lags) / 1000
