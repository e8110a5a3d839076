"""StreamSettings: what POST /sim/streams and --streams change, and which values they accept."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

MOST_STORM: Final = 200_000
_BUFFER_BYTES: Final = 4_000_000

HELP: Final = (
    "silent_closings (by exchange, true or false): whether a candle without a trade gets a closing "
    "event; life_s (by exchange, null: none): how long a connection lives; closing_delay_s (by "
    "exchange, null: as usual): all closing events come so long after the close; storm_per_s: so "
    "many candle messages a second beside the usual ones, the present states of the subscribed "
    f"streams in turn; buffer_bytes ({_BUFFER_BYTES}): a reader for whom more waits is closed"
)


class StreamSettings:
    """The settings of all exchanges' streams."""

    def __init__(self, exchanges: Mapping[str, Mapping[str, Any]]) -> None:
        """`exchanges`: the defaults of each exchange, by the names of its settings."""
        self._defaults = exchanges
        self.silent_closings = {name: bool(d["silent_closings"]) for name, d in exchanges.items()}
        self.life_s: dict[str, float | None] = {n: d["life_s"] for n, d in exchanges.items()}
        self.closing_delay_s: dict[str, float | None] = dict.fromkeys(exchanges)
        self.storm_per_s = 0.0
        self.buffer_bytes = _BUFFER_BYTES

    def set(self, body: object) -> None:
        """Changes what `body` names. Raises ValueError; nothing is changed then."""
        readers: Mapping[str, Callable[[object], Any]] = {
            "silent_closings": lambda value: self._by_exchange(value, _boolean),
            "life_s": lambda value: self._by_exchange(value, _seconds),
            "closing_delay_s": lambda value: self._by_exchange(value, _seconds),
            "storm_per_s": lambda value: _number(value, MOST_STORM),
            "buffer_bytes": lambda value: int(_number(value, 10**9)),
        }
        if not isinstance(body, Mapping):
            raise ValueError(f"the body must be a JSON object with any of {', '.join(readers)}")
        found = {}
        for name, value in body.items():
            if name not in readers:
                raise ValueError(f"unknown field {name!r}: the fields are {', '.join(readers)}")
            try:
                found[name] = readers[name](value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        for name, value in found.items():
            if isinstance(value, dict):
                getattr(self, name).update(value)
            else:
                setattr(self, name, value)

    def as_json(self) -> dict[str, Any]:
        return {
            "silent_closings": self.silent_closings,
            "life_s": self.life_s,
            "closing_delay_s": self.closing_delay_s,
            "storm_per_s": self.storm_per_s,
            "buffer_bytes": self.buffer_bytes,
        }

    def _by_exchange(self, value: object, read: Callable[[object], Any]) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError(f"must be an object by exchange, not {value!r}")
        _check_names(value, self._defaults)
        return {name: read(item) for name, item in value.items()}


def _check_names(names: Iterable[str], known: Iterable[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"no exchange {unknown[0]!r}: {', '.join(known)}")


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r}")
    return value


def _seconds(value: object) -> float | None:
    return None if value is None else _number(value, 10**7)


def _number(value: object, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError(f"must be a number from 0 to {most:.0f}, not {value!r}")
    return value
