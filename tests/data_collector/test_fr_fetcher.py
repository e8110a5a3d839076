"""The funding update against the simulator's truth, over real HTTP, with a clock moved by hand."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from budgets.exchange_client import ExchangeClient
from config import Settings, load_settings
from data_collector.api_parser import Candle
from data_collector.data_processing import merge_data
from data_collector.fr_fetcher import FundingUpdate, run_fr_update_process
from market.markets import DEFAULT_EXCHANGES, Exchange, FundingByMarket, FundingSeries, Market
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.clock import ManualClock
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from venues.errors import CollectionFailed

pytestmark = pytest.mark.usefixtures("no_daily_checks")

BTC = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")
NEXT_HOUR_MS = NOW_MS - NOW_MS % HOUR_MS + HOUR_MS  # 15:00
FOUR_PM_MS = NEXT_HOUR_MS + HOUR_MS  # a settlement of every interval


def settings_for(simulator: Simulator) -> Settings:
    return load_settings(**{f"{each}_base_url": simulator.base_url for each in Exchange})


def listed(simulator: Simulator) -> list[Market]:
    return [
        Market(Exchange(m["exchange"]), m["symbol"], m["base"], m["quote"], m["listed_ms"])
        for m in simulator.get("/sim/markets")["markets"]
        if m["collected"]
    ]


def truth(simulator: Simulator, funding_history: int = 400) -> dict[str, tuple[int, list[Any]]]:
    """Interval and settlements of every market at the simulator's present."""
    answer = simulator.get("/sim/funding", funding_history=funding_history)
    return {
        f"{m['exchange']}:{m['symbol']}": (m["interval_hours"], m["rows"])
        for m in answer["markets"]
    }


def held(book: FundingByMarket) -> dict[str, tuple[int, list[Any]]]:
    return {key: (s.interval_hours, [list(row) for row in s.rows]) for key, s in book.items()}


def asked(simulator: Simulator, exchange: str) -> dict[str, int]:
    """Requests by endpoint since the last reset."""
    by_status = simulator.stats()["requests"].get(exchange, {})
    return {endpoint: sum(counts.values()) for endpoint, counts in by_status.items()}


class Refresh:
    """Runs updates one after the other, each on the book of the one before."""

    def __init__(self, simulator: Simulator, client: ExchangeClient) -> None:
        self.simulator = simulator
        self.client = client
        self.markets: Sequence[Market] = listed(simulator)
        self.funding: FundingByMarket = {}
        self.progress: list[tuple[int, int]] = []
        self.keep = 400

    async def __call__(self, *, at_ms: int | None = None) -> FundingUpdate:
        if at_ms is not None:
            self.simulator.post("/sim/clock", {"now_ms": at_ms})
        self.simulator.post("/sim/stats/reset")
        self.progress.clear()
        update = await run_fr_update_process(
            self.client,
            self.markets,
            self.funding,
            funding_history=self.keep,
            on_progress=lambda done, total: self.progress.append((done, total)),
        )
        self.funding = update.funding
        stats = self.simulator.stats()
        assert stats["limits_broken_total"] == 0
        assert stats["rejected_total"] == 0
        assert update.requests == stats["total"]
        return update


@pytest.fixture(scope="module")
def _lasting_simulator() -> Iterator[Simulator]:
    simulator = Simulator({"binance": 20, "bybit": 20, "now": NOW_MS, "frozen": True})
    yield simulator
    simulator.stop()


@pytest.fixture
async def refresh(_lasting_simulator: Simulator) -> AsyncIterator[Refresh]:
    """On a simulator that outlives the test: its markets must not change."""
    simulator = _lasting_simulator
    simulator.delete("/sim/faults")
    simulator.post("/sim/clock", {"now_ms": NOW_MS})
    simulator.post("/sim/limits/reset")
    async with ExchangeClient(settings_for(simulator), clock=ManualClock()) as client:
        yield Refresh(simulator, client)


@pytest.fixture
async def lone_refresh(simulator: Simulator) -> AsyncIterator[Refresh]:
    """On a simulator of its own."""
    async with ExchangeClient(settings_for(simulator), clock=ManualClock()) as client:
        yield Refresh(simulator, client)


# --- what comes out ------------------------------------------------------------------------------


async def test_the_first_run_brings_the_history_of_every_market(refresh: Refresh) -> None:
    update = await refresh()
    expected = truth(refresh.simulator)
    assert len(expected) == 40
    assert held(update.funding) == expected
    # Markets older than their history hold all of it, whatever intervals they had on the way.
    assert sorted(len(rows) for _, rows in expected.values())[-30:] == [400] * 30
    assert update.as_of_ms == NOW_MS
    assert (update.missing, update.carried_over) == ([], 0)
    assert update.changed == sum(bool(rows) for _, rows in expected.values())
    assert refresh.progress[0] == (0, 40)
    assert refresh.progress[-1] == (40, 40)
    assert all(0 <= s.checked_at_ms - NOW_MS < 60_000 for s in update.funding.values())
    assert {key: s.market for key, s in update.funding.items()} == {
        m.key: m for m in refresh.markets
    }


async def test_a_life_that_a_wrong_clock_let_begin_tomorrow_hides_no_settlement(
    refresh: Refresh,
) -> None:
    ahead_ms = NOW_MS + 24 * 60 * MINUTE_MS
    refresh.markets = [
        replace(market, launched_ms=ahead_ms, since_ms=ahead_ms) for market in refresh.markets
    ]
    assert held((await refresh()).funding) == truth(refresh.simulator)


async def test_a_second_run_asks_for_no_market(refresh: Refresh) -> None:
    first = (await refresh()).funding
    update = await refresh(at_ms=NOW_MS + 10 * MINUTE_MS)
    assert held(update.funding) == held(first)
    assert update.changed == 0
    assert all(s.checked_at_ms >= NOW_MS + 10 * MINUTE_MS for s in update.funding.values())
    assert asked(refresh.simulator, "binance") == {"time": 1, "funding_info": 1, "premium_index": 1}
    assert asked(refresh.simulator, "bybit") == {"time": 1, "tickers": 1}


async def test_after_an_hour_only_hourly_markets_are_asked(refresh: Refresh) -> None:
    await refresh()
    update = await refresh(at_ms=NEXT_HOUR_MS + 5 * MINUTE_MS)
    assert held(update.funding) == truth(refresh.simulator)
    for exchange in DEFAULT_EXCHANGES:
        hourly = sum(
            s.interval_hours == 1 and s.market.exchange is exchange for s in update.funding.values()
        )
        assert hourly > 0
        assert asked(refresh.simulator, exchange)["funding"] == hourly


async def test_where_one_answer_settles_all_no_market_is_asked(refresh: Refresh) -> None:
    before = held((await refresh()).funding)
    update = await refresh(at_ms=FOUR_PM_MS + 5 * MINUTE_MS)
    expected = truth(refresh.simulator)
    assert held(update.funding) == expected
    assert update.changed == sum(expected[key] != before[key] for key in expected) > 30
    assert asked(refresh.simulator, "binance")["funding"] <= 4
    # The other exchange has no such answer: one request for each market, and another where
    # only an empty page tells that nothing came before its first settlement.
    bybit = [key for key in expected if key.startswith("bybit")]
    first = sum(bool(expected[key][1]) and not before[key][1] for key in bybit)
    assert asked(refresh.simulator, "bybit")["funding"] == len(bybit) + first


async def test_settlements_of_days_are_caught_up(refresh: Refresh) -> None:
    await refresh()
    update = await refresh(at_ms=NOW_MS + 3 * 24 * HOUR_MS)
    assert held(update.funding) == truth(refresh.simulator)


async def test_a_settlement_that_is_not_published_yet_is_asked_for_again(refresh: Refresh) -> None:
    await refresh()
    # Some settlements of this instant are stamped later than this, as the exchange does.
    update = await refresh(at_ms=FOUR_PM_MS + 1)
    expected = truth(refresh.simulator)
    assert held(update.funding) == expected
    pending = {k for k, (_, rows) in expected.items() if not rows or rows[-1][0] < FOUR_PM_MS}
    assert 0 < len(pending) < 40
    for key, series in update.funding.items():
        checked = series.checked_at_ms
        assert (checked == FOUR_PM_MS - 1) if key in pending else (checked > FOUR_PM_MS)
        assert series.next_settlement_ms() > FOUR_PM_MS or key in pending

    update = await refresh(at_ms=FOUR_PM_MS + 60_000)
    expected = truth(refresh.simulator)
    assert held(update.funding) == expected
    assert all(rows[-1][0] >= FOUR_PM_MS for _, rows in expected.values() if rows)
    assert all(s.checked_at_ms > FOUR_PM_MS for s in update.funding.values() if s.rows)
    assert update.changed == sum(bool(expected[key][1]) for key in pending)


async def test_merged_rates_are_never_old(refresh: Refresh) -> None:
    """What a collection makes of a book, before and after the settlements that it lacks."""
    book = (await refresh()).funding
    as_of_ms = FOUR_PM_MS + 5 * MINUTE_MS
    refresh.simulator.post("/sim/clock", {"now_ms": as_of_ms})
    open_ms = Timeframe.H1.floor(as_of_ms)
    candles = [Candle(open_ms, 1.0, 1.0, 1.0, 1.0, "1", "1")]
    for series, rate in ((book["binance:BTCUSDT"], None), (None, None)):
        merged = merge_data(
            candles, [], series, timeframe=Timeframe.H1, as_of_ms=as_of_ms, history_candles=9
        )
        assert (merged.rows[0][8], merged.funding_outdated) == (rate, True)
    series = (await refresh()).funding["binance:BTCUSDT"]
    merged = merge_data(
        candles, [], series, timeframe=Timeframe.H1, as_of_ms=as_of_ms, history_candles=9
    )
    assert merged.rows[0][8] == truth(refresh.simulator)["binance:BTCUSDT"][1][-1][1]
    assert not merged.funding_outdated


# --- intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", ["binance", "bybit"])
async def test_an_interval_that_changes_is_followed(lone_refresh: Refresh, exchange: str) -> None:
    refresh = lone_refresh
    await refresh()
    key = f"{exchange}:BTCUSDT"
    assert refresh.funding[key].interval_hours == 8
    fault = {"kind": "funding_interval", "exchange": exchange, "symbol": "BTCUSDT", "hours": 1}
    refresh.simulator.post("/sim/faults", fault)
    for hour in range(4):
        update = await refresh(at_ms=NEXT_HOUR_MS + hour * HOUR_MS + 5 * MINUTE_MS)
        assert held(update.funding) == truth(refresh.simulator)
    assert refresh.funding[key].interval_hours == 1
    assert len({row[0] // HOUR_MS for row in refresh.funding[key].rows[-3:]}) == 3


# --- what goes wrong -----------------------------------------------------------------------------


def fault(refresh: Refresh, **rule: object) -> None:
    refresh.simulator.post("/sim/faults", rule)


async def test_a_market_that_fails_keeps_what_it_had(refresh: Refresh) -> None:
    before = (await refresh()).funding
    for exchange in DEFAULT_EXCHANGES:
        fault(
            refresh,
            kind="status",
            status=500,
            exchange=exchange,
            endpoint="funding",
            symbol="BTCUSDT",
        )
    # Binance's answer for all symbols would bring it all the same.
    fault(refresh, kind="status", status=500, exchange="binance", endpoint="funding", count=5)
    update = await refresh(at_ms=FOUR_PM_MS + 5 * MINUTE_MS)
    failed = [f"{exchange}:BTCUSDT" for exchange in ("binance", "bybit")]
    assert [(m.exchange, m.symbol, m.part) for m in update.missing] == [
        (Exchange.BINANCE, "BTCUSDT", "funding_rate"),
        (Exchange.BYBIT, "BTCUSDT", "funding_rate"),
    ]
    assert all("500" in entry.reason for entry in update.missing)
    assert update.carried_over == 2
    for key in failed:
        assert update.funding[key] == before[key]
    expected = truth(refresh.simulator)
    assert all(held(update.funding)[key] == expected[key] for key in expected if key not in failed)

    refresh.simulator.delete("/sim/faults")
    update = await refresh()
    assert held(update.funding) == expected
    assert (update.changed, update.missing) == (2, [])


@pytest.mark.parametrize("endpoint", ["funding_info", "premium_index", "tickers"])
async def test_without_the_lists_markets_are_asked_one_by_one(
    refresh: Refresh, endpoint: str
) -> None:
    before = await refresh()
    fault(refresh, kind="html_200", endpoint=endpoint)
    update = await refresh(at_ms=NOW_MS + 10 * MINUTE_MS)
    assert "funding" not in asked(refresh.simulator, "binance")  # no full hour has passed
    assert held(update.funding) == held(before.funding)

    update = await refresh(at_ms=FOUR_PM_MS + 5 * MINUTE_MS)
    assert update.missing == []
    assert held(update.funding) == truth(refresh.simulator)


async def test_a_first_run_without_the_lists_is_on_the_safe_side(refresh: Refresh) -> None:
    for endpoint in ("funding_info", "tickers"):
        fault(refresh, kind="empty_body", endpoint=endpoint)
    update = await refresh()
    expected = truth(refresh.simulator)
    for key, (hours, rows) in held(update.funding).items():
        assert rows == expected[key][1]
        assert hours <= expected[key][0]


@pytest.mark.parametrize(("down", "up"), [("binance", "bybit"), ("bybit", "binance")])
async def test_an_exchange_that_is_down_is_its_own_affair(
    refresh: Refresh, down: str, up: str
) -> None:
    before = (await refresh()).funding
    fault(refresh, kind="status", status=503, exchange=down)
    update = await refresh(at_ms=FOUR_PM_MS + 5 * MINUTE_MS)
    assert {entry.exchange for entry in update.missing} == {Exchange(down)}
    assert len(update.missing) == update.carried_over == 20
    expected = truth(refresh.simulator)
    for key, series in update.funding.items():
        if key.startswith(down):
            assert series == before[key]
        else:
            assert held({key: series})[key] == expected[key]


async def test_nothing_at_all_is_a_failure_with_its_causes(refresh: Refresh) -> None:
    fault(refresh, kind="status", status=503)
    with pytest.raises(CollectionFailed, match=r"binance.*503.*bybit.*503"):
        await refresh()
    refresh.simulator.delete("/sim/faults")
    fault(refresh, kind="wrong_types", endpoint="funding")
    with pytest.raises(CollectionFailed, match=r"binance: .*; bybit: "):
        await refresh()


async def test_a_failure_in_a_bad_moment_is_retried(refresh: Refresh) -> None:
    """More failures in a row than a run puts up with, then a last try that succeeds."""
    fault(refresh, kind="status", status=502, endpoint="funding", exchange="bybit", count=70)
    update = await refresh()
    assert update.missing == []
    assert held(update.funding) == truth(refresh.simulator)
    assert update.retries > 0


async def test_a_ban_ends_the_exchanges_part(refresh: Refresh) -> None:
    before = (await refresh()).funding
    fault(refresh, kind="status", status=418, exchange="binance", endpoint="premium_index", count=1)
    update = await refresh(at_ms=FOUR_PM_MS + 5 * MINUTE_MS)
    assert asked(refresh.simulator, "binance") == {"time": 1, "funding_info": 1, "premium_index": 1}
    assert len(update.missing) == 20
    assert all(update.funding[key] == before[key] for key in before if key.startswith("binance"))


async def test_pages_that_come_short_are_continued(refresh: Refresh) -> None:
    fault(refresh, kind="short_page", endpoint="funding", rows=90)
    update = await refresh()
    assert held(update.funding) == truth(refresh.simulator)


# --- which markets -------------------------------------------------------------------------------


async def test_markets_come_and_go(refresh: Refresh) -> None:
    everything = refresh.markets
    refresh.markets = [m for m in everything if m.symbol != "BTCUSDT"]
    update = await refresh()
    assert "binance:BTCUSDT" not in update.funding
    assert len(update.funding) == 38

    refresh.markets = everything[1:]
    update = await refresh(at_ms=NOW_MS + MINUTE_MS)
    assert set(update.funding) == {m.key for m in refresh.markets}
    assert everything[0].key not in update.funding
    # New to us: history, and nothing for those that are known.
    assert asked(refresh.simulator, "bybit")["funding"] == 2
    assert held(update.funding)["bybit:BTCUSDT"] == truth(refresh.simulator)["bybit:BTCUSDT"]


async def test_no_more_is_kept_than_asked_for(refresh: Refresh) -> None:
    refresh.keep = 7
    update = await refresh()
    assert held(update.funding) == truth(refresh.simulator, 7)
    update = await refresh(at_ms=FOUR_PM_MS + 5 * MINUTE_MS)
    assert held(update.funding) == truth(refresh.simulator, 7)


async def test_a_book_of_another_clock_is_not_built_upon(refresh: Refresh) -> None:
    key = BTC.key
    refresh.funding = {key: FundingSeries(BTC, [(NOW_MS + HOUR_MS, 0.5)], 8, NOW_MS + 24 * HOUR_MS)}
    update = await refresh()
    assert held(update.funding) == truth(refresh.simulator)


async def test_a_market_without_any_settlement_is_fine(lone_refresh: Refresh) -> None:
    """Listed minutes ago: its history is empty, and its first settlement is found in time."""
    refresh, simulator = lone_refresh, lone_refresh.simulator
    simulator.post("/sim/faults", {"kind": "list_new", "exchange": "bybit", "symbol": "YOUNG"})
    refresh.markets = listed(simulator)
    young = next(m for m in refresh.markets if m.symbol == "YOUNGUSDT")
    refresh.markets = [young]
    update = await refresh()
    assert held(update.funding) == {young.key: truth(simulator)[young.key]}
    assert update.missing == []
    update = await refresh(at_ms=FOUR_PM_MS + 5 * MINUTE_MS)
    assert held(update.funding) == {young.key: truth(simulator)[young.key]}
    assert len(update.funding[young.key].rows) > 0


async def test_hundreds_of_markets_settle_in_a_few_requests(
    start_simulator: StartSimulator,
) -> None:
    simulator = start_simulator(binance=150, bybit=0, now=FOUR_PM_MS + 5 * MINUTE_MS, frozen=True)
    async with ExchangeClient(settings_for(simulator), clock=ManualClock()) as client:
        refresh = Refresh(simulator, client)
        expected = truth(simulator)
        known = {
            key: (hours, [(t, r) for t, r in rows if t <= NOW_MS])
            for key, (hours, rows) in expected.items()
        }
        refresh.funding = {
            m.key: FundingSeries(m, known[m.key][1], known[m.key][0], NOW_MS)
            for m in refresh.markets
        }
        update = await refresh()
        assert held(update.funding) == expected
        changed = [key for key in expected if expected[key][1] != list(map(list, known[key][1]))]
        assert update.changed == len(changed) > 140
        assert asked(simulator, "binance")["funding"] < 10
