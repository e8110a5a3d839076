"""A mistake of ours at one market costs that market: collections and funding go on."""

from collections.abc import Callable
from typing import Any

import pytest

from data_collector import (
    Collected,
    collect_or_carry_over,
    exchange_funding,
    fetch_market_data,
)
from data_collector.fr_fetcher import run_fr_update_process
from data_collector.incremental import PreviousDocuments, RefreshPlan
from data_collector.task_builder import MarketTasks
from market.markets import Exchange, FundingSeries, Market, MarketSeries
from market.timeframes import HOUR_MS, Timeframe
from stores.hot.leases import LeaseLost
from tests.fixtures.fetching import CollectionClient
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

H4, H8 = Timeframe.H4, Timeframe.H8
ODD = "bybit:ETHUSDT"
PARTS = {
    "merging": (collect_or_carry_over, "merge_data"),
    "aggregating": (RefreshPlan, "aggregate"),
    "aggregating all": (collect_or_carry_over, "aggregate"),
    "planning": (PreviousDocuments, "plan"),
}


@pytest.fixture
def simulator(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=4, bybit=4, now=NOW_MS, frozen=True)


def _fails_at_odd(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """From now on this part fails for the odd market."""
    where, name = PARTS[part]
    as_it_is = getattr(where, name)
    merge = collect_or_carry_over.Collection._merge
    merged: list[str] = []

    def merging(self: Any, market: Market, *rest: Any) -> None:
        merged[:] = [market.key]
        merge(self, market, *rest)

    def failing(*arguments: Any, **options: Any) -> Any:
        planned = [a.market.key for a in arguments if isinstance(a, MarketTasks)]
        if (planned or merged) == [ODD]:
            raise RecursionError("a mistake of ours")
        return as_it_is(*arguments, **options)

    monkeypatch.setattr(collect_or_carry_over.Collection, "_merge", merging)
    monkeypatch.setattr(where, name, failing)


@pytest.mark.parametrize("part", ["merging", "aggregating", "planning"])
async def test_a_market_that_cannot_be_made_is_named_and_keeps_its_rows(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        before = await client.collect(H4, markets, candles=20, funding=client.funding(markets))
        _fails_at_odd(monkeypatch, part)
        again = await client.collect(
            H4, markets, candles=20, funding=client.funding(markets), previous=before.delivered
        )
    assert again.missing() == [(ODD, "klines")]
    assert again.collected.missing[0].reason == "internal error: RecursionError"
    assert again.collected.carried_over == 1
    for timeframe in (H4, H8):
        # Both documents have the market, with the rows of before.
        assert set(again.delivered[timeframe]) == set(before.delivered[timeframe])
        odd = again.delivered[timeframe][ODD]
        assert odd.stale_since_ms == NOW_MS
        assert list(odd.rows) == list(before.delivered[timeframe][ODD].rows)
    others = {key for key in again.delivered[H4] if key != ODD}
    assert {again.delivered[H4][key].stale_since_ms for key in others} == {None}
    # Every task is counted once.
    assert again.progress[-1][0] == again.progress[-1][1]


async def test_a_market_without_earlier_rows_is_in_no_document(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = CollectionClient(simulator)
    _fails_at_odd(monkeypatch, "aggregating all")  # its rows of 4h are there by then
    async with client.client:
        markets = await client.markets()
        result = await client.collect(H4, markets, candles=20, funding=client.funding(markets))
    assert ODD not in result.delivered[H4]
    assert ODD not in result.delivered[H8]
    assert len(result.delivered[H4]) == len(result.delivered[H8]) == 7


async def _collect(
    client: CollectionClient,
    deliver: Callable[[Timeframe, MarketSeries], None],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Collected:
    markets = await client.markets()
    return await fetch_market_data(
        H4,
        markets,
        client.client,
        deliver,
        history_candles=20,
        prefetched_fr_data=client.funding(markets),
        on_progress=on_progress,
    )


async def test_a_market_that_cannot_be_delivered_is_named(simulator: Simulator) -> None:
    delivered: list[str] = []

    def deliver(timeframe: Timeframe, series: MarketSeries) -> None:
        if series.market.key == ODD:
            raise KeyError("a mistake of ours")
        delivered.append(series.market.key)

    client = CollectionClient(simulator)
    async with client.client:
        collected = await _collect(client, deliver)
    assert [(m.symbol, m.reason) for m in collected.missing] == [
        ("ETHUSDT", "internal error: KeyError")
    ]
    assert len(set(delivered)) == 7
    assert collected.markets == 7


async def test_progress_that_cannot_be_shown_costs_nothing(simulator: Simulator) -> None:
    def on_progress(done: int, total: int) -> None:
        raise OSError("the terminal is gone")

    client = CollectionClient(simulator)
    async with client.client:
        collected = await _collect(client, lambda timeframe, series: None, on_progress)
    assert (collected.markets, collected.missing) == (8, [])


async def test_a_lost_lease_ends_a_collection(simulator: Simulator) -> None:
    def deliver(timeframe: Timeframe, series: MarketSeries) -> None:
        raise LeaseLost("taken over")

    client = CollectionClient(simulator)
    async with client.client:
        with pytest.raises(LeaseLost):
            await _collect(client, deliver)


@pytest.mark.usefixtures("no_daily_checks")
@pytest.mark.parametrize("name", ["may_have_settled", "merge_newest"])
async def test_a_market_whose_funding_cannot_be_made_is_named_and_keeps_its_own(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    as_it_is = getattr(exchange_funding, name)
    odd_rows: list[Any] = []

    def failing(*arguments: Any) -> Any:
        text = repr(arguments)
        if "ETHUSDT" in text or repr(odd_rows[0]) in text:
            raise RecursionError("a mistake of ours")
        return as_it_is(*arguments)

    client = CollectionClient(simulator)
    async with client.client:
        markets = await client.markets()
        known = dict(client.funding(markets))
        odd_rows.append(known[ODD].rows[-1])
        simulator.post("/sim/clock", {"advance_ms": 9 * HOUR_MS})
        monkeypatch.setattr(exchange_funding, name, failing)
        update = await run_fr_update_process(
            client.client,
            markets,
            known,
            funding_history=400,
            on_progress=lambda done, total: None,
        )
    assert set(update.funding) == {market.key for market in markets}
    named = {(m.exchange, m.symbol, m.reason) for m in update.missing}
    assert (Exchange.BYBIT, "ETHUSDT", "internal error: RecursionError") in named
    assert {symbol for _, symbol, _ in named} == {"ETHUSDT"}
    assert isinstance(update.funding[ODD], FundingSeries)
    assert update.funding[ODD].rows == known[ODD].rows
    assert update.changed >= 5
