"""Which feed each of OKX's channels has."""

from collections.abc import Callable
from functools import partial
from weakref import WeakValueDictionary

from simulator.exchange_markets import ExchangeMarkets
from simulator.market import Market
from simulator.okx import lists
from simulator.okx.bars import BARS
from simulator.okx.streams import feeds
from simulator.okx.streams.arguments import CANDLE
from simulator.okx.streams.books import BBO_MS, BOOKS_MS, BooksFeed, OkxBook, TopFeed
from simulator.okx.streams.candles import OkxCandles
from simulator.streams.candle_view import Tapes
from simulator.streams.feeds import Feed
from simulator.streams.settings import StreamSettings


class Sources:
    """Makes the feeds of single markets."""

    def __init__(self, markets: ExchangeMarkets, settings: StreamSettings, checksum: str) -> None:
        self._markets = markets
        self._settings = settings
        self._checksum = checksum
        self._tapes = Tapes()
        self._books: WeakValueDictionary[str, BooksFeed] = WeakValueDictionary()
        self._makers: dict[str, Callable[[Market], Feed]] = {
            "trades": lambda market: feeds.Trades(market, self._tapes),
            "tickers": partial(self._on_change, self._ticker, feeds.TICKER_MS, None),
            "mark-price": partial(
                self._on_change, lists.mark_price, feeds.MARK_PRICE_MS,
                feeds.UNCHANGED_MARK_PRICE_MS,
            ),
            "open-interest": partial(
                feeds.Regular, lists.open_interest_now, feeds.OPEN_INTEREST_MS
            ),
            "funding-rate": partial(feeds.Regular, lists.funding_now, feeds.FUNDING_MS),
            "books": self._books_feed,
            "books5": lambda market: TopFeed(self._book(market), 5, BOOKS_MS),
            "bbo-tbt": lambda market: TopFeed(self._book(market), 1, BBO_MS),
        }  # fmt: skip

    def feed(self, channel: str, market: Market) -> Feed:
        if channel.startswith(CANDLE):
            bar = BARS[channel.removeprefix(CANDLE)]
            return OkxCandles(market, bar, self._tapes, self._settings, self._markets.seed)
        return self._makers[channel](market)

    def forget(self, market: Market) -> None:
        """Drops what is remembered of a market that has changed."""
        self._tapes.forget(market)

    def _on_change(
        self, entry: feeds.Entry, apart_ms: int, silent_ms: int | None, market: Market
    ) -> Feed:
        return feeds.OnChange(market, self._tapes, entry, apart_ms, silent_ms)

    def _ticker(self, market: Market, now_ms: int) -> dict[str, str]:
        return lists.ticker(market, now_ms, self._book(market).top(now_ms))

    def _books_feed(self, market: Market) -> BooksFeed:
        """The one that is in use, so that its numbers go on when the market changes."""
        found = self._books.get(market.symbol)
        if found is None:
            found = self._books[market.symbol] = BooksFeed(self._book(market))
        return found

    def _book(self, market: Market) -> OkxBook:
        return OkxBook(market, self._tapes, self._markets.seed, self._checksum)
