"""Answers that contradict what is published: doubted, and believed when they are said again."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data_collector import base_pass, interest_reads
from data_collector.fetch_strategies import fetch_klines, fetch_open_interest
from data_collector.task_builder import FetchTask
from documents.kept import KeptDocuments
from jobs.bases import Bases
from market.candles import Candles
from market.markets import Exchange
from market.timeframes import HOUR_MS, MINUTE_MS
from tests.fixtures.jobs import ALL, JobRunner, NoAudits, OpenRunner, by_key, lacks
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.jobs.test_closes import CANDLE, CANDLES, MIDNIGHT_MS, Closes

KEY = "binance:BTCUSDT"
M5_MS = 5 * MINUTE_MS
FIRST_CLOSE_MS = NOW_MS - NOW_MS % M5_MS + M5_MS
SOME = "5m,15m,4h,1d"


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, 1) | {"binance": 2}, now=NOW_MS, frozen=True)


@asynccontextmanager
async def opened(
    open_runner: OpenRunner, exchanges: Simulator, timeframes: str, **settings: Any
) -> AsyncIterator[Closes]:
    """Documents of these timeframes, without audits, which would find what is wrong."""
    async with open_runner(
        exchanges,
        exchanges=ALL,
        history_candles=CANDLES,
        timeframes=timeframes,
        audits=NoAudits(),
        **settings,
    ) as runner:
        closes = Closes(runner)
        for job in ("discovery", "funding", "collect:all", "fill"):
            await runner.complete(job)
        yield closes


async def lose_bases(runner: JobRunner, *, restarted: bool) -> None:
    for exchange in Exchange:
        for end in ("", ":meta", ":chunks"):
            await runner.context.store.execute("UNLINK", f"cache:base:{exchange}{end}")
    if restarted:  # and its documents have to be read
        runner.context = replace(runner.context, kept=KeptDocuments(512), bases=Bases())


def correct(runner: JobRunner, at_ms: int, slots: range) -> None:
    """The exchange has other candles now, so many 5m slots before this instant."""
    exchange, symbol = KEY.split(":")
    fault = {"kind": "correction", "exchange": exchange, "symbol": symbol}
    runner.fault(*({**fault, "time": at_ms - slot * M5_MS} for slot in slots))


async def is_stale(closes: Closes, timeframe: str) -> bool:
    market = by_key(await closes.runner.document(timeframe))[KEY]
    return market["stale_since"] is not None


def of_another(task: FetchTask) -> FetchTask:
    return replace(task, market=replace(task.market, symbol="ETHUSDT", native="ETHUSDT"))


@pytest.mark.parametrize("timeframes", ["5m,15m,1h", "15m,1h"])
async def test_many_corrections_are_believed_when_they_are_said_again(
    open_runner: OpenRunner, exchanges: Simulator, timeframes: str
) -> None:
    finest, stale = timeframes.split(",")[0], []
    async with opened(open_runner, exchanges, timeframes) as closes:
        closes.go_to(FIRST_CLOSE_MS + 5_000)
        await closes.all()
        correct(closes.runner, FIRST_CLOSE_MS, range(4, 30))
        for close in (1, 2):
            closes.go_to(FIRST_CLOSE_MS + close * M5_MS + 5_000)
            await closes.all()
            stale.append(await is_stale(closes, finest))
        assert stale == [True, False]
        await closes.check(finest)


async def another_markets(fetch: Callable[..., Any], run: Any, task: FetchTask, found: Any) -> Any:
    return await fetch(run, of_another(task), found)


async def without_two(fetch: Callable[..., Any], run: Any, task: FetchTask, found: Any) -> Any:
    candles = Candles.of(await fetch(run, task, found))
    gone = (MIDNIGHT_MS - 2 * HOUR_MS, MIDNIGHT_MS - 2 * HOUR_MS + M5_MS)
    return candles.select(np.flatnonzero(~np.isin(candles.times, gone)))


@pytest.mark.parametrize(
    ("timeframes", "answer", "restarted"),
    [
        (SOME, another_markets, True),
        (SOME, without_two, False),
        ("15m,1h", another_markets, False),
    ],
)
async def test_one_wrong_answer_for_a_lost_base_replaces_no_published_candle(
    open_runner: OpenRunner,
    exchanges: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    timeframes: str,
    answer: Callable[..., Any],
    restarted: bool,
) -> None:
    async with opened(open_runner, exchanges, timeframes) as closes:
        closes.go_to(MIDNIGHT_MS + 5_000)
        await closes.all()
        await lose_bases(closes.runner, restarted=restarted)
        fetch, asked = fetch_klines, 0

        async def wrong_once(run: Any, task: FetchTask, found: Any) -> Any:
            nonlocal asked
            asked += task.market.key == KEY
            if task.market.key != KEY or asked > 1:
                return await fetch(run, task, found)
            return await answer(fetch, run, task, found)

        monkeypatch.setattr(base_pass, "fetch_klines", wrong_once)
        closes.go_to(MIDNIGHT_MS + 15 * MINUTE_MS + 5_000)
        await closes.all()
        assert asked == 2
        for timeframe in timeframes.split(","):
            document = await closes.check(timeframe)
            assert document["as_of"] == closes.now_ms


@pytest.mark.parametrize("timeframes", ["5m,15m,1h", "15m,1h"])
async def test_what_has_changed_while_a_base_was_lost_is_believed_when_it_is_said_again(
    open_runner: OpenRunner, exchanges: Simulator, timeframes: str
) -> None:
    names = timeframes.split(",")
    async with opened(open_runner, exchanges, timeframes) as closes:
        closes.go_to(MIDNIGHT_MS + 5_000)
        await closes.all()
        await lose_bases(closes.runner, restarted=False)
        before = by_key(await closes.runner.document(names[0]))[KEY]["rows"]
        correct(closes.runner, MIDNIGHT_MS, range(30, 80))
        closes.go_to(MIDNIGHT_MS + 15 * MINUTE_MS + 5_000)
        await closes.all()
        for name in names:
            assert await is_stale(closes, name), name
        kept = {row[0]: row for row in by_key(await closes.runner.document(names[0]))[KEY]["rows"]}
        assert all(kept[row[0]] == row for row in before[5:-1])
        closes.go_to(MIDNIGHT_MS + 30 * MINUTE_MS + 5_000)
        await closes.all()
        for name in names:
            await closes.check(name)


@pytest.mark.parametrize("wrong_answers", [1, 2])
async def test_no_wrong_answer_for_a_lost_base_replaces_published_open_interest(
    open_runner: OpenRunner,
    exchanges: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    wrong_answers: int,
) -> None:
    async with opened(open_runner, exchanges, SOME) as closes:
        closes.go_to(MIDNIGHT_MS + 5_000)
        await closes.all()
        await lose_bases(closes.runner, restarted=False)
        fetch, asked = fetch_open_interest, 0

        async def first_wrong(run: Any, task: FetchTask, found: Any) -> Any:
            nonlocal asked
            asked += task.market.key == KEY
            if task.market.key == KEY and asked <= wrong_answers:
                task = of_another(task)
            return await fetch(run, task, found)

        monkeypatch.setattr(interest_reads, "fetch_open_interest", first_wrong)
        for minutes in (15, 30):
            closes.go_to(MIDNIGHT_MS + minutes * MINUTE_MS + 5_000)
            await closes.all()
            for timeframe in SOME.split(","):
                document = await closes.check(timeframe)
                truth = exchanges.truth(timeframe, candles=CANDLES, as_of=closes.now_ms)[KEY]
                true = {row[0]: row[CANDLE] for row in truth}
                rows = by_key(document)[KEY]["rows"]
                other = {row[0]: row[CANDLE] for row in rows if row[CANDLE] != true[row[0]]}
                # What could not be read is null, named, and follows. The published rows of 5m
                # reach 12 hours back here.
                refused = minutes == 15 and wrong_answers == 2
                assert set(other.values()) <= {None}, timeframe
                assert bool(other) == refused, timeframe
                assert ((KEY, "open_interest") in lacks(document)) == refused, timeframe
                if timeframe == "5m":
                    assert all(time_ms >= MIDNIGHT_MS for time_ms in other)
