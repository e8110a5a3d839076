"""Feed: the messages of a WebSocket worker and what it publishes, while this process holds it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Self

import structlog

from addresses.proxy import Proxy
from logging_setup import OutageLog
from stores.hot.leases import LeaseLost
from timing.backoff import stop_or
from timing.clock import now_ms
from workers.run_handle import RunLost
from workers.streams.connection import (
    Message,
    StreamAddress,
    StreamBroken,
    StreamConnection,
    check_stream_url,
)
from workers.streams.counts import StreamCounts
from workers.streams.options import StreamOptions, as_text, messages_of
from workers.streams.pace import RestartPace
from workers.streams.published import Publisher

_BLOCKING_S: Final = 60.0  # of a thread that publishes or sends

ProxyOf = Callable[[str], Proxy | None]  # Settings.usual_proxy

log = structlog.get_logger(__name__)


class StreamGivenUp(Exception):
    """The worker has failed too often in a row; says how the last time."""


class Feed:
    """One call of a WebSocket worker's function: what it reads, sends and publishes.

    `stopping` is set when the worker is to end; its loops over messages end then, too.
    """

    def __init__(
        self, worker: str, url: str | None, options: StreamOptions, proxy_of: ProxyOf,
        publisher: Publisher, pace: RestartPace, counts: StreamCounts, stopping: asyncio.Event,
    ) -> None:  # fmt: skip
        self.worker = worker
        self.url = url
        self.options = options
        self.counts = counts
        self.stopping = stopping
        self.pace = pace
        self.proxy_of = proxy_of
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._open: list[Messages] = []

    @property
    def connections(self) -> int:
        """How many connections there have been: what came between two of them is missing."""
        return self.counts.connections

    def messages(
        self,
        url: str | None = None,
        *,
        subscribe: Any = (),
        headers: Mapping[str, str] | None = None,
    ) -> "Messages":
        """Connects to `url`, by default the worker's own, and iterates over what comes: texts, and
        bytes for binary messages. `subscribe` is sent after each connect, in place of the option of
        that name.

        A connection that ends, or brings nothing for `freshness_s`, is opened again after a pause.
        Raises StreamGivenUp after `restarts` failures in a row, and ValueError for a wrong url.
        """
        url = url or self.url
        if url is None:
            raise ValueError(
                f"{self.worker} has no url: name one in @websocket(url=...) or in messages(...)"
            )
        try:
            check_stream_url(url)
            proxy = self.proxy_of(url.partition("?")[0])
        except ValueError as error:
            raise ValueError(f"{self.worker}: its url {error}") from None
        first = messages_of(subscribe) if subscribe else self.options.subscribe
        found = Messages(self, StreamAddress(url, proxy, headers or {}), first)
        self._open.append(found)
        return found

    async def send(self, message: Any) -> None:
        """Sends a text, bytes, or anything else as JSON over the connection opened last. Raises
        StreamBroken where there is none, or it ends; it is not sent again after a reconnect."""
        for messages in reversed(self._open):
            if messages.connection is not None:
                words = message if isinstance(message, bytes) else as_text("send", message)
                await messages.connection.send(words)
                return
        raise StreamBroken(f"{self.worker}: no connection is open")

    async def publish(self, *values: Any) -> None:
        """Publishes values for all who read (published.py), each once and in order. Raises RunLost
        when the worker is not ours any more, ValueError for what JSON cannot hold."""
        if not values:
            return
        try:
            await self._publisher.publish(values)
        except LeaseLost as error:
            raise RunLost(f"{self.worker}: nothing is published: {error}") from None
        self.counts.published += len(values)

    def publish_blocking(self, *values: Any) -> None:
        """As `publish`, for plain functions, which run in a thread."""
        self._from_thread(self.publish(*values))

    def send_blocking(self, message: Any) -> None:
        """As `send`, for plain functions, which run in a thread."""
        self._from_thread(self.send(message))

    def count_waiting(self) -> None:
        """Brings the counts of what waits up to now, also while the function takes nothing."""
        opened = [each.connection for each in self._open if each.connection is not None]
        self.counts.waiting = sum(connection.waiting for connection in opened)
        oldest_s = max((connection.oldest_waits_s for connection in opened), default=0.0)
        self.counts.lag_s = oldest_s or self.counts.lag_s

    def stop(self) -> None:
        """Ends the loops over messages."""
        self.stopping.set()
        for messages in self._open:
            if messages.connection is not None:
                messages.connection.stop()

    async def aclose(self) -> None:
        """Closes what is still connected."""
        opened, self._open = self._open, []
        await asyncio.gather(*(messages.aclose() for messages in opened))

    def _from_thread(self, work: Any) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run_coroutine_threadsafe(work, self._loop).result(_BLOCKING_S)
        else:
            work.close()
            raise RuntimeError("a coroutine awaits publish and send; only threads use ..._blocking")


class Messages:
    """Iterates over the messages of a WebSocket, through any number of connections."""

    def __init__(self, feed: Feed, address: StreamAddress, subscribe: Sequence[str]) -> None:
        self._feed = feed
        self._address = address
        self._subscribe = subscribe
        self._outage = OutageLog(log, "stream_broken", "stream_connected")
        self.connection: StreamConnection | None = None
        # Called when `subscribe` was sent; with the cause when a WebSocket could not be opened
        # (False) or broke (True).
        self.on_connect: Callable[[], Awaitable[object]] | None = None
        self.on_broken: Callable[[StreamBroken, bool], Awaitable[object]] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        counts = self._feed.counts
        while not self._feed.stopping.is_set():
            try:
                connection = self.connection or await self._connect()
                taken = await connection.take()
            except StreamBroken as error:
                await self._broken(error)
                continue
            if taken is None:
                break
            came_s, message = taken
            counts.messages += 1
            counts.waiting = connection.waiting
            counts.lag_s = time.monotonic() - came_s
            counts.last_message_ms = now_ms()
            return message
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Closes the connection, if one is open."""
        connection, self.connection = self.connection, None
        if connection is not None:
            await connection.close()

    async def _connect(self) -> StreamConnection:
        counts, options = self._feed.counts, self._feed.options
        counts.status = "connecting"
        connection = await StreamConnection.open(self._address, options)
        self.connection = connection  # before anything else is awaited: it is to be closed
        for message in self._subscribe:
            await connection.send(message)
        counts.connections += 1
        counts.status = "open"
        self._outage.recovered(worker=self._feed.worker)
        if self.on_connect is not None:
            await self.on_connect()
        return connection

    async def _broken(self, error: StreamBroken) -> None:
        """Pauses after a failure. Raises StreamGivenUp."""
        feed, connection, cause = self._feed, self.connection, str(error)
        brought_s = 0.0
        if connection is not None and connection.first_message_s is not None:
            brought_s = (connection.last_message_s or 0.0) - connection.first_message_s
        await self.aclose()
        feed.counts.error = cause
        if self.on_broken is not None:
            await self.on_broken(error, connection is not None)
        pause_s = feed.pace.failed(brought_s)
        if pause_s is None:
            raise StreamGivenUp(f"{feed.pace.in_a_row} failures in a row, the last: {cause}")
        self._outage.failed(cause, worker=feed.worker, retry_in_s=round(pause_s, 1))
        feed.counts.restarts += 1
        feed.counts.status = "waiting"
        await stop_or(feed.stopping, pause_s)
