"""The command that docs/history.md shows, killed twice on its way, brings the exchanges' truth."""

import shlex
import signal
from typing import Any

import pytest

from database import Database, SeriesKey, Versions
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from tests.docs.blocks import claim
from tests.fixtures.service import ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

COMMAND = claim("docs/history.md", "main.py backfill")
# tests/api/history/test_backfills.py runs it.
CURL = claim("docs/history.md", "curl -X POST 'http://127.0.0.1:8000/api/history/backfill'")
FROM_MS = 1_777_593_600_000  # 2026-05-01 00:00 UTC
SYMBOLS = ("BTCUSDT", "ETHUSDT")
HISTORY = ("klines", "open_interest", "funding")
WORKERS = 10  # half of CONCURRENCY_LIMIT, for each limit
KILLED_AT = (20, 60)  # requests


async def stored(database: Database, key: SeriesKey) -> Versions:
    async with database.history.snapshot() as snapshot:
        return (await snapshot.versions([key], 0, 10**14))[key]


def asked(exchanges: Simulator) -> int:
    """The requests for histories that the exchanges have got."""
    found = exchanges.get("/sim/requests")["requests"]
    return sum(each["endpoint"] in HISTORY for each in found)


def pages() -> int:
    """Of all that the command asks for, by the documented page limits."""
    hours = -(-(NOW_MS - FROM_MS) // HOUR_MS)
    binance = -(-hours // 499) + -(-hours // 4 // 498) + -(-30 * 24 // 500) + -(-hours // 8 // 1000)
    bybit = -(-hours // 1000) + -(-hours // 4 // 1000) + -(-hours // 200) + -(-hours // 8 // 200)
    return len(SYMBOLS) * (binance + bybit)


async def assert_true(database: Database, exchanges: Simulator) -> None:
    for timeframe in (Timeframe.H1, Timeframe.H4, Timeframe.H8):
        candles = (NOW_MS - FROM_MS) // timeframe.collected_as.interval_ms + 2
        truth = exchanges.truth(timeframe, candles=candles, symbol=SYMBOLS)
        assert len(truth) == 4
        for key, rows in truth.items():
            exchange, _, symbol = key.partition(":")
            ours = await stored(database, SeriesKey.candles(exchange, symbol, timeframe))
            closed = [row for row in rows if row[0] >= FROM_MS][:-1]
            assert ours.times.tolist() == [row[0] for row in closed], (key, timeframe)
            assert ours.values.tolist() == [row[1:7] for row in closed], (key, timeframe)
            if timeframe is Timeframe.H1:
                interest = await stored(database, SeriesKey.open_interest(exchange, symbol))
                known = [(row[0], row[7]) for row in rows if row[7] is not None]
                assert pairs(interest) == [pair for pair in known if pair[0] >= FROM_MS], key
    for market in exchanges.get("/sim/funding", funding_history=5000)["markets"]:
        if market["symbol"] in SYMBOLS:
            series = SeriesKey.funding(market["exchange"], market["symbol"])
            settled = [tuple(row[:2]) for row in market["rows"] if row[0] >= FROM_MS]
            assert pairs(await stored(database, series)) == settled, series


def pairs(found: Versions) -> list[tuple[Any, ...]]:
    return list(zip(found.times.tolist(), found.values[:, 0].tolist(), strict=True))


@pytest.mark.timeout(240)
async def test_the_command_goes_on_after_kills_and_ends_exact(
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
    database_url: str,
) -> None:
    exchanges = start_simulator(binance=3, bybit=3, now=NOW_MS, frozen=True, latency_ms=40)
    settings = service_settings(exchanges, WORKER_LOCK_TTL_S="1")
    words = shlex.split(COMMAND.text)
    assert words[:2] == ["python", "main.py"]
    for requests in KILLED_AT:
        process = await start_service(*words[2:], wait=False, **settings)

        async def is_there(requests: int = requests) -> bool:
            return asked(exchanges) >= requests

        await until(is_there, 90, lambda: str(asked(exchanges)))
        await process.stop(signal.SIGKILL)
    process = await start_service(*words[2:], wait=False, **settings)
    assert await process.process.wait() == 0, "\n".join(process.lines)
    await process.stop()
    assert "backfill 1 complete" in "\n".join(process.lines)
    database = Database(database_url)
    try:
        (wish,) = await database.backfills.newest()  # one and the same wish each time
        assert (wish.state, dict(wish.failures), wish.done) == ("complete", {}, wish.total)
        await assert_true(database, exchanges)
        assert (await database.history.check()).faults == ()
    finally:
        await database.aclose()
    assert exchanges.stats()["limits_broken"] == {}
    # Pages that were under way when it was killed, and those at the ends of what is asked for.
    limits = 4  # three of one exchange, one of the other
    assert pages() <= asked(exchanges) <= pages() + 2 * WORKERS * limits + 4 * len(SYMBOLS) + 8
    assert (NOW_MS - FROM_MS) // DAY_MS > 200
