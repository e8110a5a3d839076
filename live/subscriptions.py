"""Subscriptions: what one connection is subscribed to, and the next request that changes it.

Requests go out one at a time, each within the exchange's limits, and name only the difference
between what is wanted and what the exchange has acknowledged. No I/O; `now` is monotonic time in
seconds.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from live.events import Refused, Subscribed
from live.pacing import RequestPace
from live.stream_venue import StreamVenue

ANSWER_S: Final = 5.0  # an exchange answers a request within some hundred milliseconds
MOST_UNANSWERED: Final = 3  # in a row, then the connection is of no use
RETRY_REFUSED_S: Final = 60.0  # a name that was refused alone; doubled each time, at most an hour
SLOWEST_RETRY_S: Final = 3600.0
_UNTOLD: Final = Refused("", "no reason told")


@dataclass(slots=True)
class _Request:
    """The request under way; `left`: its names without an answer."""

    number: int
    is_subscribe: bool
    left: dict[str, None]
    sent_s: float
    nameless: int = 0  # refusals that do not tell which name is meant, and the last of them
    refusal: Refused = _UNTOLD


@dataclass(slots=True)
class _Refusal:
    reason: str
    times: int
    retry_at_s: float


class Subscriptions:
    """The names of one connection. `has_data`: whether data of a name has come, which proves it
    whatever the exchange has answered."""

    def __init__(self, venue: StreamVenue, has_data: Callable[[str], bool]) -> None:
        self._venue = venue
        self._has_data = has_data
        self._pace = RequestPace(venue.requests_a_second, venue.requests_an_hour)
        self._wanted: dict[str, None] = {}
        self._held: set[str] = set()
        self._anew: set[str] = set()
        self._parts: deque[list[str]] = deque()  # of a refused request, to be asked apart
        self._refused: dict[str, _Refusal] = {}
        self._request: _Request | None = None
        self._number = 0
        self._unanswered = 0

    @property
    def held(self) -> Collection[str]:
        """The names that the exchange has acknowledged, or sends data of."""
        return self._held

    @property
    def refused(self) -> dict[str, str]:
        """The names that the exchange refuses, and why."""
        return {name: refusal.reason for name, refusal in self._refused.items()}

    @property
    def has_given_up(self) -> bool:
        """Whether the exchange has left several requests in a row without an answer."""
        return self._unanswered >= MOST_UNANSWERED

    @property
    def is_settled(self) -> bool:
        """Whether every wanted name has its answer, and nothing is left to unsubscribe."""
        return (
            self._request is None
            and not self._anew
            and all(name in self._held or name in self._refused for name in self._wanted)
            and len(self._held) == len(self._wanted) - len(self._refused)
        )

    def want(self, names: Iterable[str]) -> None:
        """Replaces the wanted names; the next requests make the difference."""
        self._wanted = dict.fromkeys(names)
        self._refused = {
            name: refusal for name, refusal in self._refused.items() if name in self._wanted
        }

    def subscribe_anew(self, name: str) -> None:
        """Unsubscribes a held name and subscribes to it again, for a new snapshot."""
        if name in self._held:
            self._anew.add(name)

    def due_s(self, now: float) -> float | None:
        """When `next_request` or `expire` has something to do; None: not before an answer."""
        if self._request is not None:
            return self._request.sent_s + ANSWER_S
        if self._leaving() or self._parts or self._missing(now):
            return self._pace.free_at_s(now)
        return min((refusal.retry_at_s for refusal in self._refused.values()), default=None)

    def next_request(self, now: float) -> str | None:
        """The text to send now, None while nothing is to be asked or an answer is awaited."""
        if self._request is not None or self._pace.free_at_s(now) > now:
            return None
        if leaving := self._leaving():
            return self._send(self._venue.unsubscribe, leaving, now, is_subscribe=False)
        names = self._next_part() or self._missing(now)
        return self._send(self._venue.subscribe, names, now, is_subscribe=True) if names else None

    def _leaving(self) -> list[str]:
        leaving = (name for name in self._held if name in self._anew or name not in self._wanted)
        return list(islice(leaving, self._venue.names_a_request))

    def _next_part(self) -> list[str]:
        while self._parts:
            part = self._parts.popleft()
            names = [name for name in part if name in self._wanted and name not in self._held]
            if names:
                return names
        return []

    def _missing(self, now: float) -> list[str]:
        """Wanted names to ask for next; a refused one alone where it would fail the others."""
        fresh = (
            name for name in self._wanted if name not in self._held and name not in self._refused
        )
        if names := list(islice(fresh, self._venue.names_a_request)):
            return names
        again = (name for name, refusal in self._refused.items() if refusal.retry_at_s <= now)
        return list(islice(again, 1 if self._venue.fails_whole else self._venue.names_a_request))

    def _send(
        self, write: Callable[[Sequence[str], int], str], names: list[str], now: float,
        *, is_subscribe: bool,
    ) -> str:  # fmt: skip
        self._number += 1
        limit = self._venue.bytes_a_request
        text = write(names, self._number)
        while (size := len(text.encode())) > limit and len(names) > 1:
            kept = names[: max(1, len(names) * limit // size)]
            if is_subscribe:
                self._parts.appendleft(names[len(kept) :])
            names = kept
            text = write(names, self._number)
        self._request = _Request(self._number, is_subscribe, dict.fromkeys(names), now)
        self._pace.take(now)
        return text

    def acknowledged(self, answer: Subscribed, now: float) -> None:
        """Takes an answer to a request; answers to earlier requests are ignored."""
        request = self._request_of(answer.request_id)
        if request is None:
            return
        self._unanswered = 0
        for name in list(answer.names or request.left):
            if name in request.left:
                del request.left[name]
                self._done(name, is_held=request.is_subscribe)
        self._end_if_answered(request, now)

    def was_refused(self, answer: Refused, now: float) -> None:
        """Takes a refusal. One that means several names at once tells little about each: they are
        asked for again in halves, down to single names."""
        request = self._request_of(answer.request_id)
        if request is None:
            return
        self._unanswered = 0
        meant = [name for name in answer.names if name in request.left]
        if meant or len(request.left) == 1:
            for name in meant or list(request.left):
                self._refuse(request, name, answer, now)
            if self._venue.fails_whole and request.left:
                # The others are asked for again without it.
                if request.is_subscribe:
                    self._parts.append(list(request.left))
                request.left.clear()
        elif self._venue.answers_each_name:
            # The answers of the others will tell which name it was.
            request.nameless += 1
            request.refusal = answer
        else:
            names = list(request.left)
            request.left.clear()
            if request.is_subscribe:
                middle = len(names) // 2
                self._parts.extend((names[:middle], names[middle:]))
            else:
                self._held.difference_update(names)
                self._anew.difference_update(names)
        self._end_if_answered(request, now)

    def expire(self, now: float) -> None:
        """Gives up a request that has had no answer in time: what it asked for counts as done where
        data, or their absence, show it, and is asked for again elsewhere."""
        request = self._request
        if request is None or now < request.sent_s + ANSWER_S:
            return
        self._request = None
        if request.nameless:
            for name in list(request.left):
                self._refuse(request, name, request.refusal, now)
            return
        self._unanswered += 1
        for name in request.left:
            self._done(name, is_held=self._has_data(name))

    def proven(self, name: str) -> None:
        """Data of a name has come for the first time, which outweighs a refusal."""
        if self._refused.pop(name, None) is not None:
            self._held.add(name)

    def _end_if_answered(self, request: _Request, now: float) -> None:
        if self._venue.answers_each_name and request.nameless >= len(request.left):
            for name in list(request.left):
                self._refuse(request, name, request.refusal, now)
        if not request.left:
            self._request = None

    def _refuse(self, request: _Request, name: str, answer: Refused, now: float) -> None:
        """One name is refused: it is asked for again later, unless it is held all the same."""
        del request.left[name]
        times = self._refused[name].times + 1 if name in self._refused else 1
        is_held = request.is_subscribe and (answer.is_held or self._has_data(name))
        self._done(name, is_held=is_held)
        if request.is_subscribe and not is_held:
            pause_s = min(RETRY_REFUSED_S * 2 ** (times - 1), SLOWEST_RETRY_S)
            self._refused[name] = _Refusal(answer.reason, times, now + pause_s)

    def _done(self, name: str, *, is_held: bool) -> None:
        self._anew.discard(name)
        self._refused.pop(name, None)
        if is_held:
            self._held.add(name)
        else:
            self._held.discard(name)

    def _request_of(self, request_id: str) -> _Request | None:
        """The request under way, if the answer is its own, or does not say whose it is."""
        request = self._request
        return request if request and request_id in ("", str(request.number)) else None
