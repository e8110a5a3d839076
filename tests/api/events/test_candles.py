"""Rows of real collections: who adds up what is told has the closed rows of every document."""

import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any, Final

from market.markets import COLUMNS
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from tests.api.events.streams import Event, Stream, listening
from tests.fixtures.api import StartApi
from tests.fixtures.jobs import JobRunner, OpenRunner, by_key
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

QUERY: Final = "event=document,candles,stale&timeframe="
Rows = dict[str, dict[int, list[Any]]]


class Copy:
    """A document as a listener knows it: its closed rows by market and time."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.rows: Rows = {}
        self.corrected = 0
        self.version = 0
        self.stale: list[Event] = []

    async def until_told(self, document: Any) -> None:
        """Takes in what is told until the copy is the document; nothing of another version, no
        row twice and no correction of a row that was not told may come."""
        timeframe = Timeframe(document["timeframe"])
        while self.version < document["version"] or self.rows != closed(document, timeframe):
            event = await self.stream.next()
            assert event.kind in ("document", "candles", "stale"), event
            if event.kind == "document":
                self.version = event.data["version"]
                continue
            assert event.data["version"] == self.version
            if event.kind == "stale":
                self.stale.append(event)
                continue
            assert event.data["columns"] == list(COLUMNS)
            for market in event.data["markets"]:
                self._take(market)
            self._forget_before(document)

    def _take(self, market: Any) -> None:
        known = self.rows.setdefault(f"{market['exchange']}:{market['symbol']}", {})
        for row in market["rows"]:
            assert row[0] not in known, "a row was told twice"
            known[row[0]] = row
        for row in market.get("corrected", ()):
            assert known[row[0]] != row, "a correction changes nothing"
            known[row[0]] = row
            self.corrected += 1
        for time_ms in market.get("removed", ()):
            del known[time_ms]

    def _forget_before(self, document: Any) -> None:
        """The document's window has gone on."""
        for key, market in by_key(document).items():
            first_ms = market["rows"][0][0]
            known = self.rows.get(key, {})
            for time_ms in [time_ms for time_ms in known if time_ms < first_ms]:
                del known[time_ms]


def closed(document: Any, timeframe: Timeframe) -> Rows:
    return {
        key: {
            row[0]: row
            for row in market["rows"]
            if row[0] + timeframe.interval_ms <= market["checked_at"]
        }
        for key, market in by_key(document).items()
    }


@contextlib.asynccontextmanager
async def copies(port: int, *timeframes: str) -> AsyncIterator[dict[str, Copy]]:
    async with contextlib.AsyncExitStack() as stack:
        yield {
            each: Copy(await stack.enter_async_context(listening(port, QUERY + each)))
            for each in timeframes
        }


async def test_rows_that_close_are_corrected_or_carried_over(
    start_simulator: StartSimulator, open_runner: OpenRunner, start_api: StartApi, redis_url: str
) -> None:
    exchanges = start_simulator(binance=2, bybit=2, now=NOW_MS, frozen=True)
    api = await start_api(redis_url=redis_url)
    down = {"kind": "status", "status": 500, "exchange": "bybit"}
    async with copies(api.port, "5m", "8h") as followed:
        async with open_runner(exchanges) as runner:
            for job in ("discovery", "funding", "collect:all", "fill"):
                await runner.complete(job)
            await _compare(runner, followed)
            # What the open interest of first collections is filled in with corrects their rows.
            assert followed["8h"].corrected > 0
            for advance_ms in (5 * MINUTE_MS, 8 * HOUR_MS):
                await _pass(runner, exchanges, advance_ms)
                await _compare(runner, followed)
            stale = followed["5m"].stale
            assert not stale
            runner.fault(down)
            await _pass(runner, exchanges, 10 * MINUTE_MS)
            await _compare(runner, followed)
            runner.well_again()
        # Another worker knows the version before from the store alone.
        async with open_runner(exchanges) as runner:
            await _pass(runner, exchanges, 5 * MINUTE_MS)
            await _compare(runner, followed)
        while stale[-1].data["exchanges"]:
            stale.append(await followed["5m"].stream.next())
    carried, recovered = (event.data for event in (stale[0], stale[-1]))
    (exchange,) = carried["exchanges"]
    assert (exchange["exchange"], carried["recovered"]) == ("bybit", [])
    assert carried["markets"] == []
    assert recovered["exchanges"] == recovered["markets"] == []
    assert {(m["exchange"], m["symbol"]) for m in recovered["recovered"]} == {
        tuple(key.split(":")) for key in followed["5m"].rows if key.startswith("bybit:")
    }


async def _pass(runner: JobRunner, exchanges: Simulator, advance_ms: int) -> None:
    exchanges.post("/sim/clock", {"advance_ms": advance_ms})
    runner.context.last_as_of.elapsed_s = lambda: math.inf  # nothing is known of the time
    await runner.complete("collect:all")


async def _compare(runner: JobRunner, followed: dict[str, Copy]) -> None:
    for name, copy in followed.items():
        await copy.until_told(await runner.document(name))
