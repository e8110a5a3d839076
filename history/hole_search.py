"""HoleSearch: looks at the record market by market for holes, and notes them with their states."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from database import (
    Covered,
    Database,
    DocumentWindow,
    DueLook,
    NotedHole,
    SeriesKey,
    StoredInstants,
)
from documents.names import GLOBAL_FR
from history.backfill.series import interest_period
from history.holes import (
    Checks,
    Evidence,
    Range,
    expected_ranges,
    find_holes,
    interest_grid,
    intersected,
    lives_of,
    settlement_gaps,
)
from market.markets import Exchange
from market.rows import Times, are_among
from market.timeframes import DAY_MS, Timeframe
from venues import VENUES
from venues.venue import Endpoint

# A hole that may fill or change its state is looked at daily; all the rest once in some days.
_DUE: Final = DueLook(changing_ms=DAY_MS, usual_ms=3 * DAY_MS)
# Markets whose stored instants are in memory together: of a year without holes some kilobytes each.
MOST_AT_ONCE: Final = 20
# Instants of a grid that are compared together.
_INSTANTS_AT_ONCE: Final = 500_000
_NONE_BEHIND: Final[Mapping[str, int]] = MappingProxyType({})
_ENDPOINTS: Final = {
    "candles": Endpoint.KLINES,
    "open_interest": Endpoint.OPEN_INTEREST,
    "funding": Endpoint.FUNDING,
}


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search did. `holes`: in the markets that it looked at."""

    markets: int = 0
    series: int = 0
    holes: int = 0


@dataclass(frozen=True, slots=True)
class _Market:
    """What a look at one market needs, read before."""

    name: tuple[str, str]
    lives: Sequence[Range]
    stored: Mapping[SeriesKey, StoredInstants]
    covered: Mapping[SeriesKey, Sequence[Covered]]
    noted: Mapping[SeriesKey, Sequence[NotedHole]]


class HoleSearch:
    """`collected`: (exchange, symbol) of the markets that are collected now, in `timeframes`.
    `behind_ms`: how far the clock of an exchange is behind ours; what has not closed there is not
    lacking."""

    def __init__(
        self,
        database: Database,
        collected: Collection[tuple[str, str]],
        timeframes: Collection[Timeframe],
        behind_ms: Mapping[str, int] = _NONE_BEHIND,
    ) -> None:
        self._behind_ms = behind_ms
        self._database = database
        self._collected = frozenset(collected)
        self._intervals = {timeframe.interval_ms for timeframe in timeframes}

    async def search(self, now_ms: int, *, seconds: float) -> Searched:
        """Looks at the markets that are due, for about so long: those that it does not come to are
        the first of the next search. Raises DatabaseUnavailable."""
        end_s = time.monotonic() + seconds
        done, seen = Searched(), set[tuple[str, str]]()
        while time.monotonic() < end_s:
            due = await self._database.holes.to_look_at(now_ms, _DUE, MOST_AT_ONCE)
            due = [market for market in due if market not in seen]
            if not due:
                break
            seen.update(due)
            found = await self.look_at(due, now_ms)
            done = Searched(
                done.markets + found.markets, done.series + found.series, done.holes + found.holes
            )
        return done

    async def look_at(self, markets: Sequence[tuple[str, str]], now_ms: int) -> Searched:
        """Finds and notes the holes of these markets. Raises DatabaseUnavailable."""
        windows = await self._database.publishes.windows()
        series = holes = 0
        for market in await self._read(markets, now_ms):
            found = self._holes_of(market, windows, now_ms)
            await self._database.holes.note(market.name, found, now_ms)
            series += len(market.stored)
            holes += sum(map(len, found.values()))
        return Searched(len(markets), series, holes)

    async def _read(self, markets: Sequence[tuple[str, str]], now_ms: int) -> list[_Market]:
        database = self._database
        keys: dict[tuple[str, str], list[SeriesKey]] = {}
        async with database.history.snapshot() as snapshot:
            for exchange, symbol in markets:
                keys[exchange, symbol] = await snapshot.series(exchange=exchange, symbol=symbol)
        every = [key for each in keys.values() for key in each]
        listings = await database.listing_log.listings_of(markets)
        noted = await database.holes.noted(every)
        # What an exchange has answered for before the rows: those that are filled in meanwhile are
        # there, and the next look, which is due by then, knows of the rest.
        covered = await database.history.coverage(every)
        stored = await database.holes.stored(every)
        return [
            _Market(
                name,
                lives_of(listings.get(name, ()), now_ms),
                {key: stored[key] for key in each if key in stored},
                {key: covered.get(key, ()) for key in each},
                {key: noted.get(key, ()) for key in each},
            )
            for name, each in keys.items()
        ]

    def _holes_of(
        self, market: _Market, windows: Mapping[str, DocumentWindow], now_ms: int
    ) -> dict[SeriesKey, list[NotedHole]]:
        extents = {key: extent for key, each in market.stored.items() if (extent := each.extent)}
        last_seen_ms = max(
            (last + (key.interval_ms if key.kind == "candles" else 1))
            for key, (_, last) in extents.items()
        ) if extents else 0  # fmt: skip
        expected = {
            key: expected_ranges(
                key,
                market.lives,
                extent,
                goes_on=self._goes_on(key),
                last_seen_ms=last_seen_ms,
                now_ms=now_ms - self._behind_ms.get(key.exchange, 0),
            )
            for key, extent in extents.items()
        }
        found = {}
        for key, ranges in expected.items():
            times = market.stored[key].times()
            if key.kind == "funding":
                evidence = _evidence(key, market, windows, now_ms, 1)
                end_ms = ranges[-1][1] if ranges else 0
                empty = settlement_gaps(times, end_ms, goes_on=self._goes_on(key))
                found[key] = find_holes(empty, 1, ranges, evidence, now_ms)
                continue
            found[key] = [
                hole
                for (begin_ms, end_ms), step_ms in _grids(key, expected)
                for hole in find_holes(
                    _lacking(times, begin_ms, end_ms, step_ms),
                    step_ms,
                    intersected(ranges, [(begin_ms, end_ms)]),
                    _evidence(key, market, windows, now_ms, step_ms),
                    now_ms,
                )
            ]
        return found

    def _goes_on(self, key: SeriesKey) -> bool:
        """Whether the series is collected now."""
        if (key.exchange, key.symbol) not in self._collected:
            return False
        return key.kind != "candles" or key.interval_ms in self._intervals


def _grids(
    key: SeriesKey, expected: Mapping[SeriesKey, Sequence[Range]]
) -> list[tuple[Range, int]]:
    """Where the series is expected, in which steps."""
    if not expected[key]:
        return []
    begin_ms, end_ms = expected[key][0][0], expected[key][-1][1]
    if key.kind == "candles":
        return [((begin_ms, end_ms), key.interval_ms)]
    candles = {
        other.interval_ms: (max(begin_ms, ranges[0][0]), min(end_ms, ranges[-1][1]))
        for other, ranges in expected.items()
        if other.kind == "candles" and ranges
    }
    return interest_grid(candles)


def _evidence(
    key: SeriesKey,
    market: _Market,
    windows: Mapping[str, DocumentWindow],
    now_ms: int,
    step_ms: int,
) -> Evidence:
    checks = [
        Checks(each.from_ms, each.to_ms, each.checked_at_ms, each.checked_at_ms, each.step_ms)
        for each in market.covered[key]
    ]
    before = [
        Checks(hole.from_ms, hole.to_ms, hole.first_asked_ms, hole.asked_ms, hole.step_ms)
        for hole in market.noted[key]
        if hole.first_asked_ms is not None and hole.asked_ms is not None
    ]
    return Evidence(_window(key, windows), _horizon_ms(key, now_ms, step_ms), (checks, before))


def _window(key: SeriesKey, windows: Mapping[str, DocumentWindow]) -> Range | None:
    """What the newest document shows of the series; none shows open interest alone: a document
    never takes any away."""
    if key.kind == "open_interest":
        return None
    document = GLOBAL_FR if key.kind == "funding" else _name_of(key.interval_ms)
    window = windows.get(document)
    if window is None or (first_ms := window.first_of((key.exchange, key.symbol))) is None:
        return None
    return first_ms, window.last_ms + 1


def _name_of(interval_ms: int) -> str:
    return next((each for each in Timeframe if each.interval_ms == interval_ms), "")


def _horizon_ms(key: SeriesKey, now_ms: int, step_ms: int) -> int | None:
    """From when on the exchange tells what is on a grid of `step_ms`; None: all of it."""
    if key.exchange not in list(Exchange):
        return now_ms  # an exchange that this release does not know cannot be asked
    table = VENUES[Exchange(key.exchange)].endpoints.get(_ENDPOINTS[key.kind])
    if table is None:
        return now_ms
    period = interest_period(table, step_ms)
    reach_ms = table.reach_ms(step_ms if period is None else period.interval_ms)
    return None if reach_ms is None else now_ms - reach_ms


def _lacking(times: Times, from_ms: int, to_ms: int, step_ms: int) -> list[Range]:
    """The ranges of the grid that have none of the times, in bounded memory."""
    found: list[Range] = []
    span_ms = _INSTANTS_AT_ONCE * step_ms
    for begin_ms in range(-(-from_ms // step_ms) * step_ms, to_ms, span_ms):
        instants = np.arange(begin_ms, min(begin_ms + span_ms, to_ms), step_ms)
        lacking = instants[~are_among(instants, times)]
        if not len(lacking):
            continue
        ends = np.flatnonzero(np.diff(lacking) > step_ms)
        firsts, lasts = np.append(0, ends + 1), np.append(ends, len(lacking) - 1)
        ranges = zip(lacking[firsts].tolist(), (lacking[lasts] + step_ms).tolist(), strict=True)
        for begin, end in ranges:
            if found and found[-1][1] == begin:
                found[-1] = found[-1][0], end
            else:
                found.append((begin, end))
    return found
