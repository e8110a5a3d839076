"""The tables data_collections and failure_logs: written once, read in pages and by filters."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import pytest

from database import (
    CollectionFilter,
    Database,
    DataCollection,
    FailureFilter,
    FailureLog,
)

COLLECTION: Final = DataCollection(
    kind="collect",
    subject="collect:5m",
    run=7,
    worker_run=3,
    started_at_ms=1_000,
    finished_at_ms=2_500,
    state="complete",
    records=90,
    requests=12,
    host="a:1",
    details={"markets": 2, "absent": {"bybit": "HTTP 502"}},
)
FAILURE: Final = FailureLog(
    at_ms=2_500, source="bybit", subject="collect:5m", market="bybit:AUSDT", cause="HTTP 502"
)
EVERYTHING: Final = CollectionFilter()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.aclose()


async def test_a_run_is_kept_once_with_its_failures(database: Database) -> None:
    """A write whose answer was lost is repeated."""
    ended = (COLLECTION, [FAILURE, replace(FAILURE, market=None, count=4)])
    await database.data_collections.add([ended])
    await database.data_collections.add([ended, (replace(COLLECTION, run=8), [])])
    [second, first] = await database.data_collections.listed(EVERYTHING)
    assert replace(first, id=None) == COLLECTION
    assert (second.run, second.details) == (8, COLLECTION.details)
    kept = await database.failure_logs.listed(FailureFilter())
    assert [replace(each, id=None) for each in kept] == [
        replace(FAILURE, market=None, count=4),
        FAILURE,
    ]


async def test_names_and_causes_of_others_are_kept(database: Database) -> None:
    odd = "caf\u00e9 \u0000 \ud800 \U0001f600"
    await database.data_collections.add([(replace(COLLECTION, details={"why": odd}), [])])
    await database.failure_logs.add([replace(FAILURE, cause=odd)])
    [collection] = await database.data_collections.listed(EVERYTHING)
    assert collection.details == {"why": odd}
    [failure] = await database.failure_logs.listed(FailureFilter())
    assert failure.cause == "caf\u00e9 \\x00 \\ud800 \U0001f600"


async def test_pages_are_what_was_asked_for_newest_first(database: Database) -> None:
    chance = random.Random(5)  # noqa: S311 - to be repeatable
    collections = [
        replace(
            COLLECTION,
            kind=chance.choice(["collect", "funding"]),
            subject=chance.choice(["collect:5m", "collect:all", "funding"]),
            run=run,
            state=chance.choice(["complete", "failed"]),
            host=chance.choice("ab"),
            finished_at_ms=chance.randrange(12),
        )
        for run in range(60)
    ]
    failures = [
        replace(
            FAILURE,
            at_ms=chance.randrange(12),
            source=chance.choice(["bybit", "binance", "database"]),
            subject=chance.choice(["funding", "record"]),
            market=chance.choice(["bybit:AUSDT", None]),
            count=number + 1,
        )
        for number in range(60)
    ]
    await database.data_collections.add([(each, []) for each in collections])
    await database.failure_logs.add(failures)
    for _ in range(12):
        begin, end = chance.choice([None, 3]), chance.choice([None, 9])
        which = CollectionFilter(
            kinds=chance.choice([None, ["funding"], []]),
            subjects=chance.choice([None, ["funding", "collect:5m"]]),
            states=chance.choice([None, ["failed"]]),
            hosts=chance.choice([None, ["b"]]),
            from_ms=begin,
            to_ms=end,
        )
        wanted = [
            each
            for each in sorted(collections, key=lambda c: (c.finished_at_ms, c.run), reverse=True)
            if (which.kinds is None or each.kind in which.kinds)
            and (which.subjects is None or each.subject in which.subjects)
            and (which.states is None or each.state in which.states)
            and (which.hosts is None or each.host in which.hosts)
            and (begin or 0) <= each.finished_at_ms < (end or 99)
        ]
        found: list[DataCollection] = []
        while page := await database.data_collections.listed(
            which,
            before=(found[-1].finished_at_ms, found[-1].id or 0) if found else None,
            limit=7,
        ):
            found += page
        assert [replace(each, id=None) for each in found] == wanted
        picked = FailureFilter(
            sources=chance.choice([None, ["bybit", "database"]]),
            subjects=chance.choice([None, ["record"]]),
            markets=chance.choice([None, ["bybit:AUSDT"]]),
            from_ms=begin,
            to_ms=end,
        )
        logs: list[FailureLog] = []
        while rows := await database.failure_logs.listed(
            picked, before=(logs[-1].at_ms, logs[-1].id or 0) if logs else None, limit=7
        ):
            logs += rows
        assert [replace(each, id=None) for each in logs] == [
            each
            for each in sorted(failures, key=lambda f: (f.at_ms, f.count), reverse=True)
            if (picked.sources is None or each.source in picked.sources)
            and (picked.subjects is None or each.subject in picked.subjects)
            and (picked.markets is None or each.market in picked.markets)
            and (begin or 0) <= each.at_ms < (end or 99)
        ]


async def test_old_rows_are_removed(database: Database) -> None:
    await database.data_collections.add(
        [(replace(COLLECTION, run=run, finished_at_ms=run), []) for run in (10, 11, 12)]
    )
    await database.failure_logs.add([replace(FAILURE, at_ms=at) for at in (10, 11, 12)])
    assert await database.data_collections.forget(12) == 2
    assert await database.failure_logs.forget(11) == 1
    assert [each.run for each in await database.data_collections.listed(EVERYTHING)] == [12]
    assert [each.at_ms for each in await database.failure_logs.listed(FailureFilter())] == [12, 11]
