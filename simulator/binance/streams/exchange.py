"""Binance USD-M's WebSockets: addresses, routes, heartbeat, and the feed of each stream.

A comment says "choice" where the documentation is silent.
"""

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from simulator.answers import PERIODS_MS, Answer, error_page
from simulator.binance.limits import NAME
from simulator.binance.streams import control, tickers
from simulator.binance.streams.books import (
    AllBookTickersFeed,
    BookTickerFeed,
    DepthFeed,
    PartialDepthFeed,
)
from simulator.binance.streams.candles import KlineFeed
from simulator.binance.streams.contracts import ContractInfoFeed
from simulator.binance.streams.names import StreamName, parse
from simulator.binance.streams.trades import AggTradeFeed
from simulator.exchange_markets import ExchangeMarkets
from simulator.market import Market
from simulator.streams.book import Book
from simulator.streams.candle_view import Tapes
from simulator.streams.exchange import StreamExchange, WindowLimit
from simulator.streams.feeds import Feed
from simulator.streams.session import Session
from simulator.streams.settings import StreamSettings

_PING_S: Final = 180.0
_PONG_WITHIN_S: Final = 600.0
_PATH: Final = re.compile(r"(?:/(market|public|private))?/(?:(stream)|ws)(?:/(.*))?")
_DEPTH: Final = re.compile(r"(5|10|20)?(?:@(100|250|500)ms)?")
_CONTRACT: Final = "_PERPETUAL"
_LISTED: Final = ("list_new", "delist")


class BinanceStreams(StreamExchange):
    """The simulated WebSockets of Binance USD-M."""

    name: ClassVar[str] = NAME
    prefixes = ("/market/", "/public/", "/private/", "/ws", "/stream")
    connects = WindowLimit(300, 300.0)
    inbound = WindowLimit(10, 1.0)
    life_s = 86_400.0

    def __init__(
        self, markets: ExchangeMarkets, settings: StreamSettings, options: argparse.Namespace
    ) -> None:
        super().__init__(markets, settings, options)
        self._tapes = Tapes()
        self._contracts = ContractInfoFeed()
        self._of_all: Mapping[str, Callable[[], Feed]] = {
            "!markPrice@arr": lambda: self._all(tickers.mark_price, 3_000, split=True),
            "!markPrice@arr@1s": lambda: self._all(tickers.mark_price, 1_000, split=True),
            "!miniTicker@arr": lambda: self._all(tickers.mini_ticker, 1_000, if_traded=True),
            "!ticker@arr": lambda: self._all(tickers.ticker, 1_000, if_traded=True),
            "!contractInfo": lambda: self._contracts,
            "!bookTicker": lambda: AllBookTickersFeed([self.book(m) for m in self._trading()]),
        }
        self._of_one: Mapping[str, Callable[[Market, str], Feed | None]] = {
            "kline": self._kline,
            "continuousKline": self._kline,
            "aggTrade": lambda market, rest: None if rest else AggTradeFeed(market, self._tapes),
            "markPrice": self._mark_price,
            "miniTicker": lambda market, rest: self._ticker(market, rest, tickers.mini_ticker),
            "ticker": lambda market, rest: self._ticker(market, rest, tickers.ticker),
            "bookTicker": lambda market, rest: None if rest else BookTickerFeed(self.book(market)),
            "depth": self._depth,
        }

    # --- connections

    def refusal(self, path: str, query: str) -> Answer | None:
        return None if _PATH.fullmatch(path) else error_page(404)

    def opened(self, session: Session, query: str) -> None:
        match = _PATH.fullmatch(session.path)
        route, combined, names = match.groups() if match is not None else ("", "", "")
        session.state = control.Heart(route or "", self.now_s())
        if combined:
            session.form = control.COMBINED
            names = next((part[8:] for part in query.split("&") if part.startswith("streams=")), "")
        streams = [unquote(name) for name in (names or "").split("/") if name]
        if len(streams) > control.MOST_STREAMS:
            session.limit_broken("streams")
            session.close(1008, "Too many subscriptions")  # choice
            return
        for stream in streams:
            session.subscribe(stream, delivers=control.delivers(session, stream))
        session.send_snapshots(streams)

    def received(self, session: Session, text: bytes) -> None:
        control.answer(session, text)

    def ponged(self, session: Session, payload: bytes) -> None:
        if payload == session.state.payload:
            session.state.unanswered_since_s = None

    def watch(self, session: Session, now_s: float) -> None:
        heart: control.Heart = session.state
        since_s = heart.unanswered_since_s
        unanswered_s = 0.0 if since_s is None else now_s - since_s
        if self.is_overdue(session, unanswered_s, _PONG_WITHIN_S):
            session.close(1008, "Pong timeout")  # the code: choice
        elif now_s - heart.pinged_s >= _PING_S:
            heart.pinged_s = now_s
            heart.payload = str(self.now_ms()).encode()
            if since_s is None:
                heart.unanswered_since_s = now_s
            session.ping(heart.payload)

    def wrap(self, stream: str, data: bytes, form: int) -> bytes:
        if form == control.RAW:
            return data
        return b'{"stream":"%s","data":%s}' % (stream.encode(), data)

    def symbol_of(self, stream: str) -> str:
        name = parse(stream)
        return "" if name is None else name.symbol.removesuffix(_CONTRACT)

    # --- streams

    def feed(self, stream: str) -> Feed | None:
        name = parse(stream)
        if name is None:
            return None
        if not name.symbol:
            make = self._of_all.get(name.kind)
            return None if make is None else make()
        return self._feed_of_one(name)

    def market_changed(self, kind: str, market: Market, event: Mapping[str, Any]) -> None:
        self._tapes.forget(market)
        if kind in _LISTED:
            self._contracts.note(market, self.now_ms())

    def book(self, market: Market) -> Book:
        return Book(market, self._tapes, self.markets.seed)

    def _feed_of_one(self, name: StreamName) -> Feed | None:
        symbol = name.symbol
        if name.kind == "continuousKline":
            if not symbol.endswith(_CONTRACT):
                return None  # quarterly contracts are not modelled
            symbol = symbol.removesuffix(_CONTRACT)
        market = self.markets.find(NAME, symbol)
        make = self._of_one.get(name.kind)
        if market is None or make is None:
            return None
        if name.kind == "continuousKline":
            return self._kline(market, name.detail, continuous=True)
        return make(market, name.detail)

    def _kline(self, market: Market, rest: str, *, continuous: bool = False) -> Feed | None:
        interval = rest.removeprefix("_")
        interval_ms = PERIODS_MS.get(interval)
        if interval_ms is None or interval == rest:
            return None
        return KlineFeed(
            market, interval, interval_ms, self._tapes, self.settings, self.markets.seed,
            continuous=continuous,
        )  # fmt: skip

    def _mark_price(self, market: Market, rest: str) -> Feed | None:
        every_ms = {"": 3_000, "@1s": 1_000}.get(rest)
        if every_ms is None:
            return None
        return tickers.OneFeed(market, tickers.mark_price, self._tapes, every_ms, if_traded=False)

    def _ticker(self, market: Market, rest: str, render: tickers.Render) -> Feed | None:
        if rest:
            return None
        return tickers.OneFeed(market, render, self._tapes, 2_000, if_traded=True)

    def _depth(self, market: Market, rest: str) -> Feed | None:
        match = _DEPTH.fullmatch(rest)
        if match is None:
            return None
        book, every_ms = self.book(market), int(match[2] or 250)
        return (
            PartialDepthFeed(book, int(match[1]), every_ms)
            if match[1]
            else DepthFeed(book, every_ms)
        )

    def _all(
        self, render: tickers.Render, every_ms: int, *, if_traded: bool = False,
        split: bool = False,
    ) -> Feed:  # fmt: skip
        return tickers.AllFeed(
            self._trading, render, self._tapes, every_ms, if_traded=if_traded, split=split
        )

    def _trading(self) -> list[Market]:
        listed = self.markets.by_exchange[NAME].values()
        return [m for m in listed if not m.gone and m.status == "TRADING"]
