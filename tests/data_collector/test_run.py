"""Whom a run leaves alone, and for how long; its workers are bounded."""

import asyncio

import pytest

from budgets.request_counts import RequestCounts
from data_collector.retries import TRIES, fetch_simple
from data_collector.run import (
    MAX_FAILURES_IN_A_ROW,
    MAX_LOST_TIME_S,
    CollectionRun,
    work_through,
)
from data_collector.url_builder import listing_request
from market.markets import Exchange
from tests.fixtures.scripted import Scripted, error_of, failing
from venues.errors import (
    Banned,
    ExchangeError,
    GaveUp,
    Restricted,
    SourceDown,
)
from venues.venue import Endpoint, Request

TIME = listing_request(Exchange.BYBIT, Endpoint.TIME)


@pytest.mark.parametrize("kind", [Banned, Restricted])
async def test_an_exchange_that_shuts_us_out_is_left_alone(kind: type[ExchangeError]) -> None:
    sender = failing(error_of(kind))
    run = CollectionRun(sender)
    with pytest.raises(kind):
        await fetch_simple(run, TIME, bytes.decode)
    for endpoint in (Endpoint.TIME, Endpoint.TICKERS):
        with pytest.raises(GaveUp, match="not asked: so"):
            await fetch_simple(run, listing_request(Exchange.BYBIT, endpoint), bytes.decode)
    other = listing_request(Exchange.BINANCE, Endpoint.TIME)
    assert await fetch_simple(run, other, bytes.decode) == "fine"
    run.reset_failures()
    with pytest.raises(GaveUp):
        await fetch_simple(run, TIME, bytes.decode)
    assert run.requests == 2
    # Another job asks for itself.
    assert await fetch_simple(CollectionRun(sender), TIME, bytes.decode) == "fine"


async def test_an_endpoint_that_fails_for_everybody_is_left_alone() -> None:
    down = True

    def answer(request: Request) -> bytes:
        if down and request.endpoint is Endpoint.TIME:
            raise SourceDown("so", exchange=Exchange.BYBIT, status=503)
        return b"fine"

    sender = Scripted(answer)
    run = CollectionRun(sender)
    for _ in range(MAX_FAILURES_IN_A_ROW):
        with pytest.raises(SourceDown):
            await fetch_simple(run, TIME, bytes.decode)
    asked = len(sender.sent)
    with pytest.raises(GaveUp, match="so"):
        await fetch_simple(run, TIME, bytes.decode)
    assert len(sender.sent) == asked
    tickers = listing_request(Exchange.BYBIT, Endpoint.TICKERS)
    assert await fetch_simple(run, tickers, bytes.decode) == "fine"
    down = False
    run.reset_failures()
    assert await fetch_simple(run, TIME, bytes.decode) == "fine"


async def test_one_answer_in_between_keeps_an_endpoint() -> None:
    answers = iter(([False] * (TRIES[SourceDown] * (MAX_FAILURES_IN_A_ROW - 1)) + [True]) * 3)

    def answer(request: Request) -> bytes:
        if not next(answers):
            raise SourceDown("so", exchange=Exchange.BYBIT, status=503)
        return b"fine"

    run = CollectionRun(Scripted(answer))
    for _ in range(3):
        for _ in range(MAX_FAILURES_IN_A_ROW - 1):
            with pytest.raises(SourceDown):
                await fetch_simple(run, TIME, bytes.decode)
        assert await fetch_simple(run, TIME, bytes.decode) == "fine"


async def test_an_exchange_that_says_nothing_at_all_is_left_alone() -> None:
    """Each request has its deadline of 10 s, but there may be hundreds of them."""
    down = True
    sender = Scripted(lambda request: b"fine")
    answer = sender.send

    async def hanging(request: Request, counts: RequestCounts) -> bytes:
        if down:
            await sender.clock.sleep(10)
            raise error_of(SourceDown)
        return await answer(request, counts)

    sender.send = hanging  # type: ignore[method-assign]
    run = CollectionRun(sender)
    for endpoint in (Endpoint.TIME, Endpoint.TICKERS, Endpoint.INSTRUMENTS, Endpoint.TIME):
        with pytest.raises((SourceDown, GaveUp)):
            await fetch_simple(run, listing_request(Exchange.BYBIT, endpoint), bytes.decode)
    assert sender.clock.monotonic_s() <= 45
    # After the reset one deadline is enough.
    run.reset_failures()
    with pytest.raises(GaveUp):
        await fetch_simple(run, TIME, bytes.decode)
    assert sender.clock.monotonic_s() <= 60
    down = False
    run.reset_failures()
    assert await fetch_simple(run, TIME, bytes.decode) == "fine"


async def test_an_endpoint_that_answers_only_now_and_then_is_left_alone() -> None:
    answers = 0
    sender = Scripted(lambda request: b"fine")
    answer = sender.send

    async def hanging(request: Request, counts: RequestCounts) -> bytes:
        nonlocal answers
        if request.endpoint is Endpoint.TIME and (answers := answers + 1) % 3:
            await sender.clock.sleep(10)
            counts.add_lost_time(request, 10)
            raise error_of(SourceDown)
        return await answer(request, counts)

    sender.send = hanging  # type: ignore[method-assign]
    run = CollectionRun(sender)
    with pytest.raises(GaveUp):
        for _ in range(1000):
            await fetch_simple(run, TIME, bytes.decode)
    lost_s = run.counts.lost_s[Exchange.BYBIT, Endpoint.TIME]
    assert (
        MAX_LOST_TIME_S * sender.concurrency < lost_s <= MAX_LOST_TIME_S * sender.concurrency + 10
    )
    run.reset_failures()
    with pytest.raises(GaveUp):
        await fetch_simple(run, TIME, bytes.decode)
    tickers = listing_request(Exchange.BYBIT, Endpoint.TICKERS)
    assert await fetch_simple(run, tickers, bytes.decode) == "fine"


async def test_workers_are_bounded_and_both_exchanges_proceed() -> None:
    running = {exchange: 0 for exchange in Exchange}
    most = dict(running)
    done: list[tuple[Exchange, int]] = []
    items = [(exchange, n) for exchange in Exchange for n in range(50)]

    async def work(item: tuple[Exchange, int]) -> None:
        running[item[0]] += 1
        most[item[0]] = max(most[item[0]], running[item[0]])
        await asyncio.sleep(0)
        running[item[0]] -= 1
        done.append(item)

    await work_through(items, lambda item: item[0], work, workers=7)
    assert sorted(done) == sorted(items)
    assert most == {exchange: 7 for exchange in Exchange}
    assert {exchange for exchange, _ in done[:20]} == set(Exchange)


async def test_an_unexpected_error_ends_all_work_as_itself() -> None:
    started = []

    async def work(item: int) -> None:
        started.append(item)
        await asyncio.sleep(0)
        if item == 3:
            raise ZeroDivisionError("a mistake of ours")

    with pytest.raises(ZeroDivisionError):
        await work_through(range(1000), lambda item: Exchange.BYBIT, work, workers=2)
    assert len(started) < 10
