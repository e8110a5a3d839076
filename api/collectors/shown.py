"""Collectors in the form of models.py, without network addresses in what they tell of errors."""

from typing import Any

from live.configured.actual import CollectorState
from live.configured.desired import DesiredCollector
from texts.hidden_addresses import without_addresses


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
    told: dict[str, Any] = _open_to_all(
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
    return told | {"holder": state.holder}


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
    told: dict[str, Any] = _open_to_all(parts)
    return actual | told


def _open_to_all(value: Any) -> Any:
    """The value with its texts as strangers may read them."""
    if isinstance(value, str):
        return without_addresses(value)
    if isinstance(value, dict):
        return {key: _open_to_all(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_open_to_all(each) for each in value]
    return value
