"""Fetches what a host is asked for the collection of another, and hands on the answers' bodies.

The same functions plan and page as in a collection, so that the requests are the same. Nothing is
made of the answers here: the asker reads them as if it had fetched them.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from budgets.request_counts import RequestCounts
from data_collector.base_answers import PlanAnswer, fetch_native
from data_collector.base_plan import plan_from_base
from data_collector.base_tasks import base_tasks
from data_collector.fetch_strategies import fetch_funding, fetch_klines, fetch_open_interest
from data_collector.part_asks import PartAsks
from data_collector.run import CollectionRun, Sender, work_through
from data_collector.task_builder import FetchTask, MarketTasks
from market.base import extended
from market.candles import Candles
from market.markets import Exchange, Market
from market.rows import Rows
from venues.errors import ExchangeError
from venues.venue import Request

Bodies = dict[str, bytes]  # of successful answers, by Request.target
# Takes the answers about one market; waits while they are too many.
HandOn = Callable[[Market, Bodies], Awaitable[None]]


class Recorder:
    """Sends requests, and keeps the bodies of the answers about each market."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.clock = sender.clock
        self.concurrency = sender.concurrency
        self.counts = sender.counts
        self._bodies: dict[tuple[Exchange, str], Bodies] = {}

    async def send(self, request: Request, counts: RequestCounts) -> bytes:
        body = await self._sender.send(request, counts)
        if request.symbol is not None:
            bodies = self._bodies.setdefault((request.exchange, request.symbol), {})
            bodies[request.target] = body
        return body

    def take(self, market: Market) -> Bodies:
        return self._bodies.pop((market.exchange, market.symbol), {})


@dataclass(slots=True)
class PartFetching:
    """`done(exchange)`: from which number on the asker has the exchange's markets already; they are
    numbered as `asks` has them."""

    sender: Sender
    asks: PartAsks
    hand_on: HandOn
    done: Callable[[Exchange], float]
    markets: int = 0
    failed: int = 0

    async def fetch(self) -> CollectionRun:
        """Fetches all that is asked; a market that fails is left to the asker."""
        recorder = Recorder(self.sender)
        run = CollectionRun(recorder)

        async def work(item: tuple[int, Market]) -> None:
            number, market = item
            if number >= self.done(market.exchange):
                return
            try:
                await self._fetch(run, market)
            except ExchangeError:
                recorder.take(market)
                self.failed += 1
                return
            self.markets += 1
            await self.hand_on(market, recorder.take(market))

        await work_through(
            run,
            numbered(self.asks.markets),
            lambda item: item[1].exchange,
            work,
            lambda item, error: None,
            workers=recorder.concurrency,
        )
        return run

    async def _fetch(self, run: CollectionRun, market: Market) -> None:
        if self.asks.from_bases:
            await self._fetch_pass(run, market)
            return
        for tasks in self.asks.tasks(market):
            candles = Candles.of(await fetch_klines(run, tasks.klines))
            await self._fetch_interest(run, tasks, candles)
            if tasks.funding is not None:
                await fetch_funding(run, tasks.funding)

    async def _fetch_interest(
        self, run: CollectionRun, tasks: MarketTasks, candles: Candles
    ) -> None:
        if tasks.open_interest is None or not len(candles):
            return
        since = tasks.open_interest.since(int(candles.times[0]))
        if since is not None:
            await fetch_open_interest(run, since)

    async def _fetch_pass(self, run: CollectionRun, market: Market) -> None:
        """The market's base, its open interest, and what first documents need besides."""
        as_of_ms, history_candles = self.asks.as_of_ms, self.asks.history_candles
        tasks = base_tasks(market, None, as_of_ms=as_of_ms, history_candles=history_candles)
        candles = Candles.of(await fetch_klines(run, tasks.klines))
        base = extended(None, candles, asked_ms=tasks.klines.start_ms, as_of_ms=as_of_ms)
        if tasks.open_interest is not None:
            await fetch_open_interest(run, tasks.open_interest)

        async def fetch(task: FetchTask, left_out: list[Any]) -> Any:
            asked = tasks.klines
            inside = asked.start_ms <= task.start_ms and task.end_ms <= asked.end_ms
            if asked.period is task.period and inside:
                return candles.between(task.start_ms, task.end_ms)
            return await fetch_klines(run, task, left_out)

        for timeframe in self.asks.timeframes:
            plan = plan_from_base(
                *(market, timeframe, base, {}),
                as_of_ms=as_of_ms,
                history_candles=history_candles,
            )
            await fetch_native(
                *(fetch, PlanAnswer(plan), Rows.of(())), last_try=True, believed=lambda doubt: True
            )


def numbered(markets: Iterable[Market]) -> list[tuple[int, Market]]:
    """The markets with their numbers, which begin with 0 for each exchange."""
    counts: dict[Exchange, int] = {}
    found = []
    for market in markets:
        number = counts.get(market.exchange, 0)
        counts[market.exchange] = number + 1
        found.append((number, market))
    return found
