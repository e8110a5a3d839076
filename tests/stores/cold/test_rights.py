"""A user without a right on a table is told which; names of others than tables are the server's."""

import re
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from database import Database, DatabaseUnavailable
from market.markets import Exchange, ListedMarket, Market
from market.timeframes import Timeframe
from stores.cold.rights import HISTORY_TABLES, PROVIDER_TABLES
from tests.fixtures.postgres import User

BYBIT = Exchange.BYBIT
LISTED = [ListedMarket(Market(BYBIT, "AUSDT", "A", "USDT"), None)]
ADDED = "execution_log, live_books, live_tickers, live_trades"
FORGOTTEN = "data_collections, failure_logs, worker_secret"
CHANGED = (
    "coins, discoveries, listings, live_collector_files, live_collectors, market_lives,"
    " native_markets, worker, worker_queue, worker_run"
)
KEPT = ", ".join(sorted(("coin_metadata", "worker_config", *HISTORY_TABLES, *PROVIDER_TABLES)))
DELETED_FROM = ", ".join(sorted((*FORGOTTEN.split(", "), *KEPT.split(", "))))
SEQUENCES = "connection_attempts_id, execution_log_id, worker_run_id"


async def denied(database: Database, call: str) -> str:
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "read": lambda: database.get_all_unique_coins(exchanges=[BYBIT], quote="USDT"),
        "list": lambda: database.markets.save_markets(BYBIT, LISTED, seen_at_ms=1),
        "store": lambda: database.markets.save_metadata(
            Timeframe.H4, {"bybit:AUSDT": {"hurst": 0.5}}, computed_at_ms=1
        ),
    }
    with pytest.raises(DatabaseUnavailable) as caught:
        await calls[call]()
    return str(caught.value)


@pytest.mark.parametrize("option", ["", "&schema=public"])
async def test_the_rights_that_are_lacking_are_named(user: User, option: str) -> None:
    database = Database(user.url + option)
    try:
        assert await denied(database, "read") == (
            f"the database denies its user SELECT, INSERT on {ADDED}; SELECT, INSERT, DELETE on"
            f" {FORGOTTEN}; SELECT, INSERT, UPDATE on {CHANGED}; SELECT, INSERT, UPDATE, DELETE on"
            f" {KEPT}; USAGE on {SEQUENCES}: grant these rights"
        )
        await user.may(f"USAGE ON SEQUENCE {SEQUENCES}")
        await user.may(f"SELECT, INSERT ON {ADDED}, {FORGOTTEN}")
        await user.may(f"SELECT, INSERT, UPDATE ON {CHANGED}, {KEPT}")
        # That nothing of it was ever to be deleted does not matter to the server.
        assert await denied(database, "list") == (
            f"the database denies its user DELETE on {DELETED_FROM}: grant these rights"
        )
        await user.may(f"DELETE ON {DELETED_FROM}")
        assert (await database.markets.save_markets(BYBIT, LISTED, seen_at_ms=1)).added == 1
        await user.may_not("SELECT ON coins, coin_metadata")
        for call in ("read", "list", "store"):
            assert await denied(database, call) == (
                "the database denies its user SELECT on coin_metadata, coins: grant these rights"
            )
    finally:
        await database.aclose()


async def test_every_table_and_sequence_is_named(database_url: str, user: User) -> None:
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        # Partitions are reached by their table, and what counts an identity belongs to its table.
        rows = await connection.fetch(
            "SELECT relname FROM pg_class AS c WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p', 'S') AND NOT relispartition AND NOT (relkind = 'S' AND"
            " EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'i'))"
        )
    finally:
        await connection.close()
    await user.may_not("SELECT ON perpcache_migrations, perpcache_additions")
    database = Database(user.url)
    try:
        told = set(re.findall(r"[a-z_]+(?=[,;:])", await denied(database, "read")))
        assert {row["relname"] for row in rows} - told == set()
    finally:
        await database.aclose()


async def test_the_values_of_secret_keys_are_read_by_whom_the_rights_are_granted_to(
    user: User,
) -> None:
    database = Database(user.url)
    try:
        await user.may(f"SELECT, INSERT ON {FORGOTTEN}")
        await user.may("SELECT, INSERT, UPDATE, DELETE ON worker_config")
        await user.may("DELETE ON worker_secret")
        await database.worker_config.put("a", "key", "s3cret", secret=True, by="test")
        [row] = await database.worker_config.rows()
        assert row.value == "s3cret"
        await user.may_not("INSERT ON worker_secret")
        [row] = await database.worker_config.rows()
        assert row.value == "***"
    finally:
        await database.aclose()


async def test_a_right_on_something_else_is_told_as_the_server_says_it(
    database_url: str, user: User
) -> None:
    await user.may_not("SELECT ON perpcache_migrations")
    database = Database(user.url)
    try:
        assert re.fullmatch(
            "the database denies its user SELECT on perpcache_migrations; .*: grant these rights",
            await denied(database, "read"),
        )
    finally:
        await database.aclose()
    # In an empty database, where no table may be made.
    empty = Database(f"{user.url}&schema=pg_catalog")
    try:
        assert await denied(empty, "read") == (
            "the database denies its user a right: permission denied for schema pg_catalog"
        )
    finally:
        await empty.aclose()
