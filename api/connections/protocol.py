"""One HTTP/1.1 connection: uvicorn's, with limits on what a client sends, and how slowly it takes.

What is no request is answered here, counted, and logged seldom: 400, 414, 431, 503, 505. What is
used of uvicorn beyond `Config(http=ServingProtocol)` is listed in
tests/api/connections/test_uvicorn.py, with the version of which it is known to hold.
"""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from api.answers import PACE_EXTENSION, PIECE_BYTES, refusal
from api.connections.limits import (
    LARGEST_HEAD,
    LONGEST_TARGET,
    MOST_HEADERS,
    MOST_PIPELINED,
    ConnectionLimits,
)
from logging_setup import ThrottledLog
from metrics.api import OTHER

# How long the rest of a refused request is swallowed, so that its answer is not lost by a reset.
_LINGER_S: Final = 2.0
# Tells the application that slow readers are cut here.
_EXTENSIONS: Final[Mapping[str, object]] = MappingProxyType({PACE_EXTENSION: {}})

throttled = ThrottledLog(structlog.get_logger(__name__))


class ServingProtocol(HttpToolsProtocol):
    """Cuts a connection whose request head is not complete in time, from its opening or, on one
    that is kept alive, from the first byte; and one that takes less than a piece in time."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        if not isinstance(server_state, ConnectionLimits):
            raise TypeError("the server's state must be ConnectionLimits")
        self.limits = server_state
        # The head that is being read.
        self._in_head = False
        self._in_parts = False  # or in one read that is long: its sizes have to be looked at
        self._open_bytes = 0  # of reads that brought no end of the head
        # Deadlines: for a head, or for the rest of a refused request; and for unsent bytes.
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        # The first of the requests that are not answered.
        self._serving: RequestResponseCycle | None = None
        # Why the parser was stopped, and whether that has been answered.
        self._refusal: tuple[int, str] | None = None
        self._refused = False

    # Opening and end.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()
        if self.limits.makes_room():
            self.limits.idle[self] = None
        else:
            most = self.limits.most
            self._refuse(503, f"too many connections (limit {most}): try again later")

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._stop_watching_unsent()
        self._stop_keep_alive()
        self._leave_idle()
        _tell_gone(self._serving)  # uvicorn itself tells only the last one that was asked for
        super().connection_lost(exc)

    def end(self) -> None:
        """Closes a connection that nothing is owed to, whether or not its client reads."""
        self._leave_idle()
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        self.end()

    # What comes in.

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._stop_keep_alive()
        was_in_head = self._in_head
        self._in_parts = was_in_head or len(data) > LONGEST_TARGET
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # answered as if only the request had been made; the connection ends with it
        except httptools.HttpParserError:
            self._refuse(*(self._refusal or (400, "malformed HTTP request")))
            return
        if was_in_head and self._in_head:
            self._open_bytes += len(data)
            self._look_at_open_head()
        if self._deadline is None and (self._in_head or self._is_idle()):
            # Also after the rest of a body that nobody read, or empty lines: a head has to follow.
            self._arm()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = _EXTENSIONS  # type: ignore[typeddict-item]
        self._in_head = True
        self._open_bytes = 0
        if self._deadline is not None:
            self._arm()

    def on_headers_complete(self) -> None:
        if self._deadline is not None:
            self._disarm()
        self._in_head = False
        if self._in_parts or len(self.headers) > MOST_HEADERS:
            self._look_at_sizes()
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._stop_parsing(505, f"HTTP/{version} is not supported: use HTTP/1.1")
        # RFC 9112, 3.2: exactly one, or whoever is in front of us may have read another.
        hosts = 0
        for name, _ in self.headers:
            if name == b"host":
                hosts += 1
        if hosts != 1 and (hosts or version == "1.1"):
            self._stop_parsing(400, f"{hosts} Host headers: a request has exactly one")
        if len(self.pipeline) >= MOST_PIPELINED:
            detail = f"more than {MOST_PIPELINED} requests wait here: read their answers first"
            self._stop_parsing(400, detail)
        super().on_headers_complete()
        self.limits.idle.pop(self, None)
        if self._serving is None:
            self._serving = self.cycle
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def _look_at_open_head(self) -> None:
        if len(self.url) > LONGEST_TARGET:
            self._refuse(*_long_target())
        elif self._open_bytes > LARGEST_HEAD:
            self._refuse(*_large_head())

    def _look_at_sizes(self) -> None:
        if len(self.url) > LONGEST_TARGET:
            self._stop_parsing(*_long_target())
        if (
            len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            > LARGEST_HEAD
        ):
            self._stop_parsing(*_large_head())
        if len(self.headers) > MOST_HEADERS:
            self._stop_parsing(431, f"more than {MOST_HEADERS} headers: send fewer")

    # What goes out.

    def on_response_complete(self) -> None:
        self._serving = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if self.transport.is_closing():
            # It closes when its last bytes are taken: they have a deadline, too.
            self._watch_unsent()
        elif self._serving is None:
            if self.cycle.body:
                self.cycle.body = bytearray()
            self.limits.idle[self] = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_unsent()

    def resume_writing(self) -> None:
        self._stop_watching_unsent()
        super().resume_writing()

    # Refusals.

    def _stop_parsing(self, status: int, detail: str) -> NoReturn:
        """To be called by the parser: what a callback of it raises becomes a parser's error."""
        self._refusal = status, detail
        raise ValueError(detail)

    def _refuse(self, status: int, detail: str) -> None:
        """Answers what is no request, if that is still possible, and ends the connection."""
        self._disarm()
        self._leave_idle()
        self._refused = True
        self.limits.metrics.answered(OTHER, OTHER, status, None)
        throttled.warning("requests_refused", status=status, reason=detail)
        serving = self._serving
        if self.pipeline or (serving and serving.response_started):
            self.transport.abort()  # an answer is under way: nothing may get into it
            return
        _tell_gone(serving)
        self.transport.write(refusal(status, detail, self.limits.default_headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline = self.loop.call_later(_LINGER_S, self.transport.abort)

    # Deadlines.

    def _is_idle(self) -> bool:
        """Whether no request of this connection is being served or waits for it."""
        return self._serving is None

    def _leave_idle(self) -> None:
        self.limits.idle.pop(self, None)

    def _stop_keep_alive(self) -> None:
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    def _arm(self) -> None:
        self._disarm()
        deadline_s = self.limits.head_deadline_s
        self._deadline = self.loop.call_later(deadline_s, self._cut_late_head)

    def _cut_late_head(self) -> None:
        if self.flow.read_paused:
            self._arm()  # requests before it are still served: it is us who do not read on
        else:
            self.transport.abort()

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _watch_unsent(self) -> None:
        self._stop_watching_unsent()
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            deadline_s = self.limits.piece_deadline_s
            self._stalled = self.loop.call_later(deadline_s, self._look_at_unsent, unsent)

    def _look_at_unsent(self, before: int) -> None:
        """Cuts a client that took less than a piece since the last look."""
        unsent = self.transport.get_write_buffer_size()
        if unsent > max(0, before - PIECE_BYTES):
            throttled.info("stalled_clients_cut", left_bytes=unsent)
            self.transport.abort()
        else:
            self._watch_unsent()

    def _stop_watching_unsent(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def _long_target() -> tuple[int, str]:
    return 414, f"path and query are longer than {LONGEST_TARGET} bytes: ask for less at once"


def _large_head() -> tuple[int, str]:
    return 431, f"the request's head is larger than {LARGEST_HEAD} bytes: send fewer headers"


def _tell_gone(cycle: RequestResponseCycle | None) -> None:
    if cycle is not None and not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()
