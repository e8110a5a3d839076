"""Candles read as one matrix of numbers, where an answer has the very form that the exchanges
always send; None wherever anything differs, and wire.py reads it or says what is wrong.

No number becomes a Python object on the way: the quotes are taken out of the text, and what is left
is JSON of numbers alone.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from market.candles import Candles
from market.exact_decimals import Cells, Texts
from market.markets import Exchange
from market.rows import Floats, on_grid

simdjson: Any
try:
    import simdjson
except ImportError:  # there are no wheels for this Python: every answer goes the other way
    simdjson = None

# What JSON's numbers may hold, and its numbers in quotes may not: signs, exponents, blanks.
_ODD: Final = (b"-", b"+", b"e", b"E", b" ", b"\t", b"\n", b"\r")


def plain_klines(
    exchange: Exchange, body: bytes, *, symbol: str, interval_ms: int
) -> Candles | None:
    """The candles of an answer in which nothing is odd, ascending and validated."""
    return _KLINES[exchange](body, symbol, interval_ms) if simdjson is not None else None


def _matrix(text: bytes, width: int) -> Floats | None:
    """Plain numbers in rows of `width`; None for anything else."""
    numbers = _numbers(text)
    if numbers is None or not len(numbers) or len(numbers) % width:
        return None
    return numbers.reshape(-1, width)


def _numbers(text: bytes) -> Floats | None:
    """All numbers of a JSON array, one after the other, of arrays in it too; None for anything
    else.

    simdjson rounds correctly, and refuses what is no number of JSON or beyond float64.
    """
    if any(sign in text for sign in _ODD):
        return None
    try:
        return np.frombuffer(simdjson.Parser().parse(text).as_buffer(of_type="d"))
    except (ValueError, TypeError, RuntimeError, AttributeError):
        return None  # not JSON; not numbers alone; one of too many digits; no array


_BINANCE_WIDTH: Final = 12
_BINANCE_QUOTES: Final = 18  # around 9 of a row's 12 numbers
_BYBIT_WIDTH: Final = 7
_BYBIT_QUOTES: Final = 14


def _binance_klines(body: bytes, symbol: str, interval_ms: int) -> Candles | None:
    text = body.translate(None, b'"')
    matrix = _matrix(text, _BINANCE_WIDTH)
    if matrix is None or not _is_quoted(body, text, len(matrix), _BINANCE_QUOTES):
        return None
    values = np.empty((len(matrix), Candles.width))
    values[:, :5], values[:, 5] = matrix[:, 1:6], matrix[:, 7]
    cells = Cells(text, _BINANCE_WIDTH)
    return _candles(matrix[:, 0], values, interval_ms, cells, (5, 7))


def _bybit_klines(body: bytes, symbol: str, interval_ms: int) -> Candles | None:
    quoted = _bybit_list(body, symbol)
    if quoted is None:
        return None
    text = quoted.translate(None, b'"')
    matrix = _matrix(text, _BYBIT_WIDTH)
    if matrix is None or not _is_quoted(quoted, text, len(matrix), _BYBIT_QUOTES):
        return None
    matrix = matrix[::-1]
    cells = Cells(text, _BYBIT_WIDTH, reverse=True)
    return _candles(matrix[:, 0], matrix[:, 1:], interval_ms, cells, (5, 6))


def _is_quoted(quoted: bytes, text: bytes, rows: int, quotes: int) -> bool:
    """Whether `text`, which is `quoted` less its quotes, had so many of them in each of its rows,
    each beside a comma or a bracket."""
    if len(quoted) - len(text) != rows * quotes:
        return False
    signs = np.frombuffer(quoted, np.uint8)
    brackets = signs > ord("9")
    edges = brackets | (signs == ord(","))
    astray = (signs == ord('"'))[1:-1] & ~(edges[:-2] | edges[2:])
    return not bool(astray.any()) and np.count_nonzero(brackets) == 2 * (rows + 1)


def _candles(
    opened: Floats,
    values: Floats,
    interval_ms: int,
    cells: Cells,
    exact: tuple[int, int],
) -> Candles | None:
    opens, highs, lows, closes = values[:, 0], values[:, 1], values[:, 2], values[:, 3]
    sane = (np.maximum(opens, closes) <= highs) & (np.minimum(opens, closes) >= lows) & (lows > 0)
    if opened[0] <= 0 or not on_grid(opened, interval_ms) or not bool(sane.all()):
        return None
    times = opened.astype(np.int64)
    volumes, turnovers = (Texts(cells, column, len(times)) for column in exact)
    return Candles(times, values, (volumes, turnovers))


class _BybitResult(msgspec.Struct):
    list: list[Any]
    symbol: str = ""
    category: str = "linear"
    nextPageCursor: str | None = ""


class _BybitEnvelope(msgspec.Struct):
    retCode: int
    result: _BybitResult


_BYBIT_ENVELOPE: Final = msgspec.json.Decoder(_BybitEnvelope)


def _bybit_list(body: bytes, symbol: str) -> bytes | None:
    """The text of the answer's list, if it is about `symbol` and the rest of it is in order."""
    start = body.find(b'"list":[[') + len(b'"list":')
    end = body.rfind(b"]]") + len(b"]]")  # what follows the list is short
    if not len(b'"list":') <= start < end:
        return None
    try:
        result = _BYBIT_ENVELOPE.decode(b"%b[]%b" % (body[:start], body[end:])).result
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if result.list or result.symbol != symbol or result.category != "linear":
        return None
    return body[start:end]


_KLINES: Final[Mapping[Exchange, Callable[[bytes, str, int], Candles | None]]] = {
    Exchange.BINANCE: _binance_klines,
    Exchange.BYBIT: _bybit_klines,
}
