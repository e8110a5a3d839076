"""Puts rows of a file that the record no longer has among those that it has, market by market."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing

import numpy as np

from history.lake.reading import Batch, MarketRows
from market.rows import located

# Those of the rows of which the record has nothing, nor ever took anything back.
Gone = Callable[[MarketRows], Awaitable[MarketRows]]


async def merged(
    old: Iterator[MarketRows], new: AsyncGenerator[Batch, None], gone: Gone
) -> AsyncGenerator[Batch, None]:
    """Both ascend by market and time; where both have a row, that of `new` counts."""
    kept = next(old, None)
    async with aclosing(new):
        async for batch in new:
            found: Batch = []
            for rows in batch:
                while kept is not None and kept.symbol < rows.symbol:
                    found += _any(await gone(kept))
                    kept = next(old, None)
                among: Batch = []
                while kept is not None and kept.symbol == rows.symbol:
                    place = int(kept.times.searchsorted(rows.times[-1], "right"))
                    among.append(kept.between(0, place))
                    if place < len(kept):
                        kept = kept.between(place, len(kept))
                        break
                    kept = next(old, None)
                found.append(await _with_gone(rows, among, gone))
            yield found
    while kept is not None:
        if some := _any(await gone(kept)):
            yield some
        kept = next(old, None)


def _any(rows: MarketRows) -> Batch:
    return [rows] if len(rows) else []


async def _with_gone(rows: MarketRows, old: Batch, gone: Gone) -> MarketRows:
    """The rows, and those of the old ones that are gone."""
    parts = [rows]
    for each in old:
        there, _ = located(each.times, rows.times)
        if not there.all():
            parts.append(await gone(each.select(~there)))
    if not any(map(len, parts[1:])):
        return rows
    times = np.concatenate([part.times for part in parts])
    order = np.argsort(times, kind="stable")
    values = np.concatenate([part.values for part in parts])
    known_at = np.concatenate([part.known_at for part in parts])
    return MarketRows(rows.symbol, times[order], values[order], known_at[order])
