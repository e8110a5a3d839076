"""StreamOptions: the deadlines, limits and first messages of a WebSocket worker, checked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

_LONGEST_S: Final = 86_400.0
_MOST_RESTARTS: Final = 1_000_000
_MOST_KEPT: Final = 100_000
_LARGEST_MESSAGE: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """How a WebSocket worker is connected, and when it is connected anew.

    `subscribe`: the messages that are sent after each connect. `heartbeat_s`: how often a ping of
    the protocol is sent, which must be answered within half of it; `ping`: a message of the
    source's own that is sent every `ping_s`. `freshness_s`: a connection without any message for so
    long is closed and opened again. `restarts`: so many failures in a row, each followed by a pause
    of `first_pause_s`, doubled each time up to `longest_pause_s`, and then no process takes the
    worker for `give_up_s`, or until it is started again. `keep`: how many published values can be
    read back.
    """

    subscribe: tuple[str, ...] = ()
    open_s: float = 10.0
    send_s: float = 10.0
    heartbeat_s: float = 20.0
    ping: str | None = None
    ping_s: float = 20.0
    freshness_s: float = 300.0
    restarts: int = 20
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    give_up_s: float = 600.0
    largest_message: int = 8 * 1024 * 1024
    keep: int = 1000

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """The options of a decorator. Raises ValueError, which says which is wrong and why."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(options) - known):
            raise ValueError(
                f"{', '.join(unknown)}: a WebSocket worker has no such option; it has "
                + ", ".join(sorted(known))
            )
        given = dict(options)
        given["subscribe"] = messages_of(given.get("subscribe", ()))
        if given.get("ping") is not None:
            given["ping"] = as_text("ping", given["ping"])
        for name in known & given.keys():
            if name.endswith("_s"):
                given[name] = _seconds(name, given[name])
        for name, least, most in (
            ("restarts", 0, _MOST_RESTARTS),
            ("keep", 1, _MOST_KEPT),
            ("largest_message", 1, _LARGEST_MESSAGE),
        ):
            if name in given:
                _check_whole(name, given[name], least, most)
        made = cls(**given)
        if made.first_pause_s > made.longest_pause_s:
            raise ValueError(
                f"first_pause_s {made.first_pause_s:g} is longer than longest_pause_s"
                f" {made.longest_pause_s:g}"
            )
        return made


def messages_of(given: Any) -> tuple[str, ...]:
    """Messages to send, each a text or what JSON can hold, as texts. Raises ValueError."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        given = (given,)
    return tuple(as_text("subscribe", message) for message in given)


def as_text(name: str, message: Any) -> str:
    """A message as it is sent: a text as it is, anything else as JSON. Raises ValueError."""
    if isinstance(message, str):
        return message
    try:
        return json.dumps(message, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: a message is a text or what JSON can hold: {error}") from None


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST_S:
        raise ValueError(f"{name} is {value!r}: it is seconds, over 0 and at most {_LONGEST_S:g}")
    return float(value)


def _check_whole(name: str, value: Any, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}: it is a whole number from {least} to {most}")
