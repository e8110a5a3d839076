"""The exchanges' histories read as one matrix of numbers, where an answer has the very form that
they always send; None wherever anything differs, and wire.py reads it or says what is wrong.

No number becomes a Python object on the way: quotes and names are taken out of the text, and what
is left is JSON of numbers alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from columns import Floats, TimedValues, Times
from data_collector.candles import Candles
from data_collector.exact_decimals import Cells, Texts
from market_data import Exchange

simdjson: Any
try:
    import simdjson
except ImportError:  # there are no wheels for this Python: every answer goes the other way
    simdjson = None

_DIGITS: Final = b"0123456789."
# What JSON's numbers may hold, and its numbers in quotes may not: signs, exponents, blanks.
_ODD: Final = (b"-", b"+", b"e", b"E", b" ", b"\t", b"\n", b"\r")


def plain_klines(
    exchange: Exchange, body: bytes, *, symbol: str, interval_ms: int
) -> Candles | None:
    """The candles of an answer in which nothing is odd, ascending and validated."""
    return _KLINES[exchange](body, symbol, interval_ms) if simdjson is not None else None


def plain_open_interest(
    exchange: Exchange, body: bytes, *, symbol: str, interval_ms: int
) -> TimedValues | None:
    """The snapshots of an answer in which nothing is odd, one-sided, ascending and validated."""
    if simdjson is None:
        return None
    found = _OPEN_INTEREST[exchange](body, symbol)
    if found is None or not _on_grid(found.times, interval_ms):
        return None
    return found


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
    except (ValueError, TypeError, AttributeError):  # not JSON; not numbers alone; no array
        return None


def _on_grid(times: Times, interval_ms: int) -> bool:
    """Whether the times ascend on the grid: in one look where none is left out."""
    if times[0] <= 0 or times[0] % interval_ms:
        return False
    steps = times[1:] - times[:-1]
    if bool((steps == interval_ms).all()):
        return True
    return bool((steps > 0).all()) and not bool((steps % interval_ms).any())


# --- candles -----------------------------------------------------------------------------------

_BINANCE_WIDTH: Final = 12
_BINANCE_QUOTES: Final = 18  # around 9 of a row's 12 numbers
_BYBIT_WIDTH: Final = 7
_BYBIT_QUOTES: Final = 14


def _binance_klines(body: bytes, symbol: str, interval_ms: int) -> Candles | None:
    text = body.translate(None, b'"')
    matrix = _matrix(text, _BINANCE_WIDTH)
    if matrix is None or len(body) - len(text) != len(matrix) * _BINANCE_QUOTES:
        return None
    opened = matrix[:, 0]
    if not bool((matrix[:, 6] - opened == interval_ms - 1).all()):  # it closes
        return None
    values = np.empty((len(matrix), Candles.width))
    values[:, :5], values[:, 5] = matrix[:, 1:6], matrix[:, 7]
    return _candles(opened, values, interval_ms, Cells(text, _BINANCE_WIDTH), (5, 7))


def _bybit_klines(body: bytes, symbol: str, interval_ms: int) -> Candles | None:
    text = _bybit_list(body, symbol, b"[[", b"]]")
    if text is None:
        return None
    quoted, text = text, text.translate(None, b'"')
    matrix = _matrix(text, _BYBIT_WIDTH)
    if matrix is None or len(quoted) - len(text) != len(matrix) * _BYBIT_QUOTES:
        return None
    matrix = matrix[::-1]
    cells = Cells(text, _BYBIT_WIDTH, reverse=True)
    return _candles(matrix[:, 0], matrix[:, 1:], interval_ms, cells, (5, 6))


def _candles(
    opened: Floats,
    values: Floats,
    interval_ms: int,
    cells: Cells,
    exact: tuple[int, int],
) -> Candles | None:
    times = opened.astype(np.int64)
    opens, highs, lows, closes = values[:, 0], values[:, 1], values[:, 2], values[:, 3]
    if not (
        bool((times == opened).all())
        and _on_grid(times, interval_ms)
        and bool((highs >= np.maximum(opens, closes)).all())
        and bool((lows <= np.minimum(opens, closes)).all())
        and lows.min() > 0
    ):
        return None
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
_LIST: Final = b'"list":'


def _bybit_list(body: bytes, symbol: str, opening: bytes, closing: bytes) -> bytes | None:
    """The text of the answer's list, if it is about `symbol` and the rest of it is in order."""
    start = body.find(_LIST + opening) + len(_LIST)
    end = body.find(closing, start) + len(closing)
    if start < len(_LIST) or end <= start:
        return None
    try:
        result = _BYBIT_ENVELOPE.decode(b"%b[]%b" % (body[:start], body[end:])).result
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if result.list or result.symbol != symbol or result.category != "linear":
        return None
    return body[start:end]


# --- open interest -----------------------------------------------------------------------------

# A row less its digits; the number that begins one of Binance is what digits its symbol has.
_BINANCE_ROWS: Final = (
    b'{"symbol":"%b","sumOpenInterest":"","sumOpenInterestValue":"",'
    b'"CMCCirculatingSupply":"","timestamp":}',
    b'{"symbol":"%b","sumOpenInterest":"","sumOpenInterestValue":"","timestamp":}',
)
_BYBIT_SINGLE: Final = b'{"openInterest":"","singleOpenInterest":"","timestamp":""}'
_BYBIT_BOTH: Final = b'{"openInterest":"","timestamp":""}'
_NO_NUMBER: Final = bytes(code for code in range(256) if code not in b"0123456789.,[]{}")
_FLAT: Final = bytes.maketrans(b"{", b"9")


def _binance_open_interest(body: bytes, symbol: str) -> TimedValues | None:
    name = symbol.encode()
    letters = name.translate(None, _DIGITS)
    form = body.translate(None, _DIGITS)
    for row in _BINANCE_ROWS:
        count = _rows_of(row % letters, form)
        if not count or form != _list_of([row % letters] * count):
            continue
        if body.count(b'"symbol":"%b"' % name) != count:
            return None
        # The 9 in place of the bracket makes a number of a symbol without digits, too.
        numbers = _numbers(body.translate(_FLAT, _NO_NUMBER + b"}"))
        width = row.count(b'":')
        if numbers is None or len(numbers) != count * width:
            return None
        matrix = numbers.reshape(count, width)
        return _snapshots(matrix[:, -1], matrix[:, 1])
    return None


def _bybit_open_interest(body: bytes, symbol: str) -> TimedValues | None:
    text = _bybit_list(body, symbol, b"[{", b"}]")
    if text is None:
        return None
    form = text.translate(None, _DIGITS)
    # The newest come first, and the single side came late: rows that lack it follow the others.
    lacking = form.find(_BYBIT_BOTH)
    single = _rows_of(_BYBIT_SINGLE, form if lacking < 0 else form[:lacking])
    both = _rows_of(_BYBIT_BOTH, form[lacking - 1 :]) if lacking >= 0 else 0
    if form != _list_of([_BYBIT_SINGLE] * single + [_BYBIT_BOTH] * both):
        return None
    numbers = _numbers(text.translate(None, _NO_NUMBER + b"{}"))
    if numbers is None or len(numbers) != 3 * single + 2 * both:
        return None
    newer = numbers[: 3 * single].reshape(single, 3)
    older = numbers[3 * single :].reshape(both, 2)
    times = np.concatenate((newer[:, 2], older[:, 1]))[::-1]
    # Half of both sides is the single one; halving is exact in binary.
    return _snapshots(times, np.concatenate((newer[:, 1], older[:, 0] / 2))[::-1])


def _rows_of(row: bytes, form: bytes) -> int:
    """How many rows a list would have that is as long as `form`, brackets included or not."""
    return len(form) // (len(row) + 1)


def _list_of(rows: Sequence[bytes]) -> bytes:
    return b"[%b]" % b",".join(rows)


def _snapshots(stamped: Floats, values: Floats) -> TimedValues | None:
    times = stamped.astype(np.int64)
    return TimedValues(times, values[:, None]) if bool((times == stamped).all()) else None


_KLINES: Final[Mapping[Exchange, Callable[[bytes, str, int], Candles | None]]] = {
    Exchange.BINANCE: _binance_klines,
    Exchange.BYBIT: _bybit_klines,
}
_OPEN_INTEREST: Final[Mapping[Exchange, Callable[[bytes, str], TimedValues | None]]] = {
    Exchange.BINANCE: _binance_open_interest,
    Exchange.BYBIT: _bybit_open_interest,
}
