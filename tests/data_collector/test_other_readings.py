"""Collections against exchanges that read their documentation in other legal ways.

Where the pages are silent the simulator makes one choice; what stands here makes the others, and
knows nothing of the simulator. The numbers to expect are computed from the stub's own series.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from config import load_settings
from data_collector import ExchangeClient, fetch_market_data
from data_collector.fr_fetcher import FundingUpdate, run_fr_update_process
from data_collector.listings import fetch_instruments
from data_collector.run import CollectionRun
from market.markets import Exchange, FundingByMarket, Market, MarketSeries
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.other_exchanges import Coin, Reading, Stub

BINANCE, BYBIT, OKX = Exchange.BINANCE, Exchange.BYBIT, Exchange.OKX
NOW_MS = 1_795_185_441_250  # 2026-11-20 14:37:21.250 UTC
MIDNIGHT_MS = NOW_MS - NOW_MS % DAY_MS
H4_MS = 4 * HOUR_MS
KEEP = 400
_BYBIT_MS = {
    **{str(minutes): minutes * MINUTE_MS for minutes in (5, 15, 30, 60, 120, 240, 360, 720)},
    **{"5min": 5 * MINUTE_MS, "15min": 15 * MINUTE_MS, "30min": 30 * MINUTE_MS},
    **{"1h": HOUR_MS, "4h": H4_MS, "D": DAY_MS, "1d": DAY_MS},
}


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
    Coin(OKX, "BTCUSDT"),
    Coin(OKX, "SATSUSDT", intervals=((0, 8), (MIDNIGHT_MS - 20 * DAY_MS, 2))),
    Coin(OKX, "YOUNGUSDT", listed_ms=NOW_MS - 30 * DAY_MS - 7 * HOUR_MS),
]


class Bench:
    """Refreshes and collects from one stub, and says what must come out."""

    def __init__(self, stub: Stub, client: ExchangeClient, markets: Sequence[Market]) -> None:
        self.stub = stub
        self.client = client
        self.markets = markets
        self.funding: FundingByMarket = {}

    async def refresh(self, keep: int = KEEP) -> FundingUpdate:
        update = await run_fr_update_process(
            self.client,
            self.markets,
            self.funding,
            funding_history=keep,
            on_progress=lambda done, total: None,
        )
        self.funding = update.funding
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
            prefetched_fr_data=self.funding,
        )
        return delivered, collected.missing

    def expected(
        self, timeframe: Timeframe, coin: Coin, candles: int, as_of_ms: int
    ) -> list[list[Any]]:
        step = timeframe.interval_ms
        last = as_of_ms // step * step
        # All exchanges' settlements are known up to the smaller of their clocks.
        now_ms = min(self.stub.clock(other.exchange) for other in self.stub.coins.values())
        known = settlements(coin, now_ms)[-KEEP:]
        settled = [row for row in known if row[0] <= as_of_ms]
        rows = []
        for open_ms in coin.opens(step, last - (candles - 1) * step, last):
            if not coin.trades(open_ms):
                continue
            oldest = as_of_ms - {BINANCE: 30 * DAY_MS, OKX: 1440 * step}.get(
                coin.exchange, as_of_ms
            )
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


def settlements(coin: Coin, now_ms: int) -> list[tuple[int, str]]:
    """Those that are served: OKX's of three months."""
    first_ms = now_ms - 90 * DAY_MS if coin.exchange is OKX else 0
    return coin.settlements(now_ms, first_ms)


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
        settings = load_settings(
            exchanges=",".join(Exchange),
            **{f"{exchange}_base_url": stub.base_url for exchange in Exchange},
        )
        async with ExchangeClient(settings) as client:
            yield Bench(stub, client, [coin.market for coin in coins])


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)


READINGS = {
    "plain": Reading(),
    "close time": Reading(kline_end_is_close_time=True),
    "types": Reading(text_times=True, json_numbers=True, nulls=True),
    "third of a page": Reading(short_pages=lambda endpoint, limit: max(min(limit, 9), limit // 3)),
    "ten rows": Reading(short_pages=lambda endpoint, limit: 10),
    "newest kept": Reading(short_pages=lambda endpoint, limit: 70, binance_keeps_newest=True),
    "wide horizon": Reading(binance_keeps_newest=True, horizon_ms=35 * DAY_MS),
    "clocks apart": Reading(
        clocks_ms={
            BINANCE: 9 * MINUTE_MS,
            BYBIT: 9 * MINUTE_MS - 7000,
            OKX: 9 * MINUTE_MS - 3000,
        }
    ),
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
    coins = [coin for coin in COINS if coin.exchange in reading.clocks_ms]
    async with bench_for(reading, coins) as bench:
        await bench.refresh()
        await bench.assert_true(timeframe, candles, NOW_MS + min(reading.clocks_ms.values()))
        assert bench.stub.rejected == []


# 5m has more pages of candles and of snapshots than 4h, of which one reading tells.
@pytest.mark.parametrize(
    ("name", "timeframe"),
    [
        *((name, Timeframe.H4) for name in READINGS),
        ("newest kept", Timeframe.M5),
        *(
            pytest.param(name, Timeframe.M5, marks=pytest.mark.slow)
            for name in READINGS
            if name != "newest kept"
        ),
    ],
)
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


@pytest.mark.usefixtures("no_daily_checks")
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
            assert bench.funding[coin.market.key].rows == rows


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
            series = bench.funding[coin.market.key]
            # What was served once is kept.
            first_ms = settlements(coin, day + 7 * HOUR_MS + 10 * MINUTE_MS)[0][0]
            known = coin.settlements(bench.stub.now_ms, first_ms)[-KEEP:]
            assert series.rows == [(stamp, float(rate)) for stamp, rate in known]
            # OKX tells the last settlement and the next: between 15:00 and 16:00 it is an hour.
            in_force = 1 if exchange is OKX and hour == 15.5 else hours
            assert series.interval_hours == in_force
            await bench.assert_true(Timeframe.H1, 30, bench.stub.now_ms)


async def test_one_settlement_is_kept_although_the_interval_is_short_now() -> None:
    # The last came by the interval of before, longer ago than two of the present ones.
    coin = Coin(BINANCE, "SHORTUSDT", intervals=((0, 8), (MIDNIGHT_MS + 14 * HOUR_MS + 1, 1)))
    async with bench_for(Reading(), [coin]) as bench:
        await bench.refresh(keep=1)
        known = coin.settlements(NOW_MS)[-1:]
        assert bench.funding[coin.market.key].rows == [(s, float(rate)) for s, rate in known]


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
