"""Runs that ended are kept beside the jobs, whatever the database does."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from database import (
    CollectionFilter,
    Database,
    DatabaseUnavailable,
    DataCollection,
    FailureFilter,
    FailureLog,
)
from job_queue.records import JobRecord
from jobs.endings import MOST_KEPT, Endings
from market.markets import NOT_FETCHED_YET, Exchange, Missing
from tests.fixtures.jobs import OpenRunner
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, StartSimulator

JOB = JobRecord(
    id="collect:5m",
    run=4,
    state="active",
    coalesced=False,
    rerun=False,
    enqueued_at=100,
    started_at=200,
    finished_at=None,
    attempts=1,
    phase="fetch",
    done=0,
    total=0,
    error=None,
    result=None,
    last=None,
    asked_by=77,
)
RESULT = {"rows": 90, "requests": 6, "markets": 3}


def lacks(symbol: str | None, reason: str, part: Any = "klines") -> Missing:
    return Missing(Exchange.BYBIT, symbol, part, reason)


async def written(database_url: str, *ends: dict[str, Any]) -> tuple[Any, Any]:
    """What both tables have, newest first, of these ends."""
    database = Database(database_url)
    try:
        endings = Endings(database, "host:1", clock_ms=lambda: 900)
        for end in ends:
            endings.ended(**{"job": JOB, "result": None, "missing": (), "error": None} | end)
        await endings.write_rest(within_s=20)
        collections = await database.data_collections.listed(CollectionFilter())
        return collections, await database.failure_logs.listed(FailureFilter())
    finally:
        await database.aclose()


async def test_a_run_is_kept_with_what_its_documents_lack(database_url: str) -> None:
    missing = [
        *(lacks(f"{letter}USDT", "HTTP 502") for letter in "ABC"),
        lacks("DUSDT", "HTTP 429"),
        lacks(None, "it cannot be reached", "listing"),
        lacks("EUSDT", NOT_FETCHED_YET, "open_interest"),
        lacks("FUSDT", "row at 5 left out: high below low"),
    ]
    [kept], failures = await written(database_url, {"result": RESULT, "missing": missing})
    assert replace(kept, id=None) == DataCollection(
        kind="collect",
        subject="collect:5m",
        run=4,
        worker_run=77,
        started_at_ms=200,
        finished_at_ms=900,
        state="complete",
        records=90,
        requests=6,
        host="host:1",
        details={"markets": 3},
    )
    assert sorted((each.cause, each.market, each.count) for each in failures) == [
        ("klines: HTTP 429", "bybit:DUSDT", 1),
        ("klines: HTTP 502", None, 3),
        ("listing: it cannot be reached", None, 1),
    ]
    assert {(each.source, each.subject, each.at_ms) for each in failures} == {
        ("bybit", "collect:5m", 900)
    }


@pytest.mark.parametrize("kind", ["providers", "providers_all"])
async def test_a_round_of_providers_is_kept_with_what_nobody_told(
    database_url: str, kind: str
) -> None:
    kinds = {
        "prices": {"records": 5, "rows": 4, "missing": {}},
        "gas": {"records": 5, "rows": 5, "missing": {"bsc": "gas.evm/rpc: it hangs"}},
    }
    job = replace(JOB, id=kind)
    result = {"rows": 9, "requests": 21, "kinds": kinds}
    [kept], failures = await written(database_url, {"job": job, "result": result})
    assert (kept.kind, kept.subject, kept.records, kept.requests) == (kind, kind, 9, 21)
    assert kept.details == {"kinds": kinds}
    assert [(each.source, each.subject, each.cause) for each in failures] == [
        ("providers", kind, "gas of bsc: gas.evm/rpc: it hangs")
    ]


@pytest.mark.parametrize(
    ("error", "source"),
    [
        ("binance: HTTP 502", "binance"),
        ("the database gave no answer", "database"),
        ("no market is known", "job"),
    ],
)
async def test_a_failed_run_is_kept_with_its_cause(
    database_url: str, error: str, source: str
) -> None:
    [kept], [failure] = await written(database_url, {"error": error})
    assert (kept.state, kept.records, kept.details) == ("failed", 0, {"error": error})
    assert (failure.source, failure.cause, failure.market) == (source, error, None)


async def test_jobs_that_bring_nothing_are_kept_only_when_they_fail(database_url: str) -> None:
    job = replace(JOB, id="record")
    collections, [failure] = await written(
        database_url, {"job": job, "result": {"rows": 1}}, {"job": job, "error": "full"}
    )
    assert (collections, failure.subject) == ([], "record")


class AwayAtFirst:
    """In place of data_collections: it takes nothing until `back` is set."""

    def __init__(self, there: Any) -> None:
        self.there, self.back, self.tries = there, asyncio.Event(), 0

    async def add(self, ended: Sequence[tuple[DataCollection, Sequence[FailureLog]]]) -> None:
        self.tries += 1
        if not self.back.is_set():
            raise DatabaseUnavailable("the database is away")
        await self.there.add(ended)


async def test_while_the_database_is_away_the_newest_are_kept_and_the_rest_counted(
    database_url: str,
) -> None:
    database = Database(database_url)
    away = AwayAtFirst(database.data_collections)
    database.data_collections = away  # type: ignore[assignment]
    dropped: list[int] = []
    endings = Endings(database, "host:1", on_dropped=dropped.append, clock_ms=lambda: 900)
    stop = asyncio.Event()
    writing = asyncio.create_task(endings.write(stop))
    try:
        for run in range(MOST_KEPT + 5):
            endings.ended(replace(JOB, run=run), result=RESULT, missing=(), error=None)
            if run == 0:
                await until(lambda: _true(away.tries > 0))
        assert sum(dropped) == 5
        away.back.set()

        async def are_there() -> bool:
            return bool(await database.failure_logs.listed(FailureFilter()))

        await until(are_there, 30)
        [told] = await database.failure_logs.listed(FailureFilter())
        assert (told.source, told.subject, told.count) == ("database", "data_collections", 5)
        kept = await away.there.listed(CollectionFilter(), limit=2 * MOST_KEPT)
        assert sorted(each.run for each in kept) == list(range(5, MOST_KEPT + 5))
    finally:
        stop.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(writing, 10)
        await database.aclose()


async def _true(found: bool) -> bool:
    return found


async def test_a_worker_keeps_what_its_jobs_brought(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    exchanges = start_simulator(binance=3, bybit=3, now=NOW_MS, frozen=True)
    async with open_runner(exchanges) as runner:
        database = runner.context.database
        endings = Endings(database, "runner", clock_ms=runner.context.now_ms)
        runner.context = replace(runner.context, endings=endings)
        await runner.complete("discovery")
        runner.fault({"kind": "status", "status": 502, "exchange": "bybit", "endpoint": "klines"})
        result = await runner.complete("collect:1h")
        await endings.write_rest(within_s=20)
        [collected, listed] = await database.data_collections.listed(CollectionFilter())
        assert (listed.kind, listed.records) == ("discovery", 6)
        assert (collected.subject, collected.records) == ("collect:1h", result["rows"])
        failures = await database.failure_logs.listed(FailureFilter())
        assert {(each.source, each.subject) for each in failures} == {("bybit", "collect:1h")}
        assert sum(each.count for each in failures) >= 3
