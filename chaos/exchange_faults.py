"""The faults of the exchanges: for each kind the rule that the simulator is given, drawn by chance.

The simulator's own page of rules (simulator/faults.py) says what each kind does.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from chaos.names import EXCHANGES

Details = Mapping[str, Any]
Chance = random.Random
_DAY_MS: Final = 86_400_000

NONSENSE: Final = (
    "high_below_low", "negative_volume", "unsorted", "duplicate", "off_grid", "nan", "zero_price",
    "close_above_high", "disputed", "exponent", "extra_element", "blank_rate",
)  # fmt: skip
_ENDPOINTS: Final = ("klines", "klines", "open_interest", "funding", "time", None, None)
_LISTS: Final = (
    "exchange_info", "instruments", "funding_info", "premium_index", "tickers", "funding_now",
)  # fmt: skip
EXCHANGE_FAULTS: Final = (
    "server_error", "server_error", "html", "truncated", "wrong_types", "empty", "reset", "hang",
    "slow", "too_many_429", "banned_418", "too_frequent_403", "too_many_10006", "busy_10016",
    "too_many_50011", "busy_50013",
    "blocked_country", "short_pages", "nonsense", "nonsense", "endless_cursor", "lists_broken",
    "market_refused", "challenge", "too_fast", "endless_continue", "deep_nesting", "long_message",
    "clock_off", "short_list",
)  # fmt: skip


def exchange_fault(kind: str, chance: Chance) -> tuple[float, Details]:
    """The rule for POST /sim/faults; `market` (0..1) chooses one of the markets."""
    lasts_s = chance.uniform(0.7, 6.0)
    rule: dict[str, Any] = {}
    exchange = chance.choice((*EXCHANGES, None))
    if exchange:
        rule["exchange"] = exchange
    endpoint = chance.choice(_ENDPOINTS)
    if endpoint:
        rule["endpoint"] = endpoint
    if chance.random() < 0.5:
        rule["probability"] = round(chance.uniform(0.2, 0.9), 2)
    make = _RULES[kind]
    rule |= make(chance)
    return lasts_s, rule


def _at_one_market(chance: Chance, **rule: Any) -> Details:
    endpoint = chance.choice(("klines", "klines", "open_interest", "funding"))
    market = round(chance.random(), 3)
    return {**rule, "market": market, "endpoint": endpoint, "probability": 1.0}


def _server_error(chance: Chance) -> Details:
    return {"kind": "status", "status": chance.choice((500, 502, 503, 504, 408))}


def _lists_broken(chance: Chance) -> Details:
    kind = chance.choice(("wrong_types", "truncated_json", "empty_body", "html_200", "nonsense"))
    odd = {"variant": chance.choice(("blank_entries", "unclear_entries"))}
    return {"kind": kind, "endpoint": list(_LISTS), **(odd if kind == "nonsense" else {})}


def _clock_off(chance: Chance) -> Details:
    """The time alone, or an old answer of a cache: the headers contradict it in either case.

    A clock that is off together with its headers is not drawn, as nobody could tell: the machine's
    clock is days from the simulated one, and the simulated one leaps.
    """
    variant = chance.choice(("body", "body", "cached"))
    far_ms = chance.choice((11_000, 300_000, 3 * 3_600_000, 3 * 365 * _DAY_MS))
    ahead = variant == "body" and chance.random() < 0.5
    return {
        "kind": "clock_offset",
        "variant": variant,
        "offset_ms": far_ms + 1_000 if ahead else -far_ms,
        "endpoint": "time",
        "probability": 1.0,
    }


_RULES: Final[Mapping[str, Callable[[Chance], Details]]] = {
    "server_error": _server_error,
    "html": lambda chance: {"kind": "html_200"},
    "truncated": lambda chance: {"kind": "truncated_json"},
    "wrong_types": lambda chance: {"kind": "wrong_types"},
    "empty": lambda chance: {"kind": "empty_body"},
    "reset": lambda chance: {"kind": "reset"},
    "hang": lambda chance: {"kind": "hang", "seconds": round(chance.uniform(1, 12), 1)},
    "slow": lambda chance: {"kind": "slow", "seconds": round(chance.uniform(0.1, 2), 1)},
    # Only once: the test is how the client reacts.
    "too_many_429": lambda chance: {
        "kind": "status", "status": 429, "exchange": "binance", "count": 1,
        "retry_after": chance.randint(1, 5), "probability": 1.0,
    },
    "banned_418": lambda chance: {
        "kind": "status", "status": 418, "exchange": "binance", "count": 1,
        "ban_s": chance.randint(2, 7), "probability": 1.0,
    },
    "too_frequent_403": lambda chance: {
        "kind": "status", "status": 403, "exchange": "bybit", "count": 1, "ban_s": 600,
        "probability": 1.0,
    },
    "too_many_10006": lambda chance: {
        "kind": "retcode", "code": 10006, "exchange": "bybit", "count": chance.randint(1, 8),
    },
    "busy_10016": lambda chance: {"kind": "retcode", "code": chance.choice((10000, 10016))},
    "too_many_50011": lambda chance: {
        "kind": "okx_code", "code": 50011, "exchange": "okx", "count": chance.randint(1, 8),
    },
    "busy_50013": lambda chance: {"kind": "okx_code", "code": chance.choice((50001, 50013))},
    "blocked_country": lambda chance: {"kind": "geo", "count": chance.randint(1, 3)},
    "short_pages": lambda chance: {"kind": "short_page"},
    "nonsense": lambda chance: _at_one_market(
        chance, kind="nonsense", variant=chance.choice(NONSENSE)
    ),
    # With 403, Bybit says that all requests are too frequent.
    "market_refused": lambda chance: _at_one_market(
        chance, kind="status", **chance.choice(
            ({"status": 451}, {"status": 403, "exchange": "binance"})
        ),
    ),
    "challenge": lambda chance: _at_one_market(
        chance, kind="challenge", variant=chance.choice(("", "denied"))
    ),
    "deep_nesting": lambda chance: _at_one_market(chance, kind="deep_nesting"),
    "long_message": lambda chance: _at_one_market(chance, kind="long_message"),
    "too_fast": lambda chance: {
        "kind": "too_fast", "per_s": chance.randint(5, 40),
        "variant": chance.choice(("cloudfront", "cloudflare")), "probability": 1.0,
    },
    "endless_continue": lambda chance: {
        "kind": "endless_continue", "seconds": round(chance.uniform(1, 12), 1),
    },
    "clock_off": _clock_off,
    "short_list": lambda chance: {
        "kind": "short_list", "endpoint": ["exchange_info", "instruments"], "probability": 1.0,
    },
    "endless_cursor": lambda chance: {"kind": "repeated_cursor"},
    "lists_broken": _lists_broken,
}  # fmt: skip
