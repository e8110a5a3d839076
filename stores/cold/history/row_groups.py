"""Rows of the record as the database tells them, as columns for each series."""

from collections.abc import Iterator, Sequence

import asyncpg
import numpy as np

from market.rows import Floats, Times


def by_series(
    rows: Sequence[asyncpg.Record], count: int
) -> Iterator[tuple[int, list[Times], Floats]]:
    """Rows of a series' id, so many whole numbers, of which the first is the time, and values:
    for each series these columns and lines of values, ascending."""
    if not rows:
        return
    ids, *columns = zip(*rows, strict=True)
    every = np.array(ids, np.int64)
    whole = [np.array(column, np.int64) for column in columns[:count]]
    values = np.array(columns[count:], np.float64).reshape(-1, len(rows)).T
    order = np.lexsort((*reversed(whole), every))
    begins = np.flatnonzero(np.append(True, np.diff(every[order])))
    for lines in np.split(order, begins[1:]):
        yield int(every[lines[0]]), [column[lines] for column in whole], values[lines]
