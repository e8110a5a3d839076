"""A backfill brings all that each exchange still tells: open interest in longer periods, too."""

from datetime import timedelta
from typing import Any, Final

import pytest

from database import SeriesKey
from market.markets import Exchange
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.exchange_answers import our_key
from tests.fixtures.jobs import ALL, JobRunner, OpenRunner
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.jobs.test_backfill import stored, wished

DAYS: Final = 100
FROM_MS: Final = (NOW_MS - DAYS * DAY_MS) // DAY_MS * DAY_MS
H1, H4 = Timeframe.H1, Timeframe.H4
# What the exchanges document: so far back they tell snapshots of 1h and of 4h, and settlements.
REACH: Final = {
    Exchange.BINANCE: (30 * DAY_MS, 30 * DAY_MS, None),
    Exchange.BYBIT: (None, None, None),
    Exchange.OKX: (1440 * HOUR_MS, 1440 * 4 * HOUR_MS, 90 * DAY_MS),
}


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, 1), now=NOW_MS, frozen=True)


def served(time_ms: int, reach_ms: int | None) -> bool:
    """Whether the exchange still tells it; nothing is asked for that is about to expire."""
    return reach_ms is None or time_ms >= NOW_MS - reach_ms + 2 * MINUTE_MS


async def pairs(runner: JobRunner, key: SeriesKey) -> list[tuple[int, Any]]:
    found = await stored(runner.context.database, key)
    return list(zip(found.times.tolist(), found.values[:, 0].tolist(), strict=True))


async def test_all_that_is_served_is_brought_of_markets_since_they_are_listed(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    young_ms = timedelta(days=20) // timedelta(milliseconds=1)
    for exchange in Exchange:
        event = {"kind": "list_new", "exchange": exchange, "symbol": "NEW", "age_ms": young_ms}
        exchanges.post("/sim/faults", event)
    async with open_runner(exchanges, exchanges=ALL, backfill_fraction=0.9) as runner:
        await runner.complete("discovery")
        found = await wished(runner, from_ms=FROM_MS)
        assert (found.state, dict(found.failures), found.error) == ("complete", {}, None)
        assert (found.done, found.total) == (found.total, found.total)
        truth = runner.truth(H1, candles=(DAYS + 1) * 24)
        assert {*truth} == {f"{of}:{each}USDT" for of in Exchange for each in ("BTC", "NEW")}
        for market, rows in truth.items():
            of = Exchange(market.partition(":")[0]), market.partition(":")[2]
            since = [row for row in rows if row[0] >= FROM_MS]
            candles = await stored(runner.context.database, SeriesKey.candles(*of, H1))
            closed = [row for row in since if row[0] + HOUR_MS <= NOW_MS]
            assert candles.times.tolist() == [row[0] for row in closed], market
            assert candles.values.tolist() == [row[1:7] for row in closed], market
            short, long, _ = REACH[of[0]]
            known = [
                (row[0], row[7])
                for row in since
                if row[7] is not None
                and (
                    served(row[0], short) or (row[0] % (4 * HOUR_MS) == 0 and served(row[0], long))
                )
            ]
            assert await pairs(runner, SeriesKey.open_interest(*of)) == known, market
        answer = exchanges.get("/sim/funding", funding_history=24 * (DAYS + 1))
        for each in answer["markets"]:
            name, _, symbol = our_key(f"{each['exchange']}:{each['symbol']}").partition(":")
            reach_ms = REACH[Exchange(name)][2]
            settled = [tuple(row[:2]) for row in each["rows"]]
            assert await pairs(runner, SeriesKey.funding(name, symbol)) == [
                pair for pair in settled if pair[0] >= FROM_MS and served(pair[0], reach_ms)
            ], (name, symbol)
        assert exchanges.stats()["limits_broken"] == {}
        assert exchanges.stats()["rejected"] == []
        # All of it is known now, and what is older is not asked for.
        again = await wished(runner, from_ms=FROM_MS)
        assert (again.state, again.total, again.requests) == ("complete", 0, len(Exchange))
