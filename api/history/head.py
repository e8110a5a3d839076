"""What an answer says beside its rows: in JSON, in a table's metadata, and in header fields."""

from dataclasses import dataclass
from typing import Any

from api.history.columns import Layout
from history.selection import MarketName


@dataclass(frozen=True, slots=True)
class Head:
    """`fields`: in order, as JSON has them. `markets`: of the page, also those without rows.

    `source`: of prices, told of each row.
    """

    layout: Layout
    markets: tuple[MarketName, ...]
    fields: dict[str, Any]
    source: str | None = None
