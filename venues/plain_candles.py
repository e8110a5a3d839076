"""Candles read as one matrix of numbers, where an answer has the form it nearly always has.

None wherever anything differs: the exchange's tolerant reader then reads it, or says what is wrong.
No number becomes a Python object on the way: the quotes are taken out of the text, and what is left
is JSON of numbers alone.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from market.candles import Candles
from market.exact_decimals import Cells, Texts
from market.rows import Floats

simdjson: Any
try:
    import simdjson
except ImportError:  # there are no wheels for this Python: every answer goes the other way
    simdjson = None

# What JSON's numbers may hold, and its numbers in quotes may not: signs, exponents, blanks. A plus
# stands in an exponent only.
_ODD: Final = (b"-", b"e", b"E", b" ", b"\t", b"\n", b"\r")
_AFTER_ALL_TIME_MS: Final = 10**15
_ALL_IN_ORDER: Final = tuple(range(1, 1 + len(Candles.names)))


@dataclass(frozen=True, slots=True)
class MatrixForm:
    """How a row of candles lies in an answer, its time first.

    `width`: numbers in a row; `quotes`: quotation marks in it. `columns`: where it has the columns
    of a candle, in their order.
    """

    width: int
    quotes: int
    columns: tuple[int, ...]
    newest_first: bool = False


def plain_candles(quoted: bytes, form: MatrixForm) -> Candles | None:
    """The candles of `[[1,"2.5",...],...]`, ascending if the exchange keeps its own order."""
    if simdjson is None:
        return None
    text = quoted.translate(None, b'"')
    matrix = _matrix(text, form.width)
    if matrix is None or not _is_quoted(quoted, text, len(matrix), form.quotes):
        return None
    opened = matrix[:, 0]
    if opened.max() >= _AFTER_ALL_TIME_MS:
        return None
    times = opened.astype(np.int64)
    if bool((times != opened).any()):  # no whole ms
        return None
    if form.columns == _ALL_IN_ORDER:
        values = matrix[:, 1 : 1 + len(_ALL_IN_ORDER)]  # no copy
    else:
        values = matrix.take(form.columns, axis=1)
    if form.newest_first:
        times, values = times[::-1], values[::-1]
    cells = Cells(text, form.width, reverse=form.newest_first)
    texts = tuple(Texts(cells, form.columns[index], len(matrix)) for index in Candles.summed)
    return Candles(times, values, texts)


def _matrix(text: bytes, width: int) -> Floats | None:
    """Plain numbers in rows of `width`; None for anything else."""
    numbers = _numbers(text)
    if numbers is None or not len(numbers) or len(numbers) % width:
        return None
    return numbers.reshape(-1, width)


def _numbers(text: bytes) -> Floats | None:
    """All numbers of a JSON array and of the arrays in it, one after the other; else None.

    simdjson rounds correctly, and refuses what is no number of JSON or beyond float64.
    """
    if any(sign in text for sign in _ODD):
        return None
    try:
        return np.frombuffer(simdjson.Parser().parse(text).as_buffer(of_type="d"))
    except (ValueError, TypeError, RuntimeError, AttributeError):
        return None  # not JSON; not numbers alone; one of too many digits; no array


def _is_quoted(quoted: bytes, text: bytes, rows: int, quotes: int) -> bool:
    """Whether the quotation marks that `text` lacks were so many a row, each at a number's edge."""
    if len(quoted) - len(text) != rows * quotes:
        return False
    signs = np.frombuffer(quoted, np.uint8)
    brackets = signs > ord("9")
    edges = brackets | (signs == ord(","))
    astray = (signs == ord('"'))[1:-1] > (edges[:-2] | edges[2:])  # a quote, and no edge
    return not bool(astray.any()) and np.count_nonzero(brackets) == 2 * (rows + 1)
