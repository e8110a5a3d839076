"""CandleBook: decides which candles of an exchange's streams are closed, and which are proven.

No I/O and no clock: the time is handed in, in UTC ms, as the exchange's (our clock, corrected by
the exchange's own). The rules:

1. A candle is closed by the exchange's flag alone; never by a clock, never by a newer candle.
2. A closed candle is proven if one connection delivered a message of the market before its open,
   and its closing event within the grace, without a pause or a fault in between. The candle during
   which a connection begins is therefore not. Two connections may feed at once: one that covers the
   candle is enough.
3. A forming candle is replaced by one of a later or the same event time and no smaller volume. What
   is earlier or smaller is dropped; from the same connection it is a fault of the market.
4. A second closing event with the same values changes nothing. With other values the candle is
   contradicted, whatever comes later. What comes of a closed candle after its close is dropped.
5. A candle read by REST replaces any of the stream, and is not replaced by one.
6. A market is unproven when its connection ended or paused and no other covers the candle, when a
   closing event is missing after the grace, or a newer candle came before it, when numbers or times
   went backwards, or when a message could not be read. It is proven again with the first proven
   candle that closes later.
7. A candle without any message is silent, which is normal: nothing is invented for it.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final

from live.candle_changes import (
    Change,
    ClosedCandle,
    FormingCandle,
    Lapse,
    Reason,
    Way,
    closed_by_rest,
    closed_by_stream,
)
from live.candle_checks import goes_backwards, is_less, is_possible, is_same
from live.candle_trades import CandleTrades, trades_of
from live.closing_watch import Close
from live.epochs import Epoch, MarketStream
from live.events import CandleEvent
from live.forming_candles import FormingCandles
from live.market_proofs import MarketProofs
from market.candles import Candle
from market.timeframes import Timeframe

GRACE_MS: Final = 30_000  # after a close; more where an exchange pushes less often
PAUSE_MS: Final = 30_000  # without a message of any market of a connection
# A candle may open, or close, so much later than the exchange's time as it is known.
_AHEAD_MS: Final = 2_000
_FUTURE_MS: Final = 60_000  # an event is not from there
# Why a closing event is a fault of its market, too.
_FAULTS: Final = (Reason.IMPOSSIBLE, Reason.OUT_OF_ORDER, Reason.NUMBERS_BACKWARDS)
# Another connection that covers the candle proves it all the same.
_MAY_BE_PROVEN: Final = (Reason.NOT_WHOLE, Reason.MISSED_CLOSE)


class Count(StrEnum):
    """What is counted beside the reasons of candles and markets that are unproven."""

    FORMING = "forming"
    CLOSED = "closed"
    UNKNOWN_EPOCH = "unknown_epoch"  # a connection that has ended, or was not begun
    UNKNOWN_SYMBOL = "unknown_symbol"
    OTHER_TIMEFRAME = "other_timeframe"
    AFTER_CLOSE = "after_close"  # a forming candle that is closed
    REPEATED_CLOSE = "repeated_close"
    TOO_OLD = "too_old"  # a closing event of a candle that is not kept any more
    KNOWN_BY_REST = "known_by_rest"
    DIFFERS_FROM_REST = "differs_from_rest"


class CandleBook:
    """The candles of one exchange's markets, of one timeframe.

    `tell` gets every change, in order (candle_log.py takes them to readers), and `tell_trades`
    after a candle what its closing event says of its trades; `on_lag` how late, in seconds, the
    first closing event of each candle came. `grace_ms`: how long after its close a candle's closing
    event may come; `pause_ms`: how long a connection may bring nothing of any market.
    """

    def __init__(
        self,
        tell: Callable[[Change], None],
        on_lag: Callable[[float], None] = lambda lag_s: None,
        *,
        now_ms: int,
        timeframe: Timeframe = Timeframe.M5,
        grace_ms: int = GRACE_MS,
        pause_ms: int = PAUSE_MS,
        tell_trades: Callable[[CandleTrades], None] | None = None,
    ) -> None:
        self._tell_trades = tell_trades
        self.timeframe = str(timeframe)
        self._on_lag = on_lag
        self._interval_ms = timeframe.interval_ms
        self._grace_ms = grace_ms
        self._pause_ms = pause_ms
        self._proofs = MarketProofs(tell, timeframe.interval_ms, grace_ms, now_ms)
        self._forming = FormingCandles(self._proofs.state)
        self.state = self._proofs.state
        self._counts = self._proofs.counts
        self._formed = 0
        self._epoch_of = self._proofs.epochs.get

    # --- what happens -------------------------------------------------------------------------

    def list_markets(self, symbols: Iterable[str], now_ms: int) -> None:
        """The markets to follow from now on, by the exchange's names."""
        for symbol in self._proofs.list_markets(set(symbols), now_ms):
            self._forming.forget(symbol)

    def begin_epoch(self, number: int, now_ms: int) -> None:
        """A connection begins to feed. Raises ValueError unless no other has had the number."""
        self._proofs.epochs.begin(number, now_ms)

    def end_epoch(self, number: int, now_ms: int) -> None:
        """A connection has ended; what it delivers later is dropped."""
        if (epoch := self._proofs.end_epoch(number, now_ms)) is not None:
            self._forming.newest_of(epoch)

    def unsubscribe(self, number: int, symbols: Iterable[str], now_ms: int) -> None:
        """A connection delivers these markets no longer, or is subscribed to them anew: what it has
        delivered does not connect with what follows."""
        if (epoch := self._epoch_of(number)) is not None:
            self._proofs.unsubscribe(epoch, symbols, now_ms)

    def take(self, number: int, event: CandleEvent, now_ms: int) -> None:
        """One candle that a connection has delivered, in the order in which they came."""
        epoch = self._epoch_of(number)
        if epoch is None:
            self._counts[Count.UNKNOWN_EPOCH] += 1
            return
        if now_ms - epoch.heard_ms > self._pause_ms:
            self._proofs.distrust(epoch, Reason.PAUSED, now_ms)
        epoch.heard_ms = now_ms
        if event.timeframe != self.timeframe:
            self._counts[Count.OTHER_TIMEFRAME] += 1
            return
        stream = epoch.streams.get(event.symbol)
        try:
            if stream is not None and stream.is_steady and not event.closed:
                last = stream.last  # most events are the next state of the same candle
                if (
                    last is not None
                    and event.open_time_ms == last.open_time_ms
                    and event.event_time_ms >= last.event_time_ms
                    and (event.volume == last.volume or float(event.volume) > float(last.volume))
                ):
                    stream.last = event
                    self._formed += 1
                    return
            self._take(epoch, stream, event, now_ms)
        except ValueError:  # a text that is no number
            self.unreadable(number, now_ms, event.symbol)

    def unreadable(self, number: int, now_ms: int, symbol: str | None = None) -> None:
        """A message of the connection that could not be read: of one market, or of any."""
        epoch = self._epoch_of(number)
        if epoch is None:
            self._counts[Count.UNKNOWN_EPOCH] += 1
            return
        epoch.heard_ms = max(epoch.heard_ms, now_ms)
        if symbol is None:
            if not self._proofs.distrust(epoch, Reason.UNREADABLE, now_ms):
                self._counts[Reason.UNREADABLE] += 1
        elif symbol in self._proofs.listed:
            self._proofs.fault(epoch.streams.get(symbol), symbol, Reason.UNREADABLE, now_ms)
        else:
            self._counts[Count.UNKNOWN_SYMBOL] += 1

    def heard(self, number: int, now_ms: int) -> None:
        """A connection has brought something of a market that is not followed."""
        epoch = self._epoch_of(number)
        if epoch is None:
            self._counts[Count.UNKNOWN_EPOCH] += 1
            return
        if now_ms - epoch.heard_ms > self._pause_ms:
            self._proofs.distrust(epoch, Reason.PAUSED, now_ms)
        epoch.heard_ms = max(epoch.heard_ms, now_ms)

    def tick(self, now_ms: int) -> None:
        """Time has passed; to be called several times a second."""
        for epoch in self._proofs.epochs:
            if now_ms - epoch.heard_ms > self._pause_ms:
                self._proofs.distrust(epoch, Reason.PAUSED, now_ms)
        self._proofs.tick(now_ms)

    def read_by_rest(self, symbol: str, candles: Iterable[Candle], now_ms: int) -> None:
        """What REST has shown of a market; candles that have not closed yet do not count."""
        if symbol not in self._proofs.listed:
            self._counts[Count.UNKNOWN_SYMBOL] += 1
            return
        for candle in candles:
            close_ms = candle.open_time_ms + self._interval_ms
            if close_ms > now_ms:
                continue
            known = self.state.closed(symbol, candle.open_time_ms)
            read = closed_by_rest(symbol, candle, close_ms, now_ms)
            self._proofs.tell(read)
            if known is not None and known.way is Way.STREAM and not is_same(read, known):
                self.differs(known.epoch, now_ms)

    def differs(self, number: int, now_ms: int) -> None:
        """REST shows other values than a connection: all that it has brought is doubtful."""
        self._counts[Count.DIFFERS_FROM_REST] += 1
        if (epoch := self._epoch_of(number)) is not None:
            epoch.differences += 1
            self._proofs.distrust(epoch, Reason.CONTRADICTED, now_ms)

    # --- what is known ------------------------------------------------------------------------

    @property
    def counts(self) -> Counter[str]:
        """Events by Count, and faults by Reason, since the beginning."""
        return self._counts + Counter({Count.FORMING: self._formed})

    def forming(self) -> list[FormingCandle]:
        """The forming candle of each market that has one."""
        for epoch in self._proofs.epochs:
            self._forming.newest_of(epoch)
        return self._forming.all()

    def forming_trades(self) -> list[CandleTrades]:
        """What is told of the trades of the candles that `forming` had last."""
        return self._forming.trades()

    def needs(self, number: int, now_ms: int) -> list[str]:
        """The markets that would become unproven if this connection ended now: it may go when they
        are few, as markets that are not traded are covered by nothing newer."""
        epoch = self._epoch_of(number)
        return self._proofs.needs(epoch, now_ms) if epoch is not None else []

    def unproven(self) -> dict[str, Lapse]:
        """The markets that are unproven now, the silent ones too."""
        return dict(self.state.unproven())

    def close_of(self, open_time_ms: int) -> Close | None:
        """How the close of this candle went; the newest ones are kept."""
        return self._proofs.watch.closes.get(open_time_ms)

    def lag_ms(self, share: float) -> int | None:
        """The lag of closing events after their close that this share of the newest did not exceed:
        0.5 for the median."""
        return self._proofs.watch.lag_ms(share)

    def differing_epochs(self) -> dict[int, int]:
        """The connections of which REST has shown candles with other values, and how many."""
        epochs = self._proofs.epochs
        return {epoch.number: epoch.differences for epoch in epochs if epoch.differences}

    # --- one event ----------------------------------------------------------------------------

    def _take(
        self, epoch: Epoch, stream: MarketStream | None, event: CandleEvent, now_ms: int
    ) -> None:
        symbol, open_ms = event.symbol, event.open_time_ms
        if symbol not in self._proofs.listed:
            self._counts[Count.UNKNOWN_SYMBOL] += 1
            return
        if stream is None:
            stream = epoch.streams[symbol] = MarketStream()
        # A candle does not exist before its open, nor a closed one before its close.
        from_ms = open_ms + self._interval_ms if event.closed else open_ms
        heard_ms = max(event.event_time_ms, now_ms)
        # OKX tells no event time: then the close stands there, which says nothing of now.
        tells_time = not event.closed or event.event_time_ms != from_ms
        at_ms = heard_ms if tells_time else now_ms
        is_early = at_ms + _AHEAD_MS < from_ms or heard_ms > now_ms + _FUTURE_MS
        if is_early or open_ms % self._interval_ms:
            self._proofs.fault(stream, symbol, Reason.IMPOSSIBLE, now_ms)
        elif event.closed:
            self._close(epoch, stream, event, heard_ms, now_ms)
        else:
            self._form(stream, event, heard_ms, now_ms)

    def _form(self, stream: MarketStream, event: CandleEvent, heard_ms: int, now_ms: int) -> None:
        symbol, open_ms, last = event.symbol, event.open_time_ms, stream.last
        if open_ms < stream.newest_ms or open_ms == stream.closed_ms:
            if self.state.closed(symbol, open_ms) is not None:
                self._counts[Count.AFTER_CLOSE] += 1
            else:
                self._proofs.fault(stream, symbol, Reason.OUT_OF_ORDER, now_ms)
            return
        if last is not None and open_ms == last.open_time_ms:
            if event.event_time_ms < last.event_time_ms:
                self._proofs.fault(stream, symbol, Reason.OUT_OF_ORDER, now_ms)
                return
            if is_less(event.volume, last.volume):
                self._proofs.fault(stream, symbol, Reason.NUMBERS_BACKWARDS, now_ms)
                return
        float(event.volume)  # raises ValueError
        self._go_on(stream, symbol, open_ms)
        stream.form(event, heard_ms)
        self._formed += 1

    def _close(
        self, epoch: Epoch, stream: MarketStream, event: CandleEvent, heard_ms: int, now_ms: int
    ) -> None:
        symbol, open_ms = event.symbol, event.open_time_ms
        unproven = self._why_unproven(stream, event, heard_ms)
        self._go_on(stream, symbol, open_ms)
        stream.close(open_ms, heard_ms)
        if unproven in _FAULTS:
            self._proofs.fault(stream, symbol, unproven, now_ms)
        if unproven is Reason.IMPOSSIBLE:
            return
        known = self.state.closed(symbol, open_ms)
        if known is None:
            self._close_first(epoch, event, unproven, heard_ms, now_ms)
        elif known.way is Way.REST:
            self._counts[Count.KNOWN_BY_REST] += 1
            if not is_same(event, known):
                self.differs(epoch.number, now_ms)
        elif not is_same(event, known):
            self._contradict(known, now_ms)
        elif known.unproven in _MAY_BE_PROVEN and unproven is None:
            self._tell_closed(event, epoch.number, now_ms, None)
        else:
            self._counts[Count.REPEATED_CLOSE] += 1

    def _close_first(
        self, epoch: Epoch, event: CandleEvent, unproven: Reason | None, heard_ms: int, now_ms: int
    ) -> None:
        symbol, open_ms = event.symbol, event.open_time_ms
        if self.state.markets[symbol].is_too_old(open_ms):
            self._counts[Count.TOO_OLD] += 1
            return
        self._counts[Count.CLOSED] += 1
        if unproven is not None and unproven not in _FAULTS:
            self._counts[unproven] += 1
        close_ms = open_ms + self._interval_ms
        told_ms = event.event_time_ms if event.event_time_ms > close_ms else heard_ms
        self._proofs.watch.came(symbol, open_ms, told_ms - close_ms)
        self._on_lag((told_ms - close_ms) / 1000)
        self._tell_closed(event, epoch.number, now_ms, unproven)

    def _tell_closed(
        self, event: CandleEvent, epoch: int, now_ms: int, unproven: Reason | None
    ) -> None:
        self._proofs.tell(closed_by_stream(event, epoch, now_ms, unproven))
        if self._tell_trades is not None and (told := trades_of(event)) is not None:
            self._tell_trades(told)

    def _why_unproven(
        self, stream: MarketStream, event: CandleEvent, heard_ms: int
    ) -> Reason | None:
        """Why a closing event proves nothing; None if it does."""
        open_ms, last = event.open_time_ms, stream.last
        if not is_possible(event):
            return Reason.IMPOSSIBLE
        if last is not None and event.event_time_ms < last.event_time_ms and _is_of(last, open_ms):
            return Reason.OUT_OF_ORDER
        shown = [other.last for other in self._proofs.epochs.streams(event.symbol)]
        for state in (*shown, self._forming.of(event.symbol, open_ms)):
            if state is not None and _is_of(state, open_ms) and goes_backwards(event, state):
                return Reason.NUMBERS_BACKWARDS
        if open_ms < stream.newest_ms:
            return Reason.MISSED_CLOSE  # a newer candle came first
        if heard_ms > open_ms + self._interval_ms + self._grace_ms:
            return Reason.LATE_CLOSE
        return None if stream.primed_ms < open_ms else Reason.NOT_WHOLE

    def _go_on(self, stream: MarketStream, symbol: str, open_ms: int) -> None:
        """Goes on to a newer candle of a connection: the one before has to be closed by now."""
        if open_ms > stream.newest_ms:
            lost_ms = stream.begin(open_ms)
            if lost_ms is not None:
                self._proofs.lost(symbol, lost_ms)

    def _contradict(self, known: ClosedCandle, now_ms: int) -> None:
        symbol = known.symbol
        if known.unproven is not Reason.CONTRADICTED:
            self._proofs.tell(known.contradicted(now_ms))
        for stream in self._proofs.epochs.streams(symbol):
            stream.distrust()
        self._proofs.fault(None, symbol, Reason.CONTRADICTED, now_ms)


def _is_of(event: CandleEvent, open_time_ms: int) -> bool:
    return event.open_time_ms == open_time_ms
