"""Fetches the series that fill in open interest, those first that complete the most documents."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from budgets.exchange_client import ExchangeClient
from budgets.request_counts import RequestCounts
from data_collector.api_parser import OpenInterestRow
from data_collector.fetch_strategies import fetch_open_interest
from data_collector.interest_answers import Answer, InterestAnswers
from data_collector.interest_fill import Series, fetch_task
from data_collector.results import reason_of
from data_collector.run import CollectionRun, work_through
from data_collector.url_builder import endpoint_table
from market.left_out import LeftOut
from market.markets import Exchange, Market
from market.rows import TimedValues
from market.timeframes import Timeframe
from venues.errors import ExchangeError
from venues.venue import Endpoint, Request

# Of a budget, while collections come in between: the part that is left beside so many requests for
# each market, but no more and no less than this. A few markets need a second page, or are asked
# again; a collection that finds no room for them waits for a whole window.
_REQUESTS_A_MARKET: Final = 1.1
_LARGEST_SHARE: Final = 0.5
_SMALLEST_SHARE: Final = 0.25

Wish = tuple[Market, Series]


class SharingSender:
    """Sends requests of a run within a share of the budget of each exchange's open interest."""

    def __init__(self, client: ExchangeClient, shares: Mapping[Exchange, float]) -> None:
        self._client = client
        self._shares = shares
        self.clock = client.clock
        self.concurrency = client.concurrency
        self.counts = client.counts

    async def send(self, request: Request, counts: RequestCounts) -> bytes:
        return await self._client.send(request, counts, self._shares.get(request.exchange, 1.0))


def share_beside_collections(client: ExchangeClient, exchange: Exchange, markets: int) -> float:
    """The share of the budget that leaves a collection its requests for each market."""
    counter = endpoint_table(exchange, Endpoint.OPEN_INTEREST).counter
    budget = client.limits.for_exchange(exchange).budgets[counter]
    quantity, asked = budget.quantity, 1 if budget.limit.by_market else markets
    return min(
        max((quantity - _REQUESTS_A_MARKET * asked) / quantity, _SMALLEST_SHARE), _LARGEST_SHARE
    )


@dataclass(slots=True)
class InterestFetching:
    """Fetches series into `answers`; `answered` is called after each with the market's key.

    Once the run has stopped asking an exchange, its markets get no answer any more.
    """

    run: CollectionRun
    answers: InterestAnswers
    as_of_ms: int
    answered: Callable[[str, Answer], None] = lambda key, answer: None

    async def fetch(self, wishes: Iterable[Wish]) -> None:
        """Fetches all of them, of all exchanges at once. A failure is its market's alone."""
        await work_through(
            self.run,
            sorted(wishes, key=lambda wish: by_documents(wish[1].period)),
            lambda wish: wish[0].exchange,
            self._fetch_one,
            lambda wish, error: self._put(*wish, [], [], error),
            workers=self.run.sender.concurrency,
        )

    async def _fetch_one(self, wish: Wish) -> None:
        market, series = wish
        left_out: list[LeftOut] = []
        snapshots: Sequence[OpenInterestRow] = []
        failure = None
        task = fetch_task(market, series, self.as_of_ms)
        if task is not None:
            try:
                snapshots = await fetch_open_interest(self.run, task, left_out)
            except ExchangeError as error:
                failure = error
        self._put(market, series, snapshots, left_out, failure)

    def _put(
        self,
        market: Market,
        series: Series,
        snapshots: Sequence[OpenInterestRow],
        left_out: Sequence[LeftOut],
        failure: ExchangeError | None,
    ) -> None:
        stopped = self.run.reason_to_skip(market.exchange, Endpoint.OPEN_INTEREST)
        if failure is not None and stopped is not None:
            return  # it is the exchange's trouble, and the market is asked again
        reason = None if failure is None else reason_of(failure)
        answer = Answer(series, TimedValues.of(snapshots), tuple(left_out), reason)
        self.answers.put(market.key, answer)
        self.answered(market.key, answer)


def by_documents(period: Timeframe) -> tuple[bool, int]:
    """The order of series: an hour and more before what is shorter, each ascending."""
    return period.interval_ms < Timeframe.H1.interval_ms, period.interval_ms
