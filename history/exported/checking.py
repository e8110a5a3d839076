"""What the rows of an export cannot say: numbers without an end, and knowledge of the future."""

from typing import Final

import numpy as np

from database import SeriesKey
from history.exported.pieces import ExportedRows
from market.timeframes import MINUTE_MS

# A host's clock may be somewhat behind an exchange's; more would let a backtest see the future.
_EARLIEST_MS: Final = MINUTE_MS


def check_rows(key: SeriesKey, rows: ExportedRows) -> None:
    """Raises ValueError for infinite numbers, for candles that are known before they close, and for
    other values that are known before their time."""
    if np.isinf(rows.values).any():
        raise ValueError("they have infinite numbers")
    length_ms = key.interval_ms if key.kind == "candles" else 0
    early = rows.known_at < rows.times + length_ms - _EARLIEST_MS
    if early.any():
        place = int(early.argmax())
        raise ValueError(
            f"that of {rows.times[place]} is known since {rows.known_at[place]}, before it can be"
        )
