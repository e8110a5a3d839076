"""Audits: once a day each market's candles of each timeframe are compared with the exchange's own.

They find what a base cannot: candles that the exchange changed behind the rows that a pass reads
again, and what it shows in one timeframe only.
"""

from collections.abc import Container
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from data_collector.doubts import Doubts
from market.base import Base
from market.columns import CANDLE, column_index
from market.markets import MissingPart
from market.rows import Rows, are_same_candles, candle_values
from market.timeframes import DAY_MS, Timeframe, is_daily_moment_passed

_INTEREST = column_index("open_interest")

_Place = tuple[str, Timeframe]  # Market.key and timeframe


class Difference(NamedTuple):
    """A row of a document that the exchange shows otherwise; None: one side lacks it."""

    part: MissingPart
    open_time: int
    ours: object
    theirs: object


@dataclass(slots=True)
class Audits:
    """Which markets' timeframes have to be audited, and what audits have found; one for each
    worker process.

    `suspect`: Market.key of those whose base has to be read anew, as a candle or a snapshot within
    its reach was another; `forgotten`: their bases, until those are. `filled`: what was audited
    because it lacked the columns of trades.
    """

    _pending: set[_Place] = field(default_factory=set)
    doubts: Doubts = field(default_factory=Doubts)
    suspect: set[str] = field(default_factory=set)
    forgotten: dict[str, Base] = field(default_factory=dict)
    filled: set[tuple[str, Timeframe]] = field(default_factory=set)
    _native_until_ms: dict[_Place, int] = field(default_factory=dict)

    def is_due(self, key: str, timeframe: Timeframe, since_ms: int, as_of_ms: int) -> bool:
        """Whether the market's daily moment has passed since its rows were made at `since_ms`, or
        an audit has not been finished since then."""
        place = key, timeframe
        if is_daily_moment_passed(f"{key} {timeframe}", since_ms, as_of_ms):
            self._pending.add(place)
        return place in self._pending

    def is_native(self, key: str, timeframe: Timeframe, as_of_ms: int) -> bool:
        """Whether the market's candles of this timeframe are asked for, as an audit has found
        others than those made from the base."""
        return as_of_ms < self._native_until_ms.get((key, timeframe), 0)

    def finished(
        self, key: str, timeframe: Timeframe, as_of_ms: int, *, candles_differ: bool
    ) -> None:
        """The audit was made. If candles differ, the timeframe is native for a day, and the
        market's others are audited, too."""
        place = key, timeframe
        self._pending.discard(place)
        self._native_until_ms.pop(place, None)
        if candles_differ:
            self._native_until_ms[place] = as_of_ms + DAY_MS
            others = (other for other in Timeframe if other is not timeframe)
            self._pending.update(
                (key, other) for other in others if not self.is_native(key, other, as_of_ms)
            )


def differences(
    ours: Rows, theirs: Rows, unproven: Container[int], invalid: Container[int] = ()
) -> list[Difference]:
    """How the rows of the same window differ in candles or in open interest that both know.

    `unproven`: times of which we know nothing; `invalid`: those whose rows they sent as invalid
    ones, which says nothing of ours.
    """
    found: list[Difference] = []
    at = {time_ms: line for line, time_ms in enumerate(theirs.times.tolist())}
    for line, time_ms in enumerate(ours.times.tolist()):
        mine = ours.values[line]
        place = at.pop(time_ms, None)
        if place is None:
            if time_ms in invalid:
                continue
            found.append(Difference("klines", time_ms, mine[CANDLE].tolist(), None))
            continue
        other = theirs.values[place]
        candle, shown = (candle_values(line[None]) for line in (mine, other))
        if not are_same_candles(candle, shown).all():
            found.append(Difference("klines", time_ms, candle[0].tolist(), shown[0].tolist()))
        known, told = float(mine[_INTEREST]), float(other[_INTEREST])
        if known != told and not np.isnan(known) and not np.isnan(told):
            found.append(Difference("open_interest", time_ms, known, told))
    found += (
        Difference("klines", time_ms, None, theirs.values[line][CANDLE].tolist())
        for time_ms, line in at.items()
        if time_ms not in unproven
    )
    return sorted(found, key=lambda each: (each.open_time, each.part))
