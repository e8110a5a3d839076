"""Epochs: what one connection has delivered of each market, and which candles it covers whole.

A connection covers a candle if it delivered a message of that market before the candle's open, and
has since then neither paused nor shown a fault.
"""

from collections.abc import Iterator
from typing import Final

from live.events import CandleEvent

NEVER: Final = 2**62
_NO_CANDLE: Final = -1


class MarketStream:
    """One market on one connection.

    `primed_ms`: the time of the first message since the connection began, or since a fault; NEVER
    before it. `newest_ms`, `closed_ms`: the open times of the newest candle of which anything, and
    of which the closing event, was delivered. `last`: the newest forming state. `is_steady`: it is
    primed, and `last` is of the newest candle.
    """

    __slots__ = ("closed_ms", "is_steady", "last", "newest_ms", "primed_ms")

    def __init__(self) -> None:
        self.primed_ms = NEVER
        self.newest_ms = _NO_CANDLE
        self.closed_ms = _NO_CANDLE
        self.last: CandleEvent | None = None
        self.is_steady = False

    def distrust(self) -> None:
        """The candles until the next message do not count as covered."""
        self.primed_ms = NEVER
        self.is_steady = False

    def covers(self, open_time_ms: int) -> bool:
        """Whether the candle is, or will be, whole: unless a newer one came before its close."""
        is_primed = self.primed_ms < open_time_ms
        return is_primed and (self.newest_ms <= open_time_ms or self.closed_ms == open_time_ms)

    def begin(self, open_time_ms: int) -> int | None:
        """Goes on to a newer candle. The open time of the one before it if messages came of it, and
        no closing event."""
        before_ms, self.newest_ms = self.newest_ms, open_time_ms
        self.last, self.is_steady = None, False
        return before_ms if before_ms > self.closed_ms else None

    def form(self, event: CandleEvent, heard_ms: int) -> None:
        """The next state of the newest candle."""
        self.last, self.is_steady = event, True
        self.primed_ms = min(self.primed_ms, heard_ms)

    def close(self, open_time_ms: int, heard_ms: int) -> None:
        """The closing event of a candle: of the newest one, unless it comes too late."""
        if open_time_ms == self.newest_ms:
            self.closed_ms = open_time_ms
            self.last, self.is_steady = None, False
        self.primed_ms = min(self.primed_ms, heard_ms)


class Epoch:
    """One connection, by a number that no other one has."""

    __slots__ = ("differences", "heard_ms", "number", "streams")

    def __init__(self, number: int, now_ms: int) -> None:
        self.number = number
        self.heard_ms = now_ms  # of the newest message of any market
        self.differences = 0  # candles that REST has shown with other values
        self.streams: dict[str, MarketStream] = {}

    def distrust(self) -> None:
        for stream in self.streams.values():
            stream.distrust()


class Epochs:
    """The connections that feed a book now, by number; two while one takes the other's place."""

    def __init__(self) -> None:
        self._epochs: dict[int, Epoch] = {}
        self.get = self._epochs.get

    def begin(self, number: int, now_ms: int) -> None:
        """Raises ValueError for a number that is in use; 0 stands for REST."""
        if number < 1 or number in self._epochs:
            raise ValueError(f"epoch {number} is in use")
        self._epochs[number] = Epoch(number, now_ms)

    def end(self, number: int) -> Epoch | None:
        return self._epochs.pop(number, None)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self._epochs.values())

    def streams(self, symbol: str) -> Iterator[MarketStream]:
        for epoch in self._epochs.values():
            if (stream := epoch.streams.get(symbol)) is not None:
                yield stream

    def cover(self, symbol: str, open_time_ms: int, *, but: int = 0) -> bool:
        """Whether any connection covers the candle, without the one of number `but`."""
        return any(
            stream.covers(open_time_ms)
            for epoch in self._epochs.values()
            if epoch.number != but and (stream := epoch.streams.get(symbol)) is not None
        )

    def forget(self, symbol: str) -> None:
        for epoch in self._epochs.values():
            epoch.streams.pop(symbol, None)
