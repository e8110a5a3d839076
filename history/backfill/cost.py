"""The cost of a backfill: requests, time and space, by exchange and kind of data. Pure.

It is told from the page limits of the venues' tables, within a share of the budgets. Requests that
are repeated, and pages that come short, are not in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from history.backfill.asks import runs
from history.backfill.ranges import Range
from history.backfill.series import Series, Stage
from history.backfill.shares import Shares, quantity_of
from history.backfill.wanted import What
from market.markets import Exchange
from venues import VENUES

# Of a row in the record's chunks: of candles as measured (docs/history-sql.md), of others about.
_ROW_BYTES: Final[dict[What, int]] = {"candles": 30, "open_interest": 8, "funding": 10}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one exchange's data of one kind: a timeframe, `open_interest` or `funding`.

    `rows`: at most, as a market may have holes. `seconds`: within the share of the budget, if
    nothing else is asked of the same limit; of one by market for the market that lacks the most,
    as others are asked for meanwhile.
    """

    exchange: Exchange
    name: str
    requests: int
    rows: int
    bytes: int
    seconds: float


@dataclass(slots=True)
class _Sum:
    """`heaviest`: the weight of the series that needs the most."""

    requests: int = 0
    weight: int = 0
    heaviest: int = 0
    rows: int = 0


_Place = tuple[Stage, int, tuple[Range, ...], tuple[Range, ...]]


class Costs:
    """Sums of asks by stage. `fraction`: the setting RATE_FRACTION; `shares`: of what it leaves;
    `addresses`: from so many the exchanges are asked, each of which has limits of its own."""

    def __init__(self, fraction: float, shares: Shares, addresses: int = 1) -> None:
        self._fraction = fraction
        self._addresses = addresses
        self._shares = shares
        self._sums: dict[Stage, _Sum] = {}
        self._known: dict[_Place, _Sum] = {}

    def add(self, series: Series, allowed: Sequence[Range], missing: Sequence[Range]) -> int:
        """Counts the asks of one series; returns how many there are."""
        stage = series.stage
        place = stage, series.step_ms, tuple(allowed), tuple(missing)
        if place not in self._known:  # most markets lack the same
            one = self._known[place] = _Sum()
            for ask, count in runs(series, allowed, missing):
                one.requests += count
                one.weight += count * ask.weight
                one.rows += count * ask.rows
        one, found = self._known[place], self._sums.setdefault(stage, _Sum())
        found.requests += one.requests
        found.weight += one.weight
        found.heaviest = max(found.heaviest, one.weight)
        found.rows += one.rows
        for made in stage.makes:
            sums = self._sums.setdefault(Stage(stage.exchange, "candles", made), _Sum())
            assert stage.period is not None  # noqa: S101 - candles have one
            sums.rows = found.rows * stage.period.interval_ms // made.interval_ms
        return one.requests

    @property
    def requests(self) -> int:
        return sum(each.requests for each in self._sums.values())

    def lines(self) -> list[Cost]:
        """In the order in which the stages were added; open interest in all its periods is one."""
        found: dict[tuple[Exchange, str], Cost] = {}
        for stage, each in self._sums.items():
            if not each.rows:
                continue
            exchange, name = stage.exchange, stage.name
            before = found.get((exchange, name), Cost(exchange, name, 0, 0, 0, 0.0))
            found[exchange, name] = Cost(
                exchange,
                name,
                before.requests + each.requests,
                before.rows + each.rows,
                before.bytes + each.rows * _ROW_BYTES[stage.what],
                before.seconds + self._seconds(exchange, stage.table.counter, each),
            )
        return list(found.values())

    def by_limit(self) -> dict[tuple[Exchange, str], tuple[int, float]]:
        """Requests and seconds, by exchange and limit."""
        found: dict[tuple[Exchange, str], tuple[int, float]] = {}
        for stage, each in self._sums.items():
            where = stage.exchange, stage.table.counter
            requests, seconds = found.get(where, (0, 0.0))
            seconds += self._seconds(*where, each)
            found[where] = requests + each.requests, seconds
        return found

    @property
    def seconds(self) -> float:
        """Of all: limits are used side by side, so it is the time of the slowest one."""
        return max((seconds for _, seconds in self.by_limit().values()), default=0.0)

    def _seconds(self, exchange: Exchange, counter: str, asked: _Sum) -> float:
        limit = VENUES[exchange].limits[counter]
        weight = asked.heaviest if limit.by_market else asked.weight
        quantity = quantity_of(exchange, counter, self._fraction) * self._shares[exchange, counter]
        return weight * limit.window_s / quantity / self._addresses
