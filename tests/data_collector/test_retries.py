"""Which requests are repeated, how often and when; and whose matter a refusal is."""

from collections import Counter
from collections.abc import Sequence

import pytest

from data_collector.retries import fetch_simple
from data_collector.run import (
    MAX_FAILURES_IN_A_ROW,
    RETRIED_SHARE,
    RETRIES,
    CollectionRun,
    work_through,
)
from data_collector.url_builder import history_request, listing_request
from market.markets import Exchange, Market
from market.timeframes import Timeframe
from tests.fixtures.clock import ManualClock
from tests.fixtures.scripted import Scripted, error_of, failing
from venues.errors import (
    BadPayload,
    Banned,
    Blocked,
    ExchangeError,
    Restricted,
    SourceDown,
    TooFast,
    TurnedAway,
)
from venues.venue import Endpoint, Request

TIME = listing_request(Exchange.BYBIT, Endpoint.TIME)

# --- refusals of one market or of the exchange ---------------------------------------------------

MARKETS = [Market(Exchange.BYBIT, f"X{n}USDT", f"X{n}", "USDT") for n in range(60)]


def _klines(market: Market) -> Request:
    return history_request(
        market, Endpoint.KLINES, start_ms=0, end_ms=1, limit=1, period=Timeframe.H4
    )


async def _ask_all(run: CollectionRun, markets: Sequence[Market]) -> Counter[str]:
    """Asks for all markets; the results by the error's class, or ok."""
    results: Counter[str] = Counter()

    async def work(market: Market) -> None:
        try:
            await fetch_simple(run, _klines(market), bytes)
            results["ok"] += 1
        except ExchangeError as error:
            results[type(error).__name__] += 1

    await work_through(
        run, markets, lambda market: market.exchange, work, lambda item, error: None, workers=5
    )
    return results


async def test_a_market_that_is_refused_is_its_own_matter() -> None:
    def answer(request: Request) -> bytes:
        if request.symbol in ("X7USDT", "X30USDT", "X31USDT"):
            raise Blocked("403 Forbidden", exchange=Exchange.BYBIT, status=403)
        return b"fine"

    sender = Scripted(answer)
    run = CollectionRun(sender)
    assert await _ask_all(run, MARKETS) == {"ok": 57, "Blocked": 3}
    # One question to the clock decides for all of them, and none of them is repeated.
    asked = Counter(request.endpoint for request in sender.sent)
    assert asked == {Endpoint.KLINES: 60, Endpoint.TIME: 1}
    # Later it may have changed.
    assert isinstance(sender.clock, ManualClock)
    sender.clock.now += 31
    await _ask_all(run, MARKETS[7:8])
    assert sum(request.endpoint is Endpoint.TIME for request in sender.sent) == 2


@pytest.mark.parametrize("kind", [Banned, Restricted, TurnedAway])
async def test_an_exchange_whose_clock_is_refused_too_is_left_alone(
    kind: type[ExchangeError],
) -> None:
    def answer(request: Request) -> bytes:
        if request.endpoint is Endpoint.TIME:
            raise error_of(kind)
        raise Blocked("403 Forbidden", exchange=Exchange.BYBIT, status=403)

    sender = Scripted(answer)
    run = CollectionRun(sender)
    results = await _ask_all(run, MARKETS)
    # What was under way when the first refusal came is refused as well; nothing more is sent.
    assert results["Blocked"] <= 5
    assert results["GaveUp"] == 60 - results["Blocked"]
    assert sum(request.endpoint is Endpoint.TIME for request in sender.sent) == 1
    run.reset_failures()
    assert run.reason_to_skip(Exchange.BYBIT, Endpoint.TICKERS) is not None
    assert run.reason_to_skip(Exchange.BINANCE, Endpoint.TICKERS) is None


async def test_an_endpoint_that_is_refused_for_everybody_is_left_alone() -> None:
    def answer(request: Request) -> bytes:
        if request.endpoint is Endpoint.TIME:
            return b"fine"
        raise Blocked("403 Forbidden", exchange=Exchange.BYBIT, status=403)

    run = CollectionRun(Scripted(answer))
    results = await _ask_all(run, MARKETS)
    assert MAX_FAILURES_IN_A_ROW <= results["Blocked"] < MAX_FAILURES_IN_A_ROW + 5
    assert run.reason_to_skip(Exchange.BYBIT, Endpoint.TIME) is None


# --- retries -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SourceDown, BadPayload, TooFast])
async def test_an_exchange_in_trouble_gets_few_requests_more(
    kind: type[ExchangeError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other request fails, always: without a bound each would be sent several times."""
    monkeypatch.setattr("data_collector.run.MAX_FAILURES_IN_A_ROW", 10**6)
    markets = [Market(Exchange.BYBIT, f"X{n}USDT", f"X{n}", "USDT") for n in range(400)]

    def answer(request: Request) -> bytes:
        if request.symbol is not None and int(request.symbol[1:-4]) % 2:
            raise error_of(kind)
        return b"fine"

    sender = Scripted(answer)
    run = CollectionRun(sender)
    results = await _ask_all(run, markets)
    assert results["ok"] == 200
    assert len(sender.sent) == 400 + run.retries
    assert run.retries == RETRIES + RETRIED_SHARE * 400
    # The second pass over failed markets has retries of its own.
    run.reset_failures()
    await _ask_all(run, markets[1:2])
    assert run.retries > RETRIES + RETRIED_SHARE * 401


async def test_some_requests_that_fail_are_repeated_until_they_succeed() -> None:
    tries: Counter[str | None] = Counter()

    def answer(request: Request) -> bytes:
        tries[request.symbol] += 1
        if request.symbol in ("X3USDT", "X5USDT", "X8USDT") and tries[request.symbol] < 5:
            raise error_of(SourceDown)
        return b"fine"

    assert await _ask_all(CollectionRun(Scripted(answer)), MARKETS) == {"ok": 60}


async def test_retries_wait_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 0.5, 1, 2 and 4 s, and by chance anything below."""
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return high

    monkeypatch.setattr("data_collector.retries.random.uniform", uniform)
    sender = failing(*[error_of(SourceDown)] * 4)
    assert await fetch_simple(CollectionRun(sender), TIME, bytes) == b"fine"
    assert drawn == [(0, 0.5), (0, 1), (0, 2), (0, 4)]
    assert sender.clock.monotonic_s() == 7.5
