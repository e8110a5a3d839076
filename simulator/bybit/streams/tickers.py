"""Bybit's tickers stream: a snapshot for each new subscriber, then what has changed."""

from collections.abc import Iterable
from typing import Final

from simulator.answers import dump
from simulator.bybit import lists
from simulator.candles import MINUTE_MS
from simulator.streams.book import Book
from simulator.streams.candle_view import Tapes
from simulator.streams.clockwork import ClockFeed
from simulator.streams.feeds import Message
from simulator.streams.traded import Traded
from simulator.text import plain

_FIELDS: Final = (
    "price24hPcnt", "lastPrice", "prevPrice24h", "highPrice24h", "lowPrice24h", "prevPrice1h",
    "markPrice", "indexPrice", "openInterest", "openInterestValue", "turnover24h", "volume24h",
    "fundingIntervalHour", "fundingCap", "singleOpenInterest", "singleOpenInterestValue",
    "nextFundingTime", "fundingRate",
)  # fmt: skip
_LAST: Final = ("preOpenPrice", "preQty", "curPreListingPhase")


class TickerFeed(ClockFeed):
    """`tickers.<symbol>`, every 100 ms after a trade, and every minute. Its values are those of
    the REST ticker, the best bid and ask those of the book."""

    def __init__(self, book: Book, tapes: Tapes) -> None:
        super().__init__(100)
        self._book = book
        self._traded = Traded(tapes)
        self._state: dict[str, str] = {}
        self._state_ms = 0
        self._last = 0

    def start(self, now_ms: int) -> None:
        super().start(now_ms)
        self._state = {}

    def snapshot(self, now_ms: int) -> Iterable[Message]:
        if not self._state:
            self._traded.since_last(self._book.market, now_ms)
            self._state, self._state_ms = self._values(now_ms), now_ms
        symbol = self._book.market.symbol
        return (self._message("snapshot", {"symbol": symbol, **self._state}, self._state_ms),)

    def messages(self, now_ms: int) -> Iterable[Message]:
        if not self._traded.since_last(self._book.market, now_ms) and now_ms % MINUTE_MS:
            return ()
        before, self._state, self._state_ms = self._state, self._values(now_ms), now_ms
        changed = {name: value for name, value in self._state.items() if before.get(name) != value}
        if not before or not changed:
            return ()
        return (self._message("delta", {"symbol": self._book.market.symbol, **changed}, now_ms),)

    def _values(self, now_ms: int) -> dict[str, str]:
        market = self._book.market
        rest = lists.ticker(market, now_ms)
        state, tick = self._book.at(now_ms, 1), market.tick
        sides = {"bid1": state.bids, "ask1": state.asks}
        best = {
            f"{name}{part}": plain(int(value), decimals) if side.shape[1] else ""
            for name, side in sides.items()
            for part, value, decimals in (
                ("Price", side[0, 0] * tick if side.shape[1] else 0, market.price_decimals),
                ("Size", side[1, 0] if side.shape[1] else 0, market.quantity_decimals),
            )
        }
        return {
            "tickDirection": self._direction(now_ms),
            **{name: rest[name] for name in _FIELDS},
            **best,
            **{name: rest[name] for name in _LAST},
        }

    def _direction(self, now_ms: int) -> str:
        price, _ = self._book.best(now_ms)
        before, self._last = self._last or price, price
        if price == before:
            return "ZeroPlusTick"
        return "PlusTick" if price > before else "MinusTick"

    def _message(self, kind: str, data: dict[str, str], now_ms: int) -> Message:
        return Message(
            dump(
                {
                    "topic": f"tickers.{self._book.market.symbol}",
                    "type": kind,
                    "data": data,
                    "cs": now_ms * 10,
                    "ts": now_ms,
                }
            )
        )
