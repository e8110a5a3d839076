"""Answers that contradict what is known: older than it, or another market's for one request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from market.markets import DEFAULT_EXCHANGES, Exchange
from market.timeframes import DAY_MS, MINUTE_MS, Timeframe
from tests.fixtures.refreshing import (
    CLOSED_MS,
    H4,
    Documents,
    collect,
    rows_by_key,
    with_old_markets,
)
from tests.fixtures.simulated_markets import Contract, SimulatedMarkets
from venues.venue import Endpoint

H8 = Timeframe.H8
STEP_MS = H4.interval_ms
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
    return with_old_markets(Bent(1, perfect=True))


def rows(documents: Documents, made: Timeframe = H4) -> Rows:
    return rows_by_key(documents[made])


@pytest.mark.parametrize("exchange", DEFAULT_EXCHANGES)
@pytest.mark.parametrize("lacking", [2, 20])
async def test_an_answer_that_ends_before_known_candles_cuts_nothing(
    world: Bent, exchange: Exchange, lacking: int
) -> None:
    key = f"{exchange}:OLDUSDT"
    _, fresh = await collect(world)
    world.now_ms += MINUTE_MS
    end_ms = CLOSED_MS - lacking * STEP_MS
    world.bend = lambda name, time_ms, row: None if name == key and time_ms > end_ms else row
    collected, documents = await collect(world, fresh)
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
    collected, documents = await collect(world, documents)
    assert (collected.carried_over, collected.missing) == (0, [])
    assert rows(documents)[key][-1][0] == CLOSED_MS


@pytest.mark.parametrize("exchange", DEFAULT_EXCHANGES)
async def test_known_candles_that_cannot_be_any_more_do_not_make_an_answer_old(
    world: Bent, exchange: Exchange
) -> None:
    key = f"{exchange}:OLDUSDT"
    _, fresh = await collect(world)
    world.now_ms += MINUTE_MS
    world.bend = lambda name, time_ms, row: (
        [row[0], "0", *row[2:]] if name == key and time_ms >= CLOSED_MS else row
    )
    collected, documents = await collect(world, fresh)
    assert collected.carried_over == 0
    assert len(collected.missing) == 2
    assert rows(documents)[key][-1][0] == CLOSED_MS - STEP_MS


@pytest.mark.parametrize("later_ms", [MINUTE_MS, DAY_MS + MINUTE_MS])  # the latter fetches all
@pytest.mark.parametrize("exchange", DEFAULT_EXCHANGES)
async def test_one_answer_with_other_candles_is_asked_again(
    world: Bent, exchange: Exchange, later_ms: int
) -> None:
    key = f"{exchange}:OLDUSDT"
    _, fresh = await collect(world)
    world.now_ms += later_ms
    world.sent.clear()

    def another(name: str, time_ms: int, row: Any) -> Any:
        asked = [sent for sent in world.sent if sent.endpoint is Endpoint.KLINES]
        pages = sum((sent.exchange, sent.symbol) == (exchange, "OLDUSDT") for sent in asked)
        return [row[0], "3", "3", "3", "3", *row[5:]] if name == key and pages == 1 else row

    world.bend = another
    collected, documents = await collect(world, fresh)
    assert (collected.carried_over, collected.missing) == (0, [])
    world.bend = lambda name, time_ms, row: row
    assert documents == (await collect(world))[1]


@pytest.mark.parametrize("exchange", DEFAULT_EXCHANGES)
@pytest.mark.parametrize("odd_answers", [2, 99])
async def test_holes_among_known_candles_are_believed_at_the_end_of_a_run(
    world: Bent, exchange: Exchange, odd_answers: int
) -> None:
    key = f"{exchange}:OLDUSDT"
    _, fresh = await collect(world)
    world.now_ms += DAY_MS + MINUTE_MS  # all candles are fetched
    _, expected = await collect(world)
    world.sent.clear()
    holes = range(CLOSED_MS - 60 * STEP_MS, CLOSED_MS - 30 * STEP_MS, STEP_MS)

    def without(name: str, time_ms: int, row: Any) -> Any:
        asked = [sent for sent in world.sent if sent.endpoint is Endpoint.KLINES]
        times = sum((sent.exchange, sent.symbol) == (exchange, "OLDUSDT") for sent in asked)
        return None if name == key and time_ms in holes and times <= odd_answers else row

    world.bend = without
    collected, documents = await collect(world, fresh)
    assert (collected.carried_over, collected.missing) == (0, [])
    if odd_answers == 2:
        assert documents == expected
    else:
        assert [row[0] for row in rows(documents)[key] if row[0] in holes] == []
