"""A launch time that is corrected back by days: what it had cut comes, in the same run."""

from dataclasses import replace

import pytest

from data_collector import exchange_funding
from data_collector.funding_rules import lacks_its_beginning
from market.markets import DEFAULT_EXCHANGES, Exchange, FundingSeries, Market
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from tests.data_collector.test_left_out_settlements import H8_MS, LAST_MS, Settling
from tests.fixtures.refreshing import CLOSED_MS, H4, collect, rows_by_key, with_old_markets
from tests.fixtures.simulated_markets import SimulatedMarkets
from venues.venue import Endpoint

STEP_MS = H4.interval_ms


@pytest.mark.parametrize("later_ms", [MINUTE_MS, 3 * STEP_MS])
@pytest.mark.parametrize("exchange", DEFAULT_EXCHANGES)
async def test_the_snapshot_of_the_former_first_candle_comes(
    exchange: Exchange, later_ms: int
) -> None:
    """It had none because it opened before the launch that was told."""
    world = with_old_markets(SimulatedMarkets(1, perfect=True))
    market = world.add(exchange, "X", CLOSED_MS - 60 * STEP_MS)
    contract = world.contracts[market.key]
    told_ms = CLOSED_MS - 20 * STEP_MS + HOUR_MS  # a launch inside of a candle, and a new life
    contract.market = replace(market, launched_ms=told_ms, since_ms=told_ms)
    _, standing = await collect(world)
    former = rows_by_key(standing[H4])[market.key]
    assert (former[0][0], former[0][7]) == (told_ms - HOUR_MS, None)
    contract.market = market
    world.now_ms += later_ms
    _, standing = await collect(world, standing)
    rows = rows_by_key(standing[H4])[market.key]
    assert rows[0][0] == CLOSED_MS - 60 * STEP_MS
    assert [row[0] for row in rows if row[7] is None] == []
    _, cold = await collect(world)
    assert standing == cold


@pytest.mark.parametrize("exchange", Exchange)
async def test_the_settlements_of_before_come(exchange: Exchange) -> None:
    settling = Settling(Market(exchange, "XUSDT", "X", "USDT"))
    market = settling.market
    told_ms, true_ms = LAST_MS - 2 * DAY_MS, LAST_MS - 5 * DAY_MS
    settling.market = replace(market, launched_ms=told_ms, since_ms=told_ms)
    book = (await settling.update({})).funding
    assert book[market.key].rows[0][0] == told_ms + H8_MS
    settling.market = replace(market, launched_ms=true_ms)
    settling.now_ms += MINUTE_MS  # it cannot have settled since
    book = (await settling.update(book)).funding
    assert [row[0] for row in book[market.key].rows] == list(
        range(true_ms + H8_MS, LAST_MS + 1, H8_MS)
    )


async def test_a_history_that_begins_later_than_the_market_is_asked_for_once_a_day(
    monkeypatch: pytest.MonkeyPatch, no_daily_checks: None
) -> None:
    monkeypatch.setattr(exchange_funding, "HISTORIES_PER_RUN", 0)
    settling = Settling(Market(Exchange.BYBIT, "XUSDT", "X", "USDT", LAST_MS - 9 * DAY_MS))
    first_ms = LAST_MS - DAY_MS  # nothing was settled before
    for time_ms in range(LAST_MS - 20 * DAY_MS, first_ms, H8_MS):
        settling.sent[time_ms] = lambda row: []
    book = (await settling.update({})).funding
    starts: list[bool] = []
    for settled_ms in range(LAST_MS + H8_MS, LAST_MS + 8 * H8_MS, H8_MS):
        settling.now_ms = settled_ms + MINUTE_MS
        settling.sender.sent.clear()
        book = (await settling.update(book)).funding
        asked = [r.target for r in settling.sender.sent if r.endpoint is Endpoint.FUNDING]
        starts.append(any(f"startTime={LAST_MS - 9 * DAY_MS}" in target for target in asked))
    # The settlement at 16:00, then those of 00:00, 08:00, 16:00 twice.
    assert starts == [False, True, False, False, True, False, False]


@pytest.mark.parametrize(
    ("begin_ms", "first_ms", "rows", "lacks"),
    [
        (LAST_MS, LAST_MS + H8_MS, 5, False),
        (LAST_MS, LAST_MS + H8_MS + 47, 5, False),
        (LAST_MS, LAST_MS + H8_MS + MINUTE_MS, 5, True),
        (LAST_MS, LAST_MS + 2 * H8_MS, 9, True),
        (LAST_MS, LAST_MS + 2 * H8_MS, 10, False),  # as many as are kept
        (0, LAST_MS, 5, False),  # nobody knows when it began
        (LAST_MS, 0, 0, False),
    ],
)
def test_which_series_lack_their_beginning(
    begin_ms: int, first_ms: int, rows: int, lacks: bool
) -> None:
    settled = [(first_ms + number * H8_MS, 0.1) for number in range(rows)]
    series = FundingSeries(Market(Exchange.BYBIT, "XUSDT", "X", "USDT"), settled, 8, LAST_MS)
    assert lacks_its_beginning(series, begin_ms, keep=10) == lacks
