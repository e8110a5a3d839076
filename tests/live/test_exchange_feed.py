"""One exchange's feed over real streams of the simulator into a real store: what readers get."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from config import load_live_settings
from live.candle_log import CandleLogReader
from live.distrusted_epochs import Distrusted, DistrustedEpochs
from live.exchange_feed import ExchangeFeed, FeedParts
from live.exchanges import STREAM_VENUES
from live.feed_state import FeedState, feed_states
from live.live_candles import LiveCandles, catch_up
from live.silence import LONGEST_S
from live.stream_venue import StreamVenue
from metrics.exposition import MetricsPage
from metrics.live import LiveMetrics
from stores.hot.leases import current_holder
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore, StoreUnavailable
from tests.fixtures.lateness import elapsed
from tests.fixtures.numbers import numbers_of
from tests.fixtures.signals import until
from tests.fixtures.simulator import Simulator, StartSimulator
from timing.clock import SystemClock

STEP_MS = 300_000
CLOSE_MS = 1_795_185_600_000  # a 5m candle closes
OPEN_MS = CLOSE_MS  # of the first candle that is followed from its beginning
PASS_MS = 10_000
EXCHANGES = tuple(STREAM_VENUES)


class Away(NativeStore):
    """A store that can be away."""

    is_away = False

    async def execute(self, *command: Any, **options: Any) -> Any:
        if self.is_away:
            raise StoreUnavailable("redis: away")
        return await super().execute(*command, **options)


@dataclass
class Fed:
    """A feed of an exchange, and a reader of its log."""

    exchanges: Simulator
    venue: StreamVenue
    store: HotStore
    reading: HotStore
    candles: LiveCandles = field(default_factory=LiveCandles)
    symbols: list[str] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None
    metrics: LiveMetrics = field(default_factory=LiveMetrics)
    passed_ms: int = 0  # of the exchange's time, by leaps

    def start(self, holder: str = "one", address: str | None = None) -> None:
        address = address or self.exchanges.base_url.replace("http", "ws")
        feed = ExchangeFeed(
            FeedParts(
                venue=self.venue,
                settings=load_live_settings(**{f"{self.venue.exchange}_ws_url": address}),
                store=self.store,
                holder=holder,
                markets=self.markets,
                server_ms=self.server_ms,
                clock=SystemClock(),
                metrics=self.metrics,
                elapsed_s=lambda: time.monotonic() + self.passed_ms / 1000,
            )
        )
        self.task = asyncio.create_task(feed.run(self.stop))

    async def markets(self) -> Sequence[str] | None:
        return list(self.symbols)

    async def server_ms(self) -> int | None:
        clock = await asyncio.to_thread(self.exchanges.get, "/sim/clock")
        return int(clock["now_ms"])

    async def ended(self) -> None:
        self.stop.set()
        if self.task is not None:
            await self.task

    async def state(self) -> FeedState | None:
        return (await feed_states(self.reading, [self.venue.exchange])).get(self.venue.exchange)

    def told(self, name: str, **labels: str) -> float:
        """A number of a scrape."""
        page = MetricsPage()
        page.add(self.metrics.registry.collect())
        labels |= {"exchange": str(self.venue.exchange)}
        return numbers_of(page).of(f"perpcache_live_{name}", **labels)

    async def subscribed(self, streams: int) -> None:
        """Waits until the simulator has so many streams."""

        async def is_so() -> bool:
            stats = await asyncio.to_thread(self.exchanges.stats)
            return bool(stats["streams"][self.venue.exchange]["streams"] == streams)

        await until(is_so)

    async def read(self) -> LiveCandles:
        reader = CandleLogReader(self.reading, self.venue.exchange)
        await catch_up(self.candles, reader)
        return self.candles

    async def pass_to(self, moment_ms: int) -> None:
        """Lets the exchange's time pass in small steps, as its messages arrive."""
        clock = await asyncio.to_thread(self.exchanges.get, "/sim/clock")
        for _ in range(clock["now_ms"], moment_ms, PASS_MS):
            # First here: some exchanges' messages tell no time of their own.
            self.passed_ms += PASS_MS
            await asyncio.to_thread(self.exchanges.post, "/sim/clock", {"pass_ms": PASS_MS})
            await asyncio.sleep(0)

    async def proven(self, open_ms: int, but: int = 0) -> dict[str, Any]:
        """Waits until the candles of all markets are proven, except `but` of them."""
        found: dict[str, Any] = {}

        async def are() -> bool:
            candles = await self.read()
            for symbol in self.symbols:
                if (closed := candles.standing(symbol, open_ms).proven) is not None:
                    found[symbol] = closed
            return len(found) >= len(self.symbols) - but

        await until(are, details=lambda: found.keys())
        return found

    def check(self, found: dict[str, Any], open_ms: int) -> None:
        """The candles are those of the exchange's REST."""
        truth = self.exchanges.truth("5m", exchange=self.venue.exchange)
        for symbol, closed in found.items():
            rows = truth[f"{self.venue.exchange}:{symbol}"]
            (row,) = (row for row in rows if row[0] == open_ms)
            assert [*closed.candle()[:5], *map(float, closed.candle()[5:7])] == row[:7]


@pytest.fixture(params=EXCHANGES)
async def fed(
    request: pytest.FixtureRequest, start_simulator: StartSimulator, redis_url: str
) -> AsyncIterator[Fed]:
    exchange = request.param
    simulator = start_simulator(
        **{**dict.fromkeys(EXCHANGES, 0), exchange: 6},
        now=CLOSE_MS - 20_000,
        frozen=True,
        streams={"silent_closings": dict.fromkeys(EXCHANGES, True)},
    )
    stores = Away(redis_url, client_name="feed"), NativeStore(redis_url, client_name="reader")
    one = Fed(simulator, STREAM_VENUES[exchange], *stores)
    truth = simulator.truth("5m", exchange=exchange)
    one.symbols = [key.partition(":")[2] for key in truth]
    try:
        yield one
    finally:
        await one.ended()
        for store in stores:
            await store.aclose()


one_exchange = pytest.mark.parametrize("fed", ["binance"], indirect=True)


async def test_readers_get_what_rest_has(fed: Fed) -> None:
    fed.start()
    await fed.subscribed(6)
    await fed.pass_to(OPEN_MS + STEP_MS + 5_000)
    found = await fed.proven(OPEN_MS)
    fed.check(found, OPEN_MS)
    assert (await fed.read()).standing(fed.symbols[0], OPEN_MS - STEP_MS).proven is None
    state = await fed.state()
    assert state is not None
    assert (state.exchange, state.holder, state.markets) == (fed.venue.exchange, "one", 6)
    stats = fed.exchanges.stats()
    assert not stats["limits_broken"]
    assert stats["streams"][fed.venue.exchange]["connected"] == 1
    assert fed.told("lease_held") == fed.told("connections") == 1
    assert fed.told("streams") == fed.told("markets") == 6
    assert fed.told("closing_lag_seconds_count") == 2 * 6  # two candles have closed
    assert 0 <= fed.told("closing_lag_seconds_sum") < 2 * 6 * fed.venue.grace_s
    assert fed.told("unproven_markets") == 0
    sent = fed.exchanges.stats()["streams"][fed.venue.exchange]["messages_out"]
    assert 6 <= fed.told("messages_total") <= sent
    await fed.ended()
    assert fed.told("lease_held") == fed.told("connections") == fed.told("markets") == 0
    assert fed.told("messages_total") >= 6
    assert await current_holder(fed.reading, f"live:{fed.venue.exchange}") is None


@one_exchange
async def test_another_process_takes_over_at_once(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before has ended in order: nothing that it has proven counts any more."""
    monkeypatch.setattr("live.exchange_feed.LOOK_EVERY_S", 0.05)
    fed.start()
    await fed.subscribed(6)
    await fed.pass_to(OPEN_MS + STEP_MS + 5_000)
    await fed.proven(OPEN_MS)
    first, first_stop = fed.task, fed.stop
    fed.stop = asyncio.Event()
    fed.start("two")
    first_stop.set()
    assert first is not None
    await asyncio.wait_for(first, 3)

    async def is_taken_over() -> bool:
        holder = await current_holder(fed.reading, "live:binance")
        return holder is not None and holder.holder == "two"

    await until(is_taken_over, within_s=3)

    async def is_anew() -> bool:
        return (await fed.read()).standing(fed.symbols[0], OPEN_MS).proven is None

    await until(is_anew)
    await fed.subscribed(6)
    second_ms = OPEN_MS + 2 * STEP_MS
    await fed.pass_to(second_ms + STEP_MS + 5_000)
    fed.check(await fed.proven(second_ms), second_ms)


@one_exchange
async def test_who_cannot_reach_the_exchange_gives_way_to_a_process_that_waits(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live.exchange_feed.LOOK_EVERY_S", 0.05)
    monkeypatch.setattr("live.exchange_feed.NOTHING_COMES_S", 0.5)
    fed.start("one", "ws://127.0.0.1:9")

    async def holder() -> str | None:
        found = await current_holder(fed.reading, "live:binance")
        return found.holder if found is not None else None

    async def is_held() -> bool:
        return await holder() == "one"

    await until(is_held)
    await asyncio.sleep(2)  # alone it keeps the lease
    assert await is_held()
    first = fed.task
    fed.start("two")
    await fed.subscribed(6)
    assert await holder() == "two"
    assert first is not None
    assert not first.done()
    await fed.ended()
    await first


@one_exchange
async def test_markets_are_followed_on_the_open_connection(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live.exchange_feed.MARKETS_EVERY_S", 0.05)
    everything, fed.symbols = fed.symbols, []
    fed.start()
    fed.symbols = [*everything[:3], "nicht möglich"]
    await fed.subscribed(len({*everything[:3], fed.venue.heartbeat_symbol}))
    fed.symbols = everything[1:]
    await fed.subscribed(len({*everything[1:], fed.venue.heartbeat_symbol}))
    await fed.pass_to(OPEN_MS + STEP_MS + 5_000)
    await fed.proven(OPEN_MS)
    assert fed.candles.state.markets.keys() == set(fed.symbols)
    assert fed.exchanges.stats()["streams"]["binance"]["connected"] == 1


@one_exchange
async def test_a_connection_that_differed_from_rest_is_replaced(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Candles of the next one count again; the others would be asked for until it ends by age."""
    monkeypatch.setattr("live.exchange_feed.TOLD_EVERY_S", {"native": 0.1})
    fed.start()
    await fed.subscribed(6)
    await fed.pass_to(OPEN_MS + STEP_MS + 5_000)
    epoch = next(iter((await fed.proven(OPEN_MS)).values())).epoch
    distrusted = DistrustedEpochs(fed.reading, "binance")
    await distrusted.add(fed.candles.feed, [epoch])
    await distrusted.add(fed.candles.feed, [epoch, 99])
    assert await distrusted.read() == Distrusted(fed.candles.feed, frozenset({epoch, 99}))
    await fed.read()
    assert fed.candles.closed_since(fed.symbols[0], OPEN_MS) == []

    async def is_replaced() -> bool:
        await asyncio.to_thread(fed.exchanges.post, "/sim/clock", {"pass_ms": 1000})
        return fed.told("reconnects_total", reason="renewed") == 1

    await until(is_replaced)
    clock = await asyncio.to_thread(fed.exchanges.get, "/sim/clock")
    open_ms = (clock["now_ms"] // STEP_MS + 1) * STEP_MS
    await fed.pass_to(open_ms + STEP_MS + 5_000)
    found = await fed.proven(open_ms)
    fed.check(found, open_ms)
    assert epoch not in {closed.epoch for closed in found.values()}


@one_exchange
async def test_silence_is_told_at_once_and_so_is_its_end(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with the next state: that would come in a minute here."""
    monkeypatch.setattr("live.told_state.TOLD_EVERY_S", {"native": 60.0})
    fed.start()
    await fed.subscribed(6)

    async def until_told(silent: bool) -> None:
        async def is_told() -> bool:
            if not silent:  # only when its time passes does the exchange send anything
                await asyncio.to_thread(fed.exchanges.post, "/sim/clock", {"pass_ms": 200})
            state = await fed.state()
            if state is None or not state.connections:
                return False
            return state.is_silent == silent

        await until(is_told, 15)

    await fed.pass_to(OPEN_MS + STEP_MS + 5_000)
    await until_told(silent=False)
    async with elapsed() as passed:
        await until_told(silent=True)
    assert passed.own_s < LONGEST_S - 2
    await until_told(silent=False)


@one_exchange
async def test_a_store_that_is_away_loses_nothing(fed: Fed) -> None:
    fed.start()
    await fed.subscribed(6)
    assert isinstance(fed.store, Away)
    await fed.pass_to(OPEN_MS + 100_000)
    fed.store.is_away = True
    await fed.pass_to(OPEN_MS + STEP_MS + 5_000)
    assert (await fed.read()).closed_since(fed.symbols[0], OPEN_MS) == []
    fed.store.is_away = False
    fed.check(await fed.proven(OPEN_MS), OPEN_MS)
    assert not fed.candles.restarts


@one_exchange
async def test_who_has_lost_the_lease_writes_no_more_and_begins_anew_when_it_is_free(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live.exchange_feed.LOOK_EVERY_S", 0.05)
    fed.start()
    await fed.subscribed(6)
    # As after the expiry, while the process was stopped.
    await fed.reading.execute("SET", "lock:live:binance", "99 nonce another", "PX", 60_000)
    await fed.subscribed(0)
    assert not (await fed.read()).state.markets
    await fed.reading.execute("UNLINK", "lock:live:binance")
    await fed.subscribed(6)
    await fed.pass_to(OPEN_MS + STEP_MS + 5_000)
    fed.check(await fed.proven(OPEN_MS), OPEN_MS)


@one_exchange
async def test_who_began_with_a_wrong_time_begins_anew(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live.exchange_feed.TIME_EVERY_S", 0.2)
    monkeypatch.setattr("live.exchange_feed.LOOK_EVERY_S", 0.05)
    right = fed.server_ms
    told: list[int | None] = [None, None]

    async def server_ms() -> int | None:
        return told.pop() if told else await right()

    monkeypatch.setattr(fed, "server_ms", server_ms)
    fed.start()

    async def has_begun_anew() -> bool:
        state = await fed.state()
        return state is not None and abs(state.at_ms - CLOSE_MS) < 60_000

    await until(has_begun_anew)
    await fed.subscribed(6)
    await fed.pass_to(OPEN_MS + STEP_MS + 5_000)
    fed.check(await fed.proven(OPEN_MS), OPEN_MS)
