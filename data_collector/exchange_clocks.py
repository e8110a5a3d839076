"""Reads the exchanges' clocks at the start of a run, and decides with what they are believed.

The rule is in clock_witnesses.py. Silent exchanges are not waited for, unless a clock that nothing
agrees with is all there is.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Final, Self

import structlog

from data_collector.api_parser import parse_server_time
from data_collector.clock_witnesses import (
    MACHINE,
    TOLERANCE_MS,
    ClocksDisagree,
    LastAsOf,
    Witness,
    check_not_older,
    judge,
)
from data_collector.retries import fetch_simple
from data_collector.run import CollectionRun
from data_collector.url_builder import listing_request
from logging_setup import ThrottledLog
from market.markets import Exchange
from venues.errors import BadPayload, ClockWrong, CollectionFailed, ExchangeError
from venues.venue import Endpoint

GRACE_S: Final = 2.0  # for the other exchanges, once one has answered
LONGEST_UNSUPPORTED_S: Final = 30.0  # for them, while nothing agrees with those that answered
_SECOND_MS: Final = 1000  # the resolution of the Date header

log = structlog.get_logger(__name__)
_throttled: Final = ThrottledLog(log)


@dataclass(frozen=True, slots=True)
class ExchangeClock:
    """An exchange's time, read once and advanced by our clock; never ahead of the exchange."""

    server_ms: int
    monotonic_s: Callable[[], float]
    read_at_s: float

    def now_ms(self) -> int:
        return self.server_ms + int((self.monotonic_s() - self.read_at_s) * 1000)


_Reading = asyncio.Task[ExchangeClock | ExchangeError]


@dataclass(frozen=True, slots=True)
class Present:
    """The time at the start of a run. `clocks`: those that are believed, never empty.

    `as_of_ms`: the smallest of them when they were read, or the stored document's if that was a
    little later. `remarks`: by exchange, what is against its clock, or why it is not believed.
    """

    as_of_ms: int
    clocks: Mapping[Exchange, ExchangeClock]
    remarks: Mapping[Exchange, str]

    def slowest(self) -> ExchangeClock:
        return min(self.clocks.values(), key=ExchangeClock.now_ms)


@dataclass(slots=True)
class Clocks:
    """Reads the clocks of `exchanges` concurrently while it is open.

    `stored_as_of_ms`: that of the stored document. `last_as_of`: what this process believed last;
    it is told what is believed now.
    """

    run: CollectionRun
    exchanges: Iterable[Exchange]
    stored_as_of_ms: int | None = None
    last_as_of: LastAsOf = field(default_factory=LastAsOf)
    _tasks: dict[Exchange, _Reading] = field(default_factory=dict, init=False)
    _wrong: dict[Exchange, ClockWrong] = field(default_factory=dict, init=False)
    _judged: set[Exchange] = field(default_factory=set, init=False)
    _last: LastAsOf = field(init=False)  # before this run, as no clock is its own witness

    def __post_init__(self) -> None:
        self._last = copy(self.last_as_of)

    async def __aenter__(self) -> Self:
        for exchange in sorted(set(self.exchanges)):
            self._tasks[exchange] = asyncio.create_task(self._read(exchange))
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

    async def present(self) -> Present:
        """The time by the clocks of the exchanges that answered within GRACE_S of the first.

        Waits up to LONGEST_UNSUPPORTED_S while no witness agrees with any of them. Raises
        CollectionFailed if none answers or none is believed, or if the time would go back behind
        the stored document and one clock alone says so. Where it would go back by no more than
        clocks may differ, waits until it does not.
        """
        waiting = set(self._tasks.values())
        while waiting and not self._answered():
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if waiting:
            _, waiting = await asyncio.wait(waiting, timeout=GRACE_S)
        await self._wait_for_support(waiting)
        answered = self._answered()
        if not answered:
            raise CollectionFailed(self._errors())
        times, others = _now(answered), self._others()
        verdict = judge(times, others)
        self._judged.update(answered)
        for exchange, cause in verdict.wrong.items():
            self._refuse(exchange, cause)
        if not verdict.believed:
            raise CollectionFailed(
                f"{self._errors()}; no clock can be believed: check this machine's clock"
            )
        if self.stored_as_of_ms is not None:
            try:
                check_not_older(verdict, times, others, self.stored_as_of_ms)
            except ClocksDisagree as error:
                raise CollectionFailed(str(error)) from None
        if verdict.warnings:
            differences = "; ".join(verdict.warnings.values())
            _throttled.warning("exchange_clocks_differ", differences=differences)
        clocks = {exchange: answered[exchange] for exchange in sorted(verdict.believed)}
        present = Present(
            min(clock.server_ms for clock in clocks.values()),
            clocks,
            dict(sorted({**self._contradicted(), **verdict.warnings, **verdict.wrong}.items())),
        )
        if _is_confirmed([times[exchange] for exchange in clocks], others):
            self.last_as_of.believe(present.slowest().now_ms())
        return await self._not_behind_stored(present)

    async def _not_behind_stored(self, present: Present) -> Present:
        """Waits until the slowest clock has reached the stored document's `as_of`, if it is at most
        TOLERANCE_MS behind: an older document must not follow a newer one."""
        stored_ms, slowest = self.stored_as_of_ms, present.slowest()
        if stored_ms is None or present.as_of_ms >= stored_ms:
            return present
        if stored_ms - slowest.now_ms() > TOLERANCE_MS:
            return present  # the stored document is of a wrong clock
        while (behind_ms := stored_ms - slowest.now_ms()) > 0:
            await self.run.sender.clock.sleep(behind_ms / 1000)
        return replace(present, as_of_ms=stored_ms)

    async def clock(self, exchange: Exchange) -> ExchangeClock:
        """Waits for the exchange's clock.

        Raises ExchangeError if reading it failed, ClockWrong if it is not believed.
        """
        result = await asyncio.shield(self._tasks[exchange])
        if isinstance(result, ExchangeError):
            raise result
        if exchange not in self._judged:  # it came after the others
            self._judged.add(exchange)
            verdict = judge(_now(self._answered()), self._others())
            if exchange in verdict.wrong:
                self._refuse(exchange, verdict.wrong[exchange])
        if exchange in self._wrong:
            raise self._wrong[exchange]
        return result

    async def check_not_behind(self, exchange: Exchange, as_of_ms: int) -> None:
        """Waits for the exchange's clock and checks that it has reached `as_of_ms`.

        Raises ExchangeError if it has not, as forming candles would count as closed, if reading it
        failed, or if it is not believed.
        """
        clock = await self.clock(exchange)
        behind_ms = as_of_ms - clock.now_ms()
        if behind_ms > 0:
            raise BadPayload(
                f"server time came late and is {behind_ms} ms behind the other exchanges",
                exchange=exchange,
                endpoint=Endpoint.TIME,
            )

    async def _wait_for_support(
        self, waiting: set[asyncio.Task[ExchangeClock | ExchangeError]]
    ) -> None:
        """Waits for more clocks while no witness agrees with any that was read."""
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + LONGEST_UNSUPPORTED_S
        while waiting and not judge(_now(self._answered()), self._others()).supported:
            done, waiting = await asyncio.wait(
                waiting, timeout=until_s - now_s(), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                return

    def _answered(self) -> dict[Exchange, ExchangeClock]:
        """The clocks that were read and are not known to be wrong."""
        return {
            exchange: clock
            for exchange, task in self._tasks.items()
            if task.done()
            and isinstance(clock := task.result(), ExchangeClock)
            and exchange not in self._wrong
        }

    def _contradicted(self) -> dict[Exchange, str]:
        """By exchange, how far its clock is off from the headers of its own answer."""
        return {
            exchange: error.cause
            for exchange, task in self._tasks.items()
            if task.done() and isinstance(error := task.result(), ClockWrong)
        }

    def _others(self) -> list[Witness]:
        last = self._last.witness(self.stored_as_of_ms)
        machine = Witness(MACHINE, self.run.sender.clock.wall_ms())
        return [machine] if last is None else [machine, last]

    def _refuse(self, exchange: Exchange, cause: str) -> None:
        log.warning("exchange_clock_wrong", exchange=exchange, cause=cause)
        self._wrong[exchange] = ClockWrong(cause, exchange=exchange, endpoint=Endpoint.TIME)

    def _errors(self) -> str:
        errors = [
            self._wrong.get(exchange) or task.result()
            for exchange, task in self._tasks.items()
            if task.done()
        ]
        return "; ".join(map(str, errors))

    async def _read(self, exchange: Exchange) -> ExchangeClock | ExchangeError:
        request = listing_request(exchange, Endpoint.TIME)
        clock = self.run.sender.clock
        try:
            server_ms = await fetch_simple(self.run, request, partial(self._parse, exchange))
        except ExchangeError as error:
            log.warning("exchange_time_unavailable", exchange=exchange, cause=str(error))
            return error
        self.last_as_of.offsets_ms[exchange] = server_ms - clock.wall_ms()
        return ExchangeClock(server_ms, clock.monotonic_s, clock.monotonic_s())

    def _parse(self, exchange: Exchange, body: bytes) -> int:
        """The server time; raises ClockWrong if the headers of the same answer contradict it.

        A cache in front of the exchange may keep an answer, and a front end's clock may be wrong.
        """
        server_ms = parse_server_time(exchange, body)
        offset_ms = server_ms - self.run.sender.clock.wall_ms()
        self.run.sender.counts.clock_read(exchange, offset_ms / 1000)
        header_ms = self.run.counts.header_time_ms.get(exchange)
        if header_ms is None:
            return server_ms
        ahead_ms = server_ms - header_ms
        if not -TOLERANCE_MS <= ahead_ms < TOLERANCE_MS + _SECOND_MS:
            side = "ahead of" if ahead_ms > 0 else "behind"
            raise ClockWrong(
                f"{exchange}'s clock is {abs(ahead_ms) / 1000:.0f} s {side} the Date header"
                " (and Age) of its own answer",
                exchange=exchange,
                endpoint=Endpoint.TIME,
            )
        return server_ms


def _is_confirmed(clocks: Sequence[int], others: Sequence[Witness]) -> bool:
    """Whether another witness agrees with the smallest clock. Only then may its time become the
    last `as_of`: it would be a second witness for that same clock."""
    smallest, *rest = sorted(clocks)
    witnesses = [Witness("", time_ms) for time_ms in rest]
    witnesses += [other for other in others if not other.at_least]
    return any(witness.agrees(Witness("", smallest)) for witness in witnesses)


def _now(clocks: Mapping[Exchange, ExchangeClock]) -> dict[Exchange, int]:
    return {exchange: clock.now_ms() for exchange, clock in clocks.items()}
