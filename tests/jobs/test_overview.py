"""The overview follows each run with new 5m rows, and tells what the exchanges themselves tell."""

from typing import Any

import pytest

from jobs import overview as overview_module
from market.markets import Exchange
from market.timeframes import MINUTE_MS, Timeframe
from tests.fixtures.jobs import ALL, JobRunner, OpenRunner
from tests.fixtures.naive_overview import Told, differences, naive_overview
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.jobs.test_closes import opened

_STEP_MS = Timeframe.M5.interval_ms
_REACH = 13 * 24 + 1  # 5m candles of the truth, more than a day


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, 12), now=NOW_MS, frozen=True)


async def overview(runner: JobRunner) -> Any:
    return await runner.document("overview")


async def expected(runner: JobRunner, at_ms: int, *, candles: int = _REACH) -> Any:
    """What the exchanges say, by the other computation; they tell nothing that is not known yet."""
    truth = runner.exchanges.get(
        "/sim/truth", timeframe="5m", candles=candles, as_of=NOW_MS, funding_history=20
    )
    markets = (await runner.document("global_fr"))["markets"]
    known = {(each["exchange"], each["base"]): each for each in markets}
    told = []
    for market in truth["markets"]:
        rows = {row[0]: row for row in market["rows"]}
        funding = known[market["exchange"], market["base"]]
        # The symbol is ours: exchanges may name their contracts otherwise.
        each = Told(market["exchange"], funding["symbol"], market["base"])
        newest = NOW_MS - NOW_MS % _STEP_MS
        each.candles = {ms: (row[4], row[6]) for ms, row in rows.items() if ms < newest}
        each.interest = {ms: row[7] for ms, row in rows.items() if row[7] is not None}
        each.hours, each.checked_ms = market["funding_interval_hours"], funding["checked_at"]
        # The rate of the candle that opens at the instant is the one in force then.
        settled = [ms for ms, _ in funding["rows"] if ms <= at_ms + MINUTE_MS]
        if (rate := rows[at_ms][8]) is not None:
            each.settlements = {max(settled): rate}
        told.append(each)
    return naive_overview(told)


@pytest.mark.parametrize("job", ["collect:all", "collect:5m"])
async def test_it_tells_what_the_exchanges_tell(
    open_runner: OpenRunner, exchanges: Simulator, job: str
) -> None:
    async with open_runner(exchanges, exchanges=ALL, history_candles=400) as runner:
        await runner.complete("discovery")
        await runner.complete("funding")
        await runner.complete(job)
        found = await overview(runner)
        assert found["as_of"] == NOW_MS and found["quote"] == "USDT"
        meta = await runner.context.cache.read_meta("overview")
        assert meta is not None and meta.counts is not None
        assert (meta.counts.at, meta.counts.assets) == (found["at"], len(found["assets"]))
        candles = 400 if job == "collect:5m" else _REACH
        naive = await expected(runner, found["at"], candles=candles)
        ours = {"at": found["at"], "assets": found["assets"]}
        assert not differences(ours, naive)
        summed = [each for each in found["assets"] if len(each["open_interest"]["exchanges"]) > 1]
        assert len(summed) >= 8
        everywhere = [a for a in summed if a["open_interest"]["exchanges"] == sorted(Exchange)]
        assert len(everywhere) >= 4
        assert all(each["price"]["spread_bps"] > 0 for each in everywhere)
        assert all(each["funding"]["rate_8h"] is not None for each in summed)
        assert any(each["change"]["24h"] is not None for each in summed)


async def test_coins_that_are_counted_in_thousands_are_of_their_asset(
    open_runner: OpenRunner, start_simulator: StartSimulator
) -> None:
    exchanges = start_simulator(binance=60, bybit=60, now=NOW_MS, frozen=True)
    async with open_runner(exchanges) as runner:
        await runner.complete("discovery")
        await runner.complete("funding")
        await runner.complete("collect:all")
        found = await overview(runner)
        (pepe,) = [each for each in found["assets"] if each["asset"] == "PEPE"]
        assert {each["units"] for each in pepe["markets"]} == {1000}
        assert pepe["open_interest"]["exchanges"] == ["binance", "bybit"]
        assert pepe["price"]["highest"] < 0.1
        names = [each["asset"] for each in found["assets"] if each["asset"].startswith("1")]
        assert names == ["1000X", "1INCH"]


async def test_nothing_is_published_where_nothing_changed(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges) as closes:
        cache = closes.runner.context.cache
        before = await cache.read_meta("overview")
        await closes.all()
        assert await cache.read_meta("overview") == before
        # A process that has published none compares with the stored one.
        closes.runner.context.overview.place = None
        await closes.all()
        assert await cache.read_meta("overview") == before
        closes.go_to(NOW_MS + 5 * MINUTE_MS)
        await closes.all()
        after = await cache.read_meta("overview")
        assert before is not None and after is not None and after.version > before.version
        assert after.as_of_ms == closes.now_ms


async def test_other_timeframes_alone_make_none(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, exchanges=ALL) as runner:
        await runner.complete("discovery")
        await runner.complete("funding")
        await runner.complete("collect:4h")
        assert await runner.context.cache.read_meta("overview") is None


async def test_an_exchange_that_is_away_is_left_out_and_named(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges) as closes:
        closes.runner.fault({"kind": "status", "exchange": "bybit", "status": 500})
        closes.go_to(NOW_MS + 10 * MINUTE_MS)
        await closes.all()
        found = await overview(closes.runner)
        assert {each["exchange"] for asset in found["assets"] for each in asset["left_out"]} == {
            "bybit"
        }
        sums = {tuple(each["open_interest"]["exchanges"]) for each in found["assets"]}
        others = {each for each in Exchange if each != "bybit"}
        assert {of for each in sums for of in each} == others
        stale = [m for a in found["assets"] for m in a["markets"] if m["exchange"] == "bybit"]
        assert all(each["stale_since"] is not None and not each["summed"] for each in stale)


async def test_a_run_completes_without_an_overview_that_fails(
    open_runner: OpenRunner, exchanges: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no overview today")

    async with open_runner(exchanges, exchanges=ALL) as runner:
        await runner.complete("discovery")
        await runner.complete("funding")
        monkeypatch.setattr(overview_module, "overview_of", broken)
        await runner.complete("collect:all")
        assert await runner.document("5m") is not None
        assert await runner.context.cache.read_meta("overview") is None


async def test_a_damaged_one_is_replaced(open_runner: OpenRunner, exchanges: Simulator) -> None:
    async with opened(open_runner, exchanges) as closes:
        store = closes.runner.context.store
        await store.execute("SET", "cache:overview", "nonsense")
        closes.runner.context.overview.place = None
        await closes.all()
        assert (await overview(closes.runner))["name"] == "overview"
