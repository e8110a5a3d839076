"""Plans a backfill: what each series still lacks, and what asking for it costs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from database import Covered, SeriesKey
from history.backfill.asks import Ask, asks, in_turn
from history.backfill.bounds import Bounds
from history.backfill.cost import Costs
from history.backfill.ranges import Range, without
from history.backfill.series import Series, Stage, Target, stages
from history.backfill.wanted import Wanted
from market.markets import Exchange

Where = tuple[Exchange, str]  # an exchange and one of its limits


class Lacking(Protocol):
    """Which ranges of a series are to be asked for: what has neither a row nor coverage."""

    async def missing(
        self, key: SeriesKey, from_ms: int, to_ms: int, *, step_ms: int | None = None
    ) -> Sequence[Range]: ...


@dataclass(slots=True)
class Planned:
    """A series with what it lacks, and the ranges that this lies in."""

    series: Series
    allowed: Sequence[Range]
    missing: Sequence[Range]

    def asks(self) -> Iterator[Ask]:
        return asks(self.series, self.allowed, self.missing)


@dataclass(slots=True)
class Plan:
    """What is to be asked of each exchange, by limit: stage by stage, of each stage the newest
    window of all markets first."""

    costs: Costs
    stages: dict[Where, list[tuple[Stage, list[Planned]]]] = field(default_factory=dict)

    def asks(self, where: Where) -> Iterator[Ask]:
        """The asks of one limit, in their order."""
        return chain.from_iterable(
            in_turn(planned.asks() for planned in some) for _, some in self.stages[where]
        )


async def plan(
    wanted: Wanted,
    targets: Iterable[Target],
    bounds: Callable[[Exchange], Bounds],
    lacking: Lacking,
    costs: Costs,
    looked: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """What is to be asked; `looked(done, total)` counts series. Raises what `lacking` raises."""
    found = Plan(costs)
    wished = _series(wanted, targets)
    total = sum(len(some) for _, some in wished)
    done = 0
    for stage, some in wished:
        planned = []
        for series in some:
            allowed = bounds(stage.exchange).allowed(series, wanted)
            missing: list[Range] = []
            for part in allowed:
                missing += await lacking.missing(series.key, *part, step_ms=series.grid_ms)
            if costs.add(series, allowed, missing):
                planned.append(Planned(series, allowed, missing))
            done += 1
            looked(done, total)
        if planned:
            where = stage.exchange, stage.table.counter
            found.stages.setdefault(where, []).append((stage, planned))
    return found


def estimate(
    wanted: Wanted,
    targets: Iterable[Target],
    bounds: Callable[[Exchange], Bounds],
    coverage: Mapping[SeriesKey, Sequence[Covered]],
    costs: Costs,
) -> Costs:
    """What it costs at most, by what is covered alone: of what is not, some may be stored. CPU
    work: up to a second for 1000 markets and all timeframes."""
    for stage, some in _series(wanted, targets):
        for series in some:
            allowed = bounds(stage.exchange).allowed(series, wanted)
            grid_ms = series.grid_ms or 1
            covered = [
                (each.from_ms, each.to_ms)
                for each in coverage.get(series.key, ())
                if grid_ms % each.step_ms == 0
            ]
            costs.add(series, allowed, without(allowed, covered))
    return costs


def keys_of(wanted: Wanted, targets: Iterable[Target]) -> list[SeriesKey]:
    """The series of the record that a wish asks for."""
    return [series.key for _, some in _series(wanted, targets) for series in some]


def _series(wanted: Wanted, targets: Iterable[Target]) -> list[tuple[Stage, list[Series]]]:
    by_exchange: dict[Exchange, list[Target]] = {}
    for target in targets:
        by_exchange.setdefault(target.market.exchange, []).append(target)
    return [
        (stage, [Series(stage, target) for target in by_exchange.get(exchange, ())])
        for exchange in wanted.exchanges
        for stage in stages(exchange, wanted)
    ]
