"""What the settings of a reading say that cannot be: numbers, ranges and kinds."""

import math
from collections.abc import Iterator
from typing import Any

from providers.records import PriceKind


def mistakes_of_value(key: str, value: Any) -> Iterator[str]:
    """Why a setting cannot have this value, which is of the right type."""
    match key:
        case "kind":
            if value not in set(PriceKind):
                yield f"{value} is none of {', '.join(PriceKind)}"
        case "scale":
            if len(value) != 2 or not all(map(_is_number, value)) or not value[0] < value[1]:
                yield "must be two numbers, the least value and the greatest"
        case "period_s":
            if not (_is_number(value) and 0 < value <= 366 * 86_400):
                yield "must be seconds, of a year at most"
        case "min_confidence":
            if not (_is_number(value) and 0 <= value <= 1):
                yield "must be between 0 and 1"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
