"""How the service is asked, without any I/O: what to send, when to try again, when to give up.

Questions are generators. They yield steps (Send, Read, Pause, Listen, NextEvent, Leave, Give) to
the client that runs them and get the results back, so that Client and AsyncClient share all this.

Only what may be sent twice is sent twice: GETs, and the POST of a collection, which is a wish. One
that comes again joins the run that is queued, or starts one more run after the present one.
"""

import json
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import unquote

from perpcache_client.errors import (
    BadAnswer,
    InvalidRequest,
    NotFound,
    PerpcacheError,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
    Unauthorized,
)

if TYPE_CHECKING:
    from perpcache_client.overviews import Overview
    from perpcache_client.table import Table

# Seconds without a byte after which a request counts as broken, beside those it may wait for.
GAP_S: Final = 20.0
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 15.0
_MOST_BAD: Final = 3  # an answer that is not Perpcache's is mostly one of something else
_PASSING: Final = frozenset((408, 429, 500, 502, 503, 504))
_LONGEST_WORDS: Final = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `path` is behind the service's address; `wait_s`: how long it may be held."""

    path: str
    params: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    method: str = "GET"
    body: object = None  # JSON
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; names of headers are lower case. The body of a stream is empty."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    def json(self) -> Any:
        """Raises BadAnswer."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise BadAnswer("the answer is not JSON", status=self.status) from None


class Broken(Exception):
    """A request without a whole answer. `timed_out`: its time was over."""

    def __init__(self, words: str, *, timed_out: bool = False) -> None:
        super().__init__(words)
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class Send:
    """Sends the request; the result is a Reply. Raises Broken, at the deadline at the latest."""

    request: Request
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Waits."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Read:
    """The result is what `read` makes of the reply, beside the event loop if that takes long.
    Raises what `read` raises."""

    read: Callable[[Reply], Any]
    reply: Reply


@dataclass(frozen=True, slots=True)
class Listen:
    """Opens a stream of events, and leaves the one before; the result is a Reply. Raises Broken."""

    request: Request
    gap_s: float


@dataclass(frozen=True, slots=True)
class NextEvent:
    """The result is the next Event of the stream. Raises Broken."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Closes the stream of events."""


@dataclass(frozen=True, slots=True)
class Give:
    """Hands a table, or an overview, to whoever iterates."""

    told: "Table | Overview"


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event."""

    kind: str
    data: str


Step = Send | Pause | Read | Listen | NextEvent | Leave | Give
Steps = Generator[Step, Any, T]


class Asker:
    """Asks until there is an answer or the time is over."""

    def __init__(
        self,
        timeout_s: float,
        now_s: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.timeout_s = timeout_s
        self.now_s = now_s
        self._dice = dice

    def ask(
        self, request: Request, read: Callable[[Reply], T], within_s: float | None = None
    ) -> Steps[T]:
        """What `read` makes of a successful answer (or 304). Raises PerpcacheError."""
        within_s = self.timeout_s + request.wait_s if within_s is None else within_s
        deadline_s = self.now_s() + within_s
        tries = bad = 0
        while True:
            tries += 1
            failure: PerpcacheError
            least_s = 0.0
            try:
                reply: Reply = yield Send(request, deadline_s)
                raise_for_status(reply)
                answer: T = yield Read(read, reply)
                return answer
            except Broken as broken:
                failure = _failure(broken, within_s, over=self.now_s() >= deadline_s)
            except ServiceUnavailable as refused:
                failure, least_s = refused, refused.retry_after_s or 0.0
            except BadAnswer as wrong:
                bad += 1
                if bad == _MOST_BAD:
                    raise
                failure = wrong
            pause_s = max(least_s, self.pause_s(tries))
            if self.now_s() + pause_s >= deadline_s:
                raise failure
            yield Pause(pause_s)

    def pause_s(self, failures: int) -> float:
        """The pause after this many failures in a row: doubled with each, and partly random, so
        that the clients of a service that comes back do not come back at once."""
        longest = min(_FIRST_PAUSE_S * 2.0 ** min(failures, 16), _LONGEST_PAUSE_S)
        return longest * (0.5 + self._dice() / 2)


def _failure(broken: Broken, within_s: float, *, over: bool) -> PerpcacheError:
    if over:
        return Timeout(f"no whole answer within {within_s:g} s ({broken})")
    return ServiceUnavailable(f"no whole answer: {broken}")


def raise_for_status(reply: Reply) -> None:
    """Raises the error that stands for the answer's status; nothing for a success or a 304."""
    status = reply.status
    if 200 <= status < 300 or status == 304:
        return
    errors, words = _detail(reply)
    message = f"{status}: {words}" if words else f"the service answered with status {status}"
    if status == 429:
        raise TooManyRequests(message, status=status, retry_after_s=_retry_after_s(reply))
    if status in _PASSING:
        raise ServiceUnavailable(message, status=status, retry_after_s=_retry_after_s(reply))
    if status in (401, 403):
        raise Unauthorized(
            f"{message} (a token is given by token= or PERPCACHE_TOKEN)", status=status
        )
    if status == 404:
        raise NotFound(message, status=status, unknown=unknown_symbols(reply))
    if 400 <= status < 500:
        raise InvalidRequest(message, status=status, errors=errors)
    if 300 <= status < 400:
        where = reply.headers.get("location", "")[:_LONGEST_WORDS]
        raise BadAnswer(f"{status}: redirected to {where!r}: give that address", status=status)
    raise BadAnswer(message, status=status)


def unknown_symbols(reply: Reply) -> list[str]:
    """The symbols that the service says it does not know."""
    told = reply.headers.get("x-unknown-symbols", "")
    return [unquote(word.strip()) for word in told.split(",") if word.strip() not in ("", "...")]


def _detail(reply: Reply) -> tuple[list[dict[str, Any]], str]:
    """The errors that the service names one by one, and all it says, in one line."""
    try:
        told: Any = json.loads(reply.body)
        detail: Any = told["detail"]
    except (ValueError, KeyError, TypeError, IndexError):
        return [], ""
    if not isinstance(detail, list):
        return [], str(detail)[:_LONGEST_WORDS]
    errors: list[dict[str, Any]] = [
        error for error in cast("Sequence[Any]", detail) if isinstance(error, dict)
    ]
    words = "; ".join(_words(error) for error in errors)
    return errors, words[:_LONGEST_WORDS]


def _words(error: Mapping[str, Any]) -> str:
    try:
        name = str(error["loc"][1:][-1])
    except (KeyError, TypeError, IndexError):
        name = ""
    return ": ".join(filter(None, (name, str(error.get("msg", "")))))


def _retry_after_s(reply: Reply) -> float | None:
    told = reply.headers.get("retry-after", "")
    return float(told) if told.isascii() and told.isdigit() else None
