"""Reads the rows of one span of a market, and puts open interest and funding rates on them."""

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
from stores.cold.history.series import NEVER_MS, Revisions, SeriesKey, Versions
from stores.cold.history.tables import Snapshot

DIGEST_BYTES: Final = 16
_INTEREST: Final = column_index("open_interest")
_RATE: Final = column_index("funding_rate")
_CLOSE: Final = column_index("close")
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


@dataclass(frozen=True, slots=True)
class Joined:
    """What is put on the candles of a span: snapshots at their open times, and settlements around
    them; `newest_ms`: since when the latest of them is known."""

    interest: TimedValues
    settled: TimedValues
    newest_ms: int

    def digest(self, of_rows: "blake2b") -> bytes:
        """The digest of a span: of its rows, and of this."""
        for series in (self.interest, self.settled):
            of_rows.update(series.times.tobytes())
            of_rows.update(series.values.tobytes())
        return of_rows.digest()


def digest_of(times: Times, known: Times) -> "blake2b":
    """A digest of rows; of rows in several parts it is the same, updated with `as_bytes`."""
    found = blake2b(digest_size=DIGEST_BYTES)
    found.update(as_bytes(times, known))
    return found


def as_bytes(*columns: Times) -> bytes:
    """Columns row by row, so that the parts of a table are the table's bytes."""
    return np.column_stack(columns).tobytes()


async def read_versions(snapshot: Snapshot, state: State, span: Span) -> Versions:
    """The rows of the span's own series."""
    key = state.selection.key(span.market)
    found = await snapshot.versions(
        [key], span.from_ms, span.to_ms, as_of_ms=state.as_of_ms, unrecorded=state.unrecorded
    )
    return state.kept(found[key])


async def read_joined(snapshot: Snapshot, state: State, span: Span) -> Joined:
    """What is put on the candles of the span."""
    selection, newest_ms = state.selection, 0
    interest = settled = _NO_VALUES
    if selection.interest:
        key = SeriesKey.open_interest(*span.market)
        interest, newest_ms = await _points(
            snapshot, state, key, span.from_ms, span.to_ms, selection.interval_ms
        )
    if selection.rates:
        begin_ms = max(0, span.from_ms - AROUND_MS)
        end_ms = span.to_ms + selection.interval_ms + AROUND_MS
        key = SeriesKey.funding(*span.market)
        settled, known_ms = await _points(snapshot, state, key, begin_ms, end_ms, 1)
        newest_ms = max(newest_ms, known_ms)
    return Joined(interest, settled, newest_ms)


async def _points(
    snapshot: Snapshot, state: State, key: SeriesKey, from_ms: int, to_ms: int, grid_ms: int
) -> tuple[TimedValues, int]:
    """The values of another series on that grid, piece by piece: open interest has one every 5
    minutes, of which a candle of a day needs one."""
    parts, newest_ms = [], 0
    pieces = snapshot.stream(
        [key], from_ms, to_ms, as_of_ms=state.as_of_ms, unrecorded=state.unrecorded
    )
    async for _, piece in pieces:
        told = (piece.known_at <= state.pin_ms) & (piece.times % grid_ms == 0)
        parts.append(TimedValues(piece.times[told], piece.values[told]))
        newest_ms = max(newest_ms, int(piece.known_at[told].max(initial=0)))
    return (TimedValues.joined(parts) if parts else _NO_VALUES), newest_ms


def merged(state: State, span: Span, rows: Versions, joined: Joined) -> tuple[Block, bytes]:
    """The rows as they are told, and the digest of the span."""
    digest = joined.digest(digest_of(rows.times, rows.known_at))
    selection, times, values = state.selection, rows.times, rows.values
    if selection.kind == "prices":
        times, values = times + selection.lag_ms, values[:, _CLOSE : _CLOSE + 1]
    elif selection.kind == "candles":
        values = np.full((len(times), len(VALUES)), np.nan)
        values[:, CANDLE] = rows.values
        if len(times):
            _join(selection, span.market, joined, times, values)
    return Block(span.market, times, values, rows.known_at), digest


def _join(
    selection: Selection, market: MarketName, joined: Joined, times: Times, values: Floats
) -> None:
    if len(joined.interest):
        place_snapshots(joined.interest, times, values[:, _INTEREST])
    put_rates(joined.settled, market, times, values[:, _RATE], selection.interval_ms)


async def read_revisions(snapshot: Snapshot, state: State, span: Span) -> tuple[Block, bytes]:
    """Every version of the span's rows, and the digest of the span."""
    key = state.selection.key(span.market)
    found = (await snapshot.revisions([key], span.from_ms, span.to_ms))[key]
    rows = kept_revisions(state, found)
    values = rows.values
    if state.selection.kind == "prices":
        values = values[:, _CLOSE : _CLOSE + 1]
    times = rows.times + state.selection.lag_ms
    block = Block(span.market, times, values, rows.known_from, rows.known_to)
    return block, revisions_digest(rows)


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
    """The first versions of rows that an exchange had shown by then."""
    key = state.selection.key(state.selection.markets[0])
    first = np.append(True, rows.times[1:] != rows.times[:-1])[: len(rows.times)]
    found: npt.NDArray[np.bool_] = first & (rows.times + key.public_after_ms <= state.as_of_ms)
    return found


def revisions_digest(rows: Revisions) -> bytes:
    found = blake2b(digest_size=DIGEST_BYTES)
    found.update(as_bytes(rows.times, rows.known_from, rows.known_to))
    return found.digest()


def _selected(rows: Versions, told: "npt.NDArray[np.bool_]") -> Versions:
    return Versions(rows.times[told], rows.values[told], rows.known_at[told])
