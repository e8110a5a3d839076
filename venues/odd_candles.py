"""Tolerant parser of candles: row by row, for answers that plain_candles.py does not vouch for.

Numbers may be quoted or not and have exponents; elements beyond the known ones are ignored. A row
that cannot be read is left out alone; what cannot be read of its trades is null.
"""

from collections.abc import Sequence
from functools import partial
from math import isfinite
from typing import Any, Final

import msgspec

from market.candles import Candle, Candles, new_candle
from venues.entries import DECODE_ERRORS, EntryDecoder, Unreadable, lenient, read_each
from venues.numbers import (
    TIME_LIMIT_MS,
    float_or_none,
    is_decimal,
    plain_decimal,
    shown,
    whole_number,
)
from venues.plain_candles import MatrixForm, other_length
from venues.reading import AnswerFaults, TimeMs

_CELLS: Final = EntryDecoder(list[msgspec.Raw])


class OddCandles:
    """Reads the rows of one exchange's candles."""

    def __init__(self, form: MatrixForm) -> None:
        self._columns = form.columns
        self._trades = form.trades
        self._closes = form.closes
        kinds: list[Any] = [Any] * form.width
        kinds[0] = TimeMs
        for place, column in enumerate(form.columns):
            kinds[column] = str if place in Candles.summed else float
        self._usual = lenient(tuple[*kinds])  # type: ignore[valid-type]

    def __call__(
        self,
        texts: Sequence[bytes],
        interval_ms: int,
        faults: AnswerFaults,
        *,
        trade_columns: bool = False,
    ) -> list[Candle]:
        """The candles of this interval among the texts of rows, whose time comes first."""
        wide = trade_columns and bool(self._trades)
        read = partial(self._wide_candle if wide else self._candle, interval_ms)
        return read_each(texts, read, faults.leave_out)

    def _wide_candle(self, interval_ms: int, text: bytes) -> Candle:
        candle = self._candle(interval_ms, text)
        (cells,) = _CELLS([text])
        if isinstance(cells, Unreadable):
            return candle
        sent = [_number_text(cells[at]) if at < len(cells) else None for at in self._trades]
        count, *taken = [None if each is None else plain_decimal(each) for each in sent]
        if count is not None and whole_number(count) is None:
            count = None
        return new_candle((*candle[: -1 - len(taken)], count, *taken))

    def _candle(self, interval_ms: int, text: bytes) -> Candle:
        """A row in the usual form is read at once, any other cell by cell."""
        try:
            row: Any = self._usual.decode(text)
        except DECODE_ERRORS:
            return self._from_cells(interval_ms, text)
        if self._closes is not None:
            self._check_length(row[0], row[self._closes], interval_ms)
        candle = Candle(row[0], *(row[column] for column in self._columns))
        finite = all(map(isfinite, candle[1:5]))
        if finite and row[0] >= 0 and is_decimal(candle.volume) and is_decimal(candle.turnover):
            return candle
        return self._from_cells(interval_ms, text)

    def _check_length(self, time_ms: int, closes: Any, interval_ms: int) -> None:
        close_ms = whole_number(closes) if isinstance(closes, str | int | float) else None
        if close_ms is not None and (other := other_length(time_ms, close_ms, interval_ms)):
            raise Unreadable(f"a candle of {other} ms, not of {interval_ms}", time_ms)

    def _from_cells(self, interval_ms: int, text: bytes) -> Candle:
        (cells,) = _CELLS([text])
        if isinstance(cells, Unreadable):
            raise cells
        sent = _number_text(cells[0]) if cells else None
        time_ms = whole_number(sent)
        if time_ms is None or time_ms >= TIME_LIMIT_MS:
            raise Unreadable(f"its time cannot be read: {shown(sent)}")
        if len(cells) <= max(self._columns):
            raise Unreadable(f"only {len(cells)} elements", time_ms)
        if self._closes is not None:
            self._check_length(time_ms, _number_text(cells[self._closes]), interval_ms)
        values: list[Any] = [time_ms]
        for place, (column, name) in enumerate(zip(self._columns, Candles.names, strict=True)):
            sent = _number_text(cells[column])
            read = plain_decimal if place in Candles.summed else float_or_none
            value = read(sent) if sent is not None else None
            if value is None:
                least = " of at least 0" if place in Candles.summed else ""
                raise Unreadable(f"{name} is not a number{least}: {shown(sent)}", time_ms)
            values.append(value)
        return Candle(*values)


def _number_text(cell: msgspec.Raw) -> str | None:
    """A number's text, quoted or not; None for null."""
    sent = bytes(cell)
    if sent == b"null":
        return None
    return sent.strip(b'"').decode("utf-8", "replace")
