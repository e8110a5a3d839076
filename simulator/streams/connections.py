"""Streams: accepts WebSockets, reads what they send, and runs the hubs by the clock."""

import asyncio
import math
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from aiohttp import WSMsgType, web

from simulator.answers import Answer, error_page
from simulator.exchange_markets import ExchangeMarkets
from simulator.limits import ClientLimits, ClientRecord, LimitSettings
from simulator.market import Market
from simulator.stats import Stats
from simulator.streams.hub import Hub
from simulator.streams.session import Session
from simulator.streams.settings import StreamSettings

_PASS_S: Final = 0.02  # between two passes, at least as long as the last one took
_LONGEST_PASS_S: Final = 0.5
_BUDGET_S: Final = 0.03  # of a pass, for pushes that may be left out
_MOST_BYTES_IN: Final = 1_000_000  # of one message
_CLOSE_S: Final = 2.0  # how long the client's answer to a close frame is awaited
_DATA: Final = (WSMsgType.TEXT, WSMsgType.BINARY)


class Streams:
    """The WebSockets of all exchanges."""

    def __init__(
        self, hubs: Mapping[str, Hub], markets: ExchangeMarkets, stats: Stats,
        settings: StreamSettings, limits: LimitSettings,
    ) -> None:  # fmt: skip
        self.hubs = hubs
        self.settings = settings
        self._stats = stats
        self._clock = markets.clock
        self._limits = limits
        self._windows = {
            name: ClientLimits(name, limits, markets.clock, stats, ClientRecord) for name in hubs
        }
        prefixes = [(start, hub) for hub in hubs.values() for start in hub.exchange.prefixes]
        self._by_prefix = sorted(prefixes, key=lambda item: -len(item[0]))
        self._numbers = count(1)
        self._someone = asyncio.Event()  # whether any connection is open
        self._storm_s = 0.0

    # --- the clock

    async def run(self) -> None:
        """Pushes what is due until cancelled; it rests while no connection is open."""
        loop = asyncio.get_running_loop()
        before_s = loop.time()
        while True:
            if not any(hub.sessions for hub in self.hubs.values()):
                self._someone.clear()
                await self._someone.wait()
                before_s = loop.time()
            began_s = loop.time()
            self.advance(_BUDGET_S)
            self._storm(began_s - before_s)
            before_s = began_s
            # Half of the time at most is spent on streams, so that requests are answered too.
            await asyncio.sleep(min(max(_PASS_S, loop.time() - began_s), _LONGEST_PASS_S))

    def advance(self, budget_s: float = math.inf) -> None:
        """Pushes and writes all that is due by now; also called at once when time is moved."""
        for hub in self.hubs.values():
            if hub.sessions:
                hub.advance(budget_s)
                hub.flush()

    def _storm(self, real_s: float) -> None:
        """Sends the part of a storm that belongs to the last `real_s` seconds, one at most."""
        self._storm_s = min(self._storm_s + real_s, 1.0)
        wanted = int(self._storm_s * self.settings.storm_per_s)
        busy = [hub for hub in self.hubs.values() if hub.sessions]
        if not wanted or not busy:
            self._storm_s = 0.0 if not self.settings.storm_per_s else self._storm_s
            return
        self._storm_s -= wanted / self.settings.storm_per_s
        for place, hub in enumerate(busy):
            hub.storm(wanted * (place + 1) // len(busy) - wanted * place // len(busy))
            hub.flush()

    # --- control

    def market_changed(self, kind: str, market: Market, event: Mapping[str, Any]) -> None:
        """An event was applied to a market; its exchange's streams follow."""
        hub = self.hubs.get(market.exchange)
        if hub is not None:
            hub.market_changed(kind, market, event)
            self.advance()

    def reset_limits(self) -> None:
        for windows in self._windows.values():
            windows.forget()

    def reset_stats(self) -> None:
        for hub in self.hubs.values():
            hub.counts.reset()

    def stats(self) -> dict[str, Any]:
        return {name: hub.counts.as_json() for name, hub in self.hubs.items()}

    def sessions(self) -> list[dict[str, Any]]:
        """The open connections, for GET /sim/streams."""
        return [
            {
                "exchange": name, "conn_id": session.conn_id, "client": session.client,
                "path": session.path, "streams": len(session.streams),
                "age_s": round(self._clock.elapsed_s() - session.opened_s, 3),
            }
            for name, hub in self.hubs.items()
            for session in hub.sessions
        ]  # fmt: skip

    # --- connections

    def hub_for(self, request: web.BaseRequest, path: str) -> Hub | None:
        """The hub that a request to open a WebSocket means; None: it is no such request."""
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return None
        return next((hub for start, hub in self._by_prefix if path.startswith(start)), None)

    async def serve(self, request: web.BaseRequest, hub: Hub) -> web.StreamResponse | Answer:
        """Serves one WebSocket until it ends; an Answer refuses it."""
        client = request.headers.get("X-Sim-Client") or request.remote or "unknown"
        path, _, query = request.raw_path.partition("?")
        refused = self._refusal(hub, client, path, query)
        if refused is not None:
            hub.counts.refused += 1
            return refused
        socket = web.WebSocketResponse(
            timeout=_CLOSE_S, autoping=False, compress=hub.exchange.deflates,
            max_msg_size=_MOST_BYTES_IN, decode_text=False,
        )  # fmt: skip
        try:
            await socket.prepare(request)
        except ConnectionResetError:  # the client has gone already
            return socket
        if request.transport is None:
            return socket
        hub.advance()  # what was due before this connection, which it knows nothing of
        session = Session(hub, request.transport, client, path, next(self._numbers))
        session.deflate_bits = int(socket.compress)
        hub.add(session)
        self._someone.set()
        reader = asyncio.create_task(self._read(socket, hub, session))
        ended = asyncio.create_task(session.ended.wait())
        try:
            hub.exchange.opened(session, query)
            hub.flush()
            await asyncio.wait((reader, ended), return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                reader.result()
        finally:
            for task in (reader, ended):
                task.cancel()
            await asyncio.gather(reader, ended, return_exceptions=True)
            hub.flush()
            ending = session.ending
            hub.remove(session, "client" if ending is None else str(ending.code or "cut"))
        if ending is not None and ending.code:
            await socket.close(code=ending.code, message=ending.reason.encode())
        if request.transport is not None:
            request.transport.abort()
        return socket

    def _refusal(self, hub: Hub, client: str, path: str, query: str) -> Answer | None:
        exchange, now_s = hub.exchange, self._clock.elapsed_s()
        rule = hub.faults.pick("stream_refuse", now_s, client=client)
        if rule is not None:
            self._stats.faults[rule.kind] += 1
            return error_page(int(rule.get("status", 503)), str(rule.get("text", "")))
        if self._is_one_too_many(hub, client) and self._limits.enabled:
            return exchange.too_many_connects()
        return exchange.refusal(path, query)

    def _is_one_too_many(self, hub: Hub, client: str) -> bool:
        """Counts a new connection; whether it is beyond the exchange's limits."""
        exchange, most = hub.exchange, hub.exchange.most_open
        if most is not None and sum(one.client == client for one in hub.sessions) >= most:
            hub.limit_broken("connections")
            return True
        if exchange.connects is None:
            return False
        windows, counter = self._windows[exchange.name], f"{exchange.name} stream connects"
        if windows.count_in_window(client, counter, *exchange.connects) <= 0:
            return False
        hub.limit_broken("connects")
        return True

    async def _read(self, socket: web.WebSocketResponse, hub: Hub, session: Session) -> None:
        while session.ending is None:
            message = await socket.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                return
            if message.type is WSMsgType.ERROR:
                return
            hub.now_s = self._clock.elapsed_s()
            if self._is_too_much(hub, session):
                session.close(*hub.exchange.inbound_close)
                return
            if message.type in _DATA:
                hub.advance(_BUDGET_S)  # what was due before this message comes before its answer
                hub.exchange.received(session, bytes(message.data))
            elif message.type is WSMsgType.PING:
                session.pong(bytes(message.data))
            elif message.type is WSMsgType.PONG:
                hub.exchange.ponged(session, bytes(message.data))
            hub.flush()

    def _is_too_much(self, hub: Hub, session: Session) -> bool:
        """Counts one message in; whether it is beyond the exchange's limit."""
        session.last_in_s = hub.now_s
        hub.counts.messages_in += 1
        limit = hub.exchange.inbound
        if limit is None:
            return False
        while session.inbound and session.inbound[0] <= hub.now_s - limit.span_s:
            session.inbound.popleft()
        session.inbound.append(hub.now_s)
        hub.counts.most_messages_in = max(hub.counts.most_messages_in, len(session.inbound))
        if len(session.inbound) <= limit.most:
            return False
        hub.limit_broken("messages")
        return self._limits.enabled
