"""Tolerant parser of candles: row by row, for answers that plain_candles.py does not vouch for.

Numbers may be quoted or not and have exponents; elements beyond the known ones are ignored. A row
that cannot be read is left out alone.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from market.candles import Candle, Candles, new_candle
from venues.entries import EntryDecoder, Unreadable, read_each
from venues.numbers import TIME_LIMIT_MS, float_or_none, plain_decimal, shown, whole_number
from venues.reading import PayloadErrors

_CELLS: Final = EntryDecoder(list[msgspec.Raw])


def odd_candles(
    entries: Sequence[bytes], columns: tuple[int, ...], fail: PayloadErrors
) -> list[Candle]:
    """The candles among the texts of rows, whose time comes first; `columns` as in MatrixForm."""
    return read_each(_CELLS(entries), partial(_candle, columns), fail.leave_out)


def _candle(columns: tuple[int, ...], cells: list[msgspec.Raw]) -> Candle:
    text = _text(cells[0]) if cells else None
    time_ms = whole_number(text)
    if time_ms is None or time_ms >= TIME_LIMIT_MS:
        raise Unreadable(f"its time cannot be read: {shown(text)}")
    if len(cells) <= max(columns):
        raise Unreadable(f"only {len(cells)} elements", time_ms)
    values: list[object] = [time_ms]
    for place, (column, name) in enumerate(zip(columns, Candles.names, strict=True)):
        text = _text(cells[column])
        read = plain_decimal if place in Candles.summed else float_or_none
        value = read(text) if text is not None else None
        if value is None:
            least = " of at least 0" if place in Candles.summed else ""
            raise Unreadable(f"{name} is not a number{least}: {shown(text)}", time_ms)
        values.append(value)
    return new_candle(values)


def _text(cell: msgspec.Raw) -> str | None:
    """A number's text, quoted or not; None for null."""
    sent = bytes(cell)
    if sent == b"null":
        return None
    return (sent[1:-1] if sent.startswith(b'"') else sent).decode("utf-8", "replace")
