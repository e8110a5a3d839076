"""A pass leaves the event loop to others between the documents of a market."""

import asyncio

import pytest

from jobs.document_draft import DocumentDraft
from market.markets import MarketSeries
from market.timeframes import Timeframe
from tests.fixtures.jobs import OpenRunner
from tests.fixtures.simulator import NOW_MS, StartSimulator


async def test_others_run_between_the_documents_of_a_market(
    start_simulator: StartSimulator, open_runner: OpenRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanges = start_simulator(binance=1, bybit=1, now=NOW_MS, frozen=True)
    turns, others = 0, asyncio.Event()
    delivered: dict[str, dict[Timeframe, int]] = {}
    add = DocumentDraft.add

    async def take_turns() -> None:
        nonlocal turns
        while not others.is_set():
            turns += 1
            await asyncio.sleep(0)

    def noted(draft: DocumentDraft, series: MarketSeries) -> None:
        delivered.setdefault(series.market.key, {})[draft.timeframe] = turns
        add(draft, series)

    async with open_runner(exchanges) as runner:
        for job in ("discovery", "funding", "collect:all"):
            await runner.complete(job)
        exchanges.post("/sim/clock", {"now_ms": NOW_MS + 20 * 60_000})
        runner.context.last_as_of.elapsed_s = lambda: 1200.0
        monkeypatch.setattr(DocumentDraft, "add", noted)
        ticking = asyncio.create_task(take_turns())
        await runner.complete("collect:all")
        others.set()
        await ticking
    assert len(delivered) == 2
    for at in delivered.values():
        assert at.keys() == set(Timeframe)
        # 8h is made with 4h; each other document in a turn of its own.
        del at[Timeframe.H8]
        assert len(set(at.values())) == len(at)
