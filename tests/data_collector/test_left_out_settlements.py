"""Settlements without a rate that can be: left out, told, unknown rates after them, asked again."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from data_collector.data_processing import merge_data
from data_collector.fr_fetcher import FundingUpdate, run_fr_update_process
from data_collector.url_builder import endpoint_table
from documents.building import encode_funding
from documents.reading import decode_funding
from market.candles import Candle
from market.left_out import LeftOut
from market.markets import Exchange, FundingByMarket, FundingSeries, Market
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.exchange_answers import ANSWERS, history_body, window
from tests.fixtures.scripted import Scripted, query_of
from venues.venue import Endpoint, Order, Request

pytestmark = pytest.mark.usefixtures("no_daily_checks")

H8_MS = 8 * HOUR_MS
NOW_MS = 1_795_185_441_250
LAST_MS = NOW_MS - NOW_MS % H8_MS
MARKETS = [Market(exchange, "XUSDT", "X", "USDT") for exchange in Exchange]


class Settling:
    """An exchange with a settlement every eight hours, some of which it sends with other rates."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.now_ms = NOW_MS
        self.rates: dict[int, Any] = {}
        self.sent: dict[int, Callable[[Any], list[Any]]] = {}  # what is sent for a settlement
        self.sender = Scripted(self._answer)

    def _answer(self, request: Request) -> bytes:
        answers = ANSWERS[request.exchange]
        if request.endpoint is Endpoint.TIME:
            return answers.clock(self.now_ms)
        if request.endpoint is not Endpoint.FUNDING:
            following = self.now_ms - self.now_ms % H8_MS + H8_MS
            return answers.rows(
                json.dumps([answers.due(self.market.native, following, 8)]), self.market.native
            )
        start_ms, end_ms = window(request, query_of(request))
        stamps = range(start_ms + -start_ms % H8_MS, min(end_ms, self.now_ms) + 1, H8_MS)
        rows = [
            row
            for at in stamps
            for row in self.sent.get(at, lambda row: [row])(
                answers.settlement(self.market.native, at, self.rates.get(at, f"{at % 997}e-6"))
            )
        ]
        limit = int(query_of(request)["limit"])
        table = endpoint_table(request.exchange, request.endpoint)
        page = rows[-limit:] if table.order is Order.DESCENDING else rows[:limit]
        return history_body(self.market, request.endpoint, page)

    async def update(self, known: FundingByMarket) -> FundingUpdate:
        update = await run_fr_update_process(
            self.sender,
            [self.market],
            known,
            funding_history=30,
            on_progress=lambda done, total: None,
        )
        body = encode_funding(
            update.funding, version=1, as_of_ms=1, updated_at_ms=1, missing=update.missing
        )
        assert decode_funding(body) == update.funding  # also what was left out
        return update


@pytest.mark.parametrize("rate", ["", None, "NaN", "11"])
@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.exchange)
async def test_a_settlement_without_a_rate_is_told_until_it_comes(
    market: Market, rate: Any
) -> None:
    exchange = Settling(market)
    hole_ms = LAST_MS - 5 * H8_MS
    exchange.rates[hole_ms] = rate
    book: FundingByMarket = {}
    for later_ms in (0, HOUR_MS, H8_MS):
        exchange.now_ms = NOW_MS + later_ms
        update = await exchange.update(book)
        book = update.funding
        (lack,) = update.missing
        assert lack.reason.startswith(f"row at {hole_ms} left out: ")
        assert (lack.symbol, lack.part) == ("XUSDT", "funding_rate")
        stamps = [row[0] for row in book[market.key].rows]
        assert hole_ms not in stamps
        assert stamps[-1] == exchange.now_ms - exchange.now_ms % H8_MS
    # The exchange corrects it: it comes with the next settlement.
    exchange.rates.clear()
    exchange.now_ms += H8_MS
    update = await exchange.update(book)
    assert update.missing == []
    assert hole_ms in [row[0] for row in update.funding[market.key].rows]


def field_of(row: Any, what: str) -> str:
    return next(a.settled[what] for a in ANSWERS.values() if a.settled["time"] in row
                and a.settled["symbol"] in row and a.settled["rate"] in row)  # fmt: skip


def changed(row: Any, what: str, value: Any) -> Any:
    return {**row, field_of(row, what): value}


def two_stamps(row: Any) -> list[Any]:
    stamp = row[field_of(row, "time")]
    later = changed(row, "time", type(stamp)(int(stamp) + 7))
    return [row, changed(later, "rate", "0.5")]


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.exchange)
@pytest.mark.parametrize("first_run", [True, False])
async def test_the_newest_is_asked_for_again_before_the_next_one(
    market: Market, first_run: bool
) -> None:
    """Its rate is the one in force, and the next settlement is hours away."""
    exchange = Settling(market)
    book: FundingByMarket = {}
    if not first_run:
        exchange.now_ms -= H8_MS
        book = (await exchange.update({})).funding
        exchange.now_ms += H8_MS
    exchange.sent[LAST_MS] = two_stamps
    for later_ms in (0, HOUR_MS // 2, HOUR_MS):  # long after it is overdue
        exchange.now_ms = NOW_MS + later_ms
        update = await exchange.update(book)
        book = update.funding
        (lack,) = update.missing
        assert lack.reason == f"row at {LAST_MS} left out: two different rows for this instant"
        assert rates(book[market.key], LAST_MS) == [None]
    exchange.sent.clear()
    exchange.now_ms += 1
    update = await exchange.update(book)
    assert update.missing == []
    assert rates(update.funding[market.key], LAST_MS) == [LAST_MS % 997 / 1e6]
    exchange.sender.sent.clear()
    await exchange.update(update.funding)
    assert Endpoint.FUNDING not in {request.endpoint for request in exchange.sender.sent}


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.exchange)
async def test_an_older_one_costs_no_request_before_the_next_settlement(market: Market) -> None:
    exchange = Settling(market)
    exchange.rates[LAST_MS - H8_MS] = ""
    book = (await exchange.update({})).funding
    exchange.sender.sent.clear()
    exchange.now_ms += HOUR_MS
    assert len((await exchange.update(book)).missing) == 1
    assert Endpoint.FUNDING not in {request.endpoint for request in exchange.sender.sent}


ODDITIES: dict[str, Callable[[Any], list[Any]]] = {
    "two different rows for this instant": two_stamps,
    "a settlement of another symbol: blank": lambda row: [changed(row, "symbol", None)],
    "a settlement of another symbol: 'YUSDT'": lambda row: [changed(row, "symbol", "YUSDT")],
    "its type is unknown: 'REGULAR'": lambda row: [{**row, "rateType": "REGULAR"}],
}


@pytest.mark.parametrize(
    ("market", "reason"),
    [
        (market, reason)
        for market in MARKETS
        for reason in ODDITIES
        if market.exchange is Exchange.BINANCE or "type" not in reason
    ],
)
async def test_an_odd_settlement_leaves_no_earlier_rate_in_force(
    market: Market, reason: str
) -> None:
    exchange = Settling(market)
    hole_ms = LAST_MS - 5 * H8_MS
    exchange.sent[hole_ms] = ODDITIES[reason]
    update = await exchange.update({})
    series = update.funding[market.key]
    assert [lack.reason for lack in update.missing] == [f"row at {hole_ms} left out: {reason}"]
    assert hole_ms not in [settled_ms for settled_ms, _ in series.rows]
    assert rates(series, hole_ms - H8_MS, hole_ms, hole_ms + H8_MS) == [
        (hole_ms - H8_MS) % 997 / 1e6,
        None,
        (hole_ms + H8_MS) % 997 / 1e6,
    ]


def rates(series: FundingSeries, *opens: int) -> list[float | None]:
    """The rates of 4h candles."""
    candles = [Candle(open_ms, 1.0, 1.0, 1.0, 1.0, "1", "1") for open_ms in opens]
    now_ms = series.checked_at_ms
    merged = merge_data(
        candles, [], series, timeframe=Timeframe.H4, as_of_ms=now_ms, history_candles=99
    )
    return [row[8] for row in merged.rows]


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.exchange)
async def test_the_first_of_several_new_ones_without_a_time_leaves_no_rate(market: Market) -> None:
    exchange = Settling(market)
    book = (await exchange.update({})).funding
    hole_ms, next_ms = LAST_MS + H8_MS, LAST_MS + 2 * H8_MS
    exchange.sent[hole_ms] = lambda row: [changed(row, "time", "")]
    exchange.now_ms += 2 * H8_MS
    update = await exchange.update(book)
    (lack,) = update.missing
    assert lack.reason.endswith("left out: its time cannot be read: blank")
    known = [LAST_MS % 997 / 1e6, None, next_ms % 997 / 1e6]
    assert rates(update.funding[market.key], LAST_MS, hole_ms, next_ms) == known
    exchange.sent.clear()
    exchange.now_ms += H8_MS
    update = await exchange.update(update.funding)
    assert update.missing == []
    known[1] = hole_ms % 997 / 1e6
    assert rates(update.funding[market.key], LAST_MS, hole_ms, next_ms) == known


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.exchange)
async def test_one_that_leaves_the_kept_history_is_told_no_longer(market: Market) -> None:
    exchange = Settling(market)
    exchange.rates[LAST_MS - 25 * H8_MS] = ""
    book = (await exchange.update({})).funding
    assert len(book[market.key].left_out) == 1
    exchange.now_ms += 7 * H8_MS
    update = await exchange.update(book)
    assert len(update.funding[market.key].rows) == 30
    assert update.missing == []


@pytest.mark.parametrize("after", [False, True])
def test_no_earlier_rate_is_in_force_after_one_that_was_left_out(after: bool) -> None:
    market = MARKETS[0]
    rows = [(LAST_MS - n * H8_MS, n / 1000) for n in (3, 2, 0)]  # the one before the last is none
    left_out = LeftOut(LAST_MS - (2 if after else 1) * H8_MS, "its rate is blank", after)
    series = FundingSeries(market, rows, 8, NOW_MS, (left_out,))
    first_ms = LAST_MS - 3 * H8_MS
    candles = [
        Candle(at, 1.0, 1.0, 1.0, 1.0, "1", "1") for at in range(first_ms, NOW_MS, 4 * HOUR_MS)
    ]
    merged = merge_data(
        candles, [], series, timeframe=Timeframe.H4, as_of_ms=NOW_MS, history_candles=99
    )
    assert [row[8] for row in merged.rows] == [0.003] * 2 + [0.002] * 2 + [None] * 2 + [0.0] * 2
    assert not merged.funding_outdated  # another update brings nothing


@pytest.mark.parametrize("late_ms", [0, 7])
async def test_pages_of_all_symbols_that_disagree_are_left_to_the_market_itself(
    late_ms: int,
) -> None:
    markets = [Market(Exchange.BINANCE, f"X{n}USDT", f"X{n}", "USDT") for n in range(12)]
    settled_ms, pages = LAST_MS + H8_MS, 0

    def answer(request: Request) -> bytes:
        nonlocal pages
        if request.endpoint is Endpoint.TIME:
            return json.dumps({"serverTime": NOW_MS + H8_MS}).encode()
        if request.endpoint is not Endpoint.FUNDING:
            entry = {"nextFundingTime": settled_ms + H8_MS, "fundingIntervalHours": 8}
            return json.dumps([{"symbol": each.symbol, **entry} for each in markets]).encode()
        pages += request.symbol is None
        rows = [
            {"symbol": each.symbol, "fundingTime": settled_ms, "fundingRate": "0.001"}
            for each in markets
            if request.symbol in (None, each.symbol)
        ]
        if request.symbol is None and pages > 1:
            rows[3] |= {"fundingTime": settled_ms + late_ms, "fundingRate": "0.5"}
        return json.dumps(rows).encode()

    before = [(LAST_MS, 0.002)]
    known = {each.key: FundingSeries(each, before, 8, NOW_MS) for each in markets}
    sender = Scripted(answer)
    update = await run_fr_update_process(
        sender, markets, known, funding_history=9, on_progress=lambda done, total: None
    )
    assert pages == 2
    asked = [request.symbol for request in sender.sent if request.endpoint is Endpoint.FUNDING]
    assert asked == [None, None, "X3USDT"]
    assert {tuple(series.rows) for series in update.funding.values()} == {
        (*before, (settled_ms, 0.001))
    }


async def test_of_all_symbols_only_settlements_of_the_time_asked_for_count() -> None:
    markets = [Market(Exchange.BINANCE, f"X{n}USDT", f"X{n}", "USDT") for n in range(12)]
    now_ms, asked = NOW_MS, []

    def answer(request: Request) -> bytes:
        if request.endpoint is Endpoint.TIME:
            return json.dumps({"serverTime": now_ms}).encode()
        if request.endpoint is not Endpoint.FUNDING:
            next_ms = now_ms - now_ms % H8_MS + H8_MS
            entry = {"nextFundingTime": next_ms, "fundingIntervalHours": 8}
            return json.dumps([{"symbol": each.symbol, **entry} for each in markets]).encode()
        asked.append(request.symbol)
        stamps = [now_ms - now_ms % H8_MS]
        if request.symbol is None:
            stamps.append(stamps[0] + H8_MS)  # of the future
        names = [request.symbol] if request.symbol else [each.symbol for each in markets]
        return json.dumps(
            [
                {"symbol": name, "fundingTime": at, "fundingRate": f"{at % 997}e-6"}
                for at in stamps
                for name in names
            ]
        ).encode()

    async def update(known: FundingByMarket) -> FundingByMarket:
        return (
            await run_fr_update_process(
                Scripted(answer),
                markets,
                known,
                funding_history=1,
                on_progress=lambda done, total: None,
            )
        ).funding

    book = await update({})
    now_ms += H8_MS
    asked.clear()
    book = await update(book)
    assert set(asked) == {None}
    for series in book.values():
        assert [settled_ms for settled_ms, _ in series.rows] == [LAST_MS + H8_MS]
