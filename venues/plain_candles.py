"""Fast parser of candles: an answer in the usual form is read as one matrix of numbers.

Any other form gives None; the exchange's tolerant parser then reads it or reports the error.
Without its quotes the text is JSON of numbers alone, so no number becomes a Python object.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from market.candles import Candles
from market.exact_sums import Cells, Texts
from market.rows import Floats
from market.timeframes import MINUTE_MS

simdjson: Any
try:
    import simdjson
except ImportError:  # no wheels for this Python: every answer takes the tolerant parser
    simdjson = None

# Signs, exponents and blanks: valid in JSON, not in the plain quoted numbers read here. A plus
# occurs in an exponent only.
_NOT_PLAIN: Final = (b"-", b"e", b"E", b" ", b"\t", b"\n", b"\r")
_TIME_LIMIT_MS: Final = 10**15
# The intervals of candles that exchanges serve, ms: one minute to a week.
_LENGTHS: Final = tuple(
    minutes * MINUTE_MS
    for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 480, 720, 1440, 4320, 10080)
)


@dataclass(frozen=True, slots=True)
class MatrixForm:
    """The layout of a candle's row in an answer; its time comes first.

    `width`: numbers in a row; `quotes`: quotation marks in a row; `columns`: indices of the
    columns of a candle, in their order; `closes`: that of the candle's last ms, if it is sent;
    `trades`: those of market/columns.py's TRADE_VALUES, if they are sent.
    """

    width: int
    quotes: int
    columns: tuple[int, ...]
    newest_first: bool = False
    closes: int | None = None
    trades: tuple[int, ...] = ()


def other_length(open_ms: float, close_ms: float, interval_ms: int) -> int | None:
    """The interval of a candle that is another than was asked for, as its end tells; None: it is
    not. An end that fits no interval tells nothing."""
    length_ms = close_ms + 1 - open_ms
    return int(length_ms) if length_ms != interval_ms and length_ms in _LENGTHS else None


def plain_candles(
    quoted: bytes, form: MatrixForm, interval_ms: int, *, trade_columns: bool = False
) -> Candles | None:
    """The candles of `[[1,"2.5",...],...]`, ascending if the exchange keeps to its order."""
    if simdjson is None:
        return None
    text = quoted.translate(None, b'"')
    matrix = _matrix(text, form.width)
    if matrix is None or not _quotes_match(quoted, text, len(matrix), form.quotes):
        return None
    opened = matrix[:, 0]
    if opened.max() >= _TIME_LIMIT_MS:
        return None
    times = opened.astype(np.int64)
    if bool((times != opened).any()):  # not whole milliseconds
        return None
    if form.closes is not None:
        lengths = matrix[:, form.closes] + 1 - opened
        others = lengths[lengths != interval_ms]
        if len(others) and bool(np.isin(others, _LENGTHS).any()):
            return None
    columns = form.columns + form.trades if trade_columns else form.columns
    values = matrix.take(columns, axis=1)
    if form.newest_first:
        times, values = times[::-1], values[::-1]
    cells = Cells(text, form.width, reverse=form.newest_first)
    summed = (columns[index] for index in Candles.summed if index < len(columns))
    texts = tuple(Texts(cells, column, len(matrix)) for column in summed)
    return Candles(times, values, texts)


def _matrix(text: bytes, width: int) -> Floats | None:
    """Plain numbers in rows of `width`, else None."""
    numbers = _numbers(text)
    if numbers is None or not len(numbers) or len(numbers) % width:
        return None
    return numbers.reshape(-1, width)


def _numbers(text: bytes) -> Floats | None:
    """All numbers of a nested JSON array, flattened; None for anything else.

    simdjson rounds correctly, and rejects invalid numbers and those beyond float64.
    """
    if any(sign in text for sign in _NOT_PLAIN):
        return None
    try:
        return np.frombuffer(simdjson.Parser().parse(text).as_buffer(of_type="d"))
    except (ValueError, TypeError, RuntimeError, AttributeError):
        return None  # not JSON, not only numbers, too many digits, or not an array


def _quotes_match(quoted: bytes, text: bytes, rows: int, quotes: int) -> bool:
    """Whether `quoted` has `quotes` quotation marks in each row, all next to a delimiter."""
    if len(quoted) - len(text) != rows * quotes:
        return False
    signs = np.frombuffer(quoted, np.uint8)
    brackets = signs > ord("9")
    edges = brackets | (signs == ord(","))
    misplaced = (signs == ord('"'))[1:-1] > (edges[:-2] | edges[2:])  # a quote not at an edge
    return not bool(misplaced.any()) and np.count_nonzero(brackets) == 2 * (rows + 1)
