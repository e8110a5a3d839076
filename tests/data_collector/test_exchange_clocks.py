"""Reading the exchanges' clocks: what is waited for, believed, refused and told."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from budgets.headers import answered_at_ms
from budgets.request_counts import RequestCounts
from data_collector import exchange_clocks
from data_collector.clock_witnesses import LastAsOf
from data_collector.exchange_clocks import Clocks, ExchangeClock
from data_collector.run import CollectionRun
from logging_setup import ThrottledLog
from market.markets import Exchange
from metrics.exchanges import ExchangeMetrics
from tests.fixtures.clock import ManualClock
from tests.fixtures.exchange_answers import ANSWERS
from timing.clock import Clock
from venues.errors import BadPayload, ClockWrong, CollectionFailed, ExchangeError, Restricted
from venues.venue import Endpoint, Request

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
NOW = 1_795_185_441_250
S, H = 1000, 3_600_000


class Answers:
    """A sender that tells times; `held`: exchanges whose answer waits for `release`."""

    def __init__(self, times: Mapping[Exchange, int | ExchangeError], *held: Exchange) -> None:
        self.times = dict(times)
        self.clock: Clock = ManualClock(wall_ms=NOW)
        self.concurrency = 1
        self.registry = CollectorRegistry()
        self.counts = RequestCounts(metrics=ExchangeMetrics(self.registry))
        self.header_time_ms: dict[Exchange, int | None] = {}
        self.release = asyncio.Event()
        self.asked = asyncio.Event()
        self._held = held

    async def send(self, request: Request, counts: RequestCounts) -> bytes:
        if request.exchange in self._held:
            self.asked.set()
            await self.release.wait()
        found = self.times[request.exchange]
        if isinstance(found, ExchangeError):
            raise found
        counts.header_time_ms[request.exchange] = self.header_time_ms.get(request.exchange)
        return ANSWERS[request.exchange].clock(found)


def clocks(answers: Answers, **options: Any) -> Clocks:
    return Clocks(CollectionRun(answers), list(answers.times), **options)


def restricted(exchange: Exchange) -> Restricted:
    return Restricted("not here", exchange=exchange)


# --- what is believed ----------------------------------------------------------------------------


async def test_the_smallest_of_the_believed_clocks_counts() -> None:
    answers = Answers({BINANCE: NOW + 4 * S, BYBIT: NOW - 5 * S})
    async with clocks(answers) as reading:
        present = await reading.present()
    assert present.as_of_ms == NOW - 5 * S
    assert (set(present.clocks), present.remarks) == ({BINANCE, BYBIT}, {})


@pytest.mark.parametrize("off_ms", [-3 * H, 3 * H, -3 * 365 * 24 * H, -11 * S, 11 * S])
async def test_a_wrong_clock_costs_its_exchange_alone(off_ms: int) -> None:
    answers = Answers({BINANCE: NOW, BYBIT: NOW + off_ms})
    async with clocks(answers) as reading:
        present = await reading.present()
        assert (present.as_of_ms, set(present.clocks)) == (NOW, {BINANCE})
        side = "behind" if off_ms < 0 else "ahead of"
        reason = (
            f"bybit's clock is {abs(off_ms) // S} s {side} binance's clock and this machine's clock"
        )
        assert present.remarks == {BYBIT: reason}
        await reading.check_not_behind(BINANCE, NOW)
        with pytest.raises(ClockWrong) as refused:
            await reading.check_not_behind(BYBIT, NOW)
        assert (refused.value.cause, refused.value.exchange) == (reason, BYBIT)
        with pytest.raises(ClockWrong):
            await reading.clock(BYBIT)


@pytest.mark.parametrize(
    ("behind_ms", "waited_s", "as_of_ms"),
    [
        *((-1, 0, NOW + 1), (0, 0, NOW), (1, 0.001, NOW), (4 * S, 4, NOW), (10 * S, 10, NOW)),
        # What was published is of a wrong clock, and is replaced.
        (10 * S + 1, 0, NOW - 10 * S - 1),
    ],
)
async def test_what_lies_a_little_behind_the_stored_document_is_waited_for(
    behind_ms: int, waited_s: float, as_of_ms: int
) -> None:
    answers = Answers({BINANCE: NOW - behind_ms + 2 * S, BYBIT: NOW - behind_ms})
    answers.clock = clock = ManualClock(wall_ms=NOW - behind_ms)
    last = LastAsOf(lambda: 0.0)
    async with clocks(answers, stored_as_of_ms=NOW, last_as_of=last) as reading:
        present = await reading.present()
        assert (present.as_of_ms, set(present.clocks)) == (as_of_ms, {BINANCE, BYBIT})
        assert clock.now == pytest.approx(waited_s, abs=0.002)
        for exchange in (BINANCE, BYBIT):
            await reading.check_not_behind(exchange, as_of_ms)


async def test_both_ahead_together_end_the_run() -> None:
    last = LastAsOf(lambda: 0.0)
    answers = Answers({BINANCE: NOW, BYBIT: NOW})
    async with clocks(answers, last_as_of=last) as reading:
        await reading.present()
    answers = Answers({BINANCE: NOW + H, BYBIT: NOW + H})
    for _ in range(2):  # what was refused is no witness later
        async with clocks(answers, last_as_of=last) as reading:
            with pytest.raises(CollectionFailed) as failed:
                await reading.present()
    told = str(failed.value)
    assert "binance's clock is 3600 s ahead of this machine's clock and the last as_of" in told
    assert "bybit's clock is 3600 s ahead of" in told
    assert "check this machine's clock" in told


async def test_this_machine_alone_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    last = LastAsOf(lambda: 0.0)
    answers = Answers({BINANCE: NOW, BYBIT: NOW + S})
    answers.clock = ManualClock(wall_ms=NOW + 5 * H)
    throttled = ThrottledLog(exchange_clocks.log)
    monkeypatch.setattr(exchange_clocks, "_throttled", throttled)
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            async with clocks(answers, last_as_of=last) as reading:
                present = await reading.present()
    assert present.as_of_ms == NOW
    assert set(present.clocks) == {BINANCE, BYBIT}
    assert present.remarks[BINANCE] == "binance's clock is 18000 s behind this machine's clock"
    (warning,) = [line for line in logged if line["event"] == "exchange_clocks_differ"]
    assert warning["log_level"] == "warning"
    assert "bybit's clock is 17999 s behind this machine's clock" in warning["differences"]


async def test_one_exchange_is_not_believed_against_our_own_elapsed_time() -> None:
    passed = 0.0
    last = LastAsOf(lambda: passed)
    answers = Answers({BINANCE: NOW})
    async with clocks(answers, last_as_of=last) as reading:
        await reading.present()
    passed, clock = 600.0, ManualClock(wall_ms=NOW + 600 * S)
    answers.clock = clock
    answers.times[BINANCE] = NOW + 600 * S + H
    async with clocks(answers, last_as_of=last) as reading:
        with pytest.raises(CollectionFailed, match=r"3600 s ahead of .* and the last as_of"):
            await reading.present()
    answers.times[BINANCE] = NOW + 600 * S
    async with clocks(answers, last_as_of=last) as reading:
        assert (await reading.present()).as_of_ms == NOW + 600 * S


async def test_a_clock_that_nothing_confirmed_is_no_witness_for_itself() -> None:
    """Bybit alone answered first, hours behind; Binance comes back with the right time."""
    last = LastAsOf(lambda: 0.0)
    answers = Answers({BYBIT: NOW - 3 * H})
    async with clocks(answers, last_as_of=last) as reading:
        assert (await reading.present()).as_of_ms == NOW - 3 * H
    answers = Answers({BINANCE: NOW, BYBIT: NOW - 3 * H})
    async with clocks(answers, last_as_of=last) as reading:
        present = await reading.present()
    assert (present.as_of_ms, list(present.clocks)) == (NOW, [BINANCE])


# --- behind the stored document ------------------------------------------------------------------


async def test_an_older_document_is_never_a_success() -> None:
    answers = Answers({BINANCE: NOW - 3 * H, BYBIT: restricted(BYBIT)})
    answers.clock = ManualClock(wall_ms=NOW - 9 * H)  # nobody agrees with anybody
    async with clocks(answers, stored_as_of_ms=NOW) as reading:
        with pytest.raises(CollectionFailed) as failed:
            await reading.present()
    assert "binance's clock is 10800 s behind the stored document's as_of" in str(failed.value)


@pytest.mark.parametrize("times", [{BINANCE: NOW, BYBIT: NOW + S}, {BYBIT: NOW}])
async def test_a_stored_document_of_the_future_is_replaced(times: dict[Exchange, int]) -> None:
    last = LastAsOf(lambda: 0.0)
    last.believe(NOW + 90 * 24 * H)  # this process believed it too
    answers = Answers(times)
    async with clocks(answers, stored_as_of_ms=NOW + 90 * 24 * H, last_as_of=last) as reading:
        assert (await reading.present()).as_of_ms == NOW
    witness = last.witness(None)
    assert witness is not None and witness.time_ms == NOW  # healed


# --- who is waited for ---------------------------------------------------------------------------


async def test_a_silent_exchange_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_clocks, "GRACE_S", 0.01)
    answers = Answers({BINANCE: NOW, BYBIT: NOW}, BYBIT)
    async with clocks(answers) as reading:
        assert (await reading.present()).as_of_ms == NOW


async def test_it_is_while_nothing_agrees_with_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_clocks, "GRACE_S", 0.01)
    answers = Answers({BINANCE: NOW - 3 * H, BYBIT: NOW}, BYBIT)
    async with clocks(answers) as reading:
        present = asyncio.create_task(reading.present())
        await answers.asked.wait()
        await asyncio.sleep(0.05)  # longer than the grace
        assert not present.done()
        answers.release.set()
        found = await present
    assert (found.as_of_ms, set(found.clocks)) == (NOW, {BYBIT})
    # Not for ever.
    monkeypatch.setattr(exchange_clocks, "LONGEST_UNSUPPORTED_S", 0.01)
    answers = Answers({BINANCE: NOW - 3 * H, BYBIT: NOW}, BYBIT)
    async with clocks(answers) as reading:
        assert (await reading.present()).as_of_ms == NOW - 3 * H


@pytest.mark.parametrize(
    ("late_ms", "error"),
    [
        (NOW + 2 * S, None),
        (NOW, None),
        (NOW - 1, "server time came late and is 1 ms behind the other exchanges"),
        (NOW - 10 * S, "server time came late and is 10000 ms behind the other exchanges"),
        (NOW - 3 * H, "bybit's clock is 10800 s behind binance's clock and this machine's clock"),
        (NOW + 3 * H, "bybit's clock is 10800 s ahead of binance's clock and this machine's clock"),
    ],
)
async def test_a_late_clock_is_compared(
    monkeypatch: pytest.MonkeyPatch, late_ms: int, error: str | None
) -> None:
    monkeypatch.setattr(exchange_clocks, "GRACE_S", 0.01)
    answers = Answers({BINANCE: NOW, BYBIT: late_ms}, BYBIT)
    async with clocks(answers) as reading:
        present = await reading.present()
        answers.release.set()
        if error is None:
            await reading.check_not_behind(BYBIT, present.as_of_ms)
            return
        with pytest.raises(BadPayload if "came late" in error else ClockWrong) as refused:
            await reading.check_not_behind(BYBIT, present.as_of_ms)
        assert refused.value.cause == error


# --- the headers of the same answer --------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "believed"),
    [
        ({"Date": "Fri, 20 Nov 2026 14:37:21 GMT"}, True),
        ({"Date": "Fri, 20 Nov 2026 14:37:31 GMT"}, True),
        ({"Date": "Fri, 20 Nov 2026 14:37:32 GMT"}, False),
        ({"Date": "Fri, 20 Nov 2026 14:37:11 GMT"}, True),
        ({"Date": "Fri, 20 Nov 2026 14:37:09 GMT"}, False),
        # A cache has kept the answer for five minutes.
        ({"Date": "Fri, 20 Nov 2026 14:37:21 GMT", "Age": "300"}, False),
        ({"Date": "Fri, 20 Nov 2026 14:37:21 GMT", "Age": "5"}, True),
        # What cannot be read says nothing.
        ({}, True),
        ({"Date": ""}, True),
        ({"Date": "soon"}, True),
        ({"Date": "Fri, 20 Nov 99999999999999999999 14:37:09 GMT"}, True),
        ({"Date": "Fri, 20 Nov 2026 14:37:21 GMT", "Age": "-300"}, True),
        ({"Date": "Fri, 20 Nov 2026 14:37:21 GMT", "Age": "9" * 5000}, True),
        ({"Date": "Fri, 20 Nov 2026 14:37:21 GMT", "Age": "٣٠٠"}, True),
        ({"Date": "9" * 5000}, True),
    ],
)
async def test_the_date_of_its_own_answer_is_compared(
    headers: dict[str, str], believed: bool
) -> None:
    answers = Answers({BINANCE: NOW, BYBIT: NOW})  # 14:37:21.250
    answers.header_time_ms[BYBIT] = answered_at_ms(headers)
    async with clocks(answers) as reading:
        present = await reading.present()
        assert (BYBIT in present.clocks) is believed
        if not believed:
            with pytest.raises(ClockWrong, match=r"bybit's clock is \d+ s .* Date header"):
                await reading.clock(BYBIT)


async def test_the_offset_is_measured_although_the_clock_is_wrong() -> None:
    answers = Answers({BINANCE: NOW + 1500, BYBIT: NOW - 3 * H})
    answers.header_time_ms[BYBIT] = NOW
    async with clocks(answers) as reading:
        await reading.present()
    name = "perpcache_exchange_clock_offset_seconds"
    for exchange, offset_s in ((BINANCE, 1.5), (BYBIT, -10800)):
        assert answers.registry.get_sample_value(name, {"exchange": exchange}) == offset_s


# --- edges ---------------------------------------------------------------------------------------


def test_a_clock_goes_on_from_when_it_was_read() -> None:
    now_s = 2.0
    clock = ExchangeClock(NOW, lambda: now_s, 2.0)
    assert clock.now_ms() == NOW
    now_s = 3.5
    assert clock.now_ms() == NOW + 1500
    now_s = 2.0009  # never ahead of the exchange
    assert clock.now_ms() == NOW


async def test_no_clock_at_all_ends_the_run_with_the_causes() -> None:
    answers = Answers({BINANCE: restricted(BINANCE), BYBIT: restricted(BYBIT)})
    async with clocks(answers) as reading:
        with pytest.raises(CollectionFailed) as failed:
            await reading.present()
    assert str(failed.value) == "binance: not here; bybit: not here"


async def test_the_first_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_clocks, "GRACE_S", 0.0)
    monkeypatch.setattr(exchange_clocks, "LONGEST_UNSUPPORTED_S", 0.0)
    answers = Answers({BINANCE: NOW}, BINANCE)
    async with clocks(answers) as reading:
        present = asyncio.create_task(reading.present())
        for _ in range(50):
            await asyncio.sleep(0)
        answers.release.set()
        assert (await present).as_of_ms == NOW


async def test_readings_have_ended_when_the_clocks_are_closed() -> None:
    answers = Answers({BINANCE: NOW, BYBIT: NOW}, BINANCE, BYBIT)
    async with clocks(answers) as reading:
        await answers.asked.wait()
        tasks = [asyncio.create_task(reading.clock(exchange)) for exchange in (BINANCE, BYBIT)]
        await asyncio.sleep(0)
    ended = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert set(ended) <= set(tasks)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)


async def test_a_wrong_clock_is_an_error_of_the_request_for_the_time() -> None:
    answers = Answers({BINANCE: NOW, BYBIT: NOW + H})
    async with clocks(answers) as reading:
        await reading.present()
        with pytest.raises(ClockWrong) as refused:
            await reading.clock(BYBIT)
    assert (refused.value.exchange, refused.value.endpoint) == (BYBIT, Endpoint.TIME)


async def test_all_warnings_are_logged_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_clocks, "_throttled", ThrottledLog(exchange_clocks.log))
    answers = Answers({BINANCE: NOW + H, BYBIT: NOW + H})
    with structlog.testing.capture_logs() as logs:
        async with clocks(answers) as reading:
            await reading.present()
    (differences,) = [log["differences"] for log in logs if "differences" in log]
    ahead = "'s clock is 3600 s ahead of this machine's clock"
    assert differences == f"binance{ahead}; bybit{ahead}"
