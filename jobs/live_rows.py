"""LiveRows: the candles of streams for a worker's passes, read from the logs in the hot store."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from typing import Final

import structlog

from data_collector.stream_reader import Streamed
from live.candle_log import CandleLogReader
from live.distrusted_epochs import DistrustedEpochs
from live.exchanges import STREAM_VENUES
from live.live_candles import LiveCandles, catch_up
from logging_setup import OutageLog
from market.candles import Candles
from market.markets import Exchange, Market
from market.timeframes import Timeframe
from stores.hot.store import HotStore, StoreUnavailable
from timing.clock import Clock

# So long after a close a pass waits for the closing events of streams.
SOON_S: Final = 2.5
_AFTER_GRACE_S: Final = 1.0  # then the log tells what did not come
# How often the logs are read while closing events are awaited; Upstash bills every command.
_LOOK_EVERY_S: Final = {"native": 0.25, "upstash": 0.5}
_LOOK_LATE_EVERY_S: Final = {"native": 1.0, "upstash": 5.0}
# Where more of an exchange's markets are awaited, its streams are in trouble, not single markets.
_MOST_AWAITED: Final = 0.5
_MOST_DIFFERING: Final = 100_000  # candles that are not counted twice
_STEP_MS: Final = Timeframe.M5.interval_ms

log = structlog.get_logger(__name__)


class LiveRows:
    """A StreamReader of the exchanges whose streams are fed; one for each worker process.

    `arriving` in each pass, and `wait` where closing events are awaited, bring it up to date.
    `on_compared(exchange, candles)` and `on_differing(exchange)` count the candles of streams that
    were compared with REST, and those that differed; `comparisons` and `differing` do so, too.
    `trade_columns`: the candles have what streams tell of trades.
    """

    def __init__(
        self,
        store: HotStore,
        exchanges: Iterable[Exchange],
        clock: Clock,
        *,
        on_compared: Callable[[Exchange, int], None] = lambda exchange, candles: None,
        on_differing: Callable[[Exchange], None] = lambda exchange: None,
        trade_columns: bool = False,
    ) -> None:
        self.comparisons: Counter[Exchange] = Counter()
        self.differing: Counter[Exchange] = Counter()
        self._on_compared = on_compared
        self._on_differing = on_differing
        self._differing: dict[tuple[str, int], None] = {}  # Market.key and open time
        self._clock = clock
        self._look_s = _LOOK_EVERY_S[store.kind]
        self._look_late_s = _LOOK_LATE_EVERY_S[store.kind]
        self._readers = {
            each: CandleLogReader(store, each, trade_columns=trade_columns) for each in exchanges
        }
        self._candles = {each: LiveCandles() for each in self._readers}
        self._fed: set[Exchange] = set()
        self._without_waiting: set[Exchange] = set()  # for closing events, in this pass
        self._taken_back: dict[tuple[Exchange, str], set[int]] = {}
        self._distrusted = {each: DistrustedEpochs(store, each) for each in self._readers}
        self._to_tell: dict[tuple[Exchange, str], set[int]] = {}  # by feed
        self._outage = OutageLog(log, "candle_log_not_read", "candle_log_read_again")

    @property
    def exchanges(self) -> Collection[Exchange]:
        """Those whose logs are read, whether anybody feeds them or not."""
        return self._readers.keys()

    @property
    def fed(self) -> frozenset[Exchange]:
        """Those whose streams somebody feeds, as far as their logs could be read."""
        return frozenset(self._fed)

    # For the jobs.

    async def arriving(
        self, markets: Sequence[Market], forming_ms: int, now_ms: int
    ) -> AsyncIterator[Sequence[Market]]:
        """Reads the logs, until the closing events of the candle before `forming_ms` are no longer
        awaited for any of the markets, at most until SOON_S after its close; yields the markets in
        turn as they come. `now_ms`: the exchanges' time."""
        passed_s = (now_ms - forming_ms) / 1000
        self._without_waiting = {
            each for each in self._readers if passed_s >= STREAM_VENUES[each].grace_s
        }
        until_s = self._clock.monotonic_s() + SOON_S - passed_s
        waiting = list(markets)
        while True:
            began_s = self._clock.monotonic_s()
            await self.read()
            awaited = self._awaited(waiting, forming_ms)
            if not awaited or began_s >= until_s:
                break
            come = [each for each in waiting if each.native not in awaited.get(each.exchange, ())]
            if come:
                waiting = [
                    each for each in waiting if each.native in awaited.get(each.exchange, ())
                ]
                yield come
            now_s = self._clock.monotonic_s()
            await self._clock.sleep(max(min(began_s + self._look_s, until_s) - now_s, 0.0))
        for exchange, late in awaited.items():
            listed = sum(market.exchange is exchange for market in markets)
            if exchange not in self._without_waiting and len(late) > _MOST_AWAITED * listed:
                log.warning("closings_late", exchange=exchange, markets=len(late), of=listed)
                self._without_waiting.add(exchange)
        if waiting:
            yield waiting

    async def catch_up(self, markets: Sequence[Market], forming_ms: int, now_ms: int) -> None:
        """As `arriving`, for those who need them all."""
        async for _ in self.arriving(markets, forming_ms, now_ms):
            pass

    def is_awaiting(self, markets: Sequence[Market], forming_ms: int) -> bool:
        """Whether a pass leaves out rows of these markets whose closing events may still come."""
        awaited = self._awaited(markets, forming_ms)
        return any(exchange not in self._without_waiting for exchange in awaited)

    async def wait(
        self,
        markets: Sequence[Market],
        forming_ms: int,
        now_ms: int,
        gives_way: Callable[[], Awaitable[bool]],
    ) -> None:
        """Reads the logs until the closing events of these markets are no longer awaited, at most
        until the grace of each exchange is over; ends when `gives_way` says so."""
        passed_s = (now_ms - forming_ms) / 1000
        within_s = {
            each: STREAM_VENUES[each].grace_s + _AFTER_GRACE_S - passed_s for each in self._readers
        }
        began_s = self._clock.monotonic_s()
        while True:
            await self.read()
            passed_s = self._clock.monotonic_s() - began_s
            awaited = self._awaited(markets, forming_ms)
            left_s = max((within_s[each] - passed_s for each in awaited), default=0.0)
            if left_s <= 0 or await gives_way():
                return
            await self._clock.sleep(min(self._look_late_s, left_s))

    async def tell_distrusted(self) -> None:
        """Tells the feeds, and other workers, of the connections that differed from REST; those of
        which the store does not hear now are told the next time."""
        for (exchange, feed), epochs in list(self._to_tell.items()):
            with contextlib.suppress(StoreUnavailable):
                await self._distrusted[exchange].add(feed, epochs)
                del self._to_tell[exchange, feed]

    # For the pass: a StreamReader.

    def streamed(self, market: Market, since_ms: int, forming_ms: int) -> Streamed | None:
        if market.exchange not in self._fed:
            return None
        candles, symbol = self._candles[market.exchange], market.native
        proven = candles.closed_since(symbol, since_ms)
        closed = [
            candles.with_trades(symbol, each) for each in proven if each.open_time_ms < forming_ms
        ]
        # By another exchange's clock, by which the pass goes, it may not have closed yet.
        soon = (each for each in proven if each.open_time_ms == forming_ms)
        forming = candles.forming(symbol, forming_ms) or next(soon, None)
        is_awaited = market.exchange not in self._without_waiting and bool(
            candles.expected([symbol], forming_ms - _STEP_MS)
        )
        return Streamed(
            Candles.of(closed),
            candles.with_trades(symbol, forming) if forming is not None else None,
            is_awaited,
            candles.unproven_ms(symbol),
        )

    def take_back(self, market: Market) -> frozenset[int]:
        return frozenset(self._taken_back.pop((market.exchange, market.native), ()))

    def compared(self, market: Market, candles: int) -> None:
        self.comparisons[market.exchange] += candles
        self._on_compared(market.exchange, candles)

    def differs(self, market: Market, open_ms: int) -> None:
        place = market.key, open_ms
        if place not in self._differing:
            self._differing[place] = None
            if len(self._differing) > _MOST_DIFFERING:
                del self._differing[next(iter(self._differing))]
            self.differing[market.exchange] += 1
            self._on_differing(market.exchange)
        candles = self._candles[market.exchange]
        epoch = candles.distrust(market.native, open_ms)
        log.warning("stream_differs_from_rest", market=market.key, open_time=open_ms, epoch=epoch)
        if epoch is not None:
            self._to_tell.setdefault((market.exchange, candles.feed), set()).add(epoch)
        self._note_taken_back(market.exchange)

    # Reading.

    async def read(self) -> None:
        """Reads all logs; an exchange whose log cannot be read counts as one that nobody feeds."""
        self._fed = set()
        for exchange, reader in self._readers.items():
            candles = self._candles[exchange]
            try:
                await catch_up(candles, reader)
            except StoreUnavailable as error:
                self._outage.failed(error, exchange=exchange)
                continue
            self._outage.recovered(exchange=exchange)
            self._note_taken_back(exchange)
            if candles.is_fed:
                self._fed.add(exchange)

    def _note_taken_back(self, exchange: Exchange) -> None:
        for symbol, open_ms in self._candles[exchange].taken_back():
            self._taken_back.setdefault((exchange, symbol), set()).add(open_ms)

    def _awaited(self, markets: Sequence[Market], forming_ms: int) -> dict[Exchange, set[str]]:
        """The symbols whose closing events may still come, by exchange; none without any."""
        symbols: dict[Exchange, list[str]] = {}
        for market in markets:
            if market.exchange in self._fed:
                symbols.setdefault(market.exchange, []).append(market.native)
        found = {
            exchange: set(self._candles[exchange].expected(names, forming_ms - _STEP_MS))
            for exchange, names in symbols.items()
        }
        return {exchange: names for exchange, names in found.items() if names}
