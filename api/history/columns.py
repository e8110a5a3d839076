"""The columns of history: of each kind of rows, and those that a request picks of them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from history.selection import Kind
from market.columns import VALUES

_CANDLE: Final = [column.name for column in VALUES if column.candle]
# The time of a row, and its numbers in the order of a block's values.
TIMES: Final[dict[Kind, str]] = {
    "candles": "open_time",
    "open_interest": "time",
    "funding": "funding_time",
    "prices": "time",
}
_VALUES: Final[dict[Kind, tuple[str, ...]]] = {
    "candles": tuple(column.name for column in VALUES),
    "open_interest": ("open_interest",),
    "funding": ("funding_rate",),
    "prices": ("price",),
}
_KNOWN: Final = ("known_at",)
_REVISED: Final = ("known_from", "known_to")
JOINED: Final = tuple(column.name for column in VALUES if not column.candle)


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of an answer, in order: the time, numbers, and since when they are known.

    `places`: of the numbers, in a block's values.
    """

    time: str
    values: tuple[str, ...]
    places: tuple[int, ...]
    known: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (self.time, *self.values, *self.known)


def column_names(kind: Kind, *, revisions: bool) -> tuple[str, ...]:
    """The columns that there are. Versions are told of candles alone: open interest and rates have
    their own."""
    values = _VALUES[kind]
    if revisions and kind == "candles":
        values = tuple(_CANDLE)
    return (TIMES[kind], *values, *(_REVISED if revisions else _KNOWN))


def layout_of(kind: Kind, picked: Collection[str] | None, *, revisions: bool) -> Layout:
    """The picked columns (None: all), in the order of all; the time is always one of them."""
    time, *others = column_names(kind, revisions=revisions)
    values = _VALUES[kind]
    chosen = [name for name in others if picked is None or name in picked]
    numbers = [name for name in chosen if name in values]
    return Layout(
        time,
        tuple(numbers),
        tuple(values.index(name) for name in numbers),
        tuple(name for name in chosen if name not in values),
    )
