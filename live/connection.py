"""Connection: one WebSocket from its opening to its end; it is never opened again.

One task reads, one keeps: it sends requests and pings, and finds out that the connection is dead.
Reading waits for nothing: each event is handed on by a plain call.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp

from live.arrivals import CHANNELS, Arrivals, MarketEvent
from live.dialing import Dialer, WebSocket
from live.errors import UnreadableMessage
from live.events import ClosingSoon, Dropped, Event, LeftOut, Refused, Subscribed
from live.liveness import Ending, Liveness
from live.mutes import Mutes
from live.pacing import due_or_woken
from live.stream_counts import End, StreamCounts
from live.stream_venue import StreamVenue, Topic
from live.subscriptions import Subscriptions
from logging_setup import EventLog, ThrottledLog
from texts.foreign import foreign_text
from timing.clock import Clock

MOST_UNREADABLE: Final = 20  # in a row
_LONGEST_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What all connections of a pool share."""

    venue: StreamVenue
    dialer: Dialer
    counts: StreamCounts
    clock: Clock
    every_log: EventLog
    log: ThrottledLog


class Connection:
    """One WebSocket. `epoch`: its number, unlike any other's of the pool.

    `on_event(epoch, event)` takes the events of wanted topics and what cannot be read.
    `on_heartbeat(epoch)` is called for other data.
    `on_change()` is called when an answer or first data has come, and when the exchange says that
    it will close the connection. All are plain calls that must return quickly.
    """

    def __init__(
        self, parts: StreamParts, epoch: int, socket: WebSocket,
        on_event: Callable[[int, MarketEvent | LeftOut], None],
        on_heartbeat: Callable[[int], None], on_change: Callable[[], None],
    ) -> None:  # fmt: skip
        self.epoch = epoch
        self.arrivals = Arrivals(parts.venue)
        self.subscriptions = Subscriptions(parts.venue, self.arrivals.has_data)
        self.life = Liveness(parts.venue, parts.clock.monotonic_s())
        self._mutes = Mutes(self.arrivals.has_data, self.life.opened_s)
        self.closing_soon: str | None = None  # why, if the exchange has said that it will close it
        self._venue = parts.venue
        self._dialer = parts.dialer
        self._counts = parts.counts
        self._clock = parts.clock
        # What every message needs.
        self._now_s = parts.clock.monotonic_s
        self._read_message = parts.venue.read
        self._arrival_of = self.arrivals.of
        self._log = parts.log
        self._socket = socket
        self._on_event = on_event
        self._on_heartbeat = on_heartbeat
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._stopping: Ending | None = None
        self._unreadable = 0  # in a row

    def want(self, topics: Mapping[Topic, str], heartbeat: Mapping[Topic, str]) -> None:
        """Replaces the wanted topics and the heartbeat's, each with the exchange's name for it."""
        self.arrivals.replace(topics, heartbeat)
        self.subscriptions.want(self.arrivals.names)
        self._wake.set()

    def subscribe_anew(self, name: str) -> None:
        """Unsubscribes and subscribes again, for a new snapshot."""
        self.subscriptions.subscribe_anew(name)
        self.arrivals.forget(name)
        self._wake.set()

    @property
    def without_data(self) -> list[str]:
        """The acknowledged names of which nothing had come when it was looked last."""
        held, has_data = self.subscriptions.held, self.arrivals.has_data
        return [name for name in self._mutes.names if name in held and not has_data(name)]

    def stop(self, end: End, detail: str = "") -> None:
        """Lets `run` end, soon."""
        self._stopping = self._stopping or Ending(end, detail)
        self._wake.set()

    async def run(self) -> Ending:
        """Reads until the connection ends, and why it did; `close` is left to the caller."""
        reading = asyncio.create_task(self._read())
        keeping = asyncio.create_task(self._keep())
        tasks = (reading, keeping)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        endings = [result for result in results if isinstance(result, Ending)]
        if self._stopping is not None:
            return self._stopping
        if not endings:
            for result in results:
                if isinstance(result, Exception):
                    raise result
        return endings[-1]  # the keeper's, if both ended at once: it knows more

    async def close(self) -> None:
        """Closes the socket, within a deadline."""
        await self._dialer.close(self._socket)

    async def _read(self) -> Ending:
        socket = self._socket
        while True:
            try:
                message = await socket.receive()
            except (aiohttp.ClientError, OSError) as error:
                return Ending(End.CUT, f"broken: {type(error).__name__}")
            if message.type is aiohttp.WSMsgType.TEXT or message.type is aiohttp.WSMsgType.BINARY:
                self._take(message.data)
                if self._unreadable >= MOST_UNREADABLE:
                    detail = f"{self._unreadable} messages in a row cannot be read"
                    return Ending(End.UNREADABLE, detail)
            elif message.type is aiohttp.WSMsgType.ERROR:
                return _broken_by(message.data)
            else:
                return Ending(End.CUT, self._closed_how(message))

    def _closed_how(self, message: object) -> str:
        code = self._socket.close_code
        said = foreign_text(str(getattr(message, "extra", None) or ""), _LONGEST_REASON)
        detail = f"closed by the exchange ({code})" if code else "closed by the exchange"
        return f"{detail}: {said}" if said else detail

    def _take(self, payload: bytes) -> None:
        """Reads one message and hands its events on."""
        counts, life = self._counts, self.life
        counts.messages += 1
        counts.bytes += len(payload)
        life.messages += 1
        life.last_message_s = now = self._now_s()
        try:
            events = self._read_message(payload)
        except UnreadableMessage as error:
            self._cannot_read(error.cause, error.symbol)
            return
        except Exception as error:
            self._cannot_read(f"{type(error).__name__}: {error}", None)
            return
        self._unreadable = 0
        for event in events:
            if type(event) not in CHANNELS:
                self._take_control(event)
                continue
            life.last_data_s = now
            counts.data += 1
            arrival = self._arrival_of(event)  # type: ignore[arg-type]
            if arrival is None:
                counts.unwanted += 1
                continue
            arrival.count += 1
            if arrival.count == 1:
                self._first_data(arrival.name)
            if arrival.is_wanted:
                counts.events += 1
                self._hand_on(event)  # type: ignore[arg-type]
            else:
                self._on_heartbeat(self.epoch)

    def _cannot_read(self, cause: str, symbol: str | None) -> None:
        self._counts.unreadable += 1
        self._unreadable += 1
        exchange = self._venue.exchange
        self._log.warning("stream_unreadable", exchange=exchange, market=symbol, error=cause)
        self._hand_on(LeftOut(Dropped.UNREADABLE, foreign_text(cause), symbol))

    def _hand_on(self, event: MarketEvent | LeftOut) -> None:
        try:
            self._on_event(self.epoch, event)
        except Exception:
            self._counts.owner_errors += 1
            self._log.warning(
                "stream_event_failed", exchange=self._venue.exchange, market=event.symbol,
                exc_info=True,
            )  # fmt: skip

    def _first_data(self, name: str) -> None:
        if self.life.first_data_s is None:
            self.life.first_data_s = self.life.last_message_s
        self.subscriptions.proven(name)
        self._on_change()

    def _take_control(self, event: Event) -> None:
        now = self.life.last_message_s
        if isinstance(event, Subscribed):
            self.subscriptions.acknowledged(event, now)
        elif isinstance(event, Refused):
            self.subscriptions.was_refused(event, now)
            self._log.info(
                "stream_refused", exchange=self._venue.exchange, epoch=self.epoch,
                names=list(event.names)[:10], reason=event.reason,
            )  # fmt: skip
        elif isinstance(event, LeftOut):
            self._counts.left_out[event.cause] += 1
            if event.cause is Dropped.UNREADABLE:
                self._hand_on(event)
            return
        elif isinstance(event, ClosingSoon):
            self.closing_soon = self.closing_soon or event.reason
        else:
            return
        self._wake.set()
        self._on_change()

    async def _keep(self) -> Ending:
        """Sends what is due, and ends with the reason when the connection is dead."""
        due_s: float | None = None
        while True:
            now = self._clock.monotonic_s()
            self.life.woke(now, due_s)
            if self._stopping is not None:
                return self._stopping
            if (ending := self.life.verdict(now, is_subscribed=self._is_subscribed)) is not None:
                return ending
            self.subscriptions.expire(now)
            if self.subscriptions.has_given_up:
                return Ending(End.UNANSWERED, "requests in a row had no answer")
            for name in self._mutes.due(self.subscriptions.held, now):
                self.subscribe_anew(name)
            if (text := self._text_to_send(now)) is not None:
                try:
                    await self._dialer.send(self._socket, text)
                except (TimeoutError, aiohttp.ClientError, OSError) as error:
                    return Ending(End.CUT, f"cannot send: {type(error).__name__}")
                continue
            due = (
                self.life.due_s(is_subscribed=self._is_subscribed),
                self.subscriptions.due_s(now),
                self._mutes.look_at_s,
            )
            due_s = min(each for each in due if each is not None)
            await due_or_woken(self._clock, self._wake, due_s)

    @property
    def _is_subscribed(self) -> bool:
        return bool(self.subscriptions.held)

    def _text_to_send(self, now: float) -> str | None:
        if (due_s := self.life.ping_due_s()) is not None and due_s <= now:
            self.life.pinged(now)
            self._counts.pings += 1
            return self._venue.ping
        text = self.subscriptions.next_request(now)
        if text is not None:
            self.life.asked(now)
            self._counts.requests += 1
        return text


def _broken_by(error: object) -> Ending:
    if isinstance(error, aiohttp.WebSocketError):
        if error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            return Ending(End.TOO_LARGE, "a message is larger than any that is known")
        return Ending(End.CUT, f"not the WebSocket protocol: {foreign_text(str(error), 200)}")
    return Ending(End.CUT, f"broken: {type(error).__name__}")
