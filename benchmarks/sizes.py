"""The sizes of the benchmarks: full ones, and small ones for tests."""

from dataclasses import dataclass
from typing import Final

from benchmarks.markets import Counts


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes; numbers of markets are by exchange, in the order of market.markets.Exchange."""

    runs: int = 5
    seconds: float = 2.0  # of load on each side of a serving row; half for short answers
    connections: int = 16
    large: tuple[int, int] = (1000, 499)  # markets, rows
    small: tuple[int, int] = (100, 100)
    readers: int = 50
    cold: tuple[int, int] = (450, 500)
    long_shards: int = 1  # runs of the row of shards that lasts for minutes
    latency_ms: int = 50
    ccxt: int = 40  # markets of each exchange
    bodies: int = 30  # markets of each exchange
    growth: tuple[int, ...] = (100, 300, 1000, 2000)  # of both exchanges together
    history: int = 499
    history_rows: int = 1_000_000  # read over HTTP
    filled_rows: int = 105_120  # a year of 5m
    closes: Counts = (450, 500, 300)
    # Of the exchanges that the code before knew; the simulator bounds how long this lasts.
    closes_cpu: Counts = (225, 250)
    larger: Counts = (530, 550, 300)  # of closes, those above included
    closes_apart_s: int = 300  # from the close that warms a worker to the one that is measured
    streamed_closes: int = 3  # the first of them at midnight
    history_markets: int = 1000
    closes_of_day: int = 288  # of 5m
    short_runs: int = 3000  # of workers
    provider_calls: int = 2000
    disk_markets: int = 20
    disk_days: int = 96  # of whole chunks of 5m to 2h
    bots: tuple[int, int, int, int] = (40, 1300, 360, 300)  # whole, one market, newest, events
    bots_s: float = 60.0
    bots_pace_s: float = 5.0
    bots_versions: int = 3
    bots_events: int = 1000  # listeners of the row of events alone
    running_s: float = 900.0  # a quarter of an hour has every kind of close but the hourly ones
    running_window_s: float = 30.0


FULL: Final = Sizes()
TINY: Final = Sizes(
    runs=1,
    seconds=0.2,
    connections=4,
    large=(20, 50),
    small=(4, 10),
    readers=5,
    cold=(3, 3),
    latency_ms=5,
    ccxt=2,
    bodies=2,
    growth=(4, 8),
    history=60,
    history_rows=3000,
    filled_rows=3000,
    closes=(3, 3, 3),
    closes_cpu=(3, 3),
    larger=(4, 4, 4),
    closes_apart_s=4,
    streamed_closes=1,
    history_markets=4,
    closes_of_day=13,
    short_runs=20,
    provider_calls=20,
    disk_markets=2,
    disk_days=4,
    bots=(1, 6, 2, 4),
    bots_s=2.0,
    bots_pace_s=0.5,
    bots_versions=1,
    bots_events=5,
    running_s=6.0,
    running_window_s=2.0,
)
