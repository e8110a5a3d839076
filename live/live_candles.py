"""LiveCandles: what a reader of the candle log knows of an exchange's markets, candle by candle.

It begins with nothing proven when it is new, when another writer has the log or its lease, when
batches are missing and when one cannot be read: what came before may have been taken back unseen.
Every closed candle that comes after proves itself.
"""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from live.candle_changes import ClosedCandle, FormingCandle, Reason, Way
from live.candle_log import CandleLogReader, LogBatch, LogPage
from live.candle_state import KEPT_CANDLES, CandleState
from live.candle_trades import CandleTrades, with_trades
from market.candles import Candle
from market.timeframes import Timeframe


class Restart(StrEnum):
    """Why a reader began with nothing."""

    OTHER_WRITER = "other_writer"
    FELL_BEHIND = "fell_behind"  # batches were removed, or lost, before they were read
    UNREADABLE = "unreadable"


class Standing(NamedTuple):
    """What is known of one candle. `proven`: it needs no request. Else `reason`: why it does; None
    where its closing event may still come."""

    proven: ClosedCandle | None
    reason: Reason | None = None
    since_ms: int | None = None


class LiveCandles:
    """One exchange's markets as its log tells them; symbols are the exchange's names.

    `writer`, `number`: the batch that was taken last; `is_fed`: somebody held the lease of writers
    when the log was read last. `restarts`: how often it began with nothing.
    """

    def __init__(self, timeframe: Timeframe = Timeframe.M5) -> None:
        self.writer, self.number = "", 0
        self.is_fed = False
        self.restarts: Counter[Restart] = Counter()
        self._interval_ms = timeframe.interval_ms
        self.state = CandleState(timeframe.interval_ms)
        self._forming: dict[str, FormingCandle] | None = None  # None: not told, or long ago
        self._trades: dict[str, dict[int, CandleTrades]] = {}  # by symbol and open time
        self._forming_trades: dict[str, CandleTrades] = {}
        self._distrusted: set[int] = set()  # epochs
        self._taken_back: set[tuple[str, int]] = set()

    def take(self, page: LogPage) -> None:
        """Applies what was read after (`writer`, `number`)."""
        for batch in page.batches:
            self._apply(batch)
        if page.distrusted.feed == self.feed:
            for epoch in page.distrusted.epochs - self._distrusted:
                self._distrust(epoch)
        self.is_fed = bool(page.holder)
        superseded = page.holder and not self.writer.startswith(f"{page.holder} ")
        if superseded and self.state.markets:
            self._restart(Restart.OTHER_WRITER, self.writer, self.number)
        if page.has_more:
            return
        self._forming, self._forming_trades = None, {}
        if page.forming is not None and page.forming[0] == self.writer and not superseded:
            self._forming = {candle.symbol: candle for candle in page.forming[2]}
            self._forming_trades = {each.symbol: each for each in page.forming_trades}

    def standing(self, symbol: str, open_time_ms: int) -> Standing:
        """What is known of the candle that opened then."""
        market = self.state.markets.get(symbol)
        if market is None:
            return Standing(None, Reason.NOT_TOLD)
        closed = market.closed.get(open_time_ms)
        if closed is not None:
            reason = self._why_not(closed)
            return Standing(closed) if reason is None else Standing(None, reason, closed.known_ms)
        if (lapse := market.lapse) is not None and lapse.since_ms > open_time_ms:
            return Standing(None, lapse.reason, lapse.since_ms)
        if market.closed and max(market.closed) > open_time_ms:
            return Standing(None, Reason.NOT_TOLD)
        return Standing(None)

    def closed_since(self, symbol: str, open_time_ms: int) -> list[ClosedCandle]:
        """The proven candles that opened then or later, ascending; between them others may lack."""
        market = self.state.markets.get(symbol)
        if market is None:
            return []
        opens = sorted(open_ms for open_ms in market.closed if open_ms >= open_time_ms)
        candles = [market.closed[open_ms] for open_ms in opens]
        return [candle for candle in candles if self._why_not(candle) is None]

    def forming(self, symbol: str, open_time_ms: int) -> FormingCandle | None:
        """The candle that opened then as it was at most some seconds ago, unless it is closed; as
        it was then of a market that has become unproven."""
        candle = self._forming.get(symbol) if self._forming is not None else None
        if candle is None or candle.open_time_ms != open_time_ms:
            return None
        return None if self.state.closed(symbol, open_time_ms) is not None else candle

    def with_trades(self, symbol: str, known: ClosedCandle | FormingCandle) -> Candle:
        """One of these candles, with what is told of its trades."""
        if isinstance(known, FormingCandle):
            told = self._forming_trades.get(symbol)
        else:
            told = self._trades.get(symbol, {}).get(known.open_time_ms)
            told = told if known.way is Way.STREAM else None
        is_its = told is not None and told.open_time_ms == known.open_time_ms
        return with_trades(known.candle(), told if is_its else None)

    def unproven_ms(self, symbol: str) -> int | None:
        """Since when the market is unproven, 0 if nothing was told of it, or nothing of forming
        candles lately; None while it is proven. Its forming candle may have stood still since."""
        market = self.state.markets.get(symbol)
        if market is None or self._forming is None:
            return 0
        return market.lapse.since_ms if market.lapse is not None else None

    def awaited(self, symbols: Iterable[str], open_time_ms: int) -> list[str]:
        """Of these markets, those whose closing event of the candle may still come."""
        return [each for each in symbols if self.standing(each, open_time_ms) == (None, None, None)]

    def expected(self, symbols: Iterable[str], open_time_ms: int) -> list[str]:
        """The awaited ones without those of which no candle was proven though they had the time
        for one: it is not worth while to wait for them. None while nothing has come of any market,
        as behind a firewall that lets no stream through."""
        if not (self.state.has_closed or self._forming):
            return []
        awaited = self.awaited(symbols, open_time_ms)
        return [each for each in awaited if not self._is_unproven_for_long(each, open_time_ms)]

    def _is_unproven_for_long(self, symbol: str, open_time_ms: int) -> bool:
        lapse = self.state.markets[symbol].lapse
        return lapse is not None and lapse.since_ms < open_time_ms - self._interval_ms

    def distrust(self, symbol: str, open_time_ms: int) -> int | None:
        """REST shows the candle with other values: nothing that its connection has brought, or will
        bring, counts as proven. Returns the connection's epoch, None if the candle is not known."""
        closed = self.state.closed(symbol, open_time_ms)
        if closed is None or closed.way is not Way.STREAM:
            return None
        self._distrust(closed.epoch)
        return closed.epoch

    def _distrust(self, epoch: int) -> None:
        self._take_back(epoch)
        self._distrusted.add(epoch)

    @property
    def feed(self) -> str:
        """Who wrote the batch that was taken last; it keeps this part of its name where it begins
        the log anew."""
        return _feed_of(self.writer)

    def taken_back(self) -> set[tuple[str, int]]:
        """The candles, as symbol and open time, that were proven and are not any more since the
        last call: whoever has used them reads them by REST."""
        taken, self._taken_back = self._taken_back, set()
        return taken

    def _apply(self, batch: LogBatch) -> None:
        if batch.writer != self.writer:
            if _feed_of(batch.writer) != self.feed:
                self._distrusted.clear()  # its epochs are others
            self._restart(Restart.OTHER_WRITER, batch.writer, batch.number - 1)
        elif batch.number != self.number + 1:
            self._restart(Restart.FELL_BEHIND, batch.writer, batch.number - 1)
        if batch.changes is None:
            self._restart(Restart.UNREADABLE, batch.writer, batch.number - 1)
        self.number = batch.number
        for change in batch.changes or ():
            if isinstance(change, ClosedCandle) and not change.is_proven:
                before = self.state.closed(change.symbol, change.open_time_ms)
                if before is not None and before.is_proven:
                    self._taken_back.add((change.symbol, change.open_time_ms))
            self.state.apply(change)
        for told in batch.trades:
            of_market = self._trades.setdefault(told.symbol, {})
            of_market[told.open_time_ms] = told
            if len(of_market) > KEPT_CANDLES:
                del of_market[min(of_market)]

    def _restart(self, reason: Restart, writer: str, number: int) -> None:
        if self.writer:
            self.restarts[reason] += 1
        self._take_back()
        self.writer, self.number = writer, number
        self.state = CandleState(self._interval_ms)
        self._forming = None
        self._trades, self._forming_trades = {}, {}

    def _take_back(self, epoch: int | None = None) -> None:
        """Takes back what is proven by a connection, or by any."""
        for symbol, market in self.state.markets.items():
            for open_ms, closed in market.closed.items():
                ours = closed.way is Way.STREAM and epoch in (None, closed.epoch)
                if ours and self._why_not(closed) is None:
                    self._taken_back.add((symbol, open_ms))

    def _why_not(self, candle: ClosedCandle) -> Reason | None:
        if candle.way is Way.STREAM and candle.epoch in self._distrusted:
            return Reason.CONTRADICTED
        return candle.unproven


def _feed_of(writer: str) -> str:
    return writer.rpartition(" ")[0]


async def catch_up(candles: LiveCandles, reader: CandleLogReader) -> None:
    """Takes all that the log has; one command, unless it is far behind. Raises StoreUnavailable."""
    while True:
        page = await reader.read(candles.writer, candles.number)
        candles.take(page)
        if not page.has_more:
            return
