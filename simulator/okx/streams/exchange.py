"""OKX's WebSockets: control messages, limits, the text ping, cut-offs and their notice.

A comment says "choice" where the documentation is silent.
"""

import argparse
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from simulator.answers import Answer, error_page
from simulator.exchange_markets import ExchangeMarkets
from simulator.market import Market
from simulator.okx.contracts import SPOT
from simulator.okx.limits import NAME
from simulator.okx.markets import LIVE
from simulator.okx.streams.answers import acknowledgement, error, invalid, notice, read_request
from simulator.okx.streams.arguments import (
    BUSINESS,
    CHANNELS,
    KINDS,
    PUBLIC,
    Argument,
    Refused,
    head,
    read_argument,
    split,
    unknown,
)
from simulator.okx.streams.listings import Listings
from simulator.okx.streams.sources import Sources
from simulator.streams.exchange import StreamExchange, WindowLimit
from simulator.streams.feeds import Feed
from simulator.streams.session import Session
from simulator.streams.settings import StreamSettings

REQUESTS_AN_HOUR: Final = 480
MOST_ARGUMENT_BYTES: Final = 64 * 1024
SILENT_S: Final = 30.0
NOTICE_S: Final = 60.0
_OPS: Final = ("subscribe", "unsubscribe")
_ID: Final = re.compile(r"[A-Za-z0-9]{1,32}")


@dataclass(slots=True)
class Kept:
    """What the exchange keeps of a connection. Times are `elapsed_s` of the clock."""

    alive_s: float  # of the last subscription or text ping
    requests: deque[float] = field(default_factory=deque)  # of the last hour
    argument_bytes: int = 0  # of the present subscriptions together
    arguments: dict[str, int] = field(default_factory=dict)  # the bytes of each, by stream
    is_told: bool = False  # that it will be closed


class OkxStreams(StreamExchange):
    """OKX's WebSockets."""

    name: ClassVar[str] = NAME
    prefixes = ("/ws/v5/",)
    connects = WindowLimit(3, 1.0)
    slow_close = (4005, "Buffer full")
    silent_closings = False
    deflates = True

    def __init__(
        self, markets: ExchangeMarkets, settings: StreamSettings, options: argparse.Namespace
    ) -> None:
        super().__init__(markets, settings, options)
        self._has_limits = not options.no_limits
        self._listings = Listings()
        self._sources = Sources(markets, settings, options.okx_checksum)

    # --- connections

    def refusal(self, path: str, query: str) -> Answer | None:
        return None if path in (PUBLIC, BUSINESS) else error_page(404)

    def opened(self, session: Session, query: str) -> None:
        session.conn_id = f"{session.number:08x}"
        session.state = Kept(self.now_s())

    def received(self, session: Session, text: bytes) -> None:
        """A control message, or the text `ping`."""
        if text == b"ping":
            session.state.alive_s = self.now_s()
            session.send(b"pong")
            return
        request_id = ""
        try:
            request = read_request(text)
            sent = request.get("id", "")
            if sent != "" and not _ID.fullmatch(str(sent)):
                raise invalid(text)
            request_id = str(sent)
            self._control(session, request, request_id, text)
        except Refused as refused:
            session.send(error(refused, request_id, session.conn_id))

    def watch(self, session: Session, now_s: float) -> None:
        """Tells of the end of a life 60 s ahead; ends a connection that is silent for 30 s.

        A ping frame of the protocol is no sign of life. Where time passes fast the 30 s are real
        ones: a client pings by its own clock, and forming states are left out then.
        """
        kept: Kept = session.state
        life_s = self.settings.life_s[self.name] if session.life_s is None else session.life_s
        if life_s is not None and not kept.is_told:
            kept.is_told = now_s >= session.opened_s + life_s - NOTICE_S
            if kept.is_told:
                session.send(notice(session.conn_id))
        silent_s = SILENT_S * self.markets.clock.speed
        if now_s - max(kept.alive_s, session.last_push_s) >= silent_s:
            session.close(4004, "No data received in 30s.")

    # --- control messages

    def _control(
        self, session: Session, request: Mapping[str, Any], request_id: str, text: bytes
    ) -> None:
        op, arguments = request.get("op"), request.get("args")
        if self._is_too_frequent(session):
            raise Refused(60014, "Requests too frequent")
        if op not in _OPS:
            raise Refused(60019, f"Invalid op: {str(op)[:40]}")
        if arguments is None:
            raise invalid(text)
        if not isinstance(arguments, list) or not arguments:
            raise Refused(60013, "Invalid args")
        for value in arguments:
            try:
                self._one(session, op, self._argument(session, value), request_id)
            except Refused as refused:
                session.send(error(refused, request_id, session.conn_id))
            if session.ending is not None:
                return

    def _one(self, session: Session, op: str, argument: Argument, request_id: str) -> None:
        kept: Kept = session.state
        stream = argument.stream
        if op == "unsubscribe":
            kept.argument_bytes -= kept.arguments.pop(stream, 0)
            session.unsubscribe(stream)
            session.send(acknowledgement(op, argument, request_id, session.conn_id))
            return
        is_new = stream not in session.streams
        kept.alive_s = self.now_s()
        kept.argument_bytes += len(argument.text) - kept.arguments.get(stream, 0)
        kept.arguments[stream] = len(argument.text)
        if kept.argument_bytes > MOST_ARGUMENT_BYTES:
            session.limit_broken("arguments")
            if self._has_limits:
                session.close(4009, "The total length of the channels exceeds the maximum.")
                return
        session.subscribe(stream)
        session.send(acknowledgement(op, argument, request_id, session.conn_id))
        if is_new:  # a repeated subscription is acknowledged and changes nothing (choice)
            session.send_snapshots([stream])

    def _argument(self, session: Session, value: Any) -> Argument:
        argument = read_argument(value, session.path)
        if CHANNELS[argument.channel].of == "instType":
            exists = argument.of in KINDS
        else:
            exists = self._market(argument.channel, argument.of) is not None
        if not exists and argument.stream not in session.streams:
            raise unknown(value)
        return argument

    def _is_too_frequent(self, session: Session) -> bool:
        """Counts one request; whether there were more in the last hour than a connection may."""
        requests, now_s = session.state.requests, self.now_s()
        while requests and requests[0] <= now_s - 3600:
            requests.popleft()
        requests.append(now_s)
        if len(requests) <= REQUESTS_AN_HOUR:
            return False
        requests.popleft()  # bounds the memory; a refused request counts (choice)
        session.limit_broken("requests")
        return self._has_limits

    # --- streams

    def feed(self, stream: str) -> Feed | None:
        channel, of = split(stream)
        if channel == "instruments":
            return self._listings.feed(of)
        market = self._market(channel, of)
        return None if market is None else self._sources.feed(channel, market)

    def wrap(self, stream: str, data: bytes, form: int) -> bytes:
        return head(stream) + data + b"}"

    def symbol_of(self, stream: str) -> str:
        channel, of = split(stream)
        return of if CHANNELS[channel].of == "instId" else ""

    def market_changed(self, kind: str, market: Market, event: Mapping[str, Any]) -> None:
        self._sources.forget(market)
        self._listings.changed(kind, market, self.now_ms())

    def _market(self, channel: str, symbol: str) -> Market | None:
        market = self.markets.find(self.name, symbol)
        if market is None or market.status != LIVE:
            return None
        return market if CHANNELS[channel].spot or market.contract_type != SPOT else None
