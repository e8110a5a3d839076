"""StreamExchange: what one exchange's package says about its WebSockets."""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple

from simulator.answers import Answer, error_page
from simulator.exchange_markets import ExchangeMarkets
from simulator.market import Market
from simulator.streams.feeds import Feed
from simulator.streams.session import Session
from simulator.streams.settings import StreamSettings

_ON_ITS_WAY_S: Final = 1.0  # real seconds


class WindowLimit(NamedTuple):
    """At most `most` in any `span_s` seconds."""

    most: int
    span_s: float


class StreamExchange(ABC):
    """One exchange's WebSockets. The hub calls it; it answers through the session.

    `prefixes`: beginnings of the paths that are WebSockets; the longest one of all exchanges that
    fits decides. `connects`: new connections of one client address; `most_open`: those that it may
    have at once. `inbound`: messages, pings and pongs of one connection; one more closes it with
    `inbound_close`. `slow_close`: the close code for a reader that is too slow.
    """

    name: ClassVar[str]
    prefixes: ClassVar[tuple[str, ...]]
    connects: ClassVar[WindowLimit | None] = None
    most_open: ClassVar[int | None] = None
    inbound: ClassVar[WindowLimit | None] = None
    inbound_close: ClassVar[tuple[int, str]] = (1008, "Too many requests")
    deflates: ClassVar[bool] = False  # whether it compresses for clients that offer to read it
    slow_close: ClassVar[tuple[int, str]] = (1008, "Too slow")
    # The exchange's defaults of StreamSettings.
    silent_closings: ClassVar[bool] = True
    life_s: ClassVar[float | None] = None

    def __init__(
        self, markets: ExchangeMarkets, settings: StreamSettings, options: argparse.Namespace
    ) -> None:
        self.markets = markets
        self.settings = settings

    def now_ms(self) -> int:
        return self.markets.clock.now_ms(self.name)

    def now_s(self) -> float:
        """Seconds that pass for the exchanges, also while the time is frozen."""
        return self.markets.clock.elapsed_s()

    # --- connections

    def refusal(self, path: str, query: str) -> Answer | None:
        """The answer to an upgrade that this path does not take; None opens the connection."""
        return None

    def too_many_connects(self) -> Answer:
        """The answer to a connection beyond `connects`."""
        return error_page(429, "Too Many Requests")

    def opened(self, session: Session, query: str) -> None:  # noqa: B027 - may have nothing to do
        """A connection is open; subscribes to what its address names. `query`: the raw one."""

    @abstractmethod
    def received(self, session: Session, text: bytes) -> None:
        """A text message came in; control messages are answered here."""

    def ponged(self, session: Session, payload: bytes) -> None:  # noqa: B027 - the same
        """A pong frame came in."""

    def watch(self, session: Session, now_s: float) -> None:  # noqa: B027 - the same
        """Called about once a second of the clock: pings and cut-offs."""

    def is_overdue(self, session: Session, waited_s: float, most_s: float) -> bool:
        """Whether a sign of life is overdue that is awaited since `waited_s`, `most_s` at the most.

        Where time passes fast it may be on its way, so it has a second of real time as well.
        """
        if waited_s < most_s:
            session.overdue_since_s = None
            return False
        clock = self.markets.clock
        if session.overdue_since_s is None:
            session.overdue_since_s = clock.monotonic_s()
        grace_s = _ON_ITS_WAY_S if clock.speed > 1 else 0.0
        return clock.monotonic_s() - session.overdue_since_s >= grace_s

    def expire(self, session: Session) -> None:
        """The connection has reached its life's end."""
        session.close(1001, "")

    # --- streams

    @abstractmethod
    def feed(self, stream: str) -> Feed | None:
        """The feed of a stream; None for one that delivers nothing, now. It is asked again when
        markets are listed, delisted or changed otherwise."""

    def wrap(self, stream: str, data: bytes, form: int) -> bytes:
        """The message as a session of this form reads it."""
        return data

    def symbol_of(self, stream: str) -> str:
        """The symbol that a stream is of, for the targets of faults; "" if it is of none."""
        return ""

    def market_changed(  # noqa: B027 - the same
        self, kind: str, market: Market, event: Mapping[str, Any]
    ) -> None:
        """An event of POST /sim/faults was applied to a market: `kind` is its kind."""
