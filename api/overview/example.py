"""An answer of GET /status, for the OpenAPI page and the tests of the documentation."""

from typing import Any, Final

from api.collectors.models import ACTUAL_EXAMPLE
from api.documents.models import EXAMPLE_MS

EXAMPLE: Final[dict[str, Any]] = {
    "at": EXAMPLE_MS + 305_000,
    "version": "0.1.0",
    "status": "ready",
    "parts": {
        "store": "ok",
        "worker": "ok",
        "database": "ok",
        "exchanges": "ok",
        "history": "ok",
    },
    "problems": [
        {
            "id": "exchange_paused:bybit",
            "kind": "exchange_paused",
            "subject": "bybit",
            "severity": "warning",
            "text": "bybit is paused for 290 s more, until 2026-11-28T12:10:00Z: Too many visits",
            "todo": "Wait, or lift it with DELETE /exchanges/bybit/pause (python main.py unpause"
            " bybit) if its cause is gone.",
            "since": EXAMPLE_MS + 300_000,
        }
    ],
    "documents": {
        "5m": {
            "version": EXAMPLE_MS + 300_000,
            "as_of": EXAMPLE_MS + 300_000,
            "updated_at": EXAMPLE_MS + 302_900,
            "age_s": 2.1,
            "bytes": 9_000_000,
            "json_bytes": 52_000_000,
            "markets": 948,
            "stale": 0,
            "missing": 2,
            "is_stored": True,
            "at": None,
            "assets": None,
        },
        "overview": {
            "version": EXAMPLE_MS + 300_000,
            "as_of": EXAMPLE_MS + 300_000,
            "updated_at": EXAMPLE_MS + 303_050,
            "age_s": 1.95,
            "bytes": 260_000,
            "json_bytes": 1_150_000,
            "markets": 948,
            "stale": 0,
            "missing": 3,
            "is_stored": True,
            "at": EXAMPLE_MS,
            "assets": 512,
        },
        "1d": None,
    },
    "exchanges": {
        "binance": {
            "list": {
                "discovered_at": EXAMPLE_MS - 3_600_000,
                "markets": 450,
                "enabled": 448,
                "failures": 0,
            },
            "pause": None,
            "clock": {"offset_ms": 12, "at": EXAMPLE_MS + 303_988},
            "budgets": {"weight": {"quantity": 2160, "window_s": 60.0, "used": 87, "left": 2073}},
            "last_success": EXAMPLE_MS + 303_100,
            "failing_markets": {
                "count": 1,
                "names": ["XYZUSDT"],
                "job": "collect:all",
                "at": EXAMPLE_MS + 303_100,
            },
            "is_live": True,
            "feed": {
                "holder": "host-1:4711",
                "at": EXAMPLE_MS + 304_000,
                "clock_offset_ms": 12,
                "connections": 1,
                "streams": 448,
                "markets": 448,
                "messages_per_s": 361.4,
                "lag_ms": {"p50": 620, "p99": 1840},
                "unproven": {"silent": 3},
                "reconnects": {"age": 1},
                "last_failure": None,
                "refused": 0,
                "log_restarts": 0,
                "last_close": {
                    "close": EXAMPLE_MS + 300_000,
                    "without_soon": 4,
                    "without": None,
                    "silent": 0,
                },
            },
            "closing": {
                "close": EXAMPLE_MS + 300_000,
                "as_of": EXAMPLE_MS + 300_400,
                "finished_at": EXAMPLE_MS + 303_100,
                "stream": 445,
                "rest": 3,
                "lacking": 0,
                "taken": 441,
                "repaired": 3,
                "sampled": 4,
                "compared": 51_300,
                "differing": 0,
            },
        }
    },
    "collectors": [
        {
            "name": "majors",
            "exchange": "binance",
            "data_types": ["ticker", "candle"],
            "symbols": 3,
            "enabled": True,
            "running": True,
            "actual": ACTUAL_EXAMPLE,
        }
    ],
    "schedules": [
        {
            "name": "closes",
            "cron": None,
            "every_s": 300,
            "tz": "UTC",
            "enabled": True,
            "next_run": EXAMPLE_MS + 601_000,
            "last_run": {
                "state": "complete",
                "slot": EXAMPLE_MS + 301_000,
                "started_at": EXAMPLE_MS + 301_020,
                "finished_at": EXAMPLE_MS + 301_080,
                "host": "host-1:4709",
            },
            "failures": 0,
            "error": None,
        }
    ],
    "providers": {
        "price.spot": {
            "serves": "price.spot/binance",
            "members": 5,
            "out": [
                {
                    "resource": "price.spot/kraken",
                    "why": "open",
                    "until": EXAMPLE_MS + 330_000,
                }
            ],
            "off": 1,
            "no_key": 2,
            "asked": 288,
            "fallbacks": 3,
            "unanswered": 0,
            "dead_since": None,
        }
    },
    "jobs": [
        {
            "id": "collect:all",
            "state": "complete",
            "phase": "done",
            "done": 1,
            "total": 1,
            "enqueued_at": EXAMPLE_MS + 300_200,
            "started_at": EXAMPLE_MS + 300_300,
            "last": {
                "run": 7,
                "state": "complete",
                "as_of": EXAMPLE_MS + 300_400,
                "finished_at": EXAMPLE_MS + 303_100,
                "error": None,
            },
        }
    ],
    "history": {
        "is_kept": True,
        "waiting": 1,
        "bytes": 112_000,
        "behind_s": 2.1,
        "recorded_at": EXAMPLE_MS + 2_800,
        "cut": 0,
        "cut_at": None,
        "gaps": 1,
        "last_gap": {
            "document": "5m",
            "since": EXAMPLE_MS - 86_400_000,
            "until": EXAMPLE_MS - 86_040_000,
        },
        "corrections_today": 2,
        "cursor_lag_s": 0.0,
        "rows": 61_400_000,
        "stored_bytes": 1_310_000_000,
        "holes": {"exchange": 4, "not_asked": 1},
    },
    "leases": {"worker": {"holder": "host-1:4709", "left_s": 12.4}},
    "stores": {
        "hot": {
            "kind": "native",
            "state": "ok",
            "memory": {"used": 310_000_000, "most": None, "policy": "noeviction"},
        },
        "cold": {"kind": "postgresql", "state": "ok", "bytes": 1_480_000_000},
        "disk": {"free": 81_000_000_000, "total": 160_000_000_000, "limit": 2_000_000_000},
    },
    "processes": {"workers": ["host-1:4709"], "live": ["host-1:4711"], "api": ["api-1"]},
}
