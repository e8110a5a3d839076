"""uvicorn's HTTP protocol, with a short way for answers that are at hand.

A bot that polls sends the same bytes over and over, and is told hundreds of times for each new
document that there is nothing new. Such a request is parsed once, not each time, and its answer
needs no task, no messages and no checks of headers that we wrote ourselves. The version is
checked before it as before any other; those who share a check are answered together.

Polls               what is known of requests, and who waits for which check
AtHandProtocol      one connection
"""

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

import structlog
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from api.answers import Answer, Header, Scope
from api.connections.memory_files import MemoryFiles, Outlet
from api.documents.document_cache import Check
from api.documents.endpoint import CHECK, Asked, CacheEndpoint

_LONGEST_KNOWN: Final = 1024  # bytes of a request
_MOST_KNOWN: Final = 1024

log = structlog.get_logger(__name__)


class _Waiting(NamedTuple):
    asked: Asked
    began: float
    connection: "AtHandProtocol"
    cycle: RequestResponseCycle


class Ready:
    """An answer, and its head as it goes out."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self._defaults: list[Header] | None = None
        self._head = b""

    def head(self, defaults: list[Header], *, goes_on: bool) -> bytes:
        """`defaults`: a list that is never changed, only replaced."""
        if self._defaults is not defaults:
            lines = [STATUS_LINE[self.answer.status]]
            lines += [b"%b: %b\r\n" % header for header in (*defaults, *self.answer.headers)]
            self._head, self._defaults = b"".join(lines), defaults
        return self._head + (b"\r\n" if goes_on else b"connection: close\r\n\r\n")


class Polls:
    """The requests of a process that may go the short way."""

    def __init__(self, documents: CacheEndpoint) -> None:
        self._documents = documents
        self._waiting: dict[Check, list[_Waiting]] = {}
        self._files = MemoryFiles()
        # Of requests that came lately, by their bytes.
        self.known: dict[bytes, tuple[Asked, Scope]] = {}

    def learn(self, data: bytes, asked: Asked, scope: Scope) -> None:
        """That these bytes of a request ask for this, and what its scope is."""
        if len(self.known) >= _MOST_KNOWN:
            del self.known[next(iter(self.known))]
        self.known[data] = asked, {**scope}

    def close(self) -> None:
        """Lets the memory go; to be called when nobody asks any more."""
        self._files.close()

    def quick(self, scope: Scope) -> Asked | None:
        return self._documents.quick(scope)

    def answer(
        self, asked: Asked, connection: "AtHandProtocol", cycle: RequestResponseCycle
    ) -> None:
        """Answers, later, when the version has been checked."""
        check = self._documents.check(asked)
        waiting = self._waiting.get(check)
        if waiting is None:
            waiting = self._waiting[check] = []
            check.add_done_callback(self._answer_all)
        waiting.append(_Waiting(asked, time.perf_counter(), connection, cycle))

    def _answer_all(self, check: Check) -> None:
        now = time.perf_counter()
        ready: dict[int, Ready | None] = {}  # by the identity of what is asked
        writes = []
        for asked, began, connection, cycle in self._waiting.pop(check):
            if id(asked) not in ready:
                answer = self._documents.short_answer(asked, check)
                ready[id(asked)] = None if answer is None else Ready(answer)
            found = ready[id(asked)]
            try:
                if found is None:
                    connection.go_the_long_way(cycle, check)
                elif connection.is_there(cycle):
                    self._documents.count(asked, found.answer, now - began)
                    if connection.respond(cycle, found):
                        writes.append((connection, cycle, found))
            except Exception:
                log.exception("answer_failed", name=asked.name)
                connection.transport.abort()
        # Together at the end: what a write copies drives all else out of the processor's cache.
        for connection, cycle, found in writes:
            connection.write_answer(cycle, found, self._files)


class AtHandProtocol(HttpToolsProtocol):
    """Asks the `at_hand` of the lifespan's state first, if there is one, and calls the
    application for all that it does not answer."""

    extensions: Mapping[str, object] = MappingProxyType({})  # of every request's scope
    _outlet: Outlet | None
    _unheard: asyncio.Event  # what goes the short way has no task that would wait for it
    _between = True  # two requests: what comes next is a head
    _asked: Asked | None = None  # by the request begun last, if its answer may be at hand

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._unheard = asyncio.Event()
        self._outlet = Outlet.of(transport)

    def data_received(self, data: bytes) -> None:
        polls: Polls | None = self.app_state.get("at_hand")
        if polls is None or not self._between or len(data) > _LONGEST_KNOWN:
            self.parse(data)
            return
        known = polls.known.get(data)
        if known is not None and self._is_idle() and not self.flow.write_paused:
            self._begin(polls, *known)
            return
        self._asked = None
        before = self.cycle
        self.parse(data)
        self._learn(polls, data, before)

    def parse(self, data: bytes) -> None:
        """What `data_received` is where nothing is known: to be overridden in its place."""
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._between = False
        super().on_message_begin()
        self.scope["extensions"] = self.extensions  # type: ignore[typeddict-item]

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._between = True

    def go_the_long_way(self, cycle: RequestResponseCycle, check: Check) -> None:
        """Calls the application after all, with the check that it need not make again."""
        if not self.is_there(cycle):
            return
        cycle.message_event = asyncio.Event()
        cycle.message_event.set()  # there is no body to come
        cycle.scope = cast(
            Any,
            {
                **cycle.scope,
                "server": self.server,
                "client": self.client,
                "extensions": self.extensions,
                "state": self.app_state.copy(),
                CHECK: check,
            },
        )
        super()._start_asgi_task(cycle, self.app)

    def is_there(self, cycle: RequestResponseCycle) -> bool:
        """Whether the client of this request still is."""
        return not (cycle.disconnected or self.transport.is_closing())

    def respond(self, cycle: RequestResponseCycle, ready: Ready) -> bool:
        """Completes the answer. Whether it is still to be written, before anything else is."""
        goes_on: bool = cycle.keep_alive
        if not goes_on:
            self.write_answer(cycle, ready, None)
        cycle.response_started = cycle.response_complete = True
        if not goes_on:
            self.transport.close()
        cycle.on_response()
        return goes_on

    def write_answer(
        self, cycle: RequestResponseCycle, ready: Ready, files: MemoryFiles | None
    ) -> None:
        head = ready.head(cycle.default_headers, goes_on=cycle.keep_alive)
        body = ready.answer.body
        if not body.length or cycle.scope["method"] == "HEAD":
            self.transport.write(head)
            return
        file = files.of(body) if files and self._outlet else None
        if file is None or self._outlet is None:
            self.transport.writelines([head, *body.parts])
        else:
            self._outlet.send(self.transport, head, body, file)

    def _learn(self, polls: Polls, data: bytes, before: RequestResponseCycle) -> None:
        """Keeps what the parser made of `data`, if that is one whole request and nothing of
        another, on a connection that goes on."""
        cycle = self.cycle
        whole = self._between and cycle is not before and not self.pipeline
        if whole and cycle.keep_alive and self._asked is not None:
            polls.learn(data, self._asked, cast(Scope, cycle.scope))

    def _begin(self, polls: Polls, asked: Asked, template: Scope) -> None:
        """As on_headers_complete does, for a request whose bytes are known."""
        self._unset_keepalive_if_required()
        self.cycle = cycle = RequestResponseCycle(
            scope=cast(Any, template),  # only looked at: one of its own comes with a task
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=self._unheard,
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        cycle.more_body = False
        polls.answer(asked, self, cycle)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        polls: Polls | None = self.app_state.get("at_hand")
        asked = None
        # A client that has yet to take what it was sent before is not sent more.
        if polls and not self.flow.write_paused and not cycle.waiting_for_100_continue:
            asked = polls.quick(cast(Scope, cycle.scope))
        self._asked = asked
        if polls is None or asked is None:
            super()._start_asgi_task(cycle, app)
        else:
            polls.answer(asked, self, cycle)

    def _is_idle(self) -> bool:
        """Whether no request of this connection is being served or waits for it."""
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete)
