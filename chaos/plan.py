"""The plan of a run: which fault begins when, and how long it lasts, drawn from the seed alone.

Faults of one lane follow each other; those of different lanes overlap. Targets that are known only
at run time (such as the worker that holds the lease) are named by their role ("holder"), so the
same seed always gives the same plan.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

# 2026-11-20 00:00 UTC (arbitrary); the seed adds up to a day.
_FIRST_MS: Final = 1_795_132_800_000
_DAY_MS: Final = 86_400_000
LEASE_S: Final = 3.0  # WORKER_LOCK_TTL_S of the run
_LAST_START_S: Final = 1.0  # no fault begins later than this before the end
_FULL_RUN_S: Final = 120.0  # shorter runs have shorter pauses between faults
# In this part of a long run the API is not restarted, so that growth of its memory shows.
_API_LIVES: Final = (0.3, 0.65)
_API_LIVES_FROM_S: Final = 150.0

Details = Mapping[str, Any]
Chance = random.Random


@dataclass(frozen=True, slots=True)
class Step:
    """One fault. It is removed after `lasts_s`; 0: it happens at one moment."""

    at_s: float
    lane: str
    kind: str
    lasts_s: float = 0.0
    details: Details = field(default_factory=dict)

    def __str__(self) -> str:
        details = " ".join(f"{name}={value}" for name, value in self.details.items())
        lasts = f"for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"{self.at_s:7.1f} s  {self.lane:<9} {self.kind:<20} {lasts:<11} {details}".rstrip()


@dataclass(frozen=True, slots=True)
class Plan:
    """The faults of a run; `start_ms` is the exchanges' time at its start.

    `over_rest`: the processes of the second host that reach the store over Upstash's REST API.
    `prefix`: the REDIS_PREFIX of all processes.
    """

    seed: int
    seconds: float
    start_ms: int
    over_rest: Sequence[str]
    prefix: str
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class _Lane:
    """`deck`: the kinds, repeated by weight; shuffled again when all have been drawn."""

    name: str
    deck: Sequence[str]
    pause_s: tuple[float, float]
    draw: Callable[[str, Chance], tuple[float, Details]]


def draw_plan(seed: int, seconds: float) -> Plan:
    """Draws the plan of `seed`; equal arguments give equal plans."""
    chance = _chance(seed, "start")
    start_ms = _FIRST_MS + chance.randrange(_DAY_MS)
    steps = sorted(
        (step for lane in _LANES for step in _steps(lane, seed, seconds)),
        key=lambda step: (step.at_s, step.lane),
    )
    over_rest = chance.choice((("api-2",), ("worker-2",), ("api-2", "worker-2")))
    prefix = chance.choice(("", "perp:"))
    return Plan(seed, seconds, start_ms, over_rest, prefix, steps)


def _spared(kind: str, at_s: float, seconds: float) -> str:
    lives = _API_LIVES[0] < at_s / seconds < _API_LIVES[1] and seconds >= _API_LIVES_FROM_S
    return "worker_killed" if lives and kind in _ENDS_API else kind


def every_fault() -> set[str]:
    """All possible faults, as "lane kind"."""
    return {f"{_shown(lane)} {kind}" for lane in _LANES for kind in lane.deck}


def _shown(lane: _Lane) -> str:
    return lane.name.rstrip("12")  # the exchanges have two lanes


def _steps(lane: _Lane, seed: int, seconds: float) -> Iterator[Step]:
    chance = _chance(seed, lane.name)
    haste = max(0.3, min(1.0, seconds / _FULL_RUN_S))
    at_s = chance.uniform(0, lane.pause_s[1]) * haste
    deck: list[str] = []
    while at_s < seconds - _LAST_START_S:
        if not deck:
            deck = list(lane.deck)
            chance.shuffle(deck)
        kind = _spared(deck.pop(), at_s, seconds)
        lasts_s, details = lane.draw(kind, chance)
        lasts_s = round(min(lasts_s, seconds - at_s), 1)
        yield Step(round(at_s, 1), _shown(lane), kind, lasts_s, details)
        at_s += lasts_s + chance.uniform(*lane.pause_s) * haste


def _chance(seed: int, what: str) -> Chance:
    return random.Random(f"{seed}:{what}")  # noqa: S311 - to be repeatable


# --- the exchanges -------------------------------------------------------------------------------

NONSENSE: Final = (
    "high_below_low", "negative_volume", "unsorted", "duplicate", "off_grid", "nan", "zero_price",
    "close_above_high", "disputed", "exponent", "extra_element", "blank_rate",
)  # fmt: skip
_ENDPOINTS: Final = ("klines", "klines", "open_interest", "funding", "time", None, None)
_LISTS: Final = ("exchange_info", "instruments", "funding_info", "premium_index", "tickers")
_EXCHANGE_FAULTS: Final = (
    "server_error", "server_error", "html", "truncated", "wrong_types", "empty", "reset", "hang",
    "slow", "too_many_429", "banned_418", "too_frequent_403", "too_many_10006", "busy_10016",
    "blocked_country", "short_pages", "nonsense", "nonsense", "endless_cursor", "lists_broken",
    "market_challenged", "market_nested", "long_message", "network_limit", "endless_continue",
)  # fmt: skip


def _exchange_fault(kind: str, chance: Chance) -> tuple[float, Details]:
    """The rule for POST /sim/faults; `market` (0..1) chooses one of the markets."""
    lasts_s = chance.uniform(0.7, 6.0)
    rule: dict[str, Any] = {}
    exchange = chance.choice(("binance", "bybit", None))
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


def _nonsense(chance: Chance) -> Details:
    return {
        "kind": "nonsense",
        "variant": chance.choice(NONSENSE),
        "market": round(chance.random(), 3),
        "endpoint": chance.choice(("klines", "klines", "open_interest", "funding")),
        "probability": 1.0,
    }


def _server_error(chance: Chance) -> Details:
    return {"kind": "status", "status": chance.choice((500, 502, 503, 504, 408))}


def _lists_broken(chance: Chance) -> Details:
    kind = chance.choice(("wrong_types", "truncated_json", "empty_body", "html_200", "nonsense"))
    blank = {"variant": "blank_entries"} if kind == "nonsense" else {}
    return {"kind": kind, "endpoint": list(_LISTS), **blank}


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
    "blocked_country": lambda chance: {"kind": "geo", "count": chance.randint(1, 3)},
    "short_pages": lambda chance: {"kind": "short_page"},
    "nonsense": _nonsense,
    "endless_cursor": lambda chance: {"kind": "repeated_cursor"},
    "lists_broken": _lists_broken,
    "market_challenged": lambda chance: {
        "kind": "challenge", "variant": chance.choice(("page", "denied")),
        "status": chance.choice((403, 503, 200)), "market": round(chance.random(), 3),
        "endpoint": chance.choice(("klines", "open_interest")), "probability": 1.0,
    },
    "market_nested": lambda chance: {
        "kind": "deep_nesting", "market": round(chance.random(), 3), "endpoint": "klines",
        "probability": 1.0,
    },
    "long_message": lambda chance: {
        "kind": "long_message", "rows": 200_000, "market": round(chance.random(), 3),
        "endpoint": "klines",
    },
    "network_limit": lambda chance: {
        "kind": "too_fast", "per_s": chance.randint(8, 20), "probability": 1.0,
        "variant": "cloudfront", "exchange": chance.choice(("binance", "bybit")),
    },
    "endless_continue": lambda chance: {"kind": "endless_continue", "count": chance.randint(1, 4)},
}  # fmt: skip


# --- everything else -----------------------------------------------------------------------------

# "holder" is the worker that holds the collecting lane's lease, or else any worker.
_PROCESS_FAULTS: Final = (
    "worker_killed", "worker_killed", "worker_ended", "worker_stopped", "worker_stopped",
    "api_killed", "api_stopped", "main_killed", "main_ended",
)  # fmt: skip
_ENDS_API: Final = frozenset(("api_killed", "main_killed", "main_ended"))
_STORE_FAULTS: Final = (
    "restarted", "killed", "unreachable", "full", "read_only", "connections_cut",
)  # fmt: skip
_LONG_AWAY_S: Final = 20.0


def _process_fault(kind: str, chance: Chance) -> tuple[float, Details]:
    if kind.startswith("worker"):
        who = chance.choice(("holder", "holder", "first", "second"))
        lasts_s = LEASE_S + chance.uniform(0.5, 3) if kind == "worker_stopped" else 0.0
        return lasts_s, {"who": who}
    details = {"process": round(chance.random(), 3)} if kind == "api_killed" else {}
    return (chance.uniform(1, 4) if kind == "api_stopped" else 0.0), details


def _store_fault(kind: str, chance: Chance) -> tuple[float, Details]:
    if kind == "connections_cut":
        return 0.0, {}
    long = kind == "unreachable" and chance.random() < 0.3
    return (_LONG_AWAY_S if long else chance.uniform(0.5, 6.0)), {}


def _database_fault(kind: str, chance: Chance) -> tuple[float, Details]:
    return chance.uniform(0.5, 7.0), {}


def _client_fault(kind: str, chance: Chance) -> tuple[float, Details]:
    count = {"idle": 200, "half_open": 50, "junk": 60, "aborted": 30, "slow_readers": 10}[kind]
    return chance.uniform(1.0, 5.0), {"count": chance.randint(count // 4, count)}


def _clock_move(kind: str, chance: Chance) -> tuple[float, Details]:
    """Advances by `ms`, or to `beyond_ms` after (if negative: before) the end of an interval."""
    if kind == "tick":
        return 0.0, {"ms": chance.randrange(2_000, 90_000)}
    if kind == "leap":
        return 0.0, {"ms": chance.randrange(3_600_000, 30 * 3_600_000)}
    interval_ms = chance.choice((300_000, 300_000, 900_000, 3_600_000, 4 * 3_600_000))
    beyond_ms = chance.randrange(0, 8_000) if kind == "new_candle" else -chance.randrange(1, 2_000)
    return 0.0, {"interval_ms": interval_ms, "beyond_ms": beyond_ms}


def _listing_change(kind: str, chance: Chance) -> tuple[float, Details]:
    exchange = chance.choice(("binance", "bybit"))
    if kind == "delisted":
        return 0.0, {"exchange": exchange, "market": round(chance.random(), 3)}
    age_ms = chance.choice((0, 3_600_000, 3 * _DAY_MS, 40 * _DAY_MS))
    return 0.0, {"exchange": exchange, "age_ms": age_ms, "number": chance.randrange(10**6)}


_LANES: Final = (
    _Lane("exchange1", _EXCHANGE_FAULTS, (0.3, 3.0), _exchange_fault),
    _Lane("exchange2", _EXCHANGE_FAULTS, (1.0, 8.0), _exchange_fault),
    _Lane("process", _PROCESS_FAULTS, (3.0, 8.0), _process_fault),
    _Lane("store", _STORE_FAULTS, (4.0, 11.0), _store_fault),
    _Lane("database", ("restarted", "killed", "unreachable"), (10.0, 25.0), _database_fault),
    _Lane(
        "client",
        ("aborted", "slow_readers", "junk", "half_open", "idle"),
        (1.0, 6.0),
        _client_fault,
    ),
    _Lane(
        "clock",
        ("tick",) * 6 + ("new_candle",) * 5 + ("nearly_closed",) * 2 + ("leap",),
        (1.0, 5.0),
        _clock_move,
    ),
    _Lane("listing", ("listed", "delisted", "listed"), (15.0, 40.0), _listing_change),
)
