"""The codec of chunks: every recorded number comes back bit for bit; what is damaged is refused."""

import gzip
import random
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from market.timeframes import HOUR_MS, MINUTE_MS
from stores.cold.history import arrays
from stores.cold.history.codec import DamagedChunk, Piece, decode, encode
from stores.cold.history.series import CHUNK_INSTANTS
from tests.fixtures.recorded_csv import read_csv

H1, H8 = HOUR_MS, 8 * HOUR_MS
_T = 1_700_000_000_000 // H1 * H1


def piece(
    values: list[tuple[float, ...]],
    times: list[int] | None = None,
    known_at: list[int] | None = None,
) -> Piece:
    n = len(values)
    told = times or [_T + number * H1 for number in range(n)]
    known = known_at or [t + H1 + 1500 for t in told]
    return Piece(
        np.array(told, np.int64),
        np.array(values, np.float64).reshape(n, -1),
        np.array(known, np.int64),
    )


def assert_same(found: Piece, wanted: Piece) -> None:
    assert found.times.tolist() == wanted.times.tolist()
    assert found.known_at.tolist() == wanted.known_at.tolist()
    assert found.values.shape == wanted.values.shape
    assert found.values.tobytes() == np.ascontiguousarray(wanted.values).tobytes()


CANDLE = (42_324.8, 42_842.9, 42_271.5, 42_384.1, 11_497.162, 486_512_345.1234)
CASES: dict[str, Piece] = {
    "one candle": piece([CANDLE]),
    "equal candles": piece([CANDLE] * 576),
    "one value": piece([(0.0001,)]),
    "not a number": piece([CANDLE, (float("nan"),) * 6, CANDLE]),
    "infinite": piece([(float("inf"),), (-float("inf"),), (1.0,)]),
    "minus zero": piece([(0.0,), (-0.0,), (1.5,)]),
    "1e15": piece([(1e15, 1e15, 1e15, 1e15, 1e15, 1e15), CANDLE]),
    "2^53 and more": piece([(2.0**53,), (2.0**53 - 1,), (2.0**60,), (1.5,)]),
    "the least and the greatest": piece([(5e-324,), (1.7976931348623157e308,)]),
    "no decimal number": piece([(0.1 + 0.2,), (1 / 3,)]),
    "22 decimals": piece([(1e-22,), (3e-22,)]),
    "23 decimals": piece([(1e-23,)]),
    "negative": piece([(-0.00075,), (0.0001,), (-0.03,)]),
    "holes": piece([(1.0,), (2.0,), (3.0,)], [_T, _T + 3 * H1, _T + 575 * H1]),
    "holes of one length": piece([(1.0,), (2.0,)], [_T, _T + 4 * H1]),
    "off the grid": piece([(1.0,), (2.0,), (3.0,)], [_T + 3, _T + H8 + 1, _T + 2 * H8]),
    "known long after": piece([(1.0,), (2.0,)], None, [_T + H1 + 7, _T + 10**12]),
    "known before": piece([(1.0,), (2.0,)], [5, 6], [0, 1]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_encoded_comes_back(name: str) -> None:
    assert_same(decode(encode(CASES[name], H1)), CASES[name])


def test_random_bits_come_back() -> None:
    chosen = random.Random(1)  # noqa: S311 - of a test
    for _ in range(300):
        n = chosen.choice((1, 2, 5, 40))
        rows = [tuple(_number(chosen) for _ in range(chosen.choice((6,)))) for _ in range(n)]
        times = sorted(chosen.sample(range(0, 10**6), n))
        known = [chosen.randrange(2**53) for _ in range(n)]
        wanted = piece(rows, times, known)
        assert_same(decode(encode(wanted, H1)), wanted)


def _number(chosen: random.Random) -> float:
    odd = (0.0, -0.0, 1.0, 100.5)
    bits: tuple[float, ...] = struct.unpack("d", chosen.randbytes(8))
    decimal = chosen.randrange(10**9) / (10.0 ** chosen.randrange(9))
    return chosen.choice((bits[0], decimal, chosen.choice(odd)))


def recorded(folder: Path) -> list[tuple[Path, str, int, Piece]]:
    """All recorded series of numbers that are stored: file, symbol, interval, rows."""
    found = []
    for path in sorted((folder / "history").glob("*.csv*")):
        word = path.name.split("_")[2]
        if word not in ("kline", "oi", "funding"):
            continue
        columns, interval_ms = _columns(path, word)
        every = "_ALL_" in path.name
        lines: dict[str, list[tuple[str, ...]]] = {}
        for line in read_csv(path, *(("symbol",) if every else ()), *columns):
            lines.setdefault(line[0] if every else "", []).append(line[1:] if every else line)
        for symbol, rows in lines.items():
            by_time = {int(line[0]): tuple(map(float, line[1:])) for line in rows}
            times = sorted(by_time)
            found.append((path, symbol, interval_ms, piece([by_time[t] for t in times], times)))
    return found


def _columns(path: Path, word: str) -> tuple[tuple[str, ...], int]:
    length = path.name.split("_")[3]
    units = {"m": MINUTE_MS, "h": HOUR_MS, "d": 24 * HOUR_MS}
    if word == "funding":
        return ("funding_time", "funding_rate"), H8
    interval_ms = (
        int(length) * MINUTE_MS if length.isdigit() else int(length[:-1]) * units[length[-1]]
    )
    binance = path.name.startswith("binance")
    if word == "oi":
        return ("timestamp", "sum_open_interest" if binance else "open_interest"), interval_ms
    header = read_header(path)
    turnover = next((name for name in ("quote_volume", "turnover") if name in header), "volume")
    opened = "open_time" if binance else "start_time"
    return (opened, "open", "high", "low", "close", "volume", turnover), interval_ms


def read_header(path: Path) -> list[str]:
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    return text.partition(b"\n")[0].decode().strip().split(",")


def test_every_recorded_number_comes_back(recorded_data: Path) -> None:
    counts = {"kline": 0, "oi": 0, "funding": 0}
    for path, symbol, interval_ms, rows in recorded(recorded_data):
        slots = rows.times // (interval_ms * CHUNK_INSTANTS)
        for slot in np.unique(slots):
            part = rows.select(slots == slot)
            chunk = encode(part, interval_ms)
            assert_same(decode(chunk), part)
            # Also in the form in which PostgreSQL sends and takes them.
            sent = {name: arrays.array_bytes(each) for name, each in chunk.arrays.items()}
            again = replace(chunk, arrays={n: arrays.array_from(b) for n, b in sent.items()})
            assert_same(decode(again), part)
            # Of some turnovers all digits are more than a float holds, with so many decimals.
            assert None not in chunk.decimals[:2], (path, symbol)
        counts[path.name.split("_")[2]] += len(rows)
    assert counts["kline"] > 99_000
    assert min(counts.values()) > 40_000


def test_a_chunk_of_another_format_is_refused() -> None:
    chunk = replace(encode(CASES["holes"], H1), format=2)
    with pytest.raises(DamagedChunk, match="format 2 is unknown: upgrade"):
        decode(chunk)


@pytest.mark.parametrize("name", ["one candle", "not a number", "holes", "known long after"])
def test_a_chunk_with_one_other_bit_is_refused(name: str) -> None:
    chunk = encode(CASES[name], H1)
    assert chunk.arrays
    for column, numbers in chunk.arrays.items():
        changed = numbers.copy()
        changed.view(f"u{changed.itemsize}")[-1] ^= 1
        with pytest.raises(DamagedChunk):
            decode(replace(chunk, arrays={**chunk.arrays, column: changed}))
        with pytest.raises(DamagedChunk):
            decode(replace(chunk, arrays={**chunk.arrays, column: numbers[:-1]}))
    for field in ("first_t", "known_base", "checksum", "n"):
        with pytest.raises(DamagedChunk):
            decode(replace(chunk, **{field: getattr(chunk, field) + 1}))


def test_a_chunk_without_a_column_is_refused() -> None:
    chunk = encode(CASES["one candle"], H1)
    for column in chunk.arrays:
        rest = {name: numbers for name, numbers in chunk.arrays.items() if name != column}
        with pytest.raises(DamagedChunk):
            decode(replace(chunk, arrays=rest))


def test_no_rows_and_too_many_make_no_chunk() -> None:
    for n in (0, 2**15):
        with pytest.raises(ValueError, match=f"a chunk of {n} rows"):
            encode(Piece(np.arange(n), np.ones((n, 1)), np.arange(n)), H1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        arrays.array_bytes(np.array([1.5]))[:-1],
        struct.pack(">iiI", 0, 0, 23) + bytes(8),
        struct.pack(">iiIii", 1, 1, 21, 1, 1) + struct.pack(">i", -1),
        struct.pack(">iiIii", 1, 0, 25, 1, 1) + struct.pack(">i", 0),
    ],
    ids=["empty", "cut", "no dimensions", "with nulls", "of texts"],
)
def test_other_arrays_are_refused(content: bytes) -> None:
    with pytest.raises(arrays.MisshapenArray):
        arrays.array_from(content)
