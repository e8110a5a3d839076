"""What OKX's channels push, candles and order books apart: trades, tickers, prices, funding."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from simulator.answers import dump
from simulator.candles import HOUR_MS, SLOT_MS
from simulator.market import Market
from simulator.okx import contracts, lists
from simulator.streams.feeds import Feed, Message
from simulator.tape import Trade
from simulator.text import plain

OPEN_INTEREST_MS: Final = 3_000
FUNDING_MS: Final = 30_000  # of the 30 to 90 s that are documented
TICKER_MS: Final = 100
MARK_PRICE_MS: Final = 200
UNCHANGED_MARK_PRICE_MS: Final = 10_000
LEAP_MS: Final = HOUR_MS

# A market's entry at a time.
Entry = Callable[[Market, int], Any]


def rows(*entries: Any) -> bytes:
    """The end of a message, without its brace."""
    return b'"data":' + dump(entries)


class Regular(Feed):
    """An entry every `every_ms`, on the grid of the exchange's time, and at once when asked for."""

    def __init__(self, market: Market, entry: Entry, every_ms: int) -> None:
        self._market = market
        self._entry = entry
        self._every_ms = every_ms

    def start(self, now_ms: int) -> None:
        self.next_ms = now_ms - now_ms % self._every_ms + self._every_ms

    def push(self, now_ms: int) -> Iterable[Message]:
        self.start(now_ms)
        return self.snapshot(now_ms)

    def snapshot(self, now_ms: int) -> Iterable[Message]:
        return [Message(rows(self._entry(self._market, now_ms)))]


class TradeReader:
    """The trades of a market one after the other, over the bounds of their candles."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._slot_ms = 0
        self.start(0)

    def start(self, now_ms: int) -> None:
        """Goes on after what has been traded by now."""
        self._open(now_ms)
        self._done = self._tape.count_at(now_ms) if self._tape is not None else 0

    def _open(self, time_ms: int) -> None:
        self._slot_ms = time_ms - time_ms % SLOT_MS
        self._tape = self._market.candles.tape(self._slot_ms)
        self._done = 0

    @property
    def next_ms(self) -> int:
        """The time of the next trade, or of the next candle, which may have one."""
        if self._tape is not None and self._done < self._tape.events:
            return self._tape.time_of(self._done + 1)
        return self._slot_ms + SLOT_MS

    def take(self, now_ms: int) -> Iterator[Trade]:
        """The trades up to now that were not taken yet."""
        self._leap(now_ms)
        while self.next_ms <= now_ms:
            if self._tape is not None and self._done < self._tape.events:
                self._done += 1
                yield self._tape.trade(self._done)
            else:
                self._open(self._slot_ms + SLOT_MS)

    def skip(self, now_ms: int) -> bool:
        """Leaves out the trades up to now; whether there were any."""
        self._leap(now_ms)
        found = False
        while self.next_ms <= now_ms:
            if self._tape is not None and self._done < self._tape.events:
                self._done, found = self._tape.count_at(now_ms), True
            else:
                self._open(self._slot_ms + SLOT_MS)
        return found

    def _leap(self, now_ms: int) -> None:
        """After a leap of the clock nobody is told all trades that it skipped."""
        if now_ms - self._slot_ms > LEAP_MS:
            self.start(now_ms - SLOT_MS)


class Trades(Feed):
    """Each taker's order at one price is a message."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._trades = TradeReader(market)

    def start(self, now_ms: int) -> None:
        self._trades.start(now_ms)
        self.next_ms = self._trades.next_ms

    def push(self, now_ms: int) -> Iterable[Message]:
        found = [Message(rows(self._row(trade))) for trade in self._trades.take(now_ms)]
        self.next_ms = self._trades.next_ms
        return found

    def _row(self, trade: Trade) -> dict[str, Any]:
        market = self._market
        return {
            "instId": market.symbol,
            "tradeId": str(trade.last_id),
            "px": plain(trade.price, market.price_decimals),
            "sz": contracts.size(market, trade.volume, trade.volume * trade.price),
            "side": "buy" if trade.is_buy else "sell",
            "ts": str(trade.time_ms),
            "count": str(trade.last_id - trade.first_id + 1),
            "source": "0",
            "seqId": trade.last_id,
        }


class OnTrades(Feed):
    """An entry after a trade, at least `apart_ms` after the one before, and after `silent_ms`."""

    def __init__(self, market: Market, entry: Entry, apart_ms: int, silent_ms: int | None) -> None:
        self._market = market
        self._entry = entry
        self._apart_ms = apart_ms
        self._silent_ms = silent_ms
        self._trades = TradeReader(market)

    def start(self, now_ms: int) -> None:
        self._trades.start(now_ms)
        self._schedule(now_ms)

    def _schedule(self, pushed_ms: int) -> None:
        self._pushed_ms = pushed_ms
        self.next_ms = max(self._trades.next_ms, pushed_ms + self._apart_ms)
        if self._silent_ms is not None:
            self.next_ms = min(self.next_ms, pushed_ms + self._silent_ms)

    def push(self, now_ms: int) -> Iterable[Message]:
        traded = self._trades.skip(now_ms)
        silent = self._silent_ms is not None and now_ms >= self._pushed_ms + self._silent_ms
        if not traded and not silent:  # a candle began without a trade
            self.next_ms = self._trades.next_ms
            if self._silent_ms is not None:
                self.next_ms = min(self.next_ms, self._pushed_ms + self._silent_ms)
            return ()
        self._schedule(now_ms)
        return self.snapshot(now_ms)

    def snapshot(self, now_ms: int) -> Iterable[Message]:
        return [Message(rows(self._entry(self._market, now_ms)))]


MAKERS: Final[dict[str, Callable[[Market], Feed]]] = {
    "trades": Trades,
    "tickers": lambda market: OnTrades(market, lists.ticker, TICKER_MS, None),
    "mark-price": lambda market: OnTrades(
        market, lists.mark_price, MARK_PRICE_MS, UNCHANGED_MARK_PRICE_MS
    ),
    "open-interest": lambda market: Regular(market, lists.open_interest_now, OPEN_INTEREST_MS),
    "funding-rate": lambda market: Regular(market, lists.funding_now, FUNDING_MS),
}
