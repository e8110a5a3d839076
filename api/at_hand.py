"""uvicorn's HTTP protocol, with a short way for answers that are at hand.

A bot that polls sends the same bytes over and over, and is told hundreds of times for each new
document that there is nothing new. Such a request is parsed once, not each time, and its answer
needs no task, no messages and no checks of headers that we wrote ourselves. The version is
checked before it as before any other.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from api.cache import CHECK, Answer, Asked, CacheEndpoint, Scope
from api.shelf import Check

_LONGEST_KNOWN: Final = 1024  # bytes of a request


class AtHandProtocol(HttpToolsProtocol):
    """Asks the `at_hand` of the lifespan's state first, if there is one, and calls the
    application for all that it does not answer."""

    extensions: Mapping[str, object] = MappingProxyType({})  # of every request's scope
    _unheard: asyncio.Event  # what goes the short way has no task that would wait for it
    _between = True  # two requests: what comes next is a head
    _asked: Asked | None = None  # by the request begun last, if its answer may be at hand

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._unheard = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        at_hand: CacheEndpoint | None = self.app_state.get("at_hand")
        if at_hand is None or not self._between or len(data) > _LONGEST_KNOWN:
            self.parse(data)
            return
        known = at_hand.known.get(data)
        if known is not None and self._is_idle() and not self.flow.write_paused:
            self._begin(at_hand, *known)
            return
        self._asked = None
        before = self.cycle
        self.parse(data)
        self._learn(at_hand, data, before)

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

    def _learn(self, at_hand: CacheEndpoint, data: bytes, before: RequestResponseCycle) -> None:
        """Keeps what the parser made of `data`, if that is one whole request and nothing of
        another, on a connection that goes on."""
        cycle = self.cycle
        whole = self._between and cycle is not before and not self.pipeline
        if whole and cycle.keep_alive and self._asked is not None:
            at_hand.learn(data, self._asked, cast(Scope, cycle.scope))

    def _begin(self, at_hand: CacheEndpoint, asked: Asked, template: Scope) -> None:
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
        at_hand.when_checked(asked, partial(self._respond, cycle, self.app))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        at_hand: CacheEndpoint | None = self.app_state.get("at_hand")
        asked = None
        # A client that has yet to take what it was sent before is not sent more.
        if at_hand and not self.flow.write_paused and not cycle.waiting_for_100_continue:
            asked = at_hand.quick(cast(Scope, cycle.scope))
        self._asked = asked
        if at_hand is None or asked is None:
            super()._start_asgi_task(cycle, app)
        else:
            at_hand.when_checked(asked, partial(self._respond, cycle, app))

    def _go_the_long_way(self, cycle: RequestResponseCycle, app: Any, check: Check) -> None:
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
        super()._start_asgi_task(cycle, app)

    def _respond(
        self, cycle: RequestResponseCycle, app: Any, answer: Answer | None, check: Check
    ) -> None:
        if cycle.disconnected or self.transport.is_closing():
            return
        if answer is None:
            self._go_the_long_way(cycle, app, check)
            return
        lines = [STATUS_LINE[answer.status]]
        lines += [b"%b: %b\r\n" % header for header in cycle.default_headers]
        lines += [b"%b: %b\r\n" % header for header in answer.headers]
        lines.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        if answer.body.length and cycle.scope["method"] != "HEAD":
            self.transport.writelines((b"".join(lines), *answer.body.parts))
        else:
            self.transport.write(b"".join(lines))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def _is_idle(self) -> bool:
        """Whether no request of this connection is being served or waits for it."""
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete)
