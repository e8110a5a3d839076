"""Which markets were listed when, in a real PostgreSQL: by the lists that were believed."""

import dataclasses
from collections.abc import AsyncIterator

import asyncpg
import pytest

from database import Database
from market.markets import Exchange, ListedMarket, Market
from market.unread_entries import CANNOT_BE_READ, UnreadEntry
from stores.cold.migrate import MIGRATIONS

BYBIT = Exchange.BYBIT
LAUNCH_MS = 1_600_000_000_000
NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
ONE, TWO, THREE, FOUR, FIVE = (
    Market(BYBIT, f"{base}USDT", base, "USDT", LAUNCH_MS)
    for base in ("ONE", "TWO", "THREE", "FOUR", "FIVE")
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.aclose()


async def save(
    database: Database, day: int, *markets: Market, unread: tuple[UnreadEntry, ...] = ()
) -> None:
    await database.markets.save_markets(
        BYBIT,
        [ListedMarket(market, None) for market in markets],
        seen_at_ms=NOW_MS + day * DAY_MS,
        unread=unread,
    )


async def listed(database: Database, day: float) -> list[str]:
    found = await database.listing_log.listed_at(
        NOW_MS + round(day * DAY_MS), exchanges=[BYBIT], quote="USDT"
    )
    return [f"{market.symbol.removesuffix('USDT')} {market.base}" for market in found]


async def test_markets_come_and_leave(database: Database) -> None:
    await save(database, 0, ONE, TWO, THREE)
    await save(database, 1, ONE, THREE)
    await save(database, 2, ONE, TWO, THREE, FOUR)
    three = UnreadEntry("THREEUSDT", CANNOT_BE_READ, expected=True)
    await save(database, 3, ONE, TWO, FOUR, unread=(three,))  # it is there, but cannot be read
    assert await listed(database, -0.1) == []
    assert await listed(database, 0) == ["ONE ONE", "THREE THREE", "TWO TWO"]
    assert await listed(database, 0.9) == await listed(database, 0)
    assert await listed(database, 1) == ["ONE ONE", "THREE THREE"]
    assert await listed(database, 2) == ["FOUR FOUR", "ONE ONE", "THREE THREE", "TWO TWO"]
    assert await listed(database, 4) == await listed(database, 2)


async def test_another_contract_under_a_symbol_is_a_listing_of_its_own(
    database: Database,
) -> None:
    await save(database, 0, ONE, TWO)
    await save(database, 1, dataclasses.replace(ONE, launched_ms=NOW_MS), TWO)
    await save(database, 2, dataclasses.replace(ONE, launched_ms=NOW_MS, base="ANOTHER"), TWO)
    found = await database.listing_log.listed_at(
        NOW_MS + 3 * DAY_MS, exchanges=[BYBIT], quote="USDT"
    )
    assert [(market.base, market.listed_from_ms) for market in found] == [
        ("ANOTHER", NOW_MS + 2 * DAY_MS),
        ("TWO", NOW_MS),
    ]
    (first, _) = await database.listing_log.listed_at(NOW_MS, exchanges=[BYBIT], quote="USDT")
    assert (first.launched_ms, first.listed_to_ms) == (LAUNCH_MS, NOW_MS + DAY_MS)
    assert await listed(database, 1.5) == ["ONE ONE", "TWO TWO"]


async def test_a_list_that_is_not_believed_ends_nothing(database: Database) -> None:
    await save(database, 0, ONE, TWO, THREE, FOUR, FIVE)
    await save(database, 1, ONE)
    assert len(await listed(database, 2)) == 5
    await save(database, 3, ONE)  # said twice
    assert await listed(database, 3) == ["ONE ONE"]
    assert len(await listed(database, 2.9)) == 5


async def test_what_an_earlier_release_knows_is_taken_over(
    database: Database, database_url: str
) -> None:
    await save(database, 0, ONE, TWO, THREE)
    await save(database, 1, ONE, TWO)
    connection = await asyncpg.connect(database_url, timeout=10)
    await connection.execute("DROP TABLE history_listings")
    await connection.execute((MIGRATIONS / "0008_listings_in_time.sql").read_text(encoding="utf-8"))
    assert await listed(database, 0.5) == ["ONE ONE", "THREE THREE", "TWO TWO"]
    assert await listed(database, 1) == ["ONE ONE", "TWO TWO"]
    # An earlier release beside ours takes in a list, and does not log it: the next list does.
    await connection.execute("UPDATE history_listings SET listed_to = NULL")
    await save(database, 2, ONE, THREE)
    assert await listed(database, 2) == ["ONE ONE", "THREE THREE"]
    await connection.close()
