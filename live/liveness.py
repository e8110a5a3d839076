"""Liveness: when a connection must be pinged, and when it is dead. No I/O; `now` in seconds.

Any message is an answer to a ping. Only data prove the streams: pongs come on silent ones, too.
Silence is judged for all markets of the connection together, never for one.
"""

from typing import Final, NamedTuple

from live.stream_counts import End
from live.stream_venue import StreamVenue

LATE_S: Final = 1.0  # this process itself was busy or asleep for so long
AFTER_LATE_S: Final = 5.0  # then what lies in the socket is read before anything is called dead


class Ending(NamedTuple):
    """Why a connection ended; `detail` in words, without secrets."""

    end: End
    detail: str


class Liveness:
    """The signs of life of one connection, by the monotonic clock."""

    def __init__(self, venue: StreamVenue, now: float) -> None:
        self.opened_s = now
        self.messages = 0
        self.last_message_s = now
        self.first_data_s: float | None = None
        self.last_data_s = now
        self._venue = venue
        self._subscribed_s: float | None = None  # when the first request went out
        self._pinged_s: float | None = None
        self._before_ping = 0  # messages that had come when the last ping went out
        self._judged_from_s = 0.0  # no verdict of death before

    def pinged(self, now: float) -> None:
        """A ping goes out."""
        self._pinged_s = now
        self._before_ping = self.messages

    def asked(self, now: float) -> None:
        """A request goes out."""
        if self._subscribed_s is None:
            self._subscribed_s = now

    def woke(self, now: float, due_s: float | None) -> None:
        """Who was to look at `due_s` looks now."""
        if due_s is not None and now - due_s > LATE_S:
            self._judged_from_s = now + AFTER_LATE_S

    def ping_due_s(self) -> float | None:
        """When the next ping is due; None where the exchange pings."""
        if self._venue.ping is None:
            return None
        since = self.opened_s if self._pinged_s is None else self._pinged_s
        if self._venue.ping_when_silent:
            since = max(since, self.last_message_s)
        return since + self._venue.ping_after_s

    def verdict(self, now: float, *, is_subscribed: bool) -> Ending | None:
        """Why the connection is dead; None: it lives. Without a subscription no data are due."""
        if (due_s := self._pong_due_s()) is not None and due_s <= now:
            return Ending(End.NO_PONG, f"nothing in {self._venue.pong_within_s:g} s after a ping")
        if is_subscribed and (due_s := self._data_due_s()) is not None and due_s <= now:
            return Ending(End.SILENT, f"no data of any market in {self._venue.silent_after_s:g} s")
        return None

    def due_s(self, *, is_subscribed: bool) -> float | None:
        """When to look again."""
        data_due_s = self._data_due_s() if is_subscribed else None
        due = (self.ping_due_s(), self._pong_due_s(), data_due_s)
        return min((each for each in due if each is not None), default=None)

    def _pong_due_s(self) -> float | None:
        """Until when something must come after the last ping."""
        if self._pinged_s is None or self.messages > self._before_ping:
            return None
        return max(self._pinged_s + self._venue.pong_within_s, self._judged_from_s)

    def _data_due_s(self) -> float | None:
        """Until when data of any market must come."""
        if self._subscribed_s is None:
            return None
        last_s = max(self.last_data_s, self._subscribed_s)
        return max(last_s + self._venue.silent_after_s, self._judged_from_s)
