"""An exchange of WebSockets on this machine that does what a test says, and its StreamVenue.

Its protocol is its own: `{"do": "subscribe", "id": 1, "names": ["trade.BTC"]}` is answered by
`{"ok": 1}` or `{"no": 1, "names": [..]}`; `{"trade": "BTC", "n": 7}`, `{"candle": ...}`,
`{"ticker": ...}` and `{"book": ...}` are data, `{"notice": "..."}` announces the end, and `pong`
answers `ping`.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import WSMsgType, web

from live.arrivals import MarketEvent
from live.book_rules import BookRule, Place
from live.errors import UnreadableMessage
from live.events import (
    BookEvent,
    CandleEvent,
    ClosingSoon,
    Dropped,
    Event,
    LeftOut,
    Pong,
    Refused,
    Subscribed,
    TickerEvent,
    TradeEvent,
)
from live.stream_venue import Channel, StreamVenue, Topic
from tests.fixtures.signals import until_true

NAME = "scripted"


def trade(symbol: str) -> Topic:
    return Topic(Channel.TRADE, symbol)


def candle(symbol: str, timeframe: str = "5m") -> Topic:
    return Topic(Channel.CANDLE, symbol, timeframe)


def _name(topic: Topic) -> str:
    if topic.channel is Channel.FUNDING or not topic.symbol.isalnum():
        raise ValueError(f"no {topic.channel} {topic.symbol}")
    return ".".join(part for part in topic if part)


def _route(topic: Topic) -> str:
    return "/candles" if topic.channel is Channel.CANDLE else "/market"


def _read(payload: bytes) -> list[Event]:
    if payload == b"pong":
        return [Pong()]
    try:
        told = json.loads(payload)
    except ValueError as error:
        raise UnreadableMessage(str(error), exchange=NAME) from None
    return [_event(entry) for entry in (told if isinstance(told, list) else [told])]


def _event(told: dict[str, Any]) -> Event:
    match told:
        case {"ok": number}:
            return Subscribed(str(number), told.get("names", ()))
        case {"no": number}:
            return Refused(str(number), told.get("why", "unknown"), told.get("names", ()))
        case {"trade": symbol, "n": number}:
            return TradeEvent(symbol, number, str(number), "1", "2", "buy")
        case {"candle": symbol, "n": number}:
            values = ("1", "2", "0.5", "1.5", "10", "15")
            closed = told.get("closed", False)
            return CandleEvent(symbol, told.get("of", "5m"), 0, number, closed, *values)
        case {"book": symbol, "n": number}:
            is_snapshot = told.get("whole", False)
            before = told.get("after")
            bids, asks = ([tuple(level) for level in told[side]] for side in ("bids", "asks"))
            return BookEvent(symbol, number, is_snapshot, bids, asks, number, previous_id=before)
        case {"ticker": symbol, "n": number}:
            return TickerEvent(symbol, number, told["values"], told.get("change", False))
        case {"notice": reason}:
            return ClosingSoon(reason)
        case {"bad": symbol}:
            return LeftOut(Dropped.UNREADABLE, "bad", symbol)
    raise UnreadableMessage("not of this exchange", exchange=NAME)


def _writer(what: str) -> Callable[[Sequence[str], int], str]:
    return lambda names, number: json.dumps({"do": what, "id": number, "names": list(names)})


VENUE = StreamVenue(
    exchange=NAME,
    base_url="ws://127.0.0.1:1",
    route=_route,
    name=_name,
    symbol=lambda text: text.replace("-", "").upper(),
    heartbeat_symbol="BTC",
    subscribe=_writer("subscribe"),
    unsubscribe=_writer("unsubscribe"),
    names_a_request=3,
    bytes_a_request=500,
    requests_a_second=float("inf"),
    requests_an_hour=None,
    answers_each_name=False,
    fails_whole=True,
    names_a_connection=8,
    name_bytes_a_connection=None,
    connects=(100, 1.0),
    ping="ping",
    ping_after_s=20.0,
    ping_when_silent=True,
    pong_within_s=10.0,
    silent_after_s=60.0,
    life_s=None,
    grace_s=30.0,
    read=_read,
    counts_contracts=lambda symbol: False,
    book=BookRule(
        fault=lambda event, last_id: None if event.previous_id == last_id else "a gap",
        sends_snapshot=True,
        depth=1000,
        place=lambda event, snapshot_id: Place.JOINS,
    ),
    rest_url="http://127.0.0.1:1",
)


@dataclass(eq=False)
class Session:
    """One connection, as the exchange sees it. `told`: the messages that came, pings left out."""

    path: str
    socket: web.WebSocketResponse
    exchange: "ScriptedExchange"
    told: list[dict[str, Any]] = field(default_factory=list)
    pings: int = 0
    names: set[str] = field(default_factory=set)
    is_open: bool = True

    async def send(self, *messages: object) -> None:
        for message in messages:
            text = message if isinstance(message, str) else json.dumps(message)
            with contextlib.suppress(ConnectionError):
                await self.socket.send_str(text)

    def cut(self) -> None:
        """Breaks the connection without a close frame."""
        transport = self.socket._req.transport if self.socket._req is not None else None
        if transport is not None:
            transport.abort()

    async def close(self, code: int = 1001) -> None:
        await self.socket.close(code=code)

    async def serve(self) -> None:
        async for message in self.socket:
            if message.type is not WSMsgType.TEXT:
                return
            if message.data == "ping":
                self.pings += 1
                if self.exchange.pongs:
                    await self.send("pong")
                continue
            told = json.loads(message.data)
            self.told.append(told)
            await self.exchange.on_request(self, told)

    async def acknowledge(self, told: dict[str, Any]) -> None:
        """The usual answer; a name that the exchange does not know fails the whole request."""
        unknown = [name for name in told["names"] if name in self.exchange.unknown]
        if unknown:
            await self.send({"no": told["id"], "why": f"no {unknown[0]}"})
            return
        known = self.names.union if told["do"] == "subscribe" else self.names.difference
        self.names = set(known(told["names"]))
        await self.send({"ok": told["id"]})
        if told["do"] == "subscribe" and self.exchange.delivers:
            for name in told["names"]:
                await self.send(self.exchange.data(name))

    async def pinged(self, times: int) -> None:
        await until_true(lambda: self.pings == times)

    async def requested(self, times: int) -> None:
        await until_true(lambda: len(self.told) == times)

    def asked(self, what: str = "subscribe") -> list[list[str]]:
        """The names of each request."""
        return [told["names"] for told in self.told if told["do"] == what]


OnRequest = Callable[[Session, dict[str, Any]], Any]


@dataclass(eq=False)
class ScriptedExchange:
    """The server. `delivers`: each subscribed name sends one event at once."""

    port: int = 0
    sessions: list[Session] = field(default_factory=list)
    attempts: int = 0
    refuses_with: int | None = None  # an HTTP status
    pongs: bool = True
    delivers: bool = True
    unknown: set[str] = field(default_factory=set)
    on_request: OnRequest = Session.acknowledge
    on_open: Callable[[Session], Any] | None = None
    number: int = 0
    rest: dict[str, bytes] = field(default_factory=dict)  # bodies by path and query
    rest_asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def open_sessions(self) -> list[Session]:
        return [session for session in self.sessions if session.is_open]

    def data(self, name: str) -> dict[str, Any]:
        """The next event of a name."""
        self.number += 1
        channel, symbol, *timeframe = name.split(".")
        if channel == "candle":
            return {"candle": symbol, "n": self.number, "of": timeframe[0]}
        if channel == "ticker":
            return {"ticker": symbol, "n": self.number, "values": {"last_price": "7.10"}}
        if channel == "orderbook":
            levels = {"bids": [["9", "1"]], "asks": [["11", "1"]]}
            return {"book": symbol, "n": self.number, "whole": True, **levels}
        return {"trade": symbol, "n": self.number}

    async def session(self, number: int) -> Session:
        """The connection with this number, counted from 0, once it is open."""
        await until_true(lambda: len(self.sessions) > number)
        return self.sessions[number]

    async def attempted(self, times: int) -> None:
        await until_true(lambda: self.attempts == times)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "Upgrade" not in request.headers:
            self.rest_asked.append(request.path_qs)
            body = self.rest.get(request.path_qs)
            return web.Response(status=404) if body is None else web.Response(body=body)
        self.attempts += 1
        if self.refuses_with is not None:
            return web.Response(status=self.refuses_with)
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        session = Session(request.path, socket, self)
        self.sessions.append(session)
        try:
            if self.on_open is not None:
                await self.on_open(session)
            await session.serve()
        finally:
            session.is_open = False
        return socket


@contextlib.asynccontextmanager
async def scripted_exchange() -> AsyncIterator[ScriptedExchange]:
    exchange = ScriptedExchange()
    app = web.Application()
    app.router.add_get("/{tail:.*}", exchange.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    exchange.port = runner.addresses[0][1]
    try:
        yield exchange
    finally:
        await asyncio.gather(*(session.socket.close() for session in exchange.open_sessions))
        await runner.cleanup()


def venue(**changes: Any) -> StreamVenue:
    return replace(VENUE, **changes)


@dataclass
class Recorder:
    """The owner of a pool, which notes what it is told."""

    began: dict[int, set[Topic]] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    changes: list[tuple[int, set[Topic], set[Topic]]] = field(default_factory=list)
    events: list[tuple[int, MarketEvent | LeftOut]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    needed: dict[int, list[str]] = field(default_factory=dict)  # what `needs` answers
    heartbeats: Counter[int] = field(default_factory=Counter)

    def on_epoch_began(self, epoch: int, topics: Iterable[Topic]) -> None:
        self.began[epoch] = set(topics)
        self.order.append(f"began {epoch}")

    def on_topics_changed(
        self, epoch: int, added: Iterable[Topic], removed: Iterable[Topic]
    ) -> None:
        self.changes.append((epoch, set(added), set(removed)))

    def on_event(self, epoch: int, event: MarketEvent | LeftOut) -> None:
        assert epoch in self.began and epoch not in self.ended
        self.events.append((epoch, event))

    def on_heartbeat(self, epoch: int) -> None:
        self.heartbeats[epoch] += 1

    def needs(self, epoch: int) -> Collection[str]:
        return self.needed.get(epoch, ())

    def on_epoch_ended(self, epoch: int, reason: str) -> None:
        assert epoch in self.began and epoch not in self.ended
        self.ended[epoch] = reason
        self.order.append(f"ended {epoch}")

    def symbols(self, epoch: int) -> list[str | None]:
        return [event.symbol for of, event in self.events if of == epoch]
