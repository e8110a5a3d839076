"""Bybit v5 linear's WebSocket: its address, limits, and the feed of each topic.

A comment says "choice" where the documentation is silent.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from simulator.answers import PERIODS_MS, Answer, error_page
from simulator.bybit import refusals
from simulator.bybit.limits import NAME
from simulator.bybit.streams import control
from simulator.bybit.streams.books import EVERY_MS, OrderbookFeed
from simulator.bybit.streams.candles import KlineFeed
from simulator.bybit.streams.tickers import TickerFeed
from simulator.bybit.streams.trades import PublicTradeFeed
from simulator.exchange_markets import ExchangeMarkets
from simulator.market import Market
from simulator.streams.book import Book
from simulator.streams.candle_view import Tapes
from simulator.streams.exchange import StreamExchange, WindowLimit
from simulator.streams.feeds import NEVER_MS, Feed
from simulator.streams.session import Session
from simulator.streams.settings import StreamSettings

_PATH: Final = "/v5/public/linear"
_IDLE_S: Final = 600.0
# The exchange's names of intervals; W and M are not modelled.
_INTERVALS_MS: Final = {
    "1": PERIODS_MS["1m"], "3": PERIODS_MS["3m"], "5": PERIODS_MS["5m"], "15": PERIODS_MS["15m"],
    "30": PERIODS_MS["30m"], "60": PERIODS_MS["1h"], "120": PERIODS_MS["2h"],
    "240": PERIODS_MS["4h"], "360": PERIODS_MS["6h"], "720": PERIODS_MS["12h"],
    "D": PERIODS_MS["1d"],
}  # fmt: skip
_Make = Callable[[Market, str], Feed | None]


class BybitStreams(StreamExchange):
    """The simulated WebSocket of Bybit's linear contracts."""

    name: ClassVar[str] = NAME
    prefixes = ("/v5/public/",)
    connects = WindowLimit(500, 300.0)
    most_open = 1000

    def __init__(
        self, markets: ExchangeMarkets, settings: StreamSettings, options: argparse.Namespace
    ) -> None:
        super().__init__(markets, settings, options)
        self._tapes = Tapes()
        self._makers: Mapping[str, _Make] = {
            "kline": self._kline,
            "tickers": lambda market, part: TickerFeed(self.book(market), self._tapes),
            "publicTrade": lambda market, part: PublicTradeFeed(market, self._tapes),
            "orderbook": self._orderbook,
            "allLiquidation": lambda market, part: _Silent(),
        }

    # --- connections

    def refusal(self, path: str, query: str) -> Answer | None:
        return None if path == _PATH else error_page(404)

    def too_many_connects(self) -> Answer:
        return refusals.rate_403()

    def received(self, session: Session, text: bytes) -> None:
        control.answer(session, text, lambda topic: self.feed(topic) is not None)

    def watch(self, session: Session, now_s: float) -> None:
        idle_s = now_s - max(session.last_in_s, session.last_out_s)
        if self.is_overdue(session, idle_s, _IDLE_S):
            session.close(1000, "idle")  # the code: choice

    def symbol_of(self, stream: str) -> str:
        return _parts(stream)[2]

    # --- topics

    def feed(self, stream: str) -> Feed | None:
        kind, part, symbol = _parts(stream)
        market, make = self.markets.find(NAME, symbol), self._makers.get(kind)
        if market is None or make is None or bool(part) != (kind in ("kline", "orderbook")):
            return None
        return make(market, part)

    def market_changed(self, kind: str, market: Market, event: Mapping[str, Any]) -> None:
        self._tapes.forget(market)

    def book(self, market: Market) -> Book:
        return Book(market, self._tapes, self.markets.seed)

    def _kline(self, market: Market, interval: str) -> Feed | None:
        interval_ms = _INTERVALS_MS.get(interval)
        if interval_ms is None:
            return None
        return KlineFeed(
            market, interval, interval_ms, self._tapes, self.settings, self.markets.seed
        )

    def _orderbook(self, market: Market, depth: str) -> Feed | None:
        if depth not in map(str, EVERY_MS):
            return None
        return OrderbookFeed(self.book(market), int(depth))


class _Silent(Feed):
    """A topic that exists and delivers nothing here."""

    def start(self, now_ms: int) -> None:
        self.next_ms = NEVER_MS

    def push(self, now_ms: int) -> tuple[()]:
        return ()


def _parts(topic: str) -> tuple[str, str, str]:
    """The kind, what stands between, and the symbol: `kline.5.BTCUSDT`, `tickers.BTCUSDT`."""
    kind, _, rest = topic.partition(".")
    part, dot, symbol = rest.partition(".")
    return (kind, part, symbol) if dot else (kind, "", part)
