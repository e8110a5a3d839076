"""What OKX's channels push, candles and order books apart: trades, tickers, prices, funding."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from simulator.answers import dump
from simulator.market import Market
from simulator.okx import contracts
from simulator.streams.candle_view import Tapes
from simulator.streams.clockwork import ClockFeed
from simulator.streams.feeds import Feed, Message
from simulator.streams.trade_feed import TradeFeed
from simulator.tape import Trade
from simulator.text import plain

OPEN_INTEREST_MS: Final = 3_000
FUNDING_MS: Final = 30_000  # of the 30 to 90 s that are documented
TICKER_MS: Final = 100
MARK_PRICE_MS: Final = 200
UNCHANGED_MARK_PRICE_MS: Final = 10_000

# A market's entry at a time; `ts` is that time.
Entry = Callable[[Market, int], dict[str, str]]


def message(entry: dict[str, Any]) -> Message:
    return Message(b'"data":' + dump([entry]))


class Regular(ClockFeed):
    """An entry every `every_ms`, and at once for a new subscriber."""

    def __init__(self, entry: Entry, every_ms: int, market: Market) -> None:
        super().__init__(every_ms)
        self._market = market
        self._entry = entry

    def messages(self, now_ms: int) -> Iterable[Message]:
        return (message(self._entry(self._market, now_ms)),)

    def snapshot(self, now_ms: int) -> Iterable[Message]:
        return self.messages(now_ms)


class OnChange(Feed):
    """An entry that a trade has changed, at least `apart_ms` after the one before; also without a
    change after `silent_ms`, unless None; and at once for a new subscriber."""

    def __init__(
        self, market: Market, tapes: Tapes, entry: Entry, apart_ms: int, silent_ms: int | None
    ) -> None:
        self._market = market
        self._tapes = tapes
        self._entry = entry
        self._apart_ms = apart_ms
        self._silent_ms = silent_ms
        self._last: dict[str, str] = {}
        self._pushed_ms = 0

    def start(self, now_ms: int) -> None:
        self._last, self._pushed_ms = self._entry(self._market, now_ms), now_ms
        self._plan(now_ms)

    def push(self, now_ms: int) -> Iterable[Message]:
        entry = self._entry(self._market, now_ms)
        is_same = {**entry, "ts": ""} == {**self._last, "ts": ""}
        silent_ms = self._silent_ms
        if is_same and (silent_ms is None or now_ms < self._pushed_ms + silent_ms):
            self._plan(now_ms)
            return ()
        self._last, self._pushed_ms = entry, now_ms
        self._plan(now_ms)
        return (message(entry),)

    def snapshot(self, now_ms: int) -> Iterable[Message]:
        return (message(self._entry(self._market, now_ms)),)

    def _plan(self, now_ms: int) -> None:
        traded_ms = self._tapes.next_trade_ms(self._market, now_ms)
        self.next_ms = max(traded_ms, self._pushed_ms + self._apart_ms)
        if self._silent_ms is not None:
            self.next_ms = min(self.next_ms, self._pushed_ms + self._silent_ms)


class Trades(TradeFeed):
    """Each taker's order at one price is a message."""

    spacing_ms = 0

    def render(self, trades: Sequence[Trade], event_ms: int) -> Iterable[bytes]:
        return (b'"data":' + dump([self._row(trade)]) for trade in trades)

    def _row(self, trade: Trade) -> dict[str, Any]:
        market = self.market
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
