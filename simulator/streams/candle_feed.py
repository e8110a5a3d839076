"""CandleFeed: when a candle stream pushes forming states and closings; exchanges render them."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Final

from simulator.candles import CLOSE, HIGH, LOW, TURNOVER, VOLUME
from simulator.market import Market
from simulator.randomness import draw
from simulator.streams.candle_view import Candle, CandleView, Tapes
from simulator.streams.feeds import Feed, Kind, Message
from simulator.streams.settings import StreamSettings

# After a jump of time at most so many candles of a stream are closed one by one; older ones not.
MOST_MISSED: Final = 300


class CandleFeed(Feed):
    """The candle stream of one market and interval.

    Forming states are pushed `spacing_ms` apart at the least, only after a trade, and each is what
    REST shows at its event time; `repeat_ms`: also so long after the last push, unchanged (None:
    never). Every candle ends with one closing, its final numbers, at the time that `closing_ms`
    says, or without one if it had no trade and the exchange's `silent_closings` is off; until then
    nothing is pushed of the next candle. A candle that does not exist is passed over.
    """

    spacing_ms: ClassVar[int] = 1000
    repeat_ms: ClassVar[int | None] = None

    def __init__(
        self, market: Market, interval_ms: int, tapes: Tapes, settings: StreamSettings, seed: int,
        view: CandleView | None = None,
    ) -> None:  # fmt: skip
        self.market = market
        self.interval_ms = interval_ms
        self.seed = seed
        self.view = view or CandleView(market, interval_ms, tapes)
        self._tapes = tapes
        self._settings = settings
        self._open_ms = 0
        self._seen_ms = 0  # up to here all trades are pushed
        self._pushed: list[int] | None = None  # the last state pushed; None: not known
        self._pushed_ms = 0
        self._storm_key: tuple[int, int] | None = None  # the state in `_storm_data`
        self._storm_ms = 0
        self._storm_data = b""
        self._is_closing = False
        self._closing: Candle | None = None  # the candle whose closing is planned, None: none is

    @abstractmethod
    def render(self, candle: Candle, event_ms: int, *, closed: bool) -> bytes:
        """The message of one candle."""

    def closing_ms(self, end_ms: int, next_trade_ms: int, *, silent: bool) -> int:
        """When the candle that ended at `end_ms` gets its closing event.

        `next_trade_ms`: the first trade since then, or a later time; `silent`: it had no trade.
        """
        return end_ms + 200 + self.draw("closing", end_ms, 600)

    def closing(self, candle: Candle, event_ms: int) -> bytes:
        """The message of a closing candle."""
        return self.render(candle, event_ms, closed=True)

    def draw(self, kind: str, index: int, below: int) -> int:
        """A number in [0, below) of this market's own."""
        return draw(self.seed, self.market.name, kind, index // 1000, below)

    # --- the feed

    def start(self, now_ms: int) -> None:
        self.view.forget()
        self._open_ms = self.view.open_ms(now_ms)
        self._seen_ms, self._pushed_ms, self._pushed = now_ms, now_ms, None
        self._open_ms -= self.interval_ms
        self._plan_closing()
        if self._closing is None or self.next_ms <= now_ms:
            self._open_ms += self.interval_ms
            self._plan()

    def push(self, now_ms: int) -> Iterable[Message]:
        if self._is_closing:
            return self._close(now_ms)
        if now_ms >= self._open_ms + self.interval_ms:
            self._plan_closing()
            return ()
        candle = self.view.forming(now_ms)
        repeated = self.repeat_ms is not None and now_ms >= self._pushed_ms + self.repeat_ms
        messages: tuple[Message, ...] = ()
        if candle is None:
            self._pushed_ms = now_ms  # nothing can be repeated; it is looked at later again
        elif repeated or self._is_news(candle, now_ms):
            self._pushed_ms, self._pushed = now_ms, candle.values
            messages = (Message(self.render(candle, now_ms, closed=False)),)
        self._seen_ms = now_ms
        self._plan()
        return messages

    def _is_news(self, candle: Candle, now_ms: int) -> bool:
        """Whether a trade has changed the candle since its last push."""
        if not candle.values[VOLUME]:
            return False
        if self._pushed is not None:
            return candle.values != self._pushed
        traded_ms = self._tapes.last_trade_ms(self.market, now_ms)
        return traded_ms is not None and traded_ms > self._seen_ms

    def skip(self, now_ms: int) -> bool:
        if self._is_closing:
            return False
        later_ms = now_ms + max(self.spacing_ms, self.gap_ms)
        if later_ms < self._open_ms + self.interval_ms:
            self.next_ms = later_ms
        else:
            self._plan_closing()
        return True

    def storm(self, now_ms: int) -> Message | None:
        if self._open_ms != self.view.open_ms(now_ms):
            return None  # the candle before is not closed yet
        tape = self._tapes.at(self.market, now_ms)
        key = None if tape is None else (tape.start_ms, tape.count_at(now_ms))
        if key is not None and key == self._storm_key:  # nothing has changed but the time
            before = b":%d" % self._storm_ms
            if self._storm_data.count(before) == 1:
                return Message(self._storm_data.replace(before, b":%d" % now_ms))
        candle = self.view.forming(now_ms)
        if candle is None:
            return None
        self._storm_key, self._storm_ms = key, now_ms
        self._storm_data = self.render(candle, now_ms, closed=False)
        return Message(self._storm_data)

    def _close(self, now_ms: int) -> Iterable[Message]:
        candle, event_ms = self._closing, self.next_ms
        end_ms = self._open_ms + self.interval_ms
        self._open_ms = max(end_ms, self.view.open_ms(now_ms) - MOST_MISSED * self.interval_ms)
        self._seen_ms = self._open_ms - 1
        self._pushed = []  # nothing of the next candle
        if candle is not None:
            self._pushed_ms = event_ms
        self._plan(event_ms)
        if candle is None:
            return ()
        altered = _altered(candle, self.market)
        return (
            Message(
                self.closing(candle, event_ms),
                Kind.CLOSING,
                lambda: self.render(altered, event_ms, closed=True),
            ),
        )

    def _plan(self, earliest_ms: int = 0) -> None:
        """Plans the next push of the candle, its closing if no more forming state comes."""
        due_ms = self._tapes.next_trade_ms(self.market, self._seen_ms)
        spacing_ms = max(self.spacing_ms, self.gap_ms)
        due_ms = max(due_ms, self._pushed_ms + spacing_ms, earliest_ms)
        if self.repeat_ms is not None:
            due_ms = min(due_ms, max(self._pushed_ms + self.repeat_ms, self._open_ms, earliest_ms))
        if due_ms >= self._open_ms + self.interval_ms:
            self._plan_closing()
        else:
            self._is_closing, self.next_ms = False, due_ms

    def _plan_closing(self) -> None:
        self._is_closing = True
        end_ms = self._open_ms + self.interval_ms
        exchange = self.market.exchange
        self._closing = candle = self.view.closed(self._open_ms)
        silent = candle is None or not candle.values[VOLUME]
        if silent and not self._settings.silent_closings[exchange]:
            self._closing = None
        delay_s = self._settings.closing_delay_s[exchange]
        if self._closing is None:
            self.next_ms = end_ms
        elif delay_s is not None:
            self.next_ms = end_ms + int(delay_s * 1000)
        else:
            next_trade_ms = self._tapes.next_trade_ms(self.market, end_ms - 1)
            self.next_ms = self.closing_ms(end_ms, next_trade_ms, silent=silent)


def _altered(candle: Candle, market: Market) -> Candle:
    """The candle with other numbers, possible ones."""
    values = list(candle.values)
    values[CLOSE] = values[LOW] if values[CLOSE] == values[HIGH] else values[HIGH]
    values[VOLUME] += market.step
    values[TURNOVER] += market.step * values[CLOSE]
    return candle._replace(values=values)
