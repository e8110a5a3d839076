"""The body of POST /sim/clock: its fields, and which values each accepts."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from simulator.instants import instant_ms


def clock_settings(body: object) -> dict[str, Any]:
    """The arguments of Clock.set. Raises ValueError, which names the field that is wrong."""
    if not isinstance(body, Mapping):
        raise ValueError(f"the body must be a JSON object with any of {', '.join(_FIELDS)}")
    for name in sorted(body.keys() - _FIELDS.keys()):
        raise ValueError(f"unknown field {name!r}: the fields are {', '.join(_FIELDS)}")
    if "now" in body and "now_ms" in body:
        raise ValueError("now and now_ms say the same: give one of them")
    settings = {}
    for name, value in body.items():
        try:
            settings[name] = _FIELDS[name](value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    if "now" in settings:
        settings["now_ms"] = settings.pop("now")
    return settings


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be whole milliseconds, not {value!r}")
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r}")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, not {value!r}")
    return value


def _skews(value: object) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be an object of milliseconds by exchange, not {value!r}")
    return {exchange: _whole(skew) for exchange, skew in value.items()}


_FIELDS: Final[Mapping[str, Callable[[object], Any]]] = {
    "now": instant_ms,
    "now_ms": instant_ms,
    "advance_ms": _whole,
    "pass_ms": _whole,
    "frozen": _boolean,
    "speed": _number,
    "skew_ms": _skews,
}
