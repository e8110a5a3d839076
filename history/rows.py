"""Reads the rows of one span of a market, and puts open interest and funding rates on them."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

from history.rates import put_rates
from history.selection import AROUND_MS, Block, MarketName, Selection, Span
from market.columns import CANDLE, VALUES, column_index
from market.merging import place_snapshots
from market.rows import Floats, TimedValues, Times
from market.timeframes import HOUR_MS
from stores.cold.history.series import NEVER_MS, Revisions, SeriesKey, Versions
from stores.cold.history.tables import Snapshot

DIGEST_BYTES: Final = 16
_INTEREST: Final = column_index("open_interest")
_RATE: Final = column_index("funding_rate")
_CLOSE: Final = column_index("close")
# Of candles up to these, a block's open interest is read with them: 12 numbers for each.
_READ_AT_ONCE_MS: Final = HOUR_MS
_NO_VALUES: Final = TimedValues.of(())


@dataclass(frozen=True, slots=True)
class State:
    """What is read: the selection's rows, and nothing that is known later than `pin_ms`."""

    selection: Selection
    pin_ms: int

    @property
    def as_of_ms(self) -> int:
        """The time whose knowledge is asked of the store."""
        as_of_ms = self.selection.as_of_ms
        if as_of_ms is None:
            return self.pin_ms
        return as_of_ms if self.unrecorded else min(as_of_ms, self.pin_ms)

    @property
    def unrecorded(self) -> bool:
        return self.selection.unrecorded and self.selection.as_of_ms is not None

    def kept(self, rows: Versions) -> Versions:
        """The rows that are told: on the grid that is asked for, and known by then."""
        told = rows.known_at <= self.pin_ms
        if self.selection.kind == "open_interest":
            told &= rows.times % self.selection.interval_ms == 0
        return rows if told.all() else _selected(rows, told)

    def unrecorded_of(self, known: Times) -> int:
        """How many of the rows were not known then."""
        return int((known > self.as_of_ms).sum()) if self.unrecorded else 0


class MarketDigest:
    """The digest of one market's rows: which there are and since when each is known, which tells
    its values, too. Parts of the rows, in order, have the digest of the whole."""

    def __init__(self) -> None:
        self._parts = [blake2b(digest_size=DIGEST_BYTES) for _ in range(3)]

    def add_rows(self, *columns: Times) -> None:
        """Times, and since when they are known, and for revisions until when."""
        self._parts[0].update(_by_row(*columns))

    def add_interest(self, points: "Points") -> None:
        self._parts[1].update(_by_row(points.times, points.known_at))

    def add_settled(self, points: "Points") -> None:
        self._parts[2].update(_by_row(points.times, points.known_at))

    def digest(self) -> bytes:
        return b"".join(part.digest() for part in self._parts)


def _by_row(*columns: Times) -> bytes:
    """Columns row by row, so that the parts of a table are the table's bytes."""
    return np.column_stack(columns).tobytes()


@dataclass(frozen=True, slots=True)
class Points:
    """Snapshots of open interest, or settlements."""

    times: Times
    values: Floats
    known_at: Times

    @classmethod
    def joined(cls, parts: "Sequence[Points]") -> "Points":
        if not parts:
            return cls(_NO_VALUES.times, _NO_VALUES.values, _NO_VALUES.times)
        return cls(
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.known_at for part in parts]),
        )

    def as_values(self) -> TimedValues:
        return TimedValues(self.times, self.values)


async def interest_of(
    snapshot: Snapshot, state: State, span: Span, *, with_values: bool = True
) -> AsyncGenerator[Points, None]:
    """The open interest at the instants of the candles' grid, piece by piece: there is one every 5
    minutes, of which a candle of a day needs one."""
    key, grid_ms = SeriesKey.open_interest(*span.market), state.selection.interval_ms
    pieces = _points(snapshot, state, key, (span.from_ms, span.to_ms), with_values=with_values)
    async for points in pieces:
        on_grid = points.times % grid_ms == 0
        yield Points(points.times[on_grid], points.values[on_grid], points.known_at[on_grid])


async def settled_of(
    snapshot: Snapshot, state: State, span: Span, *, with_values: bool = True
) -> AsyncGenerator[Points, None]:
    """The settlements that decide the rates of the candles, piece by piece."""
    reach = (
        max(0, span.from_ms - AROUND_MS),
        span.to_ms + state.selection.interval_ms + AROUND_MS,
    )
    key = SeriesKey.funding(*span.market)
    async for points in _points(snapshot, state, key, reach, with_values=with_values):
        yield points


async def _points(
    snapshot: Snapshot,
    state: State,
    key: SeriesKey,
    reach: tuple[int, int],
    *,
    with_values: bool,
) -> AsyncGenerator[Points, None]:
    pieces = snapshot.stream(
        [key],
        *reach,
        as_of_ms=state.as_of_ms,
        unrecorded=state.unrecorded,
        with_values=with_values,
    )
    async for _, piece in pieces:
        told = piece.known_at <= state.pin_ms
        if told.all():
            yield Points(piece.times, piece.values, piece.known_at)
        else:
            yield Points(piece.times[told], piece.values[told], piece.known_at[told])


async def read_span(
    snapshot: Snapshot, state: State, span: Span, digest: MarketDigest
) -> tuple[Versions, TimedValues]:
    """The rows of the span's own series, and the open interest at the instants of candles."""
    key, selection = state.selection.key(span.market), state.selection
    keys = [key]
    at_once = selection.interest and selection.interval_ms <= _READ_AT_ONCE_MS
    if at_once:
        keys.append(SeriesKey.open_interest(*span.market))
    found = await snapshot.versions(
        keys, span.from_ms, span.to_ms, as_of_ms=state.as_of_ms, unrecorded=state.unrecorded
    )
    rows = state.kept(found[key])
    digest.add_rows(rows.times, rows.known_at)
    interest = Points.joined(())
    if at_once:
        snapshots = found[keys[1]]
        told = (snapshots.known_at <= state.pin_ms) & (snapshots.times % selection.interval_ms == 0)
        interest = Points(snapshots.times[told], snapshots.values[told], snapshots.known_at[told])
    elif selection.interest:
        interest = Points.joined([each async for each in interest_of(snapshot, state, span)])
    digest.add_interest(interest)
    return rows, interest.as_values()


def merged(
    state: State, market: MarketName, rows: Versions, interest: TimedValues, settled: TimedValues
) -> Block:
    """The rows as they are told."""
    selection, times, values = state.selection, rows.times, rows.values
    if selection.kind == "prices":
        times, values = times + selection.lag_ms, values[:, _CLOSE : _CLOSE + 1]
    elif selection.kind == "candles":
        values = np.full((len(times), len(VALUES)), np.nan)
        values[:, CANDLE] = rows.values
        if len(times) and len(interest):
            place_snapshots(interest, times, values[:, _INTEREST])
        if len(times):
            put_rates(settled, market, times, values[:, _RATE], selection.interval_ms)
    return Block(market, times, values, rows.known_at)


async def read_revisions(
    snapshot: Snapshot, state: State, span: Span, digest: MarketDigest
) -> Block:
    """Every version of the span's rows."""
    key = state.selection.key(span.market)
    found = (await snapshot.revisions([key], span.from_ms, span.to_ms))[key]
    rows = kept_revisions(state, found)
    values = rows.values
    if state.selection.kind == "prices":
        values = values[:, _CLOSE : _CLOSE + 1]
    times = rows.times + state.selection.lag_ms
    digest.add_rows(rows.times, rows.known_from, rows.known_to)
    return Block(span.market, times, values, rows.known_from, rows.known_to)


def kept_revisions(state: State, rows: Revisions) -> Revisions:
    """The versions that were known then; one that was superseded later is told as known still."""
    until_ms = min(state.as_of_ms, state.pin_ms)
    told = rows.known_from <= until_ms
    if state.unrecorded:
        told |= _unrecorded(state, rows) & (rows.known_from <= state.pin_ms)
    if state.selection.kind == "open_interest":
        told &= rows.times % state.selection.interval_ms == 0
    known_to = np.where(rows.known_to > until_ms, NEVER_MS, rows.known_to)
    return Revisions(rows.times[told], rows.values[told], rows.known_from[told], known_to[told])


def _unrecorded(state: State, rows: Revisions) -> "npt.NDArray[np.bool_]":
    """The first versions of rows that an exchange had shown by then. What never was in force, as a
    source said otherwise than another, is none."""
    key = state.selection.key(state.selection.markets[0])
    in_force = np.flatnonzero(rows.known_from < rows.known_to)
    times = rows.times[in_force]
    first = np.append(True, times[1:] != times[:-1])[: len(times)]
    found = np.zeros(len(rows.times), np.bool_)
    found[in_force[first]] = True
    return found & (rows.times + key.public_after_ms <= state.as_of_ms)


def _selected(rows: Versions, told: "npt.NDArray[np.bool_]") -> Versions:
    return Versions(rows.times[told], rows.values[told], rows.known_at[told])
