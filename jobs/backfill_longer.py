"""Longer candles of a backfill that no window had whole: made from the stored shorter ones."""

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from database import DamagedRecord, Database, FillRows, SeriesKey
from history.backfill.bounds import Bounds
from history.backfill.ranges import Range, ceil, floor, without
from history.backfill.series import Series, Stage, Target, stages
from history.backfill.wanted import Wanted
from jobs.backfill_storing import Storing
from market.aggregation import aggregate
from market.columns import CANDLE
from market.markets import Exchange
from market.rows import Rows
from market.timeframes import Timeframe

_AT_ONCE_MS: Final = 400 * 24 * 3_600_000  # of a market's candles in memory


async def make_longer(
    database: Database,
    storing: Storing,
    wanted: Wanted,
    targets: Iterable[Target],
    bounds: Callable[[Exchange], Bounds],
) -> None:
    """Makes the longer candles that are lacking, where all that they are made of is stored, or the
    exchange has none of it. Raises DatabaseUnavailable, StoreUnavailable."""
    by_exchange: dict[Exchange, list[Target]] = {}
    for target in targets:
        by_exchange.setdefault(target.market.exchange, []).append(target)
    for exchange in wanted.exchanges:
        for stage in stages(exchange, wanted):
            for timeframe in stage.makes:
                for target in by_exchange.get(exchange, ()):
                    series = Series(stage, target)
                    try:
                        await _make(database, storing, wanted, series, timeframe, bounds(exchange))
                    except DamagedRecord as error:
                        storing.tally.failed(target.market.key, f"{timeframe}: {error}")


async def _make(
    database: Database,
    storing: Storing,
    wanted: Wanted,
    shorter: Series,
    timeframe: Timeframe,
    bounds: Bounds,
) -> None:
    longer = Series(Stage(shorter.stage.exchange, "candles", timeframe), shorter.target)
    source = shorter.stage.period
    assert source is not None  # noqa: S101 - candles have one
    for from_ms, to_ms in bounds.allowed(longer, wanted):
        for part in await database.history.missing(longer.key, from_ms, to_ms):
            for begin_ms in range(*part, _AT_ONCE_MS):
                some = begin_ms, min(part[1], begin_ms + _AT_ONCE_MS)
                lacking = await database.history.missing(shorter.key, *some)
                await storing.store(
                    [
                        await _made(database, shorter.key, source, longer.key, timeframe, whole)
                        for whole in _whole(some, lacking, timeframe.interval_ms)
                    ]
                )


def _whole(part: Range, lacking: Iterable[Range], interval_ms: int) -> list[Range]:
    """The longer candles of which nothing is lacking."""
    bad = [(floor(from_ms, interval_ms), ceil(to_ms, interval_ms)) for from_ms, to_ms in lacking]
    return without([part], bad)


async def _made(
    database: Database,
    shorter: SeriesKey,
    source: Timeframe,
    longer: SeriesKey,
    timeframe: Timeframe,
    part: Range,
) -> FillRows:
    async with database.history.snapshot() as snapshot:
        stored = (await snapshot.versions([shorter], *part))[shorter]
    values = np.full((len(stored.times), len(Rows.names)), np.nan)
    values[:, CANDLE] = stored.values
    rows = aggregate(Rows(stored.times, values), source, timeframe, window_start_ms=part[0])
    return FillRows(longer, *part, rows.times, rows.values[:, CANDLE], covered=True)
