"""The plan of a run: which fault begins when, and how long it lasts, drawn from the seed alone.

Faults of one lane follow each other; those of different lanes overlap. Targets that are known only
at run time (such as the worker that holds the lease) are named by their role ("holder"), so the
same seed always gives the same plan.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from chaos.exchange_faults import EXCHANGE_FAULTS, exchange_fault
from chaos.names import EXCHANGES
from chaos.stream_faults import STREAM_FAULTS, stream_fault

# 2026-11-20 00:00 UTC (arbitrary); the seed adds up to a day.
_FIRST_MS: Final = 1_795_132_800_000
_DAY_MS: Final = 86_400_000
LEASE_S: Final = 3.0  # WORKER_LOCK_TTL_S of the run
_LAST_START_S: Final = 1.0  # no fault begins later than this before the end
_FULL_RUN_S: Final = 120.0  # shorter runs have shorter pauses between faults
# In this part of a long run the API is not restarted, so that growth of its memory shows.
_API_LIVES: Final = (0.3, 0.65)
_API_LIVES_FROM_S: Final = 150.0
_SHARES_OF_ALL: Final = (0.0, 0.25, 0.5, 0.5, 1.0)
LIVE_LEASE_S: Final = 15.0  # of those who feed the streams' candles

Details = Mapping[str, Any]
Chance = random.Random


class Mode(StrEnum):
    """What a run breaks. POLLING: no streams, and the exchanges' time stands still between moves,
    so that forming candles are known exactly. Else time flows, and streams are fed. STREAMS: they,
    who feeds them and whole exchanges break, so that freshness is owed; EVERYTHING: all does."""

    POLLING = "polling"
    STREAMS = "streams"
    EVERYTHING = "everything"


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
    `prefix`: the REDIS_PREFIX of all processes. `asks`: whether clients ask at any time, beside the
    timer that asks for all at every close of time that flows. `share_of_all`: which part of their
    requests for candles is for all timeframes; `first_all`: whether all are collected at once in
    the beginning.
    """

    seed: int
    seconds: float
    mode: Mode
    start_ms: int
    over_rest: Sequence[str]
    prefix: str
    share_of_all: float
    first_all: bool
    asks: bool
    steps: Sequence[Step]

    @property
    def live(self) -> bool:
        return self.mode is not Mode.POLLING


@dataclass(frozen=True, slots=True)
class _Lane:
    """`deck`: the kinds, repeated by weight; shuffled again when all have been drawn."""

    name: str
    deck: Sequence[str]
    pause_s: tuple[float, float]
    draw: Callable[[str, Chance], tuple[float, Details]]


def draw_plan(seed: int, seconds: float, mode: Mode | None = None) -> Plan:
    """Draws the plan of `seed`, its mode too unless it is given; equal arguments, equal plans."""
    chance = _chance(seed, "start")
    start_ms = _FIRST_MS + chance.randrange(_DAY_MS)
    over_rest = chance.choice((("api-2",), ("worker-2",), ("api-2", "worker-2")))
    prefix = chance.choice(("", "perp:"))
    share_of_all = chance.choice(_SHARES_OF_ALL)
    first_all = chance.random() < share_of_all
    asks, drawn = True, chance.choice(tuple(Mode))
    mode = drawn if mode is None else mode
    if mode is not Mode.POLLING:
        over_rest = chance.choice((over_rest, ("live-2",), ("worker-2", "live-2")))
        first_all = True
        asks = mode is Mode.EVERYTHING or chance.random() < 0.4
    steps = sorted(
        (step for lane in _LANES[mode] for step in _steps(lane, seed, seconds)),
        key=lambda step: (step.at_s, step.lane),
    )
    return Plan(
        seed, seconds, mode, start_ms, over_rest, prefix, share_of_all, first_all, asks, steps
    )


def _spared(kind: str, at_s: float, seconds: float) -> str:
    lives = _API_LIVES[0] < at_s / seconds < _API_LIVES[1] and seconds >= _API_LIVES_FROM_S
    return "worker_killed" if lives and kind in _ENDS_API else kind


def every_fault(mode: Mode) -> set[str]:
    """All possible faults, as "lane kind"."""
    return {f"{_shown(lane)} {kind}" for lane in _LANES[mode] for kind in lane.deck}


def _shown(lane: _Lane) -> str:
    return lane.name.rstrip("12")  # some have two lanes


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


# --- everything else -----------------------------------------------------------------------------

# "holder" is the worker that holds the collecting lane's lease, or else any worker.
_PROCESS_FAULTS: Final = (
    "worker_killed", "worker_killed", "worker_ended", "worker_stopped", "worker_stopped",
    "api_killed", "api_stopped", "main_killed", "main_ended",
)  # fmt: skip
_ENDS_API: Final = frozenset(("api_killed", "main_killed", "main_ended"))
_STORE_FAULTS: Final = (
    "restarted", "killed", "unreachable", "full", "read_only", "connections_cut", "foreign_value",
    "bases_lost",
)  # fmt: skip
# Keys that get a value of a foreign type: their content must come back by itself.
_FOREIGN_KEYS: Final = (
    "lock:worker", "lock:funding", "cache:1h", "cache:8h", "cache:8h:chunks", "cache:global_fr",
    "cache:base:binance", "cache:base:bybit:meta", "cache:base:okx",
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
    if kind in ("connections_cut", "bases_lost"):
        return 0.0, {}
    if kind == "foreign_value":
        return 0.0, {"key": chance.choice(_FOREIGN_KEYS)}
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
    if kind == "corrected":
        lasts_s, market = chance.uniform(0.3, 2.5), round(chance.random(), 3)
        return lasts_s, {"beyond_ms": chance.randrange(0, 8_000), "market": market}
    interval_ms = chance.choice((300_000, 300_000, 900_000, 3_600_000, 4 * 3_600_000))
    beyond_ms = chance.randrange(0, 8_000) if kind == "new_candle" else -chance.randrange(1, 2_000)
    return 0.0, {"interval_ms": interval_ms, "beyond_ms": beyond_ms}


def _listing_change(kind: str, chance: Chance) -> tuple[float, Details]:
    exchange = chance.choice(EXCHANGES)
    if kind == "delisted":
        return 0.0, {"exchange": exchange, "market": round(chance.random(), 3)}
    age_ms = chance.choice((0, 3_600_000, 3 * _DAY_MS, 40 * _DAY_MS))
    return 0.0, {"exchange": exchange, "age_ms": age_ms, "number": chance.randrange(10**6)}


# "holder" is the process that feeds the streams of an exchange, "second" that of the second host.
_LIVE_FAULTS: Final = ("killed", "killed", "ended", "stopped", "stopped")


def _live_fault(kind: str, chance: Chance) -> tuple[float, Details]:
    who = chance.choice((*EXCHANGES, *EXCHANGES, "first", "second"))
    lasts_s = LIVE_LEASE_S + chance.uniform(0.5, 8) if kind == "stopped" else 0.0
    return lasts_s, {"who": who}


def _network_fault(kind: str, chance: Chance) -> tuple[float, Details]:
    """The whole network to one exchange, or to all, refuses: REST and streams."""
    return chance.uniform(2.0, 15.0), {"exchange": chance.choice((*EXCHANGES, "all"))}


_EXCHANGES: Final = (
    _Lane("exchange1", EXCHANGE_FAULTS, (0.3, 3.0), exchange_fault),
    _Lane("exchange2", EXCHANGE_FAULTS, (1.0, 8.0), exchange_fault),
)
_OTHERS: Final = (
    _Lane("process", _PROCESS_FAULTS, (3.0, 8.0), _process_fault),
    _Lane("store", _STORE_FAULTS, (4.0, 11.0), _store_fault),
    _Lane("database", ("restarted", "killed", "unreachable"), (10.0, 25.0), _database_fault),
    _Lane(
        "client",
        ("aborted", "slow_readers", "junk", "half_open", "idle"),
        (1.0, 6.0),
        _client_fault,
    ),
)
_CLOCK: Final = _Lane(
    "clock",
    ("tick",) * 6 + ("new_candle",) * 5 + ("nearly_closed",) * 2 + ("leap",) + ("corrected",) * 2,
    (1.0, 5.0),
    _clock_move,
)
_LISTING: Final = _Lane("listing", ("listed", "delisted", "listed"), (15.0, 40.0), _listing_change)
_STREAMS: Final = (
    _Lane("stream1", STREAM_FAULTS, (0.5, 5.0), stream_fault),
    _Lane("stream2", STREAM_FAULTS, (2.0, 12.0), stream_fault),
    _Lane("live", _LIVE_FAULTS, (8.0, 30.0), _live_fault),
    _Lane("network", ("refused",), (30.0, 70.0), _network_fault),
)
_LANES: Final[Mapping[Mode, Sequence[_Lane]]] = {
    Mode.POLLING: (*_EXCHANGES, *_OTHERS, _CLOCK, _LISTING),
    # The feed writes on while the store restarts.
    Mode.STREAMS: (
        *_STREAMS,
        _LISTING,
        _Lane("store", ("restarted", "connections_cut"), (25.0, 60.0), _store_fault),
    ),
    Mode.EVERYTHING: (*_STREAMS, *_EXCHANGES, *_OTHERS, _LISTING),
}
