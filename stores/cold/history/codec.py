"""The codec of chunks: up to 576 instants of one series as integers, exact to the bit; no SQL.

Which number of a chunk means what is told in migrations/0006_history.sql. A group of columns (the
four prices, volume, turnover, one value) has the decimals with which every one of its numbers is a
whole number that division gives back bit for bit; without such decimals (NaN, -0.0, more than
2^53) the group is kept as floats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import numpy as np

from market.rows import Floats, Times
from stores.cold.history.arrays import Numbers

FORMAT: Final = 1
MOST_ROWS: Final = 2**15 - 1
_MOST_DECIMALS: Final = 22  # 10^22 is the last power of ten that a float holds exactly
_POWERS: Final = 10.0 ** np.arange(_MOST_DECIMALS + 1)
_EXACT: Final = 2.0**53
_SAMPLE: Final = 16
CANDLE_COLUMNS: Final = ("open", "high", "low", "close", "volume", "turnover")
_PRICES: Final = CANDLE_COLUMNS[:4]
_CLOSE: Final = 3


class DamagedChunk(ValueError):
    """A chunk that does not hold what was stored, or that a newer release wrote."""


class UnknownFormat(DamagedChunk):
    """The chunk is of a later release, which can read it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one series: `times` (n) ascend, `values` (n, width), `known_at` (n)."""

    times: Times
    values: Floats
    known_at: Times

    def __len__(self) -> int:
        return len(self.times)

    def select(self, lines: slice | Numbers) -> "Piece":
        return Piece(self.times[lines], self.values[lines], self.known_at[lines])

    @classmethod
    def joined(cls, parts: Sequence["Piece"]) -> "Piece":
        """The rows of the parts, ascending; no time is in two of them."""
        if len(parts) == 1:
            return parts[0]
        times = np.concatenate([part.times for part in parts])
        order = np.argsort(times, kind="stable")
        values = np.concatenate([part.values for part in parts])[order]
        return cls(times[order], values, np.concatenate([p.known_at for p in parts])[order])


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a row of a chunk table holds. `arrays`: by column, the narrowest integers, or floats;
    a column that is missing is null in every width."""

    format: int
    n: int
    first_t: int
    last_t: int
    step_ms: int
    newest_known_at: int
    checksum: int
    known_base: int
    value_base: int  # of close, or of the one value
    decimals: tuple[int | None, ...]  # of prices, volume, turnover; or of the one value
    arrays: Mapping[str, Numbers]


def checksum_of(piece: Piece) -> int:
    """CRC-32 over all times, values and times of knowledge, each little-endian with eight bytes."""
    found = 0
    for numbers in (piece.times, piece.values, piece.known_at):
        found = crc32(numbers.astype(numbers.dtype.newbyteorder("<")).tobytes(), found)
    return found


def encode(piece: Piece, interval_ms: int) -> Chunk:
    """Raises ValueError for no rows, or too many."""
    n = len(piece)
    if not 0 < n <= MOST_ROWS:
        raise ValueError(f"a chunk of {n} rows")
    arrays: dict[str, Numbers] = {}
    times = piece.times
    step_ms, steps = _steps(times, interval_ms)
    if steps is not None:
        arrays["steps"] = _narrowed(steps)
    known_base = int(piece.known_at[0])
    if bool((piece.known_at != known_base).any()):
        known_base, arrays["known"] = _based(piece.known_at - times)
    value_base, decimals = (_encode_candles if piece.values.shape[1] > 1 else _encode_points)(
        piece.values, arrays
    )
    return Chunk(
        FORMAT, n, int(times[0]), int(times[-1]), step_ms, int(piece.known_at.max()),
        checksum_of(piece), known_base, value_base, decimals, arrays,
    )  # fmt: skip


def decode(chunk: Chunk) -> Piece:
    """The rows that were encoded; arrays of integers may be wider. Raises DamagedChunk."""
    arrays = _arrays(chunk)
    times, known_at = _times(chunk, arrays)
    try:
        values = (_decode_candles if len(chunk.decimals) > 1 else _decode_points)(chunk, arrays)
    except (KeyError, IndexError) as error:
        raise DamagedChunk("it lacks a column") from error
    piece = Piece(times, values, known_at)
    if checksum_of(piece) != chunk.checksum:
        raise DamagedChunk("its checksum is wrong")
    return piece


def decode_times(chunk: Chunk) -> Piece:
    """The same with zeros for values, whose arrays are not needed; the checksum is not checked."""
    times, known_at = _times(chunk, _arrays(chunk))
    width = len(CANDLE_COLUMNS) if len(chunk.decimals) > 1 else 1
    return Piece(times, np.zeros((chunk.n, width)), known_at)


def _arrays(chunk: Chunk) -> dict[str, Numbers]:
    if chunk.format != FORMAT:
        raise UnknownFormat(f"its format {chunk.format} is unknown: upgrade Perpcache")
    arrays = {name: _widened(numbers) for name, numbers in chunk.arrays.items()}
    if any(len(numbers) != chunk.n for numbers in arrays.values()):
        raise DamagedChunk("its columns differ in length")
    return arrays


def _times(chunk: Chunk, arrays: Mapping[str, Numbers]) -> tuple[Times, Times]:
    steps = arrays.get("steps")
    times = chunk.first_t + chunk.step_ms * (np.arange(chunk.n) if steps is None else steps)
    if "known" in arrays:
        known_at = chunk.known_base + times + arrays["known"]
    else:
        known_at = np.full(chunk.n, chunk.known_base)
    return times, known_at


def _steps(times: Times, interval_ms: int) -> tuple[int, Numbers | None]:
    """The greatest step that all times are a multiple of, and how many; None: one after another."""
    if len(times) == 1:
        return interval_ms, None
    offsets = times - times[0]
    step_ms = int(np.gcd.reduce(offsets))
    steps = offsets // step_ms
    return step_ms, None if int(steps[-1]) == len(times) - 1 else steps


def _encode_candles(
    values: Floats, arrays: dict[str, Numbers]
) -> tuple[int, tuple[int | None, ...]]:
    base, price_decimals = 0, None
    if (found := _whole(values[:, : len(_PRICES)])) is not None:
        price_decimals, prices = found
        close = prices[:, _CLOSE]
        for place, name in enumerate(_PRICES[:_CLOSE]):
            arrays[name] = _narrowed(prices[:, place] - close)
        base, arrays["close"] = _based(close)
    else:
        arrays.update((name, values[:, place]) for place, name in enumerate(_PRICES))
    decimals = [price_decimals]
    for place, name in enumerate(CANDLE_COLUMNS[_CLOSE + 1 :], start=_CLOSE + 1):
        decimals.append(_encode_column(name, values[:, place], arrays))
    return base, tuple(decimals)


def _encode_column(name: str, values: Floats, arrays: dict[str, Numbers]) -> int | None:
    if (found := _whole(values)) is None:
        arrays[name] = values
        return None
    decimals, numbers = found
    arrays[name] = _narrowed(numbers)
    return decimals


def _encode_points(
    values: Floats, arrays: dict[str, Numbers]
) -> tuple[int, tuple[int | None, ...]]:
    if (found := _whole(values[:, 0])) is None:
        arrays["value"] = values[:, 0]
        return 0, (None,)
    decimals, numbers = found
    base, arrays["value"] = _based(numbers)
    return base, (decimals,)


def _widened(numbers: Numbers) -> Numbers:
    return numbers if numbers.dtype.kind == "f" else numbers.astype(np.int64, copy=False)


def _decode_candles(chunk: Chunk, arrays: Mapping[str, Numbers]) -> Floats:
    values = np.empty((chunk.n, len(CANDLE_COLUMNS)))
    price_decimals, *others = chunk.decimals
    if price_decimals is None:
        for place, name in enumerate(_PRICES):
            values[:, place] = arrays[name]
    else:
        close = chunk.value_base + arrays["close"]
        for place, name in enumerate(_PRICES[:_CLOSE]):
            values[:, place] = (close + arrays[name]) / _POWERS[price_decimals]
        values[:, _CLOSE] = close / _POWERS[price_decimals]
    for place, decimals in enumerate(others, start=_CLOSE + 1):
        column = arrays[CANDLE_COLUMNS[place]]
        values[:, place] = column if decimals is None else column / _POWERS[decimals]
    return values


def _decode_points(chunk: Chunk, arrays: Mapping[str, Numbers]) -> Floats:
    (decimals,) = chunk.decimals
    column = arrays["value"]
    found = column if decimals is None else (chunk.value_base + column) / _POWERS[decimals]
    return np.asarray(found, np.float64)[:, None]


def _whole(values: Floats) -> tuple[int, Numbers] | None:
    """The least decimals with which all values are whole numbers, and these numbers."""
    bits = np.ascontiguousarray(values).view(np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        # With all decimals at once, a few values tell which are worth trying.
        sample = values[:_SAMPLE].reshape(-1)
        tried = np.rint(sample * _POWERS[:, None])
        likely = (np.abs(tried) < _EXACT) & (tried / _POWERS[:, None] == sample)
        for decimals in np.flatnonzero(likely.all(axis=1)).tolist():
            if (numbers := _as_whole(values, bits, _POWERS[decimals])) is not None:
                return decimals, numbers
    return None


def _as_whole(values: Floats, bits: Numbers, power: float) -> Numbers | None:
    found = np.rint(values * power)
    if not bool((np.abs(found) < _EXACT).all()):  # nor NaN
        return None
    numbers = found.astype(np.int64)
    again = np.ascontiguousarray(numbers / power)  # integers have no -0
    return numbers if bool((again.view(np.int64) == bits).all()) else None


def _narrowed(numbers: Numbers) -> Numbers:
    """The same in the narrowest of 2, 4 and 8 bytes."""
    least, most = int(numbers.min()), int(numbers.max())
    for kind in (np.int16, np.int32):
        if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max:
            return numbers.astype(kind)
    return numbers.astype(np.int64)


def _based(numbers: Numbers) -> tuple[int, Numbers]:
    """A base and the differences from it: 0 unless another makes them narrower."""
    plain = _narrowed(numbers)
    base = (int(numbers.min()) + int(numbers.max())) // 2
    differences = _narrowed(numbers - base)
    return (base, differences) if differences.itemsize < plain.itemsize else (0, plain)
