"""In which order series are asked for, what becomes of failures, and within which share."""

import pytest

from budgets.exchange_client import ExchangeClient
from budgets.request_counts import RequestCounts
from config import load_settings
from data_collector.interest_answers import Answer, InterestAnswers
from data_collector.interest_fetching import (
    InterestFetching,
    SharingSender,
    share_beside_collections,
)
from data_collector.interest_fill import Series, plan_series
from data_collector.run import MAX_FAILURES_IN_A_ROW, CollectionRun
from market.markets import Exchange, Market
from market.timeframes import COLLECTED, HOUR_MS, Timeframe
from tests.fixtures.scripted import Scripted, history, query_of
from venues.errors import BadRequest, Restricted
from venues.venue import Endpoint, Request

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
NOW_MS = 1_795_185_441_250
M5, M15, M30, H1, H2, H4, H6, H8, H12, D1 = Timeframe
HOURS = Series(H1, H1.floor(NOW_MS) - 9 * HOUR_MS, H1.floor(NOW_MS), (H1, H2))
GRID = range(HOURS.first_ms, HOURS.last_ms + 1, HOUR_MS)


def markets(count: int, exchange: Exchange = BINANCE) -> list[Market]:
    return [
        Market(exchange, f"X{number}USDT", "X", "USDT", native="XUSDT") for number in range(count)
    ]


async def fetched(
    sender: Scripted, wishes: list[tuple[Market, Series]]
) -> tuple[InterestAnswers, list[tuple[str, Answer]], CollectionRun]:
    answers, told, run = InterestAnswers(), list[tuple[str, Answer]](), CollectionRun(sender)
    fetching = InterestFetching(
        run, answers, NOW_MS, lambda key, answer: told.append((key, answer))
    )
    await fetching.fetch(wishes)
    return answers, told, run


async def test_series_that_complete_the_most_documents_are_asked_for_first() -> None:
    """Of every market the hours, then of every market what is shorter, both exchanges at once."""
    sender = Scripted(history(GRID))
    sender.concurrency = 1
    spans = {each: (each.window_start(NOW_MS, 90), each.floor(NOW_MS)) for each in COLLECTED}
    ours = [*markets(2), *markets(2, BYBIT)]
    wishes = [
        (each, series) for each in ours for series in plan_series(each.exchange, spans, NOW_MS)
    ]
    await fetched(sender, wishes)
    for exchange, name in ((BINANCE, "period"), (BYBIT, "intervalTime")):
        periods = [query_of(each)[name] for each in sender.sent if each.exchange is exchange]
        changes = [
            later
            for earlier, later in zip(["", *periods], periods, strict=False)
            if earlier != later
        ]
        long = [each for each in changes if each.endswith(("h", "d"))]
        assert changes[: len(long)] == long
        assert [each.removesuffix("in") for each in changes[len(long) :]] == ["5m", "15m", "30m"]
    half = len(sender.sent) // 4
    assert {each.exchange for each in sender.sent[:half]} == {BINANCE, BYBIT}


async def test_an_answer_has_its_snapshots_and_is_told_of() -> None:
    market = markets(1)[0]
    answers, told, run = await fetched(Scripted(history(GRID)), [(market, HOURS)])
    assert [(key, answer.reason) for key, answer in told] == [(market.key, None)]
    assert list(told[0][1].snapshots) == [(time_ms, 4.0) for time_ms in GRID]
    assert answers.get(market.key, H2, (HOURS.first_ms, HOURS.last_ms), HOURS.last_ms) is told[0][1]
    assert run.requests == 1


async def test_a_failure_is_its_market_s_alone() -> None:
    one, other = markets(2)

    def answer(request: Request) -> bytes:
        if request.symbol == one.symbol:
            raise BadRequest("no such thing", exchange=BINANCE, status=400)
        return history(GRID)(request)

    answers, told, _ = await fetched(Scripted(answer), [(one, HOURS), (other, HOURS)])
    assert {key: each.reason for key, each in told} == {
        one.key: "no such thing (HTTP 400)",
        other.key: None,
    }
    assert len(answers) == 2


async def test_an_unexpected_exception_is_its_market_s_alone() -> None:
    one, other = markets(2)

    def answer(request: Request) -> bytes:
        if request.symbol == one.symbol:
            raise ZeroDivisionError
        return history(GRID)(request)

    _, told, _ = await fetched(Scripted(answer), [(one, HOURS), (other, HOURS)])
    assert {key: each.reason for key, each in told} == {
        one.key: "internal error: ZeroDivisionError",
        other.key: None,
    }


@pytest.mark.parametrize("at_once", [True, False])
async def test_markets_of_an_exchange_that_is_not_asked_any_more_have_no_answer(
    at_once: bool,
) -> None:
    def answer(request: Request) -> bytes:
        if request.exchange is BYBIT:
            return history(GRID)(request)
        if at_once:
            raise Restricted("not served here", exchange=BINANCE)
        return b"<html>"

    ours, others = markets(3 * MAX_FAILURES_IN_A_ROW), markets(3, BYBIT)
    answers, told, run = await fetched(
        Scripted(answer), [(each, HOURS) for each in [*ours, *others]]
    )
    assert run.reason_to_skip(BINANCE, Endpoint.OPEN_INTEREST) is not None
    failed = [key for key, each in told if each.reason is not None]
    assert len(failed) == (0 if at_once else MAX_FAILURES_IN_A_ROW - 1)
    assert {key for key, each in told if each.reason is None} == {each.key for each in others}
    answers.forget_failures("binance:")
    assert len(answers) == len(others)


async def test_a_series_that_is_served_no_more_is_answered_by_nothing() -> None:
    market, old_ms = markets(1)[0], H1.floor(NOW_MS) - 31 * 24 * HOUR_MS
    sender = Scripted(history(GRID))
    _, told, _ = await fetched(sender, [(market, Series(H1, old_ms, old_ms, (H1,)))])
    assert [(len(each.snapshots), each.reason) for _, each in told] == [(0, None)]
    assert not sender.sent


@pytest.mark.parametrize(
    ("count", "share"),
    # 900 requests in five minutes, and 1.1 for each market
    [(0, 0.5), (400, 0.5), (450, 0.45), (540, 0.34), (675, 0.25), (900, 0.25), (5000, 0.25)],
)
def test_the_share_leaves_a_collection_its_requests_for_each_market(
    count: int, share: float
) -> None:
    client = ExchangeClient(load_settings(rate_fraction=0.9))
    assert share_beside_collections(client, BINANCE, count) == pytest.approx(share)
    # 9 requests in two seconds of each market, of which a collection needs one
    assert share_beside_collections(client, Exchange.OKX, count) == 0.5


async def test_requests_are_sent_within_the_share_of_their_exchange() -> None:
    shares: list[float] = []

    class Client(Scripted):
        async def send(self, request: Request, counts: RequestCounts, share: float = 0.0) -> bytes:
            shares.append(share)
            return await super().send(request, counts)

    client = Client(history(GRID))
    run = CollectionRun(SharingSender(client, {BINANCE: 0.4}))  # type: ignore[arg-type]
    await InterestFetching(run, InterestAnswers(), NOW_MS).fetch(
        [(each, HOURS) for each in (*markets(1), *markets(1, BYBIT))]
    )
    assert sorted(shares) == [0.4, 1.0]
