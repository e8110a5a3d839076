"""Answers that contradict what is published: doubted, and believed when they are said again."""

import pytest

from market.timeframes import MINUTE_MS
from tests.fixtures.jobs import OpenRunner, by_key
from tests.fixtures.simulator import NOW_MS, StartSimulator
from tests.jobs.test_closes import CANDLES, Closes

KEY = "binance:BTCUSDT"
M5_MS = 5 * MINUTE_MS
FIRST_CLOSE_MS = NOW_MS - NOW_MS % M5_MS + M5_MS


@pytest.mark.parametrize("timeframes", ["5m,15m,1h", "15m,1h"])
async def test_many_corrections_are_believed_when_they_are_said_again(
    open_runner: OpenRunner, start_simulator: StartSimulator, timeframes: str
) -> None:
    exchanges = start_simulator(binance=2, bybit=2, now=NOW_MS, frozen=True)
    async with open_runner(exchanges, history_candles=CANDLES, timeframes=timeframes) as runner:
        closes = Closes(runner)
        for job in ("discovery", "funding", "collect:all", "fill"):
            await runner.complete(job)
        closes.go_to(FIRST_CLOSE_MS + 5_000)
        await closes.all()
        exchange, symbol = KEY.split(":")
        fault = {"kind": "correction", "exchange": exchange, "symbol": symbol}
        slots = range(4, 30)
        runner.fault(*({**fault, "time": FIRST_CLOSE_MS - slot * M5_MS} for slot in slots))
        finest, stale = timeframes.split(",")[0], []
        for close in (1, 2):
            closes.go_to(FIRST_CLOSE_MS + close * M5_MS + 5_000)
            await closes.all()
            market = by_key(await runner.document(finest))[KEY]
            stale.append(market["stale_since"] is not None)
        assert stale == [True, False]
        await closes.check(finest)
