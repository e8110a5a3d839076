"""The tables of collectors: the newest copy of each file, and wishes that none overwrites."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from database import Database
from stores.cold.collectors import CollectorWish
from tests.fixtures.postgres import DatabaseIn


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.aclose()


async def known(database: Database) -> Any:
    return json.loads(await database.collectors.read())


async def test_nothing_is_known_at_first(database: Database) -> None:
    assert await known(database) == {"files": [], "wishes": []}


async def test_a_newer_copy_of_a_file_replaces_an_older_one(database: Database) -> None:
    collectors = database.collectors
    assert await collectors.take_file("/f", 5, '[{"name": "a"}]') == 5
    assert await collectors.take_file("/f", 4, '[{"name": "old"}]') == 5
    assert await collectors.take_file("/g", 4, "[]") == 4
    [first, second] = (await known(database))["files"]
    assert first == {"path": "/f", "modified_ms": 5, "collectors": [{"name": "a"}]}
    assert second["path"] == "/g"
    assert await collectors.take_file("/f", 5, '[{"name": "b"}]') == 5
    assert await collectors.take_file("/f", 6, '[{"name": "c"}]') == 6
    assert (await known(database))["files"][0]["collectors"] == [{"name": "c"}]


async def test_a_file_that_no_process_has_had_for_a_week_counts_no_more(
    database: Database, database_url: str
) -> None:
    await database.collectors.take_file("/f", 5, "[]")
    server = await asyncpg.connect(database_url)
    try:
        week = "UPDATE live_collector_files SET read_ms = read_ms - 7 * 24 * 3600000::bigint"
        await server.execute(week)
    finally:
        await server.close()
    assert (await known(database))["files"] == []
    await database.collectors.still_read("/f")
    assert len((await known(database))["files"]) == 1


async def test_a_wish_is_kept_as_it_was_made(database: Database) -> None:
    wish = CollectorWish(False, False, {"SOL-USDT": "SOLUSDT"}, ("BTCUSDT",), 3)

    def make(before: CollectorWish) -> CollectorWish:
        assert before == CollectorWish()
        return wish

    kept = await database.collectors.change("a", make)
    assert kept.changed_ms is not None
    assert replace(kept, changed_ms=None) == wish
    assert (await known(database))["wishes"] == [
        {
            "name": "a",
            "enabled": False,
            "running": False,
            "added": {"SOL-USDT": "SOLUSDT"},
            "removed": ["BTCUSDT"],
            "restarts": 3,
            "changed_ms": kept.changed_ms,
        }
    ]
    # What changes nothing is no change.
    assert await database.collectors.change("a", lambda wish: wish) == kept


async def test_what_is_refused_changes_nothing(database: Database) -> None:
    class Refused(Exception):
        pass

    def refuse(_: CollectorWish) -> CollectorWish:
        raise Refused

    with pytest.raises(Refused):
        await database.collectors.change("a", refuse)
    assert (await known(database))["wishes"] == []


async def test_wishes_at_the_same_time_are_all_kept(database: Database) -> None:
    def add(number: int) -> Any:
        def change(wish: CollectorWish) -> CollectorWish:
            symbol = f"A{number}USDT"
            added = {**wish.added, symbol: symbol}
            return replace(wish, added=added, restarts=wish.restarts + 1)

        return database.collectors.change("a", change)

    await asyncio.gather(*(add(number) for number in range(12)))
    [wish] = (await known(database))["wishes"]
    assert set(wish["added"]) == {f"A{number}USDT" for number in range(12)}
    assert wish["restarts"] == 12


async def test_a_database_of_any_encoding_holds_all_names(database_in: DatabaseIn) -> None:
    database = Database(await database_in("LATIN1"))
    try:
        symbols = json.dumps([{"symbols": {"龙-USDT": "龙USDT"}}])
        await database.collectors.take_file("/f", 1, symbols)
        added = {"🚀-USDT": "🚀USDT"}
        kept = await database.collectors.change("a", lambda wish: replace(wish, added=added))
        assert kept.added == added
        found = await known(database)
        assert found["files"][0]["collectors"] == json.loads(symbols)
        assert found["wishes"][0]["added"] == added
    finally:
        await database.aclose()
