"""GET and HEAD /events: joins the listeners, and sends what a listener has missed."""

import asyncio
from typing import Final

from starlette.exceptions import HTTPException

from addresses.lists import Network
from api.answers import (
    CSP,
    NOSNIFF,
    Answer,
    Body,
    Header,
    Receive,
    Scope,
    Send,
    answer_to,
    connection_of,
    problem,
    send_answer,
)
from api.bytes_in_flight import BytesInFlight
from api.client_address import client_of
from api.cors import Cors, origin_of
from api.documents.endpoint import READING
from api.documents.long_poll_quota import TooManyLongPolls
from api.events.broadcast import Broadcast, Listener
from api.events.changes_cache import ChangesCache
from api.events.framing import opening, read_place
from api.events.query import EventQuery, read_event_query
from api.events.reader import EventReader
from cache_manager import CacheManager
from metrics.api import ApiMetrics

PATH: Final = "/events"
_AT_ONCE: Final = 100  # entries for one listener before others may use the event loop
_HEADERS: Final[tuple[Header, ...]] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # Proxies must neither compress nor collect what is to arrive at once.
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    NOSNIFF,
    CSP,
)


class EventsEndpoint:
    """Answers GET and HEAD; every listener costs a connection, a task that waits, and no command.

    `most_per_client`: listeners of one client's address.
    """

    def __init__(
        self,
        cache: CacheManager,
        *,
        poll_s: float,
        most_per_client: int,
        proxies: "tuple[Network, ...]",
        metrics: ApiMetrics,
        cors: Cors,
        in_flight: BytesInFlight,
    ) -> None:
        self._metrics = metrics
        self._cors = cors
        self._most_per_client = most_per_client
        self._proxies = proxies
        self._broadcast = Broadcast(ChangesCache(cache), in_flight)
        self._reader = EventReader(
            cache.store,
            poll_s=poll_s,
            is_wanted=lambda: bool(len(self._broadcast)),
            on_batch=self._broadcast.put,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] not in READING:
                raise HTTPException(405, headers={"Allow": "GET, HEAD"})
            listener = await self._join(scope)
        except (Exception, asyncio.CancelledError) as error:
            answer = self._cors.applied(answer_to(error, PATH), origin_of(scope))
        else:
            if isinstance(listener, Listener):
                await self._stream(listener, scope, receive, send)
                return
            answer = listener
        self._metrics.answered(scope["method"], PATH, answer.status, None)
        await send_answer(scope, send, answer)

    async def aclose(self) -> None:
        """Ends all listeners at once; they go on elsewhere, or later."""
        await self._broadcast.aclose()
        await self._reader.aclose()

    def listeners(self) -> int:
        return len(self._broadcast)

    async def _join(self, scope: Scope) -> Listener | Answer:
        """The listener, which takes part from now on; an answer if it is none."""
        query = read_event_query(scope["query_string"])
        if scope["method"] == "HEAD":
            return Answer(200, self._headers(scope), Body((), 0))
        connection = connection_of(scope)
        if connection is None:
            return self._cors.applied(
                problem(501, "this server cannot push events"), origin_of(scope)
            )
        client = client_of(scope, self._proxies)
        self._check(client)
        last_id = _last_id(scope, query)
        place = read_place(last_id)
        await self._reader.make_ready(place)
        # From here on nothing else runs until the listener takes part in every batch.
        self._check(client)
        listener = Listener(
            connection,
            query.filter,
            client,
            self._reader.since(place) if last_id else (),
            place.position if place is not None else self._reader.position,
        )
        self._broadcast.add(listener)
        self._reader.follow()
        return listener

    def _check(self, client: str) -> None:
        if self._broadcast.is_closed:
            raise asyncio.CancelledError
        if self._broadcast.of_client(client) >= self._most_per_client:
            raise TooManyLongPolls(
                f"too many listeners from your address (limit {self._most_per_client},"
                " MAX_LISTENERS_PER_CLIENT): close some, or share one"
            )

    async def _stream(self, listener: Listener, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._metrics.answered(scope["method"], PATH, 200, None)
            await send(
                {"type": "http.response.start", "status": 200, "headers": self._headers(scope)}
            )
            await self._catch_up(listener, send)
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._broadcast.remove(listener)

    async def _catch_up(self, listener: Listener, send: Send) -> None:
        """Sends what the listener has missed, at its pace, and what comes meanwhile."""
        body = opening(None if listener.backlog else listener.at)
        await send({"type": "http.response.body", "body": body, "more_body": True})
        sent = 0
        while not listener.is_ended:
            if not listener.backlog:
                listener.backlog = None
                return
            told = listener.backlog.popleft()
            chunk = await self._broadcast.chunk_of(told, listener.wanted)
            listener.at = told.position or listener.at
            if chunk:
                listener.connection.write_chunk(chunk)
                # Waits while the client has much unread.
                await send({"type": "http.response.body", "body": b"", "more_body": True})
            sent += 1
            if sent % _AT_ONCE == 0:
                await asyncio.sleep(0)

    def _headers(self, scope: Scope) -> list[Header]:
        return self._cors.add_headers(list(_HEADERS), origin_of(scope))


def _last_id(scope: Scope, query: EventQuery) -> bytes:
    """The header Last-Event-ID, else the parameter; empty without either.

    A browser that reconnects repeats the address as it was, so that its header is the newer one.
    """
    for name, value in scope["headers"]:
        if name == b"last-event-id" and value:
            found: bytes = value
            return found
    return (query.last_event_id or "").encode()
