"""Collectors in the form of models.py, without network addresses in what they tell of errors."""

from typing import Any, Final

from live.configured.actual import CollectorState
from live.configured.desired import DesiredCollector
from texts.hidden_addresses import without_addresses

# They hold no text of an error, and names and paths that may look like addresses.
_PLAIN: Final = frozenset(
    ("holder", "route", "symbols", "subscribe", "unsubscribe", "component", "without_data")
)


def desired_json(desired: DesiredCollector) -> dict[str, Any]:
    """The form of `Desired`."""
    definition, wish = desired.definition, desired.wish
    has_books = "orderbook" in definition.data_types
    return {
        "name": definition.name,
        "exchange": definition.exchange,
        "data_types": definition.data_types,
        "timeframes": definition.timeframes,
        "book_depth": definition.book_depth if has_books else None,
        "outputs": definition.outputs,
        "symbols": list(desired.symbols),
        "enabled": desired.enabled,
        "running": desired.runs,
        "restarts": wish.restarts,
        "changed_at": wish.changed_ms,
        "file": {
            "modified_at": desired.defined_ms,
            "enabled": definition.enabled,
            "symbols": list(definition.symbols),
        },
    }


def actual_json(state: CollectorState | None) -> dict[str, Any] | None:
    """The form of `CollectorActual`; None if no process tells anything."""
    if state is None:
        return None
    health = state.health or {}
    return _for_all(
        {
            "holder": state.holder,
            "since": state.since_ms,
            "at": state.at_ms,
            "status": state.status,
            "is_healthy": state.error is None and health.get("is_healthy") is True,
            "issues": health.get("issues") or [],
            "error": state.error,
            "restarts": state.restarts,
        }
    )


def whole_json(state: CollectorState | None) -> dict[str, Any] | None:
    """The form of `CollectorWhole`."""
    actual = actual_json(state)
    if state is None or actual is None:
        return None
    parts = {
        "collector": state.collector,
        "health": state.health,
        "manager": state.manager,
        "outputs": state.outputs,
    }
    return actual | _for_all(parts)


def _for_all(told: dict[str, Any]) -> dict[str, Any]:
    """The same with its texts as strangers may read them."""
    return {key: each if key in _PLAIN else _hidden(each) for key, each in told.items()}


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return without_addresses(value)
    if isinstance(value, dict):
        return _for_all(value)
    if isinstance(value, list):
        return [_hidden(each) for each in value]
    return value
