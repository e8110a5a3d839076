"""with_texts: every text in a value of JSON, names of members included, changed by a function."""

from collections.abc import Callable
from typing import Any


def with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """The value with `change` applied to its texts and to the names of its members; of members
    whose names become one, the last is kept."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(name): with_texts(item, change) for name, item in value.items()}
    return [with_texts(item, change) for item in value] if isinstance(value, list) else value
