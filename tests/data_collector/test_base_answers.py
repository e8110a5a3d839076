"""Which open interest goes on to count when all candles of a market are asked for anew."""

from dataclasses import replace

from data_collector.base_answers import PlanAnswer, known_snapshots
from data_collector.base_plan import plan_from_base
from market.candles import Candle
from market.markets import Exchange, Market
from market.rows import Rows
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.base_rows import MIDNIGHT, STEP_MS, base_of

BTC = Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT")
CANDLE = (1.0, 2.0, 0.5, 1.5, 10.0, 20.0)


def earlier(*hours: int) -> Rows:
    return Rows.of([(MIDNIGHT + n * HOUR_MS, *CANDLE, 3.0 + n, None) for n in hours])


def candle(hour: int, close: float = 1.5) -> Candle:
    return Candle(MIDNIGHT + hour * HOUR_MS, 1.0, 2.0, 0.5, close, "10", "20")


def answer() -> PlanAnswer:
    """Without the candles from before 3:00, where the base begins."""
    now_ms = 5 * HOUR_MS
    base = base_of(range(36, 61), now_ms, interest=False)
    base = base.with_interest([(MIDNIGHT + 3 * HOUR_MS, 9.0)], MIDNIGHT + now_ms)
    whole = plan_from_base(
        BTC, Timeframe.H1, base, {}, as_of_ms=MIDNIGHT + now_ms, history_candles=6
    )
    assert [task.start_ms for task in whole.klines] == [MIDNIGHT]
    return PlanAnswer(whole)


def test_snapshots_of_candles_that_come_again_as_they_were_go_on_to_count() -> None:
    found = answer()
    found.native = [[candle(0), candle(2, close=1.25)]]  # 1:00 is gone, 2:00 is another
    assert list(known_snapshots(found, earlier(-1, 0, 1, 2))) == [(MIDNIGHT, 3.0)]
    assert list(known_snapshots(found, earlier())) == []


def test_what_the_base_knows_is_the_base_s() -> None:
    found = answer()
    made = found.plan.parts[0].made.rows
    assert made.times.tolist() == [MIDNIGHT + n * HOUR_MS for n in (3, 4, 5)]
    values = made.values.copy()
    values[:, 6] = 8.0
    known = known_snapshots(found, Rows(made.times, values))
    assert list(known) == [(MIDNIGHT + n * HOUR_MS, 8.0) for n in (4, 5)]


def test_nothing_is_known_of_a_market_without_candles() -> None:
    plan = plan_from_base(
        BTC, Timeframe.H1, None, {}, as_of_ms=MIDNIGHT + STEP_MS, history_candles=6
    )
    assert list(known_snapshots(PlanAnswer(plan), earlier(0, 1))) == []
    assert list(known_snapshots(replace(answer(), native=[None]), earlier(0, 1))) == []
