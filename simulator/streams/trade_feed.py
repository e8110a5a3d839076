"""TradeFeed: a market's trades as they happen; exchanges render them."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, Final

from simulator.market import Market
from simulator.streams.candle_view import Tapes
from simulator.streams.feeds import Feed, Message
from simulator.tape import Trade

_LONGEST_MS: Final = 600_000  # older trades are left out after a jump of time


class TradeFeed(Feed):
    """All trades of one market since it was subscribed to, `spacing_ms` apart at the least."""

    spacing_ms: ClassVar[int] = 100

    def __init__(self, market: Market, tapes: Tapes) -> None:
        self.market = market
        self._tapes = tapes
        self._seen_ms = 0

    @abstractmethod
    def render(self, trades: Sequence[Trade], event_ms: int) -> Iterable[bytes]:
        """The messages of these trades, at least one."""

    def start(self, now_ms: int) -> None:
        self._seen_ms = now_ms
        self.next_ms = self._tapes.next_trade_ms(self.market, now_ms)

    def push(self, now_ms: int) -> Iterable[Message]:
        trades = self._between(max(self._seen_ms, now_ms - _LONGEST_MS), now_ms)
        self._seen_ms = now_ms
        soonest_ms = now_ms + self.spacing_ms
        self.next_ms = max(self._tapes.next_trade_ms(self.market, now_ms), soonest_ms)
        return [Message(data) for data in self.render(trades, now_ms)] if trades else ()

    def _between(self, after_ms: int, now_ms: int) -> list[Trade]:
        """The trades after one time, up to another."""
        found: list[Trade] = []
        while after_ms < now_ms:
            tape = self._tapes.at(self.market, after_ms + 1)
            if tape is None:
                after_ms += 1000 - after_ms % 1000
                continue
            first = tape.count_at(after_ms) if after_ms >= tape.start_ms else 0
            found += [tape.trade(event + 1) for event in range(first, tape.count_at(now_ms))]
            after_ms = tape.start_ms + tape.length_ms - 1
        return found
