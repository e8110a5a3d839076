"""Series of the record: their names, and rows of one as they are stored and read; no SQL."""

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from market.rows import Floats, Times, on_grid
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe

Kind = Literal["candles", "open_interest", "funding"]

OPEN_INTEREST_MS: Final = 5 * MINUTE_MS
FUNDING_MS: Final = 8 * HOUR_MS  # nominal: settlements may fall anywhere
CHUNK_INSTANTS: Final = 576
NEVER_MS: Final = 2**63 - 1  # `known_to` of a value that nothing has superseded
# What is told of the past for `unrecorded`: since when a bot could have had it from an exchange.
_PUBLICATION_MS: Final = {"open_interest": 3 * MINUTE_MS, "funding": MINUTE_MS}


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """One series: candles of a timeframe, or a market's open interest or funding settlements."""

    exchange: str
    symbol: str
    kind: Kind
    interval_ms: int

    @classmethod
    def candles(cls, exchange: str, symbol: str, timeframe: Timeframe) -> "SeriesKey":
        return cls(exchange, symbol, "candles", timeframe.interval_ms)

    @classmethod
    def open_interest(cls, exchange: str, symbol: str) -> "SeriesKey":
        return cls(exchange, symbol, "open_interest", OPEN_INTEREST_MS)

    @classmethod
    def funding(cls, exchange: str, symbol: str) -> "SeriesKey":
        return cls(exchange, symbol, "funding", FUNDING_MS)

    @property
    def width(self) -> int:
        """The numbers of one instant: open, high, low, close, volume, turnover; or one value."""
        return 6 if self.kind == "candles" else 1

    @property
    def public_after_ms(self) -> int:
        """How long after `t` the exchange shows the value: a candle's length, or a usual delay."""
        return _PUBLICATION_MS.get(self.kind, self.interval_ms)


def _no_times() -> Times:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class SeriesRows:
    """Rows to store: `times` (n) ascend, `values` (n, width); `removed`: times to remove.
    `corrects`: False if they say nothing of times of which a value is stored.

    Times of candles and open interest lie on the grid of `interval_ms`.
    """

    key: SeriesKey
    times: Times
    values: Floats
    removed: Times = field(default_factory=_no_times)
    corrects: bool = True

    def check(self) -> None:
        """Raises ValueError if they cannot be stored as they are."""
        key = self.key
        if self.values.shape != (len(self.times), key.width):
            raise ValueError(f"{key}: {len(self.times)} times, values of shape {self.values.shape}")
        step_ms = 1 if key.kind == "funding" else key.interval_ms
        for times in (self.times, self.removed):
            if len(times) and not on_grid(times, step_ms):
                raise ValueError(f"{key}: times that do not ascend, or are off the grid")


@dataclass(frozen=True, slots=True)
class Versions:
    """What is known of a series: `times` (n) ascend, `values` (n, width), `known_at` (n), ms.

    `unrecorded`: how many of them were not known then, and are told as if they had been.
    """

    times: Times
    values: Floats
    known_at: Times
    unrecorded: int = 0


@dataclass(frozen=True, slots=True)
class Revisions:
    """Every version of every instant, ascending by time and then by `known_from`.

    `known_to` is NEVER_MS for what still is known.
    """

    times: Times
    values: Floats
    known_from: Times
    known_to: Times


@dataclass(frozen=True, slots=True)
class RangeState:
    """The state of what is stored of a range: an equal `mark` means that nothing of it has changed.

    `newest_ms`: nothing of the range has changed after that. Both may tell of more than the range:
    of the chunks that reach into it, and that rows have moved into chunks.
    """

    mark: str
    newest_ms: int | None


@dataclass(frozen=True, slots=True)
class Stored:
    """What storing changed, in rows. `refused`: series whose names the database cannot hold."""

    added: int = 0
    corrected: int = 0
    removed: int = 0
    unchanged: int = 0
    refused: tuple[SeriesKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Compacted:
    """Rows that went into chunks, and the chunks that were written."""

    rows: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class Retained:
    """What retention removed: chunks, rows that were in none, and superseded values."""

    chunks: int = 0
    rows: int = 0
    revisions: int = 0


@dataclass(frozen=True, slots=True)
class Hole:
    """Instants of a series' grid that nothing is stored of, from `from_ms` to before `to_ms`."""

    key: SeriesKey
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Checked:
    """What an integrity check found. `faults`: what must not be, in plain words. `damaged`: the
    slots of chunks that do not hold what was stored, which are among them."""

    series: int = 0
    chunks: int = 0
    rows: int = 0
    faults: tuple[str, ...] = ()
    holes: tuple[Hole, ...] = ()
    damaged: tuple[tuple[SeriesKey, int], ...] = ()
