"""Answers that contradict what is known: older than it, or another market's for one request."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest

from data_collector import Collected, ExchangeClient, fetch_market_data
from documents.building import DocumentBuilder
from documents.reading import decode_series
from market.markets import DEFAULT_EXCHANGES, Exchange
from market.timeframes import DAY_MS, MINUTE_MS, Timeframe
from tests.fixtures.simulated_markets import Contract, SimulatedMarkets
from tests.fixtures.simulator import NOW_MS
from venues.venue import Endpoint

H4, H8 = Timeframe.H4, Timeframe.H8
STEP_MS = H4.interval_ms
CANDLES = 130
CLOSED_MS = H4.last_closed_open_time(NOW_MS)
Documents = dict[Timeframe, bytes]
Rows = dict[str, list[list[Any]]]


@dataclass
class Bent(SimulatedMarkets):
    """Exchanges whose candles are bent on the way; None: the candle is not sent."""

    bend: Callable[[str, int, Any], Any] = lambda key, time_ms, row: row

    def _candle(self, contract: Contract, time_ms: int, step_ms: int) -> Any:
        return self.bend(contract.market.key, time_ms, super()._candle(contract, time_ms, step_ms))


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.0)


@pytest.fixture
def world() -> Bent:
    world = Bent(1, perfect=True)
    for exchange in DEFAULT_EXCHANGES:
        for name in ("OLD", "OTHER"):
            world.add(exchange, name, NOW_MS - 2000 * DAY_MS)
    return world


async def _collect(world: Bent, earlier: Documents | None = None) -> tuple[Collected, Documents]:
    builders = {made: DocumentBuilder(made, "collected") for made in H4.produces}
    collected = await fetch_market_data(
        H4,
        [contract.market for contract in world.contracts.values()],
        cast(ExchangeClient, world),
        lambda made, series: builders[made].add(series, {}),
        history_candles=CANDLES,
        prefetched_fr_data=world.funding(),
        previous={made: decode_series(text) for made, text in (earlier or {}).items()},
    )
    return collected, {
        made: builder.finish(
            version=1, as_of_ms=world.now_ms, updated_at_ms=1, missing=collected.missing
        )
        for made, builder in builders.items()
    }


def rows(documents: Documents, made: Timeframe = H4) -> Rows:
    markets = json.loads(documents[made])["markets"]
    return {f"{market['exchange']}:{market['symbol']}": market["rows"] for market in markets}


@pytest.mark.parametrize("exchange", DEFAULT_EXCHANGES)
@pytest.mark.parametrize("lacking", [2, 20])
async def test_an_answer_that_ends_before_known_candles_cuts_nothing(
    world: Bent, exchange: Exchange, lacking: int
) -> None:
    key = f"{exchange}:OLDUSDT"
    _, fresh = await _collect(world)
    world.now_ms += MINUTE_MS
    end_ms = CLOSED_MS - lacking * STEP_MS
    world.bend = lambda name, time_ms, row: None if name == key and time_ms > end_ms else row
    collected, documents = await _collect(world, fresh)
    assert collected.carried_over == 1
    assert [(lack.exchange, lack.symbol, lack.reason) for lack in collected.missing] == [
        (exchange, "OLDUSDT", f"its candles end at {end_ms}, before one known at {CLOSED_MS}")
    ]
    for made in (H4, H8):
        assert rows(documents, made)[key] == rows(fresh, made)[key]
    # It is believed again as soon as it has what is known; newer candles need not be there.
    world.bend = lambda name, time_ms, row: row
    world.now_ms += STEP_MS
    world.bend = lambda name, time_ms, row: None if name == key and time_ms > CLOSED_MS else row
    collected, documents = await _collect(world, documents)
    assert (collected.carried_over, collected.missing) == (0, [])
    assert rows(documents)[key][-1][0] == CLOSED_MS


@pytest.mark.parametrize("exchange", DEFAULT_EXCHANGES)
async def test_known_candles_that_cannot_be_any_more_do_not_make_an_answer_old(
    world: Bent, exchange: Exchange
) -> None:
    key = f"{exchange}:OLDUSDT"
    _, fresh = await _collect(world)
    world.now_ms += MINUTE_MS
    world.bend = lambda name, time_ms, row: (
        [row[0], "0", *row[2:]] if name == key and time_ms >= CLOSED_MS else row
    )
    collected, documents = await _collect(world, fresh)
    assert collected.carried_over == 0
    assert len(collected.missing) == 2
    assert rows(documents)[key][-1][0] == CLOSED_MS - STEP_MS


@pytest.mark.parametrize("later_ms", [MINUTE_MS, DAY_MS + MINUTE_MS])  # the latter fetches all
@pytest.mark.parametrize("exchange", DEFAULT_EXCHANGES)
async def test_one_answer_with_other_candles_is_asked_again(
    world: Bent, exchange: Exchange, later_ms: int
) -> None:
    key = f"{exchange}:OLDUSDT"
    _, fresh = await _collect(world)
    world.now_ms += later_ms
    world.sent.clear()

    def another(name: str, time_ms: int, row: Any) -> Any:
        asked = [sent for sent in world.sent if sent.endpoint is Endpoint.KLINES]
        pages = sum((sent.exchange, sent.symbol) == (exchange, "OLDUSDT") for sent in asked)
        return [row[0], "3", "3", "3", "3", *row[5:]] if name == key and pages == 1 else row

    world.bend = another
    collected, documents = await _collect(world, fresh)
    assert (collected.carried_over, collected.missing) == (0, [])
    world.bend = lambda name, time_ms, row: row
    assert documents == (await _collect(world))[1]


@pytest.mark.parametrize("exchange", DEFAULT_EXCHANGES)
@pytest.mark.parametrize("odd_answers", [2, 99])
async def test_holes_among_known_candles_are_believed_at_the_end_of_a_run(
    world: Bent, exchange: Exchange, odd_answers: int
) -> None:
    key = f"{exchange}:OLDUSDT"
    _, fresh = await _collect(world)
    world.now_ms += DAY_MS + MINUTE_MS  # all candles are fetched
    _, expected = await _collect(world)
    world.sent.clear()
    holes = range(CLOSED_MS - 60 * STEP_MS, CLOSED_MS - 30 * STEP_MS, STEP_MS)

    def without(name: str, time_ms: int, row: Any) -> Any:
        asked = [sent for sent in world.sent if sent.endpoint is Endpoint.KLINES]
        times = sum((sent.exchange, sent.symbol) == (exchange, "OLDUSDT") for sent in asked)
        return None if name == key and time_ms in holes and times <= odd_answers else row

    world.bend = without
    collected, documents = await _collect(world, fresh)
    assert (collected.carried_over, collected.missing) == (0, [])
    if odd_answers == 2:
        assert documents == expected
    else:
        assert [row[0] for row in rows(documents)[key] if row[0] in holes] == []
