"""Collections against exchanges that read their documentation in other legal ways.

Where the pages are silent the simulator makes one choice; what stands here makes the others, and
knows nothing of the simulator. The numbers to expect are computed from the stub's own series.
"""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from zlib import crc32

import pytest
from aiohttp import web

from config import load_settings
from data_collector import ExchangeClient, fetch_market_data
from data_collector.fr_fetcher import FundingUpdate, run_fr_update_process
from data_collector.listings import fetch_instruments
from data_collector.run import CollectionRun
from market.markets import Exchange, FundingByMarket, Market, MarketSeries
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
NOW_MS = 1_795_185_441_250  # 2026-11-20 14:37:21.250 UTC
MIDNIGHT_MS = NOW_MS - NOW_MS % DAY_MS
H4_MS = 4 * HOUR_MS
KEEP = 400
_BYBIT_MS = {
    **{str(minutes): minutes * MINUTE_MS for minutes in (5, 15, 30, 60, 120, 240, 360, 720)},
    **{"5min": 5 * MINUTE_MS, "15min": 15 * MINUTE_MS, "30min": 30 * MINUTE_MS},
    **{"1h": HOUR_MS, "4h": H4_MS, "D": DAY_MS, "1d": DAY_MS},
}


def _drawn(*what: object) -> int:
    return crc32(repr(what).encode())


@dataclass(frozen=True)
class Coin:
    """A market of the stub. `intervals`: (from when, hours), ascending."""

    exchange: Exchange
    symbol: str
    listed_ms: int = 0
    intervals: Sequence[tuple[int, int]] = ((0, 8),)
    special: bool = False  # an extra charge right before each regular settlement
    told: bool = True  # its interval, where the exchange may leave that out

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol, self.symbol[:-4], "USDT", self.listed_ms)

    def opens(self, interval_ms: int, start_ms: int, end_ms: int) -> range:
        """The grid inside [start, end], from the listing on."""
        start_ms = max(start_ms, self.listed_ms - self.listed_ms % interval_ms)
        return range(-(-start_ms // interval_ms) * interval_ms, end_ms + 1, interval_ms)

    def candle(self, open_ms: int, interval_ms: int) -> list[str]:
        """Open, high, low, close, volume, turnover as text."""
        seed = _drawn(self.symbol, open_ms, interval_ms)
        opened = Decimal(1000 + seed % 7919) / 1000
        closed = Decimal(1000 + seed % 7907) / 1000
        high, low = max(opened, closed) + Decimal("0.25"), min(opened, closed) - Decimal("0.25")
        texts = [f"{price:.4f}" for price in (opened, high, low, closed)]
        return [*texts, f"{seed % 100_003}.{seed % 997:03}", f"{seed}.{seed % 99_991:08}"]

    def trades(self, open_ms: int) -> bool:
        return _drawn(self.symbol, open_ms) % 53 != 7  # else a hole

    def interest(self, at_ms: int) -> Decimal | None:
        """One-sided; None: the exchange has no snapshot."""
        if at_ms < self.listed_ms - self.listed_ms % HOUR_MS:
            return None
        seed = _drawn("oi", self.symbol, at_ms)
        return None if seed % 41 == 5 else Decimal(seed % 10_000_000) / 1000

    def settlements(self, until_ms: int, start_ms: int = 0) -> list[tuple[int, str]]:
        """(stamp, rate), of the last 200 days."""
        rows = []
        first_ms = max(self.listed_ms, start_ms - HOUR_MS, until_ms - 200 * DAY_MS)
        for instant in range(first_ms // HOUR_MS * HOUR_MS + HOUR_MS, until_ms + 1, HOUR_MS):
            hours = [hours for since, hours in self.intervals if since <= instant][-1]
            if instant % (hours * HOUR_MS) == 0:
                seed = _drawn("fr", self.symbol, instant)
                late_ms = seed % 48 if self.exchange is BINANCE else 0
                rows.append((instant + late_ms, f"{(seed % 2001 - 1000) / 10**6:.8f}"))
        return [row for row in rows if start_ms <= row[0] <= until_ms]


@dataclass
class Reading:
    """How this pair of exchanges understands what the pages leave open."""

    kline_end_is_close_time: bool = False
    short_pages: Callable[[str, int], int] = lambda endpoint, limit: limit
    binance_keeps_newest: bool = False  # of a window that holds more than a page
    horizon_ms: int = 30 * DAY_MS
    text_times: bool = False
    json_numbers: bool = False
    nulls: bool = False  # where there is nothing to say, rather than ""
    cursor_verbatim: bool = False
    cursor_ignored: bool = False  # one that is not understood; else it is refused
    instruments_page: int = 1000
    unordered_settlements: bool = False
    clocks_ms: dict[Exchange, int] = field(default_factory=lambda: {BINANCE: 0, BYBIT: 0})
    passing_ms: int = 0  # of the exchanges' time with every request


class Stub:
    """Both exchanges on one port. `asked` lists the paths; `rejected` what was asked wrongly."""

    def __init__(self, coins: Sequence[Coin], reading: Reading) -> None:
        self.coins = {(coin.exchange, coin.symbol): coin for coin in coins}
        self.reading = reading
        self.now_ms = NOW_MS
        self.asked: list[str] = []
        self.rejected: list[str] = []
        self.base_url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Stub"]:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    def clock(self, exchange: Exchange) -> int:
        return self.now_ms + self.reading.clocks_ms[exchange]

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        exchange = BYBIT if request.path.startswith("/v5") else BINANCE
        name = request.path.rpartition("/")[2]
        handler = getattr(self, f"_{exchange}_{name.replace('-', '_')}")
        if name == "history":
            name = "fundingRate"
        answer = handler(request)
        self.now_ms += self.reading.passing_ms
        if isinstance(answer, web.Response):
            self.rejected.append(request.path_qs)
            return answer
        if exchange is BYBIT:
            answer = {
                "result": {"extra": None, **answer},
                "retCode": 0,
                "retMsg": "success",
                "retExtInfo": {},
                "time": self.clock(exchange),
            }
        return web.json_response(answer, dumps=lambda value: json.dumps(value, ensure_ascii=False))

    def _window(self, request: web.Request, start: str, end: str) -> tuple[Coin, int, int, int]:
        query = request.query
        exchange = BYBIT if request.path.startswith("/v5") else BINANCE
        limit = int(query["limit"])
        limit = min(limit, self.reading.short_pages(request.path.rpartition("/")[2], limit))
        coin = self.coins[exchange, query["symbol"]]
        return coin, int(query[start]), int(query[end]), limit

    def _binance_page(self, rows: list[Any], limit: int) -> list[Any]:
        return rows[-limit:] if self.reading.binance_keeps_newest else rows[:limit]

    def _stamp(self, time_ms: int) -> int | str:
        return str(time_ms) if self.reading.text_times else time_ms

    def _number(self, text: str) -> Any:
        return json.loads(text) if self.reading.json_numbers else text

    # --- Binance -----------------------------------------------------------------------------

    def _binance_time(self, request: web.Request) -> Any:
        return {"serverTime": self.clock(BINANCE), "extra": []}

    def _binance_klines(self, request: web.Request) -> Any:
        coin, start_ms, end_ms, limit = self._window(request, "startTime", "endTime")
        step = Timeframe(request.query["interval"]).interval_ms
        shift = step - 1 if self.reading.kline_end_is_close_time else 0
        rows = [
            [open_ms, *texts[:5], open_ms + step - 1, texts[5], 7, texts[4], texts[5], "0"]
            for open_ms in coin.opens(step, start_ms - shift, min(end_ms, self.clock(BINANCE)))
            if start_ms <= open_ms + shift <= end_ms and coin.trades(open_ms)
            for texts in [coin.candle(open_ms, step)]
        ]
        return self._binance_page(rows, limit)

    def _binance_openInterestHist(self, request: web.Request) -> Any:
        coin, start_ms, end_ms, limit = self._window(request, "startTime", "endTime")
        if start_ms < self.clock(BINANCE) - self.reading.horizon_ms:
            body = {"code": -1130, "msg": "parameter 'startTime' is invalid."}
            return web.json_response(body, status=400)
        step = Timeframe(request.query["period"]).interval_ms
        rows = [
            {
                "symbol": coin.symbol,
                "sumOpenInterest": f"{value:.8f}",
                "sumOpenInterestValue": "1",
                "CMCCirculatingSupply": "",
                "timestamp": self._stamp(time_ms),
            }
            for time_ms in coin.opens(step, start_ms, min(end_ms, self.clock(BINANCE)))
            if (value := coin.interest(time_ms)) is not None
        ]
        return self._binance_page(rows, limit)

    def _binance_fundingRate(self, request: web.Request) -> Any:
        query = request.query
        start_ms, end_ms, limit = (int(query[key]) for key in ("startTime", "endTime", "limit"))
        limit = min(limit, self.reading.short_pages("fundingRate", limit))
        rows: list[dict[str, Any]] = []
        for coin in self.coins.values():
            if coin.exchange is not BINANCE or query.get("symbol", coin.symbol) != coin.symbol:
                continue
            until_ms = min(end_ms, self.clock(BINANCE))
            for stamp, rate in coin.settlements(until_ms, start_ms):
                row = {"symbol": coin.symbol, "fundingTime": stamp, "fundingRate": rate}
                row |= {"markPrice": "", "rateType": "Regular"}
                if coin.special:
                    rows.append({**row, "rateType": "Special", "fundingRate": "0.01"})
                rows.append(row)
        if "symbol" in query:
            rows.sort(key=lambda row: row["fundingTime"])
            return rows[:limit]
        foreign = NOW_MS - NOW_MS % (8 * HOUR_MS)
        rows += [
            {"symbol": symbol, "fundingTime": foreign, "fundingRate": "0.1", "markPrice": "1"}
            for symbol in ("BTCUSDC", "BTCUSD_PERP", "ETHBTC")
            if start_ms <= foreign <= end_ms
        ]
        if self.reading.unordered_settlements:
            rows.sort(key=lambda row: (row["fundingTime"] // HOUR_MS, row["symbol"]))
        else:
            rows.sort(key=lambda row: (row["fundingTime"], row["symbol"]))
        return rows[:limit]

    def _binance_fundingInfo(self, request: web.Request) -> Any:
        return [
            {"symbol": coin.symbol, "fundingIntervalHours": self._hours(coin), "extra": {}}
            for coin in self.coins.values()
            if coin.exchange is BINANCE and coin.told
        ]

    def _binance_premiumIndex(self, request: web.Request) -> Any:
        return [
            {
                "symbol": coin.symbol,
                "lastFundingRate": "0.5",
                "nextFundingTime": self._next(coin),
                "time": self.clock(BINANCE),
            }
            for coin in self.coins.values()
            if coin.exchange is BINANCE
        ] + [{"symbol": "BTCUSDT_261225", "lastFundingRate": "", "nextFundingTime": 0}]

    def _binance_exchangeInfo(self, request: web.Request) -> Any:
        return {
            "serverTime": 1,
            "symbols": [
                {
                    "symbol": coin.symbol,
                    "contractType": "PERPETUAL",
                    "status": "TRADING",
                    "baseAsset": coin.symbol[:-4],
                    "quoteAsset": "USDT",
                    "marginAsset": "USDT",
                    "onboardDate": self._stamp(coin.listed_ms),
                }
                for coin in self.coins.values()
                if coin.exchange is BINANCE
            ]
            + [{"symbol": "X", "contractType": "", "onboardDate": None, "baseAsset": None}],
        }

    def _hours(self, coin: Coin) -> int:
        now_ms = self.clock(coin.exchange)
        return [hours for since, hours in coin.intervals if since <= now_ms][-1]

    def _next(self, coin: Coin) -> int:
        step = self._hours(coin) * HOUR_MS
        return self.clock(coin.exchange) // step * step + step

    # --- Bybit -------------------------------------------------------------------------------

    def _bybit_time(self, request: web.Request) -> Any:
        now_ms = self.clock(BYBIT)
        return {"timeSecond": str(now_ms // 1000), "timeNano": f"{now_ms}123456"}

    def _bybit_kline(self, request: web.Request) -> Any:
        coin, start_ms, end_ms, limit = self._window(request, "start", "end")
        step = _BYBIT_MS[request.query["interval"]]
        rows = [
            [self._number(str(open_ms)), *coin.candle(open_ms, step)]
            # The candle that contains the start is the first.
            for open_ms in coin.opens(step, start_ms - start_ms % step, self.clock(BYBIT))
            if open_ms <= end_ms and coin.trades(open_ms)
        ]
        return {"symbol": coin.symbol, "category": "linear", "list": rows[::-1][:limit]}

    def _bybit_open_interest(self, request: web.Request) -> Any:
        coin, start_ms, end_ms, limit = self._window(request, "startTime", "endTime")
        rows = []
        step = _BYBIT_MS[request.query["intervalTime"]]
        for time_ms in coin.opens(step, start_ms, min(end_ms, self.clock(BYBIT))):
            if (value := coin.interest(time_ms)) is not None:
                row = {"openInterest": self._number(f"{2 * value:f}"), "timestamp": str(time_ms)}
                absent = _drawn(time_ms) % 3
                if absent == 0:
                    row["singleOpenInterest"] = self._number(f"{value:f}")
                elif absent == 1:
                    row["singleOpenInterest"] = None if self.reading.nulls else ""
                rows.append(row)
        page = {"symbol": coin.symbol, "category": "linear", "list": rows[::-1][:limit]}
        return {**page, "nextPageCursor": "lastid%3D1%26lasttime%3D2"}

    def _bybit_history(self, request: web.Request) -> Any:
        coin, start_ms, end_ms, limit = self._window(request, "startTime", "endTime")
        rows = [
            {
                "symbol": coin.symbol,
                "fundingRate": self._number(rate),
                "fundingRateTimestamp": self._number(str(stamp)),
            }
            for stamp, rate in coin.settlements(min(end_ms, self.clock(BYBIT)), start_ms)
        ]
        return {"category": "linear", "list": rows[::-1][:limit]}

    def _bybit_tickers(self, request: web.Request) -> Any:
        rows = [
            {
                "symbol": coin.symbol,
                "turnover24h": self._number("12.5"),
                "nextFundingTime": self._number(str(self._next(coin))),
                "fundingIntervalHour": self._number(str(self._hours(coin))),
            }
            for coin in self.coins.values()
            if coin.exchange is BYBIT
        ]
        nothing = None if self.reading.nulls else ""
        dated = {"nextFundingTime": nothing, "fundingIntervalHour": nothing}
        rows.append({"symbol": "BTC-25DEC26", "turnover24h": nothing, **dated})
        return {"category": "linear", "list": rows}

    def _bybit_instruments_info(self, request: web.Request) -> Any:
        coins = [coin for coin in self.coins.values() if coin.exchange is BYBIT]
        # As the query says it before anything is decoded, or decoded once.
        _, _, cursor = request.rel_url.raw_query_string.partition("cursor=")
        texts = {f"first%3D{n}%26last%3Dx": n for n in range(0, 100, self.reading.instruments_page)}
        known = texts if self.reading.cursor_verbatim else {_quoted(t): n for t, n in texts.items()}
        if cursor and cursor not in known and not self.reading.cursor_ignored:
            return web.json_response(
                {"retCode": 10001, "retMsg": "params error: cursor invalid", "result": {}}
            )
        begin = known.get(cursor, 0)
        end = begin + self.reading.instruments_page
        following = next(text for text, n in texts.items() if n == end) if end < len(coins) else ""
        rows = [
            {
                "symbol": coin.symbol,
                "contractType": "LinearPerpetual",
                "status": "Trading",
                "baseCoin": coin.symbol[:-4],
                "quoteCoin": "USDT",
                "settleCoin": "USDT",
                "symbolType": None if self.reading.nulls else "",
                "launchTime": self._number(str(coin.listed_ms)),
                "fundingInterval": self._hours(coin) * 60,
                "preListingInfo": None,
                "isPreListing": False,
            }
            for coin in coins[begin:end]
        ]
        return {"category": "linear", "list": rows, "nextPageCursor": following}


def _quoted(text: str) -> str:
    return text.replace("%", "%25")


COINS = [
    Coin(BINANCE, "BTCUSDT"),
    Coin(BINANCE, "龙虾USDT", intervals=((0, 4),)),
    Coin(BINANCE, "YOUNGUSDT", listed_ms=NOW_MS - 30 * DAY_MS - 7 * HOUR_MS),
    Coin(BINANCE, "MINUTESUSDT", listed_ms=NOW_MS - 3 * MINUTE_MS),
    Coin(BINANCE, "STOCKUSDT", special=True),
    Coin(BYBIT, "BTCUSDT"),
    Coin(BYBIT, "SHIB1000USDT", intervals=((0, 8), (MIDNIGHT_MS - 90 * DAY_MS, 4))),
    Coin(BYBIT, "A&B=C%USDT", intervals=((0, 1),)),
    Coin(BYBIT, "MIDUSDT", listed_ms=MIDNIGHT_MS - 3 * DAY_MS + 5 * HOUR_MS),
]


class Bench:
    """Refreshes and collects from one stub, and says what must come out."""

    def __init__(self, stub: Stub, client: ExchangeClient, markets: Sequence[Market]) -> None:
        self.stub = stub
        self.client = client
        self.markets = markets
        self.book: FundingByMarket = {}

    async def refresh(self, keep: int = KEEP) -> FundingUpdate:
        update = await run_fr_update_process(
            self.client,
            self.markets,
            self.book,
            funding_history=keep,
            on_progress=lambda done, total: None,
        )
        self.book = update.book
        return update

    async def collect(
        self, timeframe: Timeframe, candles: int
    ) -> tuple[dict[tuple[Timeframe, str], list[list[Any]]], list[Any]]:
        delivered: dict[tuple[Timeframe, str], list[list[Any]]] = {}

        def deliver(made: Timeframe, series: MarketSeries) -> None:
            delivered[made, series.market.key] = [list(row) for row in series.rows]

        collected = await fetch_market_data(
            timeframe,
            self.markets,
            self.client,
            deliver,
            history_candles=candles,
            prefetched_fr_data=self.book,
        )
        return delivered, collected.missing

    def expected(
        self, timeframe: Timeframe, coin: Coin, candles: int, as_of_ms: int
    ) -> list[list[Any]]:
        step = timeframe.interval_ms
        last = as_of_ms // step * step
        known = coin.settlements(self.stub.clock(coin.exchange))[-KEEP:]
        settled = [row for row in known if row[0] <= as_of_ms]
        rows = []
        for open_ms in coin.opens(step, last - (candles - 1) * step, last):
            if not coin.trades(open_ms):
                continue
            oldest = as_of_ms - 30 * DAY_MS if coin.exchange is BINANCE else 0
            interest = coin.interest(open_ms) if open_ms >= oldest else None
            rates = [rate for stamp, rate in settled if stamp < open_ms + step]
            rows.append(
                [
                    open_ms,
                    *map(float, coin.candle(open_ms, step)),
                    None if interest is None else float(interest),
                    float(rates[-1]) if rates else None,
                ]
            )
        return rows

    async def assert_true(self, timeframe: Timeframe, candles: int, as_of_ms: int) -> None:
        delivered, missing = await self.collect(timeframe, candles)
        assert missing == []
        for coin in self.stub.coins.values():
            rows = self.expected(timeframe, coin, candles, as_of_ms)
            assert delivered[timeframe, coin.market.key] == rows, coin.symbol
            if timeframe is Timeframe.H4:
                window_ms = as_of_ms // H4_MS * H4_MS - (candles - 1) * H4_MS
                assert delivered[Timeframe.H8, coin.market.key] == _eight_hours(
                    coin, rows, window_ms
                )


def _eight_hours(coin: Coin, rows: list[list[Any]], window_ms: int) -> list[list[Any]]:
    groups: dict[int, list[list[Any]]] = {}
    for row in rows:
        groups.setdefault(row[0] - row[0] % (2 * H4_MS), []).append(row)
    made = []
    for open_ms, group in groups.items():
        if open_ms < window_ms:
            continue
        texts = [coin.candle(row[0], H4_MS) for row in group]
        made.append(
            [
                open_ms,
                group[0][1],
                max(row[2] for row in group),
                min(row[3] for row in group),
                group[-1][4],
                float(sum(Decimal(text[4]) for text in texts)),
                float(sum(Decimal(text[5]) for text in texts)),
                group[0][7] if group[0][0] == open_ms else None,
                group[-1][8],
            ]
        )
    return made


@asynccontextmanager
async def bench_for(reading: Reading, coins: Sequence[Coin] = COINS) -> AsyncIterator[Bench]:
    async with Stub(coins, reading).serving() as stub:
        settings = load_settings(binance_base_url=stub.base_url, bybit_base_url=stub.base_url)
        async with ExchangeClient(settings) as client:
            yield Bench(stub, client, [coin.market for coin in coins])


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_collector.fetch_strategies.BACKOFF_S", 0.01)


READINGS = {
    "plain": Reading(),
    "close time": Reading(kline_end_is_close_time=True),
    "types": Reading(text_times=True, json_numbers=True, nulls=True),
    "third of a page": Reading(short_pages=lambda endpoint, limit: max(min(limit, 9), limit // 3)),
    "ten rows": Reading(short_pages=lambda endpoint, limit: 10),
    "newest kept": Reading(short_pages=lambda endpoint, limit: 70, binance_keeps_newest=True),
    "wide horizon": Reading(binance_keeps_newest=True, horizon_ms=35 * DAY_MS),
    "clocks apart": Reading(clocks_ms={BINANCE: 9 * MINUTE_MS, BYBIT: 9 * MINUTE_MS - 7000}),
    "clocks far apart": Reading(clocks_ms={BINANCE: -4000, BYBIT: 11 * HOUR_MS}),
}
CANDLES = {
    Timeframe.H4: 499,
    Timeframe.M5: 1100,
    Timeframe.H2: 450,
    Timeframe.H6: 450,
    Timeframe.H12: 300,
    Timeframe.D1: 200,
}


async def _rows_are_true(reading: Reading, timeframe: Timeframe, candles: int) -> None:
    async with bench_for(reading) as bench:
        await bench.refresh()
        await bench.assert_true(timeframe, candles, NOW_MS + min(reading.clocks_ms.values()))
        assert bench.stub.rejected == []


@pytest.mark.parametrize("timeframe", [Timeframe.H4, Timeframe.M5])
@pytest.mark.parametrize("name", READINGS)
async def test_rows_are_true_in_any_reading(name: str, timeframe: Timeframe) -> None:
    await _rows_are_true(READINGS[name], timeframe, CANDLES[timeframe])


@pytest.mark.parametrize("timeframe", [Timeframe.H2, Timeframe.H6, Timeframe.H12, Timeframe.D1])
async def test_rows_are_true_at_any_length(timeframe: Timeframe) -> None:
    await _rows_are_true(READINGS["close time"], timeframe, CANDLES[timeframe])


async def test_a_window_of_one_candle() -> None:
    await _rows_are_true(READINGS["close time"], Timeframe.H4, 1)


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("verbatim", [False, True])
async def test_every_contract_is_listed_whichever_form_of_the_cursor_is_read(
    verbatim: bool, ignored: bool
) -> None:
    reading = Reading(cursor_verbatim=verbatim, cursor_ignored=ignored, instruments_page=2)
    async with bench_for(reading) as bench:
        listed = await fetch_instruments(CollectionRun(bench.client), BYBIT, quote="USDT")
        assert {row.market.key for row in listed} == {
            coin.market.key for coin in COINS if coin.exchange is BYBIT
        }


@pytest.mark.parametrize("unordered", [False, True])
async def test_settlements_of_all_symbols_may_be_in_the_order_of_symbols(unordered: bool) -> None:
    many = [Coin(BINANCE, f"N{n:02}USDT", special=n % 5 == 0) for n in range(40)]
    async with bench_for(Reading(unordered_settlements=unordered), many) as bench:
        await bench.refresh(keep=20)
        bench.stub.now_ms = MIDNIGHT_MS + 16 * HOUR_MS + 10 * MINUTE_MS
        bench.stub.asked.clear()
        await bench.refresh(keep=20)
        assert bench.stub.asked.count("/fapi/v1/fundingRate") == 2
        for coin in many:
            known = coin.settlements(bench.stub.now_ms)[-20:]
            rows = [(stamp, float(rate)) for stamp, rate in known]
            assert bench.book[coin.market.key].rows == rows


@pytest.mark.parametrize("exchange", Exchange)
async def test_intervals_that_get_shorter_and_longer_again(exchange: Exchange) -> None:
    day = MIDNIGHT_MS + DAY_MS
    changes = ((8, 4), (12, 1), (15, 8))  # after the settlement of this hour, to so many hours
    intervals = ((0, 8), *((day + hour * HOUR_MS + 1, hours) for hour, hours in changes))
    coin = Coin(exchange, "SWINGUSDT", intervals=intervals)
    async with bench_for(Reading(), [coin]) as bench:
        for hour, hours in ((7, 8), (9, 4), (13, 1), (14, 1), (15.5, 8), (16.5, 8), (24.5, 8)):
            bench.stub.now_ms = day + round(hour * HOUR_MS) + 10 * MINUTE_MS
            await bench.refresh()
            series = bench.book[coin.market.key]
            known = coin.settlements(bench.stub.now_ms)[-KEEP:]
            assert series.rows == [(stamp, float(rate)) for stamp, rate in known]
            assert series.interval_hours == hours
            await bench.assert_true(Timeframe.H1, 30, bench.stub.now_ms)


async def test_one_settlement_is_kept_although_the_interval_is_short_now() -> None:
    # The last came by the interval of before, longer ago than two of the present ones.
    coin = Coin(BINANCE, "SHORTUSDT", intervals=((0, 8), (MIDNIGHT_MS + 14 * HOUR_MS + 1, 1)))
    async with bench_for(Reading(), [coin]) as bench:
        await bench.refresh(keep=1)
        known = coin.settlements(NOW_MS)[-1:]
        assert bench.book[coin.market.key].rows == [(s, float(rate)) for s, rate in known]


async def test_what_is_carried_over_is_of_the_same_window() -> None:
    coins = [Coin(BINANCE, "GONEUSDT"), Coin(BINANCE, "STAYSUSDT")]
    async with bench_for(Reading(), coins) as bench:
        earlier: dict[Timeframe, dict[str, MarketSeries]] = {Timeframe.H4: {}, Timeframe.H8: {}}
        later: dict[tuple[Timeframe, str], MarketSeries] = {}
        await fetch_market_data(
            Timeframe.H4,
            bench.markets,
            bench.client,
            lambda made, series: earlier[made].update({series.market.key: series}),
            history_candles=12,
            prefetched_fr_data={},
        )
        bench.stub.now_ms += DAY_MS
        del bench.stub.coins[BINANCE, "GONEUSDT"]  # and so answered with a 500
        await fetch_market_data(
            Timeframe.H4,
            bench.markets,
            bench.client,
            lambda made, series: later.update({(made, series.market.key): series}),
            history_candles=12,
            prefetched_fr_data={},
            previous=earlier,
        )
        window_ms = bench.stub.now_ms // H4_MS * H4_MS - 11 * H4_MS
        for made in (Timeframe.H4, Timeframe.H8):
            known = earlier[made]["binance:GONEUSDT"].rows
            closed_ms = made.last_closed_open_time(NOW_MS)
            kept = [row for row in known if window_ms <= row[0] <= closed_ms]
            assert later[made, "binance:GONEUSDT"].rows == kept != []
