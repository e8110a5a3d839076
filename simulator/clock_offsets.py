"""Faults of an exchange's clock: answers that tell the time by a clock that is off."""

from collections.abc import Mapping
from typing import Any, Final

from simulator.answers import Answer
from simulator.exchange import Exchange
from simulator.parameters import Query

VARIANTS: Final = ("body", "date", "cached")
_FARTHEST_MS: Final = 100 * 366 * 86_400_000


def offset_problem(settings: Mapping[str, Any]) -> str:
    """What is invalid about the rule's offset or variant; empty if nothing."""
    offset_ms, variant = settings.get("offset_ms"), settings.get("variant", "body")
    if isinstance(offset_ms, bool) or not isinstance(offset_ms, int):
        return "kind clock_offset needs offset_ms, a whole number"
    if abs(offset_ms) > _FARTHEST_MS:
        return f"offset_ms must be at most {_FARTHEST_MS}"
    if variant not in VARIANTS:
        return f"variant must be one of {', '.join(VARIANTS)}"
    if variant == "cached" and offset_ms > 0:
        return "a cached answer is old: offset_ms must be at most 0"
    return ""


def answer(exchange: Exchange, endpoint: str, query: Query, settings: Mapping[str, Any]) -> Answer:
    """The answer that the exchange would give if its clock were off by the rule's offset."""
    offset_ms, variant = int(settings["offset_ms"]), settings.get("variant", "body")
    with exchange.markets.clock.moved(exchange.name, offset_ms):
        made = exchange.answer(endpoint, query)
    if variant != "body":
        made.date_offset_ms = offset_ms
    if variant == "cached":
        made.headers["Age"] = str(-offset_ms // 1000)
    return made
