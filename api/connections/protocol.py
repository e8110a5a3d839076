"""uvicorn's HTTP protocol, with limits for clients that say nothing, too much, or take nothing.

ServingProtocol     deadlines and sizes of one connection; uvicorn.Config(app, http=ServingProtocol)
Crowd               how many connections there may be; put it in the place of a Server's state

What cannot be answered is answered here, counted, and logged seldom: 400, 414, 431, 503, 505.
"""

import asyncio
from typing import Final

import httptools
import structlog
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from api.answers import PACE_EXTENSION, PIECE_BYTES, PIECE_DEADLINE_S, Scope, refusal
from api.connections.polls import AtHandProtocol, Polls
from api.documents.endpoint import Asked
from logging_setup import ThrottledLog
from metrics.api import OTHER, ApiMetrics

HEAD_DEADLINE_S: Final = 10.0
LONGEST_TARGET: Final = 16 * 1024  # path and query: all symbols there are fit
LARGEST_HEAD: Final = 32 * 1024
MOST_HEADERS: Final = 100
# Requests sent before the first is answered wait in memory, and one read may bring thousands.
MOST_PIPELINED: Final = 16
MOST_CONNECTIONS: Final = 16_384
# Files that are never given to clients: the stores' connections, logs, the pages of /docs.
OWN_FILES: Final = 64
# How long the rest of a refused request is swallowed, so that its answer is not lost by a reset.
_LINGER_S: Final = 2.0

throttled = ThrottledLog(structlog.get_logger(__name__))


class Crowd(ServerState):
    """The state of a uvicorn server that takes no more connections than it has files for.

    When it is full, the one that was idle for longest makes room for a new one; when all are
    being served, the new one is told so and closed.
    """

    def __init__(self, most: int, metrics: ApiMetrics) -> None:
        super().__init__()
        self.most = most
        self.metrics = metrics
        # Open, with no request of theirs being served; in the order in which they became so.
        self.idle: dict[ServingProtocol, None] = {}

    @classmethod
    def within(cls, open_files: int, metrics: ApiMetrics) -> "Crowd":
        """For a process that may have this many files open."""
        return cls(min(MOST_CONNECTIONS, max(open_files - OWN_FILES, open_files // 2)), metrics)

    def makes_room(self) -> bool:
        """Whether there is room for the connection that has just been opened."""
        if len(self.connections) <= self.most:
            return True
        for longest in self.idle:
            longest.end()
            return True
        return False


class ServingProtocol(AtHandProtocol):
    """Cuts a connection whose request head is not complete in time, from its opening or, on one
    that is kept alive, from the first byte; and one that takes less than a piece in time."""

    head_deadline_s = HEAD_DEADLINE_S
    stalled_s = PIECE_DEADLINE_S
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0  # of the target and the complete fields
    _open_bytes = 0  # of reads that brought no end of the head
    _hosts = 0
    _serving: RequestResponseCycle | None = None  # the first of those that are not answered
    _refusal: tuple[int, str] | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.extensions = {PACE_EXTENSION: self._set_pace}
        self._arm()
        state = self.server_state
        if isinstance(state, Crowd):
            if state.makes_room():
                state.idle[self] = None
            else:
                self._refuse(503, "there are too many connections: try again later")

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._unstall()
        self._unset_keepalive_if_required()
        self._leave_idle()
        _tell_gone(self._serving)  # uvicorn itself tells only the last one that was asked for
        super().connection_lost(exc)

    def parse(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        was_in_head = self._in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # answered as if only the request had been made; the connection ends with it
        except httptools.HttpParserError:
            self._refuse(*(self._refusal or (400, "this is no request in HTTP/1.1")))
            return
        if was_in_head and self._in_head:
            self._open_bytes += len(data)
            if self._open_bytes > LARGEST_HEAD:
                self._refuse(431, f"the request's head is larger than {LARGEST_HEAD} bytes")
        elif self._deadline is None and self._is_idle():
            # The rest of a body that nobody read, or empty lines: a head has to follow in time.
            self._arm()

    def _begin(self, polls: Polls, asked: Asked, template: Scope) -> None:
        self._disarm()
        self._leave_idle()
        super()._begin(polls, asked, template)
        self._serving = self.cycle

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._open_bytes = self._hosts = 0
        self._arm()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._head_bytes += len(url)
        if self._head_bytes > LONGEST_TARGET:
            self._give_up(414, f"the path and query are longer than {LONGEST_TARGET} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > LARGEST_HEAD:
            self._give_up(431, f"the request's head is larger than {LARGEST_HEAD} bytes")
        if len(self.headers) > MOST_HEADERS:
            self._give_up(431, f"there are more than {MOST_HEADERS} headers")
        if self.headers[-1][0] == b"host":
            self._hosts += 1

    def on_headers_complete(self) -> None:
        self._disarm()
        self._in_head = False
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._give_up(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        # RFC 9112, 3.2: exactly one, or whoever is in front of us may have read another.
        if self._hosts != 1 and (self._hosts or version == "1.1"):
            self._give_up(400, "a request has exactly one Host header")
        if len(self.pipeline) >= MOST_PIPELINED:
            self._give_up(400, f"more than {MOST_PIPELINED} requests wait on this connection")
        super().on_headers_complete()
        self._leave_idle()
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._serving = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            # It closes when its last bytes are taken: they have a deadline, too.
            self._watch_unsent()
        elif self._is_idle():
            self.cycle.body = bytearray()
            if isinstance(self.server_state, Crowd):
                self.server_state.idle[self] = None

    def timeout_keep_alive_handler(self) -> None:
        self.end()

    def end(self) -> None:
        """Closes a connection that nothing is owed to, whether or not its client reads."""
        self._leave_idle()
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_unsent()

    def resume_writing(self) -> None:
        self._unstall()
        super().resume_writing()

    def _leave_idle(self) -> None:
        if isinstance(self.server_state, Crowd):
            self.server_state.idle.pop(self, None)

    def _give_up(self, status: int, detail: str) -> None:
        """Ends the parsing: what a callback of the parser raises becomes a parser's error."""
        self._refusal = status, detail
        raise ValueError(detail)

    def _refuse(self, status: int, detail: str) -> None:
        """Answers what is no request, if that is still possible, and ends the connection."""
        self._disarm()
        self._leave_idle()
        self._refused = True
        self._between = False
        if isinstance(self.server_state, Crowd):
            self.server_state.metrics.answered(OTHER, OTHER, status, None)
        throttled.warning("requests_refused", status=status, reason=detail)
        serving = None if self._is_idle() else self._serving
        if self.pipeline or (serving and serving.response_started):
            self.transport.abort()  # an answer is under way: nothing may get into it
            return
        _tell_gone(serving)
        self.transport.write(refusal(status, detail, self.server_state.default_headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline = self.loop.call_later(_LINGER_S, self.transport.abort)

    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(self.head_deadline_s, self._cut_late_head)

    def _cut_late_head(self) -> None:
        if self.flow.read_paused:
            self._arm()  # requests before it are still served: it is us who do not read on
        else:
            self.transport.abort()

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _set_pace(self, deadline_s: float) -> None:
        self.stalled_s = deadline_s

    def _watch_unsent(self) -> None:
        self._unstall()
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            self._stalled = self.loop.call_later(self.stalled_s, self._look_at_unsent, unsent)

    def _look_at_unsent(self, before: int) -> None:
        """Cuts a client that took less than a piece since the last look."""
        unsent = self.transport.get_write_buffer_size()
        if unsent > max(0, before - PIECE_BYTES):
            throttled.info("stalled_clients_cut", left_bytes=unsent)
            self.transport.abort()
        else:
            self._watch_unsent()

    def _unstall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def _tell_gone(cycle: RequestResponseCycle | None) -> None:
    if cycle is not None and not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()
