"""Reads the exchanges' clocks at the start of a run, without waiting for silent exchanges."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self

import structlog

from data_collector.api_parser import parse_server_time
from data_collector.retries import fetch_simple
from data_collector.run import CollectionRun
from data_collector.url_builder import listing_request
from market.markets import Exchange
from venues.errors import BadPayload, CollectionFailed, ExchangeError
from venues.venue import Endpoint

GRACE_S: Final = 2.0  # for the other exchanges, once one has answered

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ExchangeClock:
    """An exchange's time, read once and advanced by our clock; never ahead of the exchange."""

    server_ms: int
    monotonic_s: Callable[[], float]
    read_at_s: float

    def now_ms(self) -> int:
        return self.server_ms + int((self.monotonic_s() - self.read_at_s) * 1000)


class Clocks:
    """Reads the clocks of `exchanges` concurrently while it is open."""

    def __init__(self, run: CollectionRun, exchanges: Iterable[Exchange]) -> None:
        self._run = run
        self._exchanges = sorted(set(exchanges))
        self._tasks: dict[Exchange, asyncio.Task[ExchangeClock | ExchangeError]] = {}

    async def __aenter__(self) -> Self:
        for exchange in self._exchanges:
            task = asyncio.create_task(self._read(exchange), name=f"clock {exchange}")
            self._tasks[exchange] = task
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def answered_in_time(self) -> dict[Exchange, ExchangeClock]:
        """The clocks of the exchanges that answered within GRACE_S of the first.

        Raises CollectionFailed if none answers.
        """
        waiting = set(self._tasks.values())
        while waiting and not self._answered():
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if waiting:
            await asyncio.wait(waiting, timeout=GRACE_S)
        if answered := self._answered():
            return answered
        raise CollectionFailed("; ".join(str(task.result()) for task in self._tasks.values()))

    async def clock(self, exchange: Exchange) -> ExchangeClock:
        """Waits for the exchange's clock; raises ExchangeError if reading it failed."""
        result = await asyncio.shield(self._tasks[exchange])
        if isinstance(result, ExchangeError):
            raise result
        return result

    async def check_not_behind(self, exchange: Exchange, as_of_ms: int) -> None:
        """Waits for the exchange's clock and checks that it has reached `as_of_ms`.

        Raises ExchangeError if it has not, as forming candles would count as closed, or if
        reading it failed.
        """
        clock = await self.clock(exchange)
        behind_ms = as_of_ms - clock.now_ms()
        if behind_ms > 0:
            raise BadPayload(
                f"server time came late and is {behind_ms} ms behind the other exchanges",
                exchange=exchange,
                endpoint=Endpoint.TIME,
            )

    def _answered(self) -> dict[Exchange, ExchangeClock]:
        return {
            exchange: clock
            for exchange, task in self._tasks.items()
            if task.done() and isinstance(clock := task.result(), ExchangeClock)
        }

    async def _read(self, exchange: Exchange) -> ExchangeClock | ExchangeError:
        request = listing_request(exchange, Endpoint.TIME)
        monotonic_s = self._run.sender.clock.monotonic_s
        try:
            server_ms = await fetch_simple(self._run, request, partial(parse_server_time, exchange))
        except ExchangeError as error:
            log.warning("exchange_time_unavailable", exchange=exchange, cause=str(error))
            return error
        return ExchangeClock(server_ms, monotonic_s, monotonic_s())
