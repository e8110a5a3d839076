"""What bots ask of each exchange, put to the cache and to the simulated exchanges."""

import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import orjson

from api.documents.document_cache import DocumentCache
from api.facade_cache import FacadeDocuments
from facade.cache_answers import CacheAnswers
from facade.exchange_times import ExchangeTimes
from facade.exchanges import FACADES
from facade.hearing import Hearing
from facade.kept_contracts import KeptContracts
from facade.kept_rows import KeptRows
from facade.question import Question, question_of
from market.markets import Exchange
from tests.fixtures.jobs import JobRunner, OpenRunner
from tests.fixtures.simulator import NOW_MS, Simulator

BINANCE, BYBIT, OKX = Exchange("binance"), Exchange("bybit"), Exchange("okx")
EXCHANGES: Final = (BINANCE, BYBIT, OKX)
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
CANDLES: Final = 120
KLINES: Final = {
    BINANCE: "/fapi/v1/klines",
    BYBIT: "/v5/market/kline",
    OKX: "/api/v5/market/candles",
}
OLD_KLINES: Final = {**KLINES, OKX: "/api/v5/market/history-candles"}
INTEREST: Final = {
    BINANCE: "/futures/data/openInterestHist",
    BYBIT: "/v5/market/open-interest",
    OKX: "/api/v5/rubik/stat/contracts/open-interest-history",
}
FUNDING: Final = {
    BINANCE: "/fapi/v1/fundingRate",
    BYBIT: "/v5/market/funding/history",
    OKX: "/api/v5/public/funding-rate-history",
}
TIMES: Final = {
    BINANCE: "/fapi/v1/time",
    BYBIT: "/v5/market/time",
    OKX: "/api/v5/public/time",
}
PATHS: Final = {
    KLINES[BINANCE]: ("interval", "startTime", "endTime"),
    KLINES[BYBIT]: ("interval", "start", "end"),
    INTEREST[BINANCE]: ("period", "startTime", "endTime"),
    INTEREST[BYBIT]: ("intervalTime", "startTime", "endTime"),
    FUNDING[BINANCE]: ("", "startTime", "endTime"),
    FUNDING[BYBIT]: ("", "startTime", "endTime"),
    KLINES[OKX]: ("bar", "before", "after"),
    OLD_KLINES[OKX]: ("bar", "before", "after"),
    INTEREST[OKX]: ("period", "begin", "end"),
    FUNDING[OKX]: ("", "before", "after"),
}
PERIODS: Final = {
    KLINES[BINANCE]: ("1m", "5m", "15m", "1h", "4h", "8h", "1d", "9h", ""),
    KLINES[BYBIT]: ("1", "5", "15", "60", "240", "480", "D", "5m", ""),
    INTEREST[BINANCE]: ("5m", "15m", "1h", "4h", "1d", "8h"),
    INTEREST[BYBIT]: ("5min", "15min", "1h", "4h", "1d", "8h"),
    FUNDING[BINANCE]: ("",),
    FUNDING[BYBIT]: ("",),
    KLINES[OKX]: ("1m", "5m", "15m", "1H", "4H", "1Dutc", "1D", "6H", "5min", ""),
    OLD_KLINES[OKX]: ("5m", "15m", "1H", "4H", "1Dutc", "12H"),
    INTEREST[OKX]: ("5m", "15m", "1H", "4H", "1Dutc", "6H", "8H"),
    FUNDING[OKX]: ("",),
}
LIMITS: Final = (None, None, 1, 2, 30, 50, 100, CANDLES - 1, CANDLES, CANDLES + 1, 200, 500, 1501)


class Bots:
    """Asks the cache and the exchange the same."""

    def __init__(self, runner: JobRunner, answers: CacheAnswers, hearing: Hearing) -> None:
        self.runner = runner
        self.exchanges = runner.exchanges
        self.answers = answers
        self.hearing = hearing
        self.now_ms = NOW_MS
        self.counted: Counter[str] = Counter()
        # The machine lives by the exchanges' time.
        runner.context.last_as_of.elapsed_s = lambda: (self.now_ms - NOW_MS) / 1000

    async def collect(self, *jobs: str) -> None:
        for job in jobs:
            await self.runner.complete(job)
        await self.hearing.flush()

    def pass_time(self, pass_ms: int) -> None:
        self.exchanges.post("/sim/clock", {"advance_ms": pass_ms})
        self.now_ms += pass_ms

    def told(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        status, _, body = self.exchanges.full("GET", path, query=query)
        return status, body

    async def ours(self, exchange: Exchange, path: str, query: Mapping[str, str]) -> bytes | None:
        question = asked_of(exchange, path, query)
        time = self.answers.time(exchange)._replace(now_ms=self.now_ms)
        found = await self.answers.answer(question, time)
        return None if found is None else found.body

    async def pass_through(self, exchange: Exchange, path: str, query: Mapping[str, str]) -> None:
        """The exchange answers, and its rows are kept."""
        _, body = self.told(path, query)
        self.answers.passed(asked_of(exchange, path, query), body, self.now_ms)
        await self.hearing.flush()

    async def ask(self, exchange: Exchange, path: str, query: Mapping[str, str]) -> bool:
        """Whether the cache answers; if so, it is what the exchange answers."""
        ours = await self.ours(exchange, path, query)
        self.counted[f"{path} {'pass' if ours is None else 'hit'}"] += 1
        if ours is None:
            return False
        status, theirs = self.told(path, query)
        assert (status, numbers(theirs)) == (200, numbers(ours)), (path, query)
        return True


def asked_of(exchange: Exchange, path: str, query: Mapping[str, str]) -> Question:
    facade = FACADES[exchange]
    return question_of(facade, facade.paths[path], query)


def numbers(body: bytes) -> Any:
    """An answer with all its numbers as decimals."""
    return _numbers(orjson.loads(body))


def _numbers(value: Any) -> Any:
    match value:
        case dict():
            return {name: _numbers(each) for name, each in value.items()}
        case list():
            return [_numbers(each) for each in value]
        case str() | int():
            try:
                return Decimal(value)
            except InvalidOperation:
                return value
        case _:
            assert not isinstance(value, float)
            return value


@asynccontextmanager
async def bots(
    open_runner: OpenRunner,
    exchanges: Simulator,
    *,
    times: ExchangeTimes | None = None,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Bots]:
    settings = {
        "exchanges": ",".join(EXCHANGES),
        "okx_base_url": exchanges.base_url,
        "history_candles": CANDLES,
        "funding_history": 60,
        "timeframes": "5m,15m,1h,4h,8h",
    }
    async with open_runner(exchanges, facade="on", **settings) as runner:
        context = runner.context
        kept = KeptRows(context.store)
        contracts = KeptContracts(context.store)
        hearing = Hearing(kept, contracts)
        context.client.heard = hearing.note
        cache = DocumentCache(context.cache, monotonic_s=monotonic_s)
        documents = FacadeDocuments(cache)
        answers = CacheAnswers(documents, kept, contracts, hearing, forming_s=60, times=times)
        try:
            yield Bots(runner, answers, hearing)
        finally:
            await answers.aclose()
            await cache.aclose()


def about(exchange: Exchange, symbol: str) -> dict[str, str]:
    """What a question about a market begins with; `symbol`: as the exchange names it."""
    named = {FACADES[exchange].symbol: symbol}
    return named | {"category": "linear"} if exchange is BYBIT else named


def symbols_of(exchanges: Simulator, exchange: Exchange) -> list[str]:
    markets = exchanges.get("/sim/markets")["markets"]
    chosen = [each for each in markets if each["exchange"] == exchange and each["collected"]]
    return [each["symbol"] for each in chosen]


def unknown(exchange: Exchange) -> str:
    """A market that the exchange does not have."""
    return "NONE-USDT-SWAP" if exchange is OKX else "NONEUSDT"


def questions(
    chance: random.Random, symbols: Mapping[Exchange, list[str]], now_ms: int
) -> Iterator[tuple[Exchange, str, dict[str, str]]]:
    while True:
        kind = chance.choice((KLINES, OLD_KLINES, INTEREST, FUNDING))
        exchange = chance.choice(EXCHANGES)
        path = kind[exchange]
        period, first, last = PATHS[path]
        query = about(exchange, chance.choice([*symbols[exchange], unknown(exchange)]))
        if period:
            query[period] = chance.choice(PERIODS[path])
        limit = chance.choice(LIMITS)
        if limit is not None:
            query["limit"] = str(limit)
        step_ms = chance.choice((5 * MINUTE_MS, HOUR_MS, 4 * HOUR_MS, DAY_MS))
        bounds = sorted(now_ms - int(chance.triangular(-2, 130, 3) * step_ms) for _ in range(2))
        for name, bound in zip((first, last), bounds, strict=True):
            if chance.random() < 0.4:
                aligned_ms = bound - bound % step_ms
                query[name] = str(aligned_ms if chance.random() < 0.5 else bound)
        yield exchange, path, query


USUAL_PERIODS: Final = {
    KLINES[BINANCE]: ("5m", "15m", "1h", "4h"),
    KLINES[BYBIT]: ("5", "15", "60", "240"),
    KLINES[OKX]: ("5m", "15m", "1H", "4H"),
    INTEREST[BINANCE]: ("5m", "1h"),
    INTEREST[OKX]: ("5m", "1H"),
    **{path: ("",) for path in FUNDING.values()},
}


def usual(symbols: Mapping[Exchange, list[str]]) -> Iterator[tuple[Exchange, str, dict[str, str]]]:
    """What bots ask after each close: the newest rows."""
    for exchange, path in (
        *((each, KLINES[each]) for each in EXCHANGES),
        *((each, INTEREST[each]) for each in (BINANCE, OKX)),
        *((each, FUNDING[each]) for each in EXCHANGES),
    ):
        limits: tuple[int, ...] = (40,) if path in FUNDING.values() else (30, 100, CANDLES)
        limits = (30, 100) if path == INTEREST[OKX] else limits
        for symbol in symbols[exchange]:
            for period in USUAL_PERIODS[path]:
                for limit in limits:
                    query = about(exchange, symbol) | {"limit": str(limit)}
                    query |= {PATHS[path][0]: period} if period else {}
                    yield exchange, path, query


def shares(counted: Counter[str]) -> dict[str, float]:
    """The share of answered questions, by path."""
    paths = {key.split()[0] for key in counted}
    asked = {path: counted[f"{path} hit"] + counted[f"{path} pass"] for path in paths}
    return {path: counted[f"{path} hit"] / asked[path] for path in paths}
