"""The closes of a run whose time flows: each is asked for as a timer would, and watched."""

import asyncio
import random
import time
from typing import Any, Final

import aiohttp

from chaos.checks import HOUR_MS, M5_MS
from chaos.deployment import Deployment
from chaos.freshness import Freshness
from chaos.job_requests import ALL, JobRequests
from chaos.listed_markets import ListedMarkets
from chaos.plan import Mode
from chaos.truth import MarketTruth

# The time flows from so long before a close until every market is fresh, at least so long after.
_LEAD_S: Final = (4.0, 9.0)
_AFTER_S: Final = (3.0, 9.0)
_STEP_MS: Final = 8_000
_BETWEEN_S: Final = 0.06  # real time between two steps, at least
_TURNS: Final = 4.0  # times what a step took
_LONGEST_BETWEEN_S: Final = 1.5
_SLEEPS: Final = 0.12  # of the closes: all machines of the run have slept through some before
_LONGEST_SLEEP_MS: Final = 3 * HOUR_MS
# Where everything breaks, nothing may be owed for a long time.
_LONGEST_S: Final = {Mode.STREAMS: 200.0, Mode.EVERYTHING: 30.0}
_ASKED_WITHIN_S: Final = 0.6  # after the close
_AGAIN_S: Final = 15.0  # while markets lack
_LOOK_S: Final = 0.2
_VOLUME: Final = 5  # its place in a row
_ANSWER_S: Final = 8.0


class Closes:
    """`run` lets the time flow from close to close; `watch` reads the 5m document meanwhile."""

    def __init__(
        self, deployment: Deployment, listed: ListedMarkets, truth: MarketTruth,
        requests: JobRequests, freshness: Freshness,
    ) -> None:  # fmt: skip
        self.freshness = freshness
        # Markets (exchange, symbol or None) whose closing events are wrong at first, now.
        self.wrong: list[tuple[str, str | None]] = []
        self._deployment = deployment
        self._listed = listed
        self._truth = truth
        self._requests = requests
        self._chance = random.Random(f"{deployment.plan.seed}:closes")  # noqa: S311 - repeatable
        self._told = 0

    async def run(self) -> None:
        """From close to close, until cancelled."""
        while True:
            if self._chance.random() < _SLEEPS:
                await self._sleep()
            await self.one()

    async def one(self, longest_s: float | None = None) -> None:
        """Passes over to the next close, and waits until all markets are fresh, overdue or not
        worth waiting for."""
        deployment, chance = self._deployment, self._chance
        await self._pass_over()
        now_ms = deployment.clock.now_ms()
        close_ms = now_ms - now_ms % M5_MS + M5_MS
        await asyncio.sleep((close_ms - now_ms) / 1000)
        open_ms = close_ms - M5_MS
        self.note_wrong(open_ms)
        await asyncio.sleep(0.05)  # the exchanges' time is known to some milliseconds
        rows = await self._truth.rows("5m", close_ms, close_ms, 4)
        candles = {key: market[open_ms] for key, market in rows.items() if open_ms in market}
        silent = {key for key, row in candles.items() if not row[_VOLUME]}
        there = self._listed.steady & candles.keys()
        self.freshness.closed(close_ms, time.monotonic(), there, silent)
        asked = asyncio.create_task(self._ask())
        try:
            await asyncio.sleep(chance.uniform(*_AFTER_S))
            longest_s = _LONGEST_S[deployment.plan.mode] if longest_s is None else longest_s
            await self.freshness.all_fresh(longest_s)
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        self._report_found()

    async def _sleep(self) -> None:
        """All machines have slept for some closes: they and what streams tell of them come at
        once."""
        deployment = self._deployment
        self.freshness.pass_over()
        deployment.report.faults["clock asleep"] += 1
        slept_ms = self._chance.randrange(M5_MS, _LONGEST_SLEEP_MS)
        await deployment.move_clock(deployment.clock.now_ms() + slept_ms)
        await asyncio.sleep(self._chance.uniform(0, 2))

    async def _pass_over(self) -> None:
        """Passes over the rest of the candle that forms now, up to shortly before its close.

        In steps, between which messages come: streams have paused if none came for half a minute.
        """
        self.freshness.pass_over()
        deployment = self._deployment
        now_ms = deployment.clock.now_ms()
        lead_ms = round(self._chance.uniform(*_LEAD_S) * 1000)
        until_ms = now_ms - now_ms % M5_MS + M5_MS - lead_ms
        while (now_ms := deployment.clock.now_ms()) < until_ms:
            began_s = time.monotonic()
            await deployment.move_clock(min(now_ms + _STEP_MS, until_ms))
            # Who reads the streams must have had its turn, which takes as long on a busy machine.
            took_s = time.monotonic() - began_s
            await asyncio.sleep(min(max(_BETWEEN_S, _TURNS * took_s), _LONGEST_BETWEEN_S))

    async def finish(self, within_s: float) -> None:
        """Waits until the markets of a close that was broken off are fresh, or overdue."""
        asked = asyncio.create_task(self._ask())
        try:
            await self.freshness.all_fresh(within_s)
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        self._report_found()

    def note_wrong(self, open_ms: int) -> None:
        """The closing events of a candle are wrong at first, of the markets of `wrong`."""
        for exchange, symbol in self.wrong:
            for key in self._listed.collected:
                name, _, its = key.partition(":")
                if name == exchange and symbol in (None, its):
                    self._truth.excuse(key, open_ms)

    async def _ask(self) -> None:
        """Asks for all timeframes shortly after the close, and again while markets lack."""
        await asyncio.sleep(self._chance.uniform(0, _ASKED_WITHIN_S))
        while True:
            accepted = await self._requests.post("/get-market-data", {"timeframe": ALL})
            await asyncio.sleep(1.0 if accepted is None else _AGAIN_S)
            if accepted is not None and not self.freshness.waiting:
                return

    def _report_found(self) -> None:
        found = self.freshness.found
        for problem in found[self._told :]:
            self._deployment.report.violate("every market is fresh in time", problem)
        self._told = len(found)

    async def watch(self) -> None:
        """Reads the last closed candles of 5m again and again."""
        reads, etags = 0, dict.fromkeys(self._deployment.apis, "")
        limit = aiohttp.ClientTimeout(total=_ANSWER_S)
        while True:
            api = self._deployment.apis[reads % len(etags)]
            reads += 1
            headers = {"If-None-Match": etags[api]} if etags[api] else {}
            document: Any = None
            try:
                async with self._deployment.session.get(
                    f"{api}/cache/5m?closed=true&limit=3", headers=headers, timeout=limit
                ) as answer:
                    if answer.status == 200:
                        document = await answer.json()
                        etags[api] = answer.headers["ETag"]
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass  # those who read everything report what must not be
            if document is not None:
                self.freshness.seen(document, time.monotonic())
            await asyncio.sleep(_LOOK_S)
