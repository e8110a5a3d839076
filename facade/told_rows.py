"""Rows of histories as an exchange told them: their bytes with all fields, by market and time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from venues.venue import Endpoint


@dataclass(frozen=True, slots=True)
class ToldRow:
    """`native`: the exchange's id of the contract. `text`: the row's JSON as it came. `name`: what
    tells rows of one time apart, where there may be several (an extra charge beside the regular
    settlement)."""

    native: str
    time_ms: int
    text: str
    name: str = ""

    @classmethod
    def of(cls, native: str, time_ms: int, raw: msgspec.Raw, name: str = "") -> "ToldRow":
        """Of a row's JSON, on one line. Raises ValueError for a name that is no plain word."""
        if name and not (name.isascii() and name.isalnum()):
            raise ValueError(f"{name[:40]!r} is no name of a row")
        return cls(native, time_ms, msgspec.json.format(bytes(raw), indent=-1).decode(), name)

    @property
    def place(self) -> tuple[int, str]:
        return self.time_ms, self.name


# The rows of a successful answer's body. Raises ValueError or LookupError for another form.
RowReader = Callable[[bytes, str | None], Iterable[ToldRow]]
KEPT_ENDPOINTS: Final = (Endpoint.OPEN_INTEREST, Endpoint.FUNDING)
