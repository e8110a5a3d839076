"""Runs under clocks that are ahead, behind, frozen or silent: closed candles have final values."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from budgets.request_counts import RequestCounts
from data_collector import CollectionFailed, ExchangeClient, LastAsOf, fetch_market_data
from documents.building import DocumentBuilder
from market.markets import DEFAULT_EXCHANGES, Exchange
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.clock import ManualClock
from tests.fixtures.exchange_answers import ANSWERS
from tests.fixtures.in_memory import in_memory
from tests.fixtures.simulated_markets import SimulatedMarkets
from tests.fixtures.simulator import NOW_MS
from venues.errors import SourceDown
from venues.venue import Endpoint, Request

H4, H8 = Timeframe.H4, Timeframe.H8
CANDLES = 40
FAR_MS = NOW_MS + 400 * DAY_MS
Documents = dict[Timeframe, bytes]


@dataclass
class Clocked(SimulatedMarkets):
    """Exchanges whose clocks are `ahead_ms`, or stand still at `frozen_ms`; `now_ms` is true.
    Markets in `mute` get no candles."""

    ahead_ms: dict[Exchange, int] = field(default_factory=dict)
    frozen_ms: dict[Exchange, int] = field(default_factory=dict)
    mute: frozenset[str] = frozenset()

    async def send(self, request: Request, counts: RequestCounts) -> bytes:
        exchange = request.exchange
        if request.endpoint is Endpoint.KLINES and f"{exchange}:{request.symbol}" in self.mute:
            raise SourceDown("mute", exchange=exchange, endpoint=request.endpoint)
        if request.endpoint is not Endpoint.TIME or (exchange, request.endpoint) in self.down:
            return await super().send(request, counts)
        counts.requests += 1
        said_ms = self.frozen_ms.get(exchange, self.now_ms + self.ahead_ms.get(exchange, 0))
        return ANSWERS[exchange].clock(said_ms)


@dataclass
class Service:
    """What lasts from run to run: the documents, and what the process believed last."""

    world: Clocked
    documents: Documents = field(default_factory=dict)
    as_of_ms: int | None = None
    last_as_of: LastAsOf = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.last_as_of = LastAsOf(lambda: self.world.now_ms / 1000)

    async def collect(self, machine_ahead_ms: int = 0) -> bool:
        """False: the run failed, and the documents stay."""
        world = self.world
        world.clock = ManualClock(wall_ms=world.now_ms + machine_ahead_ms)
        kept, previous = in_memory(self.documents)
        builders = {made: DocumentBuilder(made, "collected", kept) for made in H4.produces}
        try:
            collected = await fetch_market_data(
                H4,
                [contract.market for contract in world.contracts.values()],
                cast(ExchangeClient, world),
                lambda made, series: builders[made].add(series, {}),
                history_candles=CANDLES,
                prefetched_fr_data=world.funding(),
                previous=previous,
                stored_as_of_ms=self.as_of_ms,
                last_as_of=self.last_as_of,
            )
        except CollectionFailed:
            return False
        self.as_of_ms = collected.as_of_ms
        self.documents = {
            made: builder.finish(
                version=1, as_of_ms=self.as_of_ms, updated_at_ms=1, missing=collected.missing
            )
            for made, builder in builders.items()
        }
        return True

    def check(self) -> None:
        """Every row that had closed in truth, and is closed by the document, is final."""
        final = _final(self.world)
        assert self.as_of_ms is not None
        now_ms = min(self.as_of_ms, self.world.now_ms)
        for made, text in self.documents.items():
            closed_ms = made.last_closed_open_time(now_ms)
            for market in json.loads(text)["markets"]:
                key = f"{market['exchange']}:{market['symbol']}"
                for row in market["rows"]:
                    if row[0] <= closed_ms:
                        expected = final(key, row[0], made)
                        assert row[1:5] == expected[:4], (str(made), key, row[0] - closed_ms)
                        assert row[5] == pytest.approx(expected[4], rel=1e-12)


def _final(world: SimulatedMarkets) -> Any:
    def candle(key: str, time_ms: int, step_ms: int) -> list[float]:
        now_ms, world.now_ms = world.now_ms, FAR_MS
        row = world._candle(world.contracts[key], time_ms, step_ms)
        world.now_ms = now_ms
        return [float(number) for number in row[1:6]]

    def final(key: str, time_ms: int, made: Timeframe) -> list[float]:
        if made is H4:
            return candle(key, time_ms, H4.interval_ms)
        parts = [candle(key, time_ms + at, H4.interval_ms) for at in (0, H4.interval_ms)]
        opened, highs, lows, closes, volumes = zip(*parts, strict=True)
        return [opened[0], max(highs), min(lows), closes[1], sum(volumes)]

    return final


OFFSETS = st.one_of(
    st.just(0),
    st.integers(-9, 9).map(lambda hours: hours * HOUR_MS),
    st.integers(-2 * DAY_MS, 2 * DAY_MS),
)


def _world(exchanges: int) -> Clocked:
    world = Clocked(3, perfect=True)
    for exchange in DEFAULT_EXCHANGES[:exchanges]:
        for name in ("A", "B"):
            world.add(exchange, name, NOW_MS - 900 * DAY_MS)
    return world


@given(st.data())
@settings(max_examples=60, deadline=None, phases=[Phase.generate])  # shrinking takes minutes
def test_no_closed_candle_has_passing_values(data: st.DataObject) -> None:
    asyncio.run(_live_through(data))


async def _live_through(data: st.DataObject) -> None:
    world = _world(data.draw(st.integers(1, 2), "exchanges"))
    service = Service(world)
    keys = sorted(world.contracts)
    times = [(exchange, Endpoint.TIME) for exchange in DEFAULT_EXCHANGES]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_collector.retries.BACKOFF_S", 0.0)
        for _ in range(data.draw(st.integers(2, 6), "runs")):
            world.now_ms += data.draw(st.integers(1, 60), "quarters") * 15 * MINUTE_MS
            world.ahead_ms = {each: data.draw(OFFSETS) for each in DEFAULT_EXCHANGES}
            world.down = set(data.draw(st.lists(st.sampled_from(times), max_size=1), "no time"))
            world.mute = data.draw(st.frozensets(st.sampled_from(keys), max_size=3), "mute")
            if data.draw(st.integers(0, 4), "frozen") == 0:
                each = data.draw(st.sampled_from(DEFAULT_EXCHANGES))
                world.frozen_ms.setdefault(each, world.now_ms)
            else:
                world.frozen_ms.clear()
            if data.draw(st.booleans(), "restart"):
                service.restart()
            if await service.collect(data.draw(OFFSETS, "machine")):
                service.check()
        # All is well again: the next run completes, and all of it is right.
        world.ahead_ms, world.down, world.frozen_ms = {}, set(), {}
        world.mute = frozenset()
        world.now_ms += MINUTE_MS
        service.restart()
        assert await service.collect()
        service.check()
        assert service.as_of_ms == world.now_ms
