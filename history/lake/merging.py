"""Puts rows of a file that the record no longer has before those that it has, market by market."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import numpy as np

from history.lake.reading import Batch, MarketRows


async def merged(
    old: Iterator[MarketRows], new: AsyncGenerator[Batch, None]
) -> AsyncGenerator[Batch, None]:
    """Both ascend by market; of one market all old rows are before the new ones."""
    kept = next(old, None)
    async with aclosing(new):
        async for batch in new:
            found: Batch = []
            for rows in batch:
                before: Batch = []
                while kept is not None and kept.symbol <= rows.symbol:
                    (before if kept.symbol == rows.symbol else found).append(kept)
                    kept = next(old, None)
                found.append(_joined([*before, rows]) if before else rows)
            yield found
    while kept is not None:
        yield [kept]
        kept = next(old, None)


def _joined(parts: Batch) -> MarketRows:
    return MarketRows(
        parts[0].symbol,
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.known_at for part in parts]),
    )
