"""The HTTP/1.1 protocol of a connection: uvicorn's, with the limits of limits.py enforced.

Malformed, oversized and misdirected requests are answered here (400, 414, 421, 431, 503, 505),
counted, and logged at a limited rate. tests/api/connections/test_uvicorn.py lists the private
parts of uvicorn that are used here, and the version for which they were checked.
"""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final, NoReturn

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from api.answers import PACE_EXTENSION, PIECE_BYTES, Buffer, Header, refusal
from api.connections.hosts import authority
from api.connections.limits import (
    LARGEST_HEAD,
    LARGEST_PIPELINE,
    LARGEST_TRAILER,
    LONGEST_TARGET,
    MOST_HEADERS,
    MOST_PIPELINED,
    ConnectionLimits,
)
from logging_setup import ThrottledLog
from metrics.api import OTHER

# The rest of a refused request is read for this long: a reset could discard our answer.
_LINGER_S: Final = 2.0
_STATUS_LINES: Final = {
    each.value: b"HTTP/1.1 %d %b\r\n" % (each.value, each.phrase.encode()) for each in HTTPStatus
}
# Header fields that decide how an answer is sent, which is left to uvicorn.
_OF_SENDING: Final = frozenset((b"connection", b"transfer-encoding"))
_LAST_CHUNK: Final = b"0\r\n\r\n"

throttled = ThrottledLog(structlog.get_logger(__name__))


class ServingProtocol(HttpToolsProtocol):
    """Disconnects clients that send a request's head, or take an answer, too slowly.

    The time for a head counts from the connection's opening, or from the first byte of a later
    request. An answer must be taken at PIECE_BYTES per `piece_deadline_s`. Where the process stood
    still, what came meanwhile is read before a client is late for its head.
    """

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
        self._in_head = False
        self._in_parts = False  # the head came in several reads or a long one: check its sizes
        self._open_head_bytes = 0  # of all reads within the head so far
        self._served_host: bytes | None = None  # the last one that was allowed
        self._in_body = False
        self._trailer_bytes = 0  # of the reads since the last one that brought a part of the body
        self._pipelined_bytes = 0  # of the heads of requests that wait for earlier answers
        # Timers for a head or the rest of a refused request, and for unsent bytes.
        self._timer: asyncio.TimerHandle | None = None
        self._unsent_timer: asyncio.TimerHandle | None = None
        self._on_sent: list[Callable[[], None]] = []
        self._is_lost = False
        self._is_draining = False  # the transport's limits are those for the last bytes
        # Tells the application that this protocol disconnects slow clients, and when all is sent.
        self._extensions = {PACE_EXTENSION: self}
        # The oldest request without a complete answer.
        self._serving: RequestResponseCycle | None = None
        # Why the parser was stopped (status, detail), and whether that was answered.
        self._parse_error: tuple[int, str] | None = None
        self._is_refused = False

    # Opening and closing.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()
        if self.limits.make_room():
            self.limits.idle[self] = None
        else:
            most = self.limits.most
            self._refuse(503, f"too many connections (limit {most}): try again later")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_watching_unsent()
        self._stop_keep_alive()
        self._leave_idle()
        _signal_disconnect(self._serving)  # uvicorn signals the last request only
        super().connection_lost(exc)
        self._is_lost = True
        self._extensions = {}  # ends a reference cycle
        self._call_back()

    def end(self) -> None:
        """Closes an idle connection, even if its client does not read."""
        self._leave_idle()
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        self.end()

    # Requests.

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._stop_keep_alive()
        was_in_head = self._in_head
        self._trailer_bytes += len(data)
        self._in_parts = was_in_head or len(data) > LONGEST_TARGET
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # answered without an upgrade; the connection is closed then
        except httptools.HttpParserError:
            self._refuse(*(self._parse_error or (400, "malformed HTTP request")))
            return
        if was_in_head and self._in_head:
            self._open_head_bytes += len(data)
            self._check_open_head()
        elif self._in_body and self._trailer_bytes > LARGEST_TRAILER:
            self._refuse(431, f"trailers are larger than {LARGEST_TRAILER} bytes: send fewer")
            return
        if self._timer is None and (self._in_head or self._is_idle()):
            # Also after the rest of an unread body, or empty lines: a head must follow.
            self._start_head_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = self._extensions  # type: ignore[typeddict-item]
        self._in_head = True
        self._open_head_bytes = 0
        if self._timer is not None:
            self._start_head_timer()

    def on_headers_complete(self) -> None:
        if self._timer is not None:
            self._stop_timer()
        self._in_head = False
        self._in_body = True
        self._trailer_bytes = 0
        if self._in_parts or len(self.headers) > MOST_HEADERS:
            self._check_sizes()
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._stop_parsing(505, f"HTTP/{version} is not supported: use HTTP/1.1")
        # RFC 9112, 3.2: exactly one Host, because a proxy may have used another one of several.
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1 and (hosts or version == "1.1"):
            self._stop_parsing(400, f"{len(hosts)} Host headers: a request has exactly one")
        if not self.url.startswith(b"/") and (named := authority(self.url)) is not None:
            hosts.append(named)
        for host in hosts:
            if host != self._served_host:
                self._check_host(host)
        if self._serving is None:
            self._pipelined_bytes = 0
        else:
            self._check_pipeline()
        super().on_headers_complete()
        # Trailers come as headers, too; they go to a list that nobody reads (RFC 9110, 6.5.1).
        self.headers = []
        self.limits.idle.pop(self, None)
        if self._serving is None:
            self._serving = self.cycle
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._trailer_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def _check_host(self, host: bytes) -> None:
        refused = self.limits.hosts.refuses(host, self.server and self.server[0])
        if refused is not None:
            self._stop_parsing(421, refused)
        self._served_host = host

    def _check_pipeline(self) -> None:
        self._pipelined_bytes += self._head_bytes()
        if len(self.pipeline) >= MOST_PIPELINED or self._pipelined_bytes > LARGEST_PIPELINE:
            most = f"more than {MOST_PIPELINED} pipelined requests, or {LARGEST_PIPELINE} bytes"
            self._stop_parsing(400, f"{most}: read the answers first")

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _check_open_head(self) -> None:
        if len(self.url) > LONGEST_TARGET:
            self._refuse(*_target_too_long())
        elif self._open_head_bytes > LARGEST_HEAD:
            self._refuse(*_head_too_large())

    def _check_sizes(self) -> None:
        if len(self.url) > LONGEST_TARGET:
            self._stop_parsing(*_target_too_long())
        if self._head_bytes() > LARGEST_HEAD:
            self._stop_parsing(*_head_too_large())
        if len(self.headers) > MOST_HEADERS:
            self._stop_parsing(431, f"more than {MOST_HEADERS} headers: send fewer")

    # Answers.

    def on_response_complete(self) -> None:
        self._serving = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if self.transport.is_closing():
            # It closes once the client has taken the last bytes, which have a deadline, too.
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
        if self._on_sent and not self._is_lost and not self.transport.is_closing():
            self._await_last_bytes()

    def when_sent(self, callback: Callable[[], None]) -> None:
        """Calls back when the client has taken all bytes written so far, or is disconnected."""
        if self._is_lost or not self.transport.get_write_buffer_size():
            callback()
            return
        self._on_sent.append(callback)
        if len(self._on_sent) == 1:
            # The event loop may write what is buffered now once it is idle.
            self.loop.call_soon(self._await_last_bytes)

    def _await_last_bytes(self) -> None:
        if self._is_lost or self.transport.is_closing():
            return  # connection_lost calls back
        if self.transport.get_write_buffer_size():
            # Writing is paused until the last byte is sent, which has a deadline.
            self._is_draining = True
            self.transport.set_write_buffer_limits(high=0)
            return
        self._call_back()
        if self._is_draining:
            self._is_draining = False
            self.transport.set_write_buffer_limits()

    def _call_back(self) -> None:
        waiting, self._on_sent = self._on_sent, []
        for callback in waiting:
            callback()

    def write_answer(self, status: int, headers: Sequence[Header], parts: Sequence[Buffer]) -> bool:
        cycle = self._serving
        if cycle is None or cycle.response_started or cycle.disconnected or not cycle.keep_alive:
            return False
        if self.flow.write_paused or self.transport.is_closing() or status not in _STATUS_LINES:
            return False
        pieces = [_STATUS_LINES[status]]
        for name, value in (*cycle.default_headers, *headers):
            if name in _OF_SENDING:
                return False
            pieces += (name, b": ", value, b"\r\n")
        head = b"".join((*pieces, b"\r\n"))
        if head.count(b"\n") != len(pieces) // 4 + 2 or head.count(b"\r") != len(pieces) // 4 + 2:
            return False  # a value would end its line: uvicorn refuses it
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self.transport.writelines((head, *parts))
        cycle.message_event.set()
        cycle.on_response()
        return True

    # Streams.

    def unsent_bytes(self) -> int:
        return 0 if self._is_lost else self.transport.get_write_buffer_size()

    def write_chunk(self, chunk: bytes) -> None:
        if not self._is_lost and not self.transport.is_closing():
            self.transport.write(chunk)

    def end_stream(self) -> None:
        if self._is_lost or self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.write(_LAST_CHUNK)
            self.transport.close()

    # Refusals.

    def _stop_parsing(self, status: int, detail: str) -> NoReturn:
        """For callbacks of the parser, which turns any exception into an HttpParserError."""
        self._parse_error = status, detail
        raise ValueError(detail)

    def _refuse(self, status: int, detail: str) -> None:
        """Answers with an error if no answer is in progress, and closes the connection."""
        self._stop_timer()
        self._leave_idle()
        self._is_refused = True
        self.limits.metrics.answered(OTHER, OTHER, status, None)
        throttled.warning("requests_refused", status=status, reason=detail)
        serving = self._serving
        if self.pipeline or (serving and serving.response_started):
            self.transport.abort()  # an error would corrupt the answer in progress
            return
        _signal_disconnect(serving)
        self.transport.write(refusal(status, detail, self.limits.default_headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._start_timer(_LINGER_S, self.transport.abort)

    # Deadlines.

    def _is_idle(self) -> bool:
        """Whether no request is in progress or pipelined."""
        return self._serving is None

    def _leave_idle(self) -> None:
        self.limits.idle.pop(self, None)

    def _stop_keep_alive(self) -> None:
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    def _start_head_timer(self) -> None:
        self._stop_timer()
        self._start_timer(self.limits.head_deadline_s, self._on_late_head)

    def _start_timer(self, deadline_s: float, on_late: Callable[[], None]) -> None:
        # In two halves: where the process stood still for longer than the deadline, uvloop runs a
        # timer before it reads what came meanwhile; so does asyncio for a new connection.
        half_s = deadline_s / 2
        self._timer = self.loop.call_later(half_s, self._start_second_half, half_s, on_late)

    def _start_second_half(self, half_s: float, on_late: Callable[[], None]) -> None:
        self._timer = self.loop.call_later(half_s, on_late)

    def _on_late_head(self) -> None:
        if self.flow.read_paused:
            self._start_head_timer()  # we stopped reading while earlier requests are served
        else:
            self.transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch_unsent(self) -> None:
        self._stop_watching_unsent()
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            deadline_s = self.limits.piece_deadline_s
            self._unsent_timer = self.loop.call_later(deadline_s, self._check_unsent, unsent)

    def _check_unsent(self, before: int) -> None:
        """Disconnects a client that took less than PIECE_BYTES since the last check."""
        unsent = self.transport.get_write_buffer_size()
        if unsent > max(0, before - PIECE_BYTES):
            throttled.info("slow_clients_disconnected", left_bytes=unsent)
            self.transport.abort()
        else:
            self._watch_unsent()

    def _stop_watching_unsent(self) -> None:
        if self._unsent_timer is not None:
            self._unsent_timer.cancel()
            self._unsent_timer = None


def _target_too_long() -> tuple[int, str]:
    return 414, f"path and query are longer than {LONGEST_TARGET} bytes: ask for less at once"


def _head_too_large() -> tuple[int, str]:
    return 431, f"the request's head is larger than {LARGEST_HEAD} bytes: send fewer headers"


def _signal_disconnect(cycle: RequestResponseCycle | None) -> None:
    if cycle is not None and not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()
