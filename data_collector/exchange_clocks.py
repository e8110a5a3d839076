"""The exchanges' clocks at the start of a run. Asks for them; what follows is the caller's.

An exchange that is silent holds up nobody: those that have told their time begin without it.
"""

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

GRACE_S: Final = 2.0  # for the others, once one exchange has told its time

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ExchangeClock:
    """The exchange's time, told once and counted on; never ahead of the exchange."""

    told_ms: int
    monotonic_s: Callable[[], float]
    told_at_s: float

    def now_ms(self) -> int:
        return self.told_ms + int((self.monotonic_s() - self.told_at_s) * 1000)


class Clocks:
    """Reads the clocks of `exchanges`, side by side, for as long as it is open."""

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

    async def told(self) -> dict[Exchange, ExchangeClock]:
        """The clocks of those that answered in time: soon after the first of all.

        Raises CollectionFailed when not one does.
        """
        waiting = set(self._tasks.values())
        while waiting and not self._answered():
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if waiting:
            await asyncio.wait(waiting, timeout=GRACE_S)
        if answered := self._answered():
            return answered
        raise CollectionFailed("; ".join(str(task.result()) for task in self._tasks.values()))

    async def of(self, exchange: Exchange) -> ExchangeClock:
        """The exchange's clock, however late it comes; raises ExchangeError if it never does."""
        told = await asyncio.shield(self._tasks[exchange])
        if isinstance(told, ExchangeError):
            raise told
        return told

    async def passed(self, exchange: Exchange, as_of_ms: int) -> None:
        """Returns once the exchange has told a time from which `as_of_ms` lies in the past.

        Raises ExchangeError when it tells none, or an earlier one: then what was forming there
        would pass for closed.
        """
        clock = await self.of(exchange)
        behind_ms = as_of_ms - clock.now_ms()
        if behind_ms > 0:
            raise BadPayload(
                f"its clock came late and is {behind_ms} ms behind the others'",
                exchange=exchange,
                endpoint=Endpoint.TIME,
            )

    def _answered(self) -> dict[Exchange, ExchangeClock]:
        return {
            exchange: told
            for exchange, task in self._tasks.items()
            if task.done() and isinstance(told := task.result(), ExchangeClock)
        }

    async def _read(self, exchange: Exchange) -> ExchangeClock | ExchangeError:
        request = listing_request(exchange, Endpoint.TIME)
        monotonic_s = self._run.sender.clock.monotonic_s
        try:
            told_ms = await fetch_simple(self._run, request, partial(parse_server_time, exchange))
        except ExchangeError as error:
            log.warning("no_exchange_clock", exchange=exchange, cause=str(error))
            return error
        return ExchangeClock(told_ms, monotonic_s, monotonic_s())
