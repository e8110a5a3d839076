"""Random questions to the cache: its answer is the exchange's own at that instant, or none."""

import random
from itertools import islice
from typing import Any, Final

import pytest

from facade.exchange_times import ExchangeTimes
from market.markets import Exchange
from tests.facade.bots import (
    BINANCE,
    BYBIT,
    EXCHANGES,
    FUNDING,
    HOUR_MS,
    INTEREST,
    KLINES,
    MINUTE_MS,
    OKX,
    PATHS,
    PERIODS,
    TIMES,
    Bots,
    about,
    asked_of,
    bots,
    numbers,
    questions,
    shares,
    symbols_of,
    unknown,
    usual,
)
from tests.fixtures.jobs import OpenRunner
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=5, bybit=5, okx=5, now=NOW_MS, frozen=True, no_limits=True)


async def test_answers_are_the_exchanges_own(open_runner: OpenRunner, exchanges: Simulator) -> None:
    async with bots(open_runner, exchanges) as asking:
        await asked_over_time(asking, 400)


@pytest.mark.slow
async def test_answers_are_the_exchanges_own_for_all_kinds_of_markets(
    open_runner: OpenRunner, start_simulator: StartSimulator
) -> None:
    """Young ones, quiet ones, with holes, without some snapshots, and with extra charges."""
    many = start_simulator(binance=30, bybit=30, okx=30, now=NOW_MS, frozen=True, no_limits=True)
    async with bots(open_runner, many) as asking:
        await asked_over_time(asking, 5_000)


async def asked_over_time(asking: Bots, count: int) -> None:
    await asking.collect("discovery", "funding", "collect:all", "fill")
    symbols = {each: symbols_of(asking.exchanges, each) for each in EXCHANGES}
    chance = random.Random(16)  # noqa: S311
    close_ms = 4 * HOUR_MS - NOW_MS % (4 * HOUR_MS)
    # At the instant of a collection, right after a close, and when snapshots are out; then after a
    # close without one.
    for pass_ms, jobs, candles, interest, funding in (
        (0, (), 0.7, 0.7, 0.8),
        (close_ms + 8_000, ("funding", "collect:all"), 0.7, 0.0, 0.8),
        (9 * MINUTE_MS, ("collect:all", "fill"), 0.1, 0.7, 0.8),
        (5 * MINUTE_MS, (), 0.0, 0.3, 0.8),
    ):
        asking.pass_time(pass_ms)
        await asking.collect(*jobs)
        for exchange, path, query in islice(questions(chance, symbols, asking.now_ms), count):
            await asking.ask(exchange, path, query)
        # The list that the collector reads of OKX's settlements lacks fields of their rows: one who
        # asks after a settlement is answered by the exchange, and teaches others.
        for symbol in symbols[OKX]:
            await asking.pass_through(OKX, FUNDING[OKX], about(OKX, symbol) | {"limit": "3"})
        asking.counted.clear()
        for exchange, path, query in usual(symbols):
            await asking.ask(exchange, path, query)
        found = shares(asking.counted)
        # Others have more digits than a number of JSON tells, holes, or began lately.
        assert all(found[path] >= candles for path in KLINES.values()), found
        assert all(found[INTEREST[each]] >= interest for each in (BINANCE, OKX)), found
        assert all(found[path] >= funding for path in FUNDING.values()), found


LEARNED: Final = [
    (BINANCE, KLINES[BINANCE], {"interval": "1m", "limit": "50"}),
    (BINANCE, KLINES[BINANCE], {"interval": "4h", "limit": "1000"}),
    (BYBIT, KLINES[BYBIT], {"interval": "3", "limit": "50", "category": "linear"}),
    (BINANCE, INTEREST[BINANCE], {"period": "1h"}),
    (BYBIT, INTEREST[BYBIT], {"intervalTime": "1h", "category": "linear", "limit": "30"}),
    (BINANCE, FUNDING[BINANCE], {"limit": "200"}),
    (BYBIT, FUNDING[BYBIT], {"category": "linear"}),
    (OKX, KLINES[OKX], {"bar": "1m", "limit": "50"}),
    (OKX, INTEREST[OKX], {"period": "1H", "limit": "30"}),
    (OKX, FUNDING[OKX], {"limit": "200"}),
]


@pytest.mark.parametrize(("exchange", "path", "query"), LEARNED)
async def test_what_passed_once_is_answered_while_it_lasts(
    open_runner: OpenRunner,
    exchanges: Simulator,
    exchange: Exchange,
    path: str,
    query: dict[str, str],
) -> None:
    """Nothing was collected: all there is, is what others were told."""
    query = query | about(exchange, "BTC-USDT-SWAP" if exchange is OKX else "BTCUSDT")
    async with bots(open_runner, exchanges) as asking:
        assert not await asking.ask(exchange, path, query)
        _, body = asking.told(path, query)
        asking.answers.passed(asked_of(exchange, path, query), body, asking.now_ms)
        assert await asking.ask(exchange, path, query)
        assert not await asking.ask(exchange, path, query | {"limit": "7"})
        asking.pass_time(30_000)
        ours = await asking.ours(exchange, path, query)
        _, theirs = asking.told(path, query)
        assert ours is not None
        if path in KLINES.values():  # the forming one may be a minute old
            place = -1 if exchange is BINANCE else 0
            left, right = rows_of(ours), rows_of(theirs)
            assert left.pop(place)[0] == right.pop(place)[0]
            assert left == right
        else:
            assert numbers(ours) == numbers(theirs)
        asking.pass_time(HOUR_MS - asking.now_ms % HOUR_MS)
        assert not await asking.ask(exchange, path, query)


def rows_of(body: bytes) -> Any:
    told = numbers(body)
    if isinstance(told, dict):
        return told["data"] if "data" in told else told["result"]["list"]
    return told


async def test_rows_that_passed_answer_other_questions(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    path, query = INTEREST[BINANCE], {"symbol": "BTCUSDT", "period": "5m", "limit": "288"}
    exchanges.post("/sim/clock", {"now": "2026-11-20T14:39:50Z"})
    async with bots(open_runner, exchanges) as asking:
        asking.now_ms = exchanges.get("/sim/clock")["now_ms"]
        await asking.collect("discovery", "funding")
        _, body = asking.told(path, query)
        asking.answers.passed(asked_of(BINANCE, path, query), body, asking.now_ms)
        await asking.hearing.flush()
        for period, limit in (("5m", "100"), ("5m", "288"), ("15m", "96"), ("1h", "20")):
            assert await asking.ask(BINANCE, path, query | {"period": period, "limit": limit})
        for period, limit in (("5m", "289"), ("1h", "30")):
            assert not await asking.ask(BINANCE, path, query | {"period": period, "limit": limit})
        between = {"startTime": str(asking.now_ms - 3 * HOUR_MS), "endTime": str(asking.now_ms)}
        assert await asking.ask(BINANCE, path, query | between)
        assert not await asking.ask(BINANCE, path, query | between | {"limit": "10"})


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_errors_of_exchanges_teach_nothing(
    open_runner: OpenRunner, exchanges: Simulator, exchange: Exchange
) -> None:
    query = about(exchange, unknown(exchange)) | {"limit": "10"}
    async with bots(open_runner, exchanges) as asking:
        for paths in (KLINES, INTEREST, FUNDING):
            path = paths[exchange]
            asked = query | {PATHS[path][0]: PERIODS[path][0]}
            _, body = asking.told(path, asked)
            asking.answers.passed(asked_of(exchange, path, asked), body, asking.now_ms)
            assert await asking.ours(exchange, path, asked) is None


async def test_a_market_that_is_carried_over_is_left_to_the_exchange(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    query = {"symbol": "ETHUSDT", "interval": "5m", "limit": "50"}
    async with bots(open_runner, exchanges) as asking:
        await asking.collect("discovery", "funding", "collect:all")
        assert await asking.ask(BINANCE, KLINES[BINANCE], query)
        fault = {"kind": "status", "status": 500, "endpoint": "klines", "symbol": "ETHUSDT"}
        asking.exchanges.post("/sim/faults", fault | {"exchange": "binance"})
        asking.pass_time(5 * MINUTE_MS)
        await asking.runner.run("collect:all")
        asking.exchanges.delete("/sim/faults")
        closed = query | {"endTime": str(asking.now_ms - HOUR_MS)}
        assert not await asking.ask(BINANCE, KLINES[BINANCE], closed)
        assert await asking.ask(BINANCE, KLINES[BINANCE], closed | {"symbol": "SOLUSDT"})


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_kept_rows_of_a_delisted_contract_are_left_to_the_exchange(
    open_runner: OpenRunner, exchanges: Simulator, exchange: Exchange
) -> None:
    async with bots(open_runner, exchanges) as asking:
        await asking.collect("discovery", "funding", "collect:all", "fill")
        symbol, other = (
            each
            for each in symbols_of(exchanges, exchange)
            if each[:4] in ("BTCU", "ETHU", "BTC-", "ETH-")
        )
        between = (asking.now_ms - 10 * HOUR_MS, asking.now_ms - HOUR_MS)
        asked = []
        hour = "1H" if exchange is OKX else "1h"
        for path, period in ((INTEREST[exchange], hour), (FUNDING[exchange], "")):
            names = PATHS[path][1:]
            query = dict(zip(names, map(str, between), strict=True))
            if path == FUNDING[OKX]:  # between two bounds its limit is not known
                query = {names[1]: query[names[1]], "limit": "5"}
            query |= {PATHS[path][0]: period} if period else {}
            asked.append((path, query))
        for path, query in asked:
            assert await asking.ask(exchange, path, query | about(exchange, symbol))
        exchanges.post(
            "/sim/faults", {"kind": "delist", "exchange": str(exchange), "symbol": symbol}
        )
        asking.pass_time(HOUR_MS)
        await asking.collect("discovery", "funding")
        for path, query in asked:
            assert not await asking.ask(exchange, path, query | about(exchange, symbol))
            assert await asking.ask(exchange, path, query | about(exchange, other))


class HandSet:
    """Clocks that a test sets."""

    def __init__(self) -> None:
        self.passed_s, self.wall_ms = 1000.0, 5_000_000

    def times(self) -> ExchangeTimes:
        return ExchangeTimes(lambda: self.passed_s, lambda: self.wall_ms)


def test_an_exchanges_time_goes_on_from_what_it_told() -> None:
    clocks = HandSet()
    times = clocks.times()
    assert (times.now_ms(BINANCE), times.told_ms(BINANCE, 60)) == (5_000_000, None)
    times.note(BINANCE, 9_000_000)
    clocks.passed_s += 59.5
    assert times.told_ms(BINANCE, 60) == times.now_ms(BINANCE) == 9_059_500
    times.note(BINANCE, 9_059_000)  # an answer that was long under way
    clocks.passed_s += 1
    assert times.told_ms(BINANCE, 60) == 9_060_500
    assert times.told_ms(BYBIT, 60) is None
    clocks.passed_s += 60
    assert times.told_ms(BINANCE, 60) is None
    assert times.now_ms(BINANCE) == 9_120_500
    clocks.passed_s += 600
    assert times.now_ms(BINANCE) == 5_000_000
    times.note(BINANCE, 8_000_000)  # its clock was set back
    assert times.now_ms(BINANCE) == 8_000_000


def test_an_exchanges_time_is_known_to_the_second_by_its_headers_where_it_tells_none() -> None:
    """And how far the exchange may be ahead of it: a second more, and 2 s of the host's."""
    clocks = HandSet()
    times = clocks.times()
    assert times.known(BINANCE) == (5_000_000, 2_000)
    times.note_date(BINANCE, 9_000_000)
    clocks.passed_s += 1.5
    assert times.known(BINANCE) == (9_001_500, 1_500)
    assert times.told_ms(BINANCE) is None
    times.note(BINANCE, 9_002_100)
    assert times.known(BINANCE) == (9_002_100, 500)
    clocks.passed_s += 601
    assert times.known(BINANCE) == (5_000_000, 2_000)


@pytest.mark.parametrize(("exchange", "path"), TIMES.items())
async def test_the_time_is_told_from_what_passed(
    open_runner: OpenRunner, exchanges: Simulator, exchange: Exchange, path: str
) -> None:
    async with bots(open_runner, exchanges) as asking:
        assert await asking.ours(exchange, path, {}) is None
        _, body = asking.told(path, {})
        asking.answers.passed(asked_of(exchange, path, {}), body, 0)
        ours = await asking.ours(exchange, path, {})
        assert ours is not None
        told = numbers(ours)
        if exchange is BYBIT:
            assert told.keys() == numbers(body).keys()
            assert told["result"]["timeSecond"] == told["time"] // 1000
            assert told["result"]["timeNano"] == told["time"] * 1_000_000
        by_name = told["data"][0] if exchange is OKX else told
        first_ms = next(by_name[each] for each in ("serverTime", "time", "ts") if each in by_name)
        assert 0 <= first_ms - NOW_MS < 60_000
        assert asking.answers.now_ms(exchange) >= first_ms


async def test_just_before_a_close_the_exchange_may_have_closed(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    """The host's time may be 2 s behind the exchange's, and half a second what it told."""
    path = KLINES[BYBIT]
    query = {"symbol": "BTCUSDT", "interval": "5", "category": "linear"}
    clocks = HandSet()
    async with bots(open_runner, exchanges, times=clocks.times()) as asking:
        asking.pass_time(5 * MINUTE_MS - asking.now_ms % (5 * MINUTE_MS) - 10_000)
        _, body = asking.told(path, query)
        asking.answers.passed(asked_of(BYBIT, path, query), body, asking.now_ms)
        asking.pass_time(9_000)
        assert await asking.ours(BYBIT, path, query) is not None
        clocks.passed_s += 601  # the exchange has told no time since
        assert await asking.ours(BYBIT, path, query) is None
        _, time = asking.told("/v5/market/time", {})
        asking.answers.passed(asked_of(BYBIT, "/v5/market/time", {}), time, asking.now_ms)
        assert await asking.ours(BYBIT, path, query) is not None
        asking.pass_time(600)
        assert await asking.ours(BYBIT, path, query) is None
