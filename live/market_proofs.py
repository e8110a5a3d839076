"""MarketProofs: since when markets are unproven, and why, by what their connections cover."""

from collections import Counter
from collections.abc import Callable, Iterable

from live.candle_changes import Change, Delisted, Lapse, Reason
from live.candle_state import CandleState, can_lapse
from live.closing_watch import Close, ClosingWatch
from live.epochs import NEVER, Epoch, Epochs, MarketStream


class MarketProofs:
    """The listed markets, their state, and the connections that feed it.

    Every change goes to `tell`, in order. `counts`: faults and lapses by reason, and what the book
    counts beside them.
    """

    def __init__(
        self, tell: Callable[[Change], None], interval_ms: int, grace_ms: int, now_ms: int
    ) -> None:
        self.state = CandleState(interval_ms)
        self.watch = ClosingWatch(interval_ms, grace_ms, now_ms)
        self.epochs = Epochs()
        self.listed: set[str] = set()
        self.counts: Counter[str] = Counter()
        self._interval_ms = interval_ms
        self._tell_others = tell
        # The newest candle of which messages came on a connection that will not close it any more.
        self._lost: dict[str, int] = {}

    def tell(self, change: Change) -> None:
        self.state.apply(change)
        self._tell_others(change)

    def list_markets(self, symbols: set[str], now_ms: int) -> list[str]:
        """Follows these markets from now on; returns those that it does not any more."""
        gone, new = sorted(self.listed - symbols), sorted(symbols - self.listed)
        self.listed = symbols
        for symbol in gone:
            self.epochs.forget(symbol)
            self.watch.forget(symbol)
            self._lost.pop(symbol, None)
        if gone:
            self.tell(Delisted(gone))
        if new:
            self.tell(Lapse(new, Reason.STARTING, now_ms))
        return gone

    def end_epoch(self, number: int, now_ms: int) -> Epoch | None:
        """A connection has ended; None if it was not known."""
        epoch = self.epochs.end(number)
        if epoch is None:
            return None
        for symbol, stream in epoch.streams.items():
            self._note_unclosed(symbol, stream)
        self.lapse(epoch.streams, Reason.EPOCH_ENDED, now_ms)
        return epoch

    def unsubscribe(self, epoch: Epoch, symbols: Iterable[str], now_ms: int) -> None:
        """A connection delivers these markets no longer, or begins anew with them."""
        ended = [symbol for symbol in symbols if symbol in epoch.streams]
        for symbol in ended:
            self._note_unclosed(symbol, epoch.streams.pop(symbol))
        self.lapse(ended, Reason.EPOCH_ENDED, now_ms)

    def fault(self, stream: MarketStream | None, symbol: str, reason: Reason, now_ms: int) -> None:
        """Something is wrong with one market on one connection."""
        self.counts[reason] += 1
        if stream is not None:
            stream.distrust()
        self.lapse([symbol], reason, now_ms)

    def distrust(self, epoch: Epoch, reason: Reason, now_ms: int) -> bool:
        """Something is wrong with a connection: what it has delivered proves nothing of what comes.
        Counted once until it delivers again; False where that was known already."""
        if all(stream.primed_ms == NEVER for stream in epoch.streams.values()):
            return False
        self.counts[reason] += 1
        epoch.distrust()
        self.lapse(epoch.streams, reason, now_ms)
        return True

    def lost(self, symbol: str, open_time_ms: int) -> None:
        """A connection went on to a newer candle without the closing event of this one."""
        if self.state.closed(symbol, open_time_ms) is not None:
            return
        self._lost[symbol] = open_time_ms
        if not self.epochs.cover(symbol, open_time_ms):
            self._lapse([symbol], Reason.MISSED_CLOSE, open_time_ms + self._interval_ms)

    def lapse(self, symbols: Iterable[str], reason: Reason, now_ms: int) -> None:
        """Of these markets, those are unproven whose candles no connection covers any more."""
        pending = self._pending(now_ms)
        uncovered = [
            symbol
            for symbol in symbols
            if not all(self._is_safe(symbol, open_ms) for open_ms in pending)
        ]
        self._lapse(uncovered, reason, now_ms)

    def needs(self, epoch: Epoch, now_ms: int) -> list[str]:
        """The markets that would become unproven if this connection ended now."""
        pending = self._pending(now_ms)
        return [
            symbol
            for symbol, stream in epoch.streams.items()
            if any(
                stream.covers(open_ms) and not self._is_safe(symbol, open_ms, but=epoch.number)
                for open_ms in pending
            )
        ]

    def tick(self, now_ms: int) -> None:
        """Time has passed: candles have closed, and the grace of earlier ones has ended."""
        for open_ms in self.watch.advance(now_ms):
            closed = self.state.closed
            waiting = [each for each in self.listed if closed(each, open_ms) is None]
            self.watch.await_all(open_ms, waiting)
        self.watch.soon_over(now_ms)
        for close in self.watch.grace_over(now_ms):
            self._end_grace(close)

    def _end_grace(self, close: Close) -> None:
        """Closing events that have not come are missed, or the candle was silent."""
        open_ms, without = close.open_time_ms, close.without or frozenset()
        by_reason: dict[Reason, list[str]] = {}
        for symbol in sorted(self.listed):
            closed = self.state.closed(symbol, open_ms)
            if closed is not None:
                reason = closed.unproven
            elif symbol in without:
                heard = self._was_heard(symbol, open_ms)
                reason = Reason.MISSED_CLOSE if heard else Reason.SILENT
                self.counts[reason] += 1
            else:
                continue  # listed since
            if reason is not None:
                by_reason.setdefault(reason, []).append(symbol)
        close.silent = frozenset(by_reason.get(Reason.SILENT, ()))
        for reason, symbols in by_reason.items():
            self._lapse(symbols, reason, close.close_ms)

    def _note_unclosed(self, symbol: str, stream: MarketStream) -> None:
        if stream.newest_ms > stream.closed_ms:
            self._lost[symbol] = max(self._lost.get(symbol, 0), stream.newest_ms)

    def _was_heard(self, symbol: str, open_ms: int) -> bool:
        """Whether any message of the candle came."""
        if self._lost.get(symbol) == open_ms:
            return True
        return any(stream.newest_ms == open_ms for stream in self.epochs.streams(symbol))

    def _lapse(self, symbols: list[str], reason: Reason, since_ms: int) -> None:
        """These are unproven since then, but for those that have been proven again later."""
        state = self.state
        lapsed = [
            symbol
            for symbol in symbols
            if (market := state.markets.get(symbol)) is not None
            and can_lapse(market.lapse, reason)
            and (state.proven_until_ms(symbol) or 0) <= since_ms
        ]
        if lapsed:
            self.tell(Lapse(lapsed, reason, since_ms))

    def _pending(self, now_ms: int) -> list[int]:
        """The open times of the forming candle, and of those whose closing events are awaited."""
        awaited = [each.open_time_ms for each in self.watch.closes.values() if each.without is None]
        return [now_ms - now_ms % self._interval_ms, *awaited]

    def _is_safe(self, symbol: str, open_ms: int, *, but: int = 0) -> bool:
        """Whether the candle is proven, or will be by a connection other than `but`."""
        closed = self.state.closed(symbol, open_ms)
        if closed is not None and closed.is_proven:
            return True
        return self.epochs.cover(symbol, open_ms, but=but)
