"""ExchangeFeed: one exchange's candles, from its streams into the hot store, under a lease.

One process in the whole installation feeds an exchange: the holder of `lock:live:<exchange>`. The
others look again and again whether the lease is free.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from config import LiveSettings
from live.candle_book import CandleBook
from live.candle_changes import FormingCandle, Reason
from live.candle_feed import CandleFeed
from live.candle_log import BATCH_S, FORMING_S, CandleLogWriter
from live.candle_trades import CandleTrades
from live.closing_watch import Close
from live.distrusted_epochs import DistrustedEpochs
from live.exchange_time import ExchangeTime
from live.feed_state import FeedState, FeedTeller, LastClose, feed_name
from live.settlement_watch import ALL_MARKETS, SettlementWatch, is_offered
from live.silence import Silence
from live.stream_address import stream_address
from live.stream_counts import End
from live.stream_pool import StreamPool
from live.stream_venue import Channel, StreamVenue, Topic
from live.told_state import TOLD_EVERY_S
from live.waiting_processes import WaitingProcesses
from logging_setup import OutageLog
from market.timeframes import Timeframe
from metrics.live import FeedNumbers, LiveMetrics
from stores.hot.leases import Lease, LeaseLost, try_acquire
from stores.hot.store import HotStore, StoreUnavailable
from timing.backoff import Backoff, stop_or
from timing.clock import Clock, boot_s

LEASE_S: Final = 15.0
LOOK_EVERY_S: Final = 1.5  # whether the lease is free
TIME_EVERY_S: Final = 60.0
MARKETS_EVERY_S: Final = 15.0
FIRST_MARKETS_EVERY_S: Final = 1.0  # while there are none
_TIME_WITHIN_S: Final = 10.0  # then it begins with this machine's
_WRONG_MS: Final = 60_000  # of what was known of the time: then all begins anew
_LAST_BATCH_S: Final = 0.3
_SLOWEST_RETRY_S: Final = 30.0
_FIRST_FORMING_S: Final = 1.0  # within FORMING_S after a close
_STORE_RETRY_S: Final = 1.0
# From a settlement until its rates are asked for: all markets have told of it then.
SETTLED_S: Final = 10.0
# Who holds the lease and gets no data for so long gives it up if another process waits for it: the
# exchange may refuse this host alone.
NOTHING_COMES_S: Final = 120.0
_GIVEN_UP_S: Final = 60.0  # before it is taken again
# Connections that REST has contradicted are replaced no more often: each costs some closes by REST.
RENEWED_EVERY_S: Final = 600.0
_NEWS_EVERY_S: Final = 0.5
_TIMEFRAME: Final = Timeframe.M5
_RECONNECTS: Final = tuple(end for end in End if end is not End.STOPPED)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedParts:
    """What a feed is made of. `holder`: this process, in words.

    `markets()`: the exchange's names of the markets to follow, None while nobody knows them;
    `server_ms()`: the exchange's time by REST, None where it cannot be had. Neither raises.
    `on_settled()`: called when funding was settled, again after some seconds until it returns True;
    None: settlements are not followed.
    `trade_columns`: what is told of trades is written, too.
    `elapsed_s`: the seconds that pass between, also while this machine sleeps.
    """

    venue: StreamVenue
    settings: LiveSettings
    store: HotStore
    holder: str
    markets: Callable[[], Awaitable[Sequence[str] | None]]
    server_ms: Callable[[], Awaitable[int | None]]
    clock: Clock
    on_settled: Callable[[], Awaitable[bool]] | None = None
    metrics: LiveMetrics = field(default_factory=LiveMetrics)
    elapsed_s: Callable[[], float] = boot_s
    trade_columns: bool = False


class ExchangeFeed:
    """Feeds one exchange's candles whenever its lease can be had."""

    def __init__(self, parts: FeedParts, *, lease_s: float = LEASE_S) -> None:
        self._parts = parts
        self._lease_s = lease_s
        self._exchange = parts.venue.exchange
        self._waiting = WaitingProcesses(parts.store, self._exchange, parts.holder, parts.clock)
        parts.metrics.watch(self._exchange, unproven=Reason, reconnects=_RECONNECTS)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Failures of the store or the exchange are never raised."""
        outage = OutageLog(log, "feed_store_unavailable", "feed_store_available_again")
        backoff = Backoff(_STORE_RETRY_S, _SLOWEST_RETRY_S)
        while not stop.is_set():
            lease: Lease | None = None
            pause_s = LOOK_EVERY_S
            try:
                lease = await self._acquire()
                outage.recovered(exchange=self._exchange)
                if lease is None:
                    await self._waiting.tell()
                else:
                    feeding = _Feeding(self._parts, lease, self._waiting)
                    await feeding.run(stop)
                    backoff.reset()
                    if feeding.has_given_up:
                        pause_s = _GIVEN_UP_S
            except StoreUnavailable as error:
                outage.failed(error, exchange=self._exchange)
            except Exception:
                log.exception("feed_fault", exchange=self._exchange)
                pause_s = backoff.pause_s()
            finally:
                if lease is not None:
                    await lease.release()
            await stop_or(stop, pause_s, self._parts.clock)

    async def _acquire(self) -> Lease | None:
        parts = self._parts
        name = feed_name(self._exchange)
        return await try_acquire(parts.store, name, holder=parts.holder, ttl_s=self._lease_s)


class _NothingComes(Exception):
    """No data have come for long, and another process waits for the lease."""


class _TimeWasWrong(Exception):
    """What was known of the exchange's time was far from it; everything was judged by it."""


class _Feeding:
    """The feed as long as one lease is held."""

    def __init__(self, parts: FeedParts, lease: Lease, waiting: WaitingProcesses) -> None:
        self.has_given_up = False
        self._parts = parts
        self._lease = lease
        self._waiting = waiting
        self._exchange = parts.venue.exchange
        self._now_ms = ExchangeTime(parts.clock.wall_ms(), parts.elapsed_s)
        self._writer = CandleLogWriter(parts.store, lease, self._exchange)
        self._followed: list[str] = []
        self._refused: set[str] = set()  # names that the venue cannot have
        self._settled = asyncio.Event()
        self._settlements = SettlementWatch(self._settled.set)
        self._is_made = False

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, or until the lease is lost."""
        with self._parts.metrics.feeding(self._exchange, self._numbers):
            await self._run(stop)

    async def _run(self, stop: asyncio.Event) -> None:
        work = asyncio.create_task(self._work(), name=f"feed of {self._exchange}")
        ends = [asyncio.create_task(stop.wait()), asyncio.create_task(self._lease.lost.wait())]
        try:
            await asyncio.wait([work, *ends], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, *ends):
                task.cancel()
            await asyncio.gather(work, *ends, return_exceptions=True)
        if not work.cancelled():
            work.result()

    async def _work(self) -> None:
        """Until cancelled, or until the lease is lost or the time turned out to be another."""
        try:
            async with asyncio.timeout(_TIME_WITHIN_S):
                await self._read_time()
        except TimeoutError:
            log.warning("feed_begins_with_our_time", exchange=self._exchange)
        parts, now_ms = self._parts, self._now_ms()
        grace_ms = round(parts.venue.grace_s * 1000)
        self._book = CandleBook(
            self._writer.add,
            parts.metrics.closing_lag(self._exchange),
            now_ms=now_ms,
            timeframe=_TIMEFRAME,
            grace_ms=grace_ms,
            tell_trades=self._writer.add_trades if parts.trade_columns else None,
        )
        owner = CandleFeed(self._book, self._now_ms, self._now_ms.heard)
        address = stream_address(parts.settings, self._exchange, parts.venue.base_url)
        self._pool = StreamPool(parts.venue, owner, address, clock=parts.clock)
        self._is_made = True
        log.info("feed_began", exchange=self._exchange, token=self._lease.token)
        async with self._pool:
            try:
                await self._feed()
            finally:
                await self._end()
                log.info("feed_ended", exchange=self._exchange)

    async def _feed(self) -> None:
        try:
            async with asyncio.TaskGroup() as running:
                parts = self._write, self._follow_time, self._follow_markets, self._tell
                others = self._give_way, self._follow_settlements, self._renew_distrusted
                for part in (*parts, *others):
                    running.create_task(part())
        except* LeaseLost as errors:
            log.warning("feed_lease_lost", exchange=self._exchange, error=str(errors.exceptions[0]))
        except* _TimeWasWrong:
            log.warning("feed_time_was_wrong", exchange=self._exchange)
        except* _NothingComes:
            self.has_given_up = True
            error = self._pool.counts.last_failure
            log.warning("feed_gave_way", exchange=self._exchange, error=error)

    async def _give_way(self) -> None:
        """Raises _NothingComes."""
        clock, data, since_s = self._parts.clock, 0, self._parts.clock.monotonic_s()
        while True:
            await clock.sleep(NOTHING_COMES_S / 10)
            if self._pool.counts.data != data or not self._followed:
                data, since_s = self._pool.counts.data, clock.monotonic_s()
            elif clock.monotonic_s() - since_s >= NOTHING_COMES_S and await self._waiting.others():
                raise _NothingComes

    async def _renew_distrusted(self) -> None:
        """Replaces the connections that a worker has found to differ from REST."""
        distrusted = DistrustedEpochs(self._parts.store, self._exchange)
        renewed: set[int] = set()
        while True:
            await self._parts.clock.sleep(TOLD_EVERY_S[self._parts.store.kind])
            with contextlib.suppress(StoreUnavailable):
                found = await distrusted.read()
                open_ = {each.epoch for each in self._pool.status().connections}
                ours = found.feed == self._writer.feed
                if ours and (epochs := (found.epochs & open_) - renewed):
                    log.warning(
                        "feed_renews_distrusted", exchange=self._exchange, epochs=sorted(epochs)
                    )
                    for epoch in epochs:
                        self._book.differs(epoch, self._now_ms())
                        self._pool.renew(epoch)
                    renewed |= epochs
                    await self._parts.clock.sleep(RENEWED_EVERY_S)

    async def _end(self) -> None:
        """Sends what is left and releases the lease, before connections are closed: others wait."""
        try:
            async with asyncio.timeout(_LAST_BATCH_S):
                await self._writer.send()
        except (StoreUnavailable, LeaseLost, TimeoutError):
            pass  # the next writer begins anew
        await self._lease.release()

    # The log.

    async def _write(self) -> None:
        """Sends what the book tells. Raises LeaseLost."""
        clock, forming_s = self._parts.clock, 0.0
        outage = OutageLog(log, "candle_log_unavailable", "candle_log_available_again")
        while True:
            pause_s, now = BATCH_S, clock.monotonic_s()
            self._book.tick(self._now_ms())
            is_due = now >= forming_s
            try:
                await self._writer.send(*(self._forming() if is_due else ()))
            except StoreUnavailable as error:
                # What has not arrived is sent again, or the log begins anew.
                outage.failed(error, exchange=self._exchange)
                pause_s = _STORE_RETRY_S
            else:
                outage.recovered(exchange=self._exchange)
                if is_due:
                    forming_s = now + self._forming_every_s()
            await clock.sleep(pause_s)

    def _forming(self) -> tuple[Sequence[FormingCandle], Sequence[CandleTrades] | None]:
        candles = self._book.forming()
        return candles, self._book.forming_trades() if self._parts.trade_columns else None

    def _forming_every_s(self) -> float:
        """More often after a close, when documents are made."""
        passed_ms = self._now_ms() % _TIMEFRAME.interval_ms
        left_s = (_TIMEFRAME.interval_ms - passed_ms) / 1000
        return _FIRST_FORMING_S if passed_ms < FORMING_S * 1000 else min(FORMING_S, left_s + 1)

    # What it follows.

    async def _follow_time(self) -> None:
        """Raises _TimeWasWrong."""
        while True:
            await self._parts.clock.sleep(TIME_EVERY_S)
            if abs(await self._read_time()) > _WRONG_MS:
                raise _TimeWasWrong

    async def _read_time(self) -> int:
        """By how many ms the exchange's time is another than we thought; 0 if it does not tell."""
        server_ms = await self._parts.server_ms()
        if server_ms is None:
            return 0
        before_ms = self._now_ms()
        self._now_ms.read(server_ms)
        return server_ms - before_ms

    async def _follow_markets(self) -> None:
        while True:
            symbols = await self._parts.markets()
            if symbols is not None:
                self._follow(symbols)
            every_s = MARKETS_EVERY_S if self._followed else FIRST_MARKETS_EVERY_S
            await self._parts.clock.sleep(every_s)

    def _follow(self, symbols: Sequence[str]) -> None:
        """Subscribes to what is new, and unsubscribes the rest; open connections stay."""
        topics = {symbol: Topic(Channel.CANDLE, symbol, _TIMEFRAME) for symbol in sorted(symbols)}
        for symbol, topic in list(topics.items()):
            try:
                self._parts.venue.name(topic)
            except ValueError as error:
                del topics[symbol]
                if symbol not in self._refused:
                    self._refused.add(symbol)
                    log.warning(
                        "market_without_stream",
                        exchange=self._exchange,
                        market=symbol,
                        error=str(error),
                    )
        if list(topics) == self._followed:
            return
        log.info("feed_follows", exchange=self._exchange, markets=len(topics))
        self._followed = list(topics)
        self._settlements.list_markets(topics)
        self._book.list_markets(topics, self._now_ms())
        self._pool.set(topics.values())

    async def _follow_settlements(self) -> None:
        """Tells of settlements, where the exchange has a stream for it."""
        venue, clock, on_settled = self._parts.venue, self._parts.clock, self._parts.on_settled
        if on_settled is None or not is_offered(venue):
            return
        while not self._pool.counts.data:  # one outage is told once, not of both connections
            await clock.sleep(_FIRST_FORMING_S)
        address = stream_address(self._parts.settings, self._exchange, venue.base_url)
        async with StreamPool(venue, self._settlements, address, clock=clock) as pool:
            pool.set([ALL_MARKETS])
            while True:
                await self._settled.wait()
                await clock.sleep(SETTLED_S)
                self._settled.clear()
                log.info("funding_settled", exchange=self._exchange)
                while not await on_settled():
                    await clock.sleep(SETTLED_S)

    # What it tells of itself.

    async def _tell(self) -> None:
        """Raises LeaseLost."""
        clock = self._parts.clock
        teller = FeedTeller(self._parts.store, self._lease, self._exchange)
        outage = OutageLog(log, "feed_state_not_told", "feed_state_told_again")
        at_s, messages, silence = clock.monotonic_s(), 0, Silence(clock)
        while True:
            now, so_far = clock.monotonic_s(), self._pool.counts.messages
            rate = (so_far - messages) / (now - at_s) if now > at_s else 0.0
            at_s, messages = now, so_far
            told = self._news(silence)
            try:
                await teller.tell(self._state(rate, is_silent=told[0]))
                outage.recovered(exchange=self._exchange)
            except StoreUnavailable as error:
                outage.failed(error, exchange=self._exchange)
            until_s = now + teller.every_s
            while (left_s := until_s - clock.monotonic_s()) > 0 and self._news(silence) == told:
                await clock.sleep(min(_NEWS_EVERY_S, left_s))

    def _news(self, silence: Silence) -> tuple[bool, bool]:
        """What is told at once when it changes: whether the streams are silent, and open."""
        return silence.lasts(self._pool.counts.data), self._pool.is_open

    def _state(self, messages_per_s: float, *, is_silent: bool) -> FeedState:
        book, pool, now_ms = self._book, self._pool.status(), self._now_ms()
        return FeedState(
            exchange=self._exchange,
            holder=self._parts.holder,
            at_ms=now_ms,
            clock_offset_ms=now_ms - self._parts.clock.wall_ms(),
            connections=sum(each.epoch is not None for each in pool.connections),
            streams=pool.streams,
            markets=len(self._followed),
            messages_per_s=round(messages_per_s, 1),
            lag_ms={"p50": book.lag_ms(0.5), "p99": book.lag_ms(0.99)},
            unproven=self._unproven(),
            reconnects=pool.reconnects,
            last_failure=pool.last_failure,
            refused=len(pool.refused) + len(self._refused),
            restarts=self._writer.restarts,
            last_close=self._last_close(),
            is_silent=is_silent,
        )

    def _last_close(self) -> LastClose | None:
        for close in self._closes():
            if close.without_soon is not None:
                without = None if close.without is None else len(close.without)
                soon = len(close.without_soon)
                return LastClose(close.close_ms, soon, without, len(close.silent))
        return None

    def _closes(self) -> Iterator[Close]:
        """The newest two closes, the newer one first."""
        step_ms, now_ms = _TIMEFRAME.interval_ms, self._now_ms()
        for open_ms in (now_ms // step_ms * step_ms - step_ms * back for back in (1, 2)):
            if (close := self._book.close_of(open_ms)) is not None:
                yield close

    def _numbers(self) -> FeedNumbers:
        """What a scrape tells of the feed; nothing before it has begun."""
        if not self._is_made:
            return FeedNumbers()
        pool = self._pool.status()
        silent = (len(close.silent) for close in self._closes() if close.without is not None)
        return FeedNumbers(
            connections=sum(each.epoch is not None for each in pool.connections),
            streams=pool.streams,
            markets=len(self._followed),
            unproven=self._unproven(),
            silent=next(silent, 0),
            messages=pool.messages,
            reconnects=pool.reconnects,
            restarts=self._writer.restarts,
        )

    def _unproven(self) -> dict[str, int]:
        return Counter(str(lapse.reason) for lapse in self._book.unproven().values())
