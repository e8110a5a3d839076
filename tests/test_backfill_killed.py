"""A year of 1h of 40 markets, killed ten times at random, becomes exactly the exchanges' truth."""

import json
import random
import signal

import pytest

from database import Database, SeriesKey
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from tests.docs.test_backfill import HISTORY, pairs, stored
from tests.fixtures.service import ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

FROM_MS = NOW_MS - NOW_MS % DAY_MS - 365 * DAY_MS
KILLS = 10
EACH = 20
WORKERS = 10


def truth(exchanges: Simulator, exchange: str, symbol: str) -> list[list[float]]:
    """A market's year, of which the simulator tells 5000 hours at a time; the last row forms."""
    found: dict[float, list[float]] = {}
    for as_of_ms in (NOW_MS - 4400 * HOUR_MS, NOW_MS):
        one = {"exchange": exchange, "symbol": symbol, "as_of": as_of_ms}
        (rows,) = exchanges.truth("1h", candles=5000, **one).values()
        found.update({row[0]: row for row in rows})
    return [found[time_ms] for time_ms in sorted(found) if time_ms >= FROM_MS]


def asked_in_all(exchanges: Simulator) -> int:
    """The requests for histories that the exchanges have got since the start."""
    by_exchange = exchanges.stats()["requests"].values()
    return sum(
        sum(endpoints.get(name, {}).values()) for endpoints in by_exchange for name in HISTORY
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_a_year_is_exact_after_ten_kills(
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
    database_url: str,
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(json.dumps({"seed": seed}))  # noqa: T201 - to repeat it
    chance = random.Random(seed)  # noqa: S311 - no secret
    exchanges = start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True, latency_ms=20)
    settings = service_settings(exchanges, WORKER_LOCK_TTL_S="1")
    words = ("backfill", "--timeframe", "1h", "--from", str(FROM_MS))
    hours = (NOW_MS - FROM_MS) // HOUR_MS
    binance = -(-hours // 499) + -(-30 * 24 // 500) + -(-hours // 8 // 1000)
    bybit = -(-hours // 1000) + -(-hours // 200) + -(-hours // 8 // 200)
    pages = EACH * (binance + bybit)
    goals = sorted(chance.sample(range(1, pages), KILLS))
    for goal in goals:
        process = await start_service(*words, wait=False, **settings)

        async def is_there(goal: int = goal) -> bool:
            return asked_in_all(exchanges) >= goal

        await until(is_there, 240, lambda: str(asked_in_all(exchanges)))
        await process.stop(signal.SIGKILL)
    process = await start_service(*words, wait=False, **settings)
    assert await process.process.wait() == 0, "\n".join(process.lines)
    await process.stop()
    counted = asked_in_all(exchanges)
    assert exchanges.stats()["limits_broken"] == {}
    database = Database(database_url)
    try:
        (wish,) = await database.backfills.newest()
        assert (wish.state, dict(wish.failures)) == ("complete", {})
        markets = exchanges.get("/sim/markets")["markets"]
        listed = [(each["exchange"], each["symbol"]) for each in markets if each["collected"]]
        assert len(listed) > EACH
        for exchange, symbol in listed:
            expected = truth(exchanges, exchange, symbol)
            key = f"{exchange}:{symbol}"
            ours = await stored(database, SeriesKey.candles(exchange, symbol, Timeframe.H1))
            assert ours.times.tolist() == [row[0] for row in expected[:-1]], key
            assert ours.values.tolist() == [row[1:7] for row in expected[:-1]], key
            if exchange == "bybit":  # which keeps it for ever
                interest = await stored(database, SeriesKey.open_interest(exchange, symbol))
                traded = {row[0] for row in expected}  # the truth tells it with candles alone
                ours_then = [pair for pair in pairs(interest) if pair[0] in traded]
                assert ours_then == [(r[0], r[7]) for r in expected if r[7] is not None], key
        assert (await database.history.check()).faults == ()
    finally:
        await database.aclose()
    # Pages that were under way at a kill, and what comes short where markets begin and end.
    print(json.dumps({"pages": pages, "asked": counted, "goals": goals}))  # noqa: T201
    assert counted <= pages + KILLS * 4 * WORKERS + 10 * 2 * EACH
