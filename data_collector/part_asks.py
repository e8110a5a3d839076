"""PartAsks: what one host is asked to fetch for the collection of another, and what that costs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from data_collector.base_tasks import base_tasks
from data_collector.task_builder import FetchTask, MarketTasks, build_tasks, klines_task
from data_collector.url_builder import endpoint_table
from market.markets import Exchange, Market
from market.timeframes import Timeframe
from venues import VENUES
from venues.venue import EndpointTable

_MOST_CANDLES: Final = 100_000
_MOST_MARKETS: Final = 10_000

Where = tuple[Exchange, str]  # an exchange and one of its limits


@dataclass(frozen=True, slots=True)
class PartAsks:
    """First collections of `markets` at `as_of_ms`, of which nothing is stored that goes on.

    `timeframes`: collected ones. `from_bases`: they are made in a pass from new bases, which are
    fetched, too; else each is fetched alone. `with_funding`: settlements as well, so many.
    """

    markets: tuple[Market, ...]
    timeframes: tuple[Timeframe, ...]
    as_of_ms: int
    history_candles: int
    from_bases: bool = False
    with_funding: bool = False
    funding_history: int = 0

    def of(self, markets: Sequence[Market]) -> "PartAsks":
        """The same of these markets."""
        return replace(self, markets=tuple(markets))

    def tasks(self, market: Market) -> list[MarketTasks]:
        """What is fetched of a market in a collection without bases."""
        return [
            tasks
            for timeframe in self.timeframes
            for tasks in build_tasks(
                timeframe,
                [market],
                as_of_ms=self.as_of_ms,
                history_candles=self.history_candles,
                with_funding=self.with_funding,
                funding_history=self.funding_history,
            )
        ]

    def cost(self) -> Counter[Where]:
        """About how much of each limit it takes; of one that is counted by market what the market
        takes that needs the most."""
        found: Counter[Where] = Counter()
        for market in self.markets:
            own = self._cost_of(market)
            for counter, weight in own.items():
                where = market.exchange, counter
                if VENUES[market.exchange].limits[counter].by_market:
                    found[where] = max(found[where], weight)
                else:
                    found[where] += weight
        return found

    def _cost_of(self, market: Market) -> Counter[str]:
        """By counter."""
        found: Counter[str] = Counter()
        for task in self._usual_tasks(market):
            table = endpoint_table(market.exchange, task.endpoint)
            rows = task.slots(task.start_ms, task.end_ms)
            if task.wanted is not None:
                rows = min(rows, task.wanted)
            if table.beyond is not None:
                old = max(0, rows - table.newest_rows)
                found[table.beyond.counter] += _weight_of(table.beyond, old)
                rows -= old
            found[table.counter] += _weight_of(table, rows)
        return found

    def _usual_tasks(self, market: Market) -> Iterator[FetchTask]:
        as_of_ms, candles = self.as_of_ms, self.history_candles
        if not self.from_bases:
            for tasks in self.tasks(market):
                yield from (t for t in (tasks.klines, tasks.open_interest, tasks.funding) if t)
            return
        first = base_tasks(market, None, as_of_ms=as_of_ms, history_candles=candles)
        yield from (task for task in (first.klines, first.open_interest) if task)
        for timeframe in self.timeframes:
            if timeframe is not Timeframe.M5:
                yield klines_task(timeframe, market, as_of_ms=as_of_ms, history_candles=candles)

    def encoded(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "markets": [encoded_market(market) for market in self.markets],
            "timeframes": list(self.timeframes),
            "as_of_ms": self.as_of_ms,
            "history_candles": self.history_candles,
            "from_bases": self.from_bases,
            "with_funding": self.with_funding,
            "funding_history": self.funding_history,
        }

    @classmethod
    def decoded(cls, found: Any) -> "PartAsks":
        """Raises ValueError for what is no such asks."""
        try:
            markets = tuple(decoded_market(*fields) for fields in found["markets"])
            asks = cls(
                markets,
                tuple(Timeframe(name) for name in found["timeframes"]),
                int(found["as_of_ms"]),
                int(found["history_candles"]),
                bool(found["from_bases"]),
                bool(found["with_funding"]),
                int(found["funding_history"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no asks of a part: {type(error).__name__}") from None
        most = max(asks.history_candles, asks.funding_history)
        if not 0 < most <= _MOST_CANDLES or len(markets) > _MOST_MARKETS:
            raise ValueError("asks of a part that no collection makes")
        return asks


def _weight_of(table: EndpointTable, rows: int) -> int:
    """What so many rows cost."""
    return -(-rows // table.page_limit) * table.weight(min(rows, table.page_limit))


def encoded_market(market: Market) -> list[Any]:
    """As JSON."""
    return [
        *(market.exchange, market.symbol, market.base, market.quote, market.launched_ms),
        *(market.native, market.contract_size, market.since_ms),
    ]


def decoded_market(
    exchange: str,
    symbol: str,
    base: str,
    quote: str,
    launched_ms: int,
    native: str,
    contract_size: float,
    since_ms: int,
) -> Market:
    """The inverse, given the fields. Raises ValueError, TypeError."""
    return Market(
        *(Exchange(exchange), str(symbol), str(base), str(quote), int(launched_ms), str(native)),
        *(float(contract_size), int(since_ms)),
    )
