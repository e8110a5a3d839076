"""The monthly partitions: made where rows need them, dropped when they are old."""

import asyncio
from datetime import UTC, datetime

import pytest

from database import Database, DatabaseUnavailable
from stores.cold.pool import Connection
from stores.cold.workers.partitions import ensure_months, make_ahead
from stores.cold.workers.rows import now_of
from tests.fixtures.postgres import User
from tests.fixtures.schedules import Schedules


def ms(text: str) -> int:
    return round(datetime.fromisoformat(f"{text}+00:00").timestamp() * 1000)


async def names(schedules: Schedules, table: str) -> list[str]:
    rows = await schedules.sql(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
        " WHERE inhparent = $1::regclass ORDER BY 1",
        table,
    )
    return [row["name"] for row in rows]


async def insert(schedules: Schedules, *moments_ms: int) -> None:
    async def work(connection: Connection) -> None:
        await ensure_months(connection, "execution_log", moments_ms)
        for moment_ms in moments_ms:
            await connection.execute(
                "INSERT INTO execution_log (at, worker, host, level, event, fields)"
                " VALUES ($1, 'w', 'h', 'info', 'e', '{}')",
                moment_ms,
            )

    await schedules.database.workers.in_transaction(work)


async def test_months_are_of_utc_and_hold_their_first_and_last_moment(schedules: Schedules) -> None:
    first, last = ms("2031-02-01 00:00"), ms("2031-03-01 00:00") - 1
    await insert(schedules, first, last)
    assert "execution_log_203102" in await names(schedules, "execution_log")
    assert "execution_log_203103" not in await names(schedules, "execution_log")
    [row] = await schedules.sql("SELECT count(*) FROM ONLY execution_log_203102")
    assert row["count"] == 2
    await insert(schedules, last + 1)
    assert "execution_log_203103" in await names(schedules, "execution_log")


async def test_many_hosts_make_the_same_one_at_once(schedules: Schedules) -> None:
    moment_ms = ms("2032-12-31 23:59")
    await asyncio.gather(*(insert(schedules, moment_ms) for _ in range(4)))
    [row] = await schedules.sql("SELECT count(*) FROM execution_log WHERE at = $1", moment_ms)
    assert row["count"] == 4


async def test_this_month_and_the_next_are_made_ahead(schedules: Schedules) -> None:
    async def work(connection: Connection) -> int:
        now_ms = await now_of(connection)
        await make_ahead(connection, ms("2033-12-15 00:00"))
        await make_ahead(connection, now_ms)
        return now_ms

    now_ms = await schedules.database.workers.in_transaction(work)
    there = await names(schedules, "worker_run")
    assert {"worker_run_203312", "worker_run_203401"} <= {*there}
    assert f"worker_run_{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m}" in there


async def test_what_ended_long_ago_is_dropped_and_the_rest_stays(schedules: Schedules) -> None:
    [row] = await schedules.sql("SELECT (extract(epoch FROM now()) * 1000)::bigint AS ms")
    day, now_ms = 86_400_000, row["ms"]
    await insert(schedules, now_ms - 200 * day, now_ms - 20 * day, now_ms)
    await schedules.sql("CREATE TABLE IF NOT EXISTS execution_log_190001 (a integer)")
    assert await schedules.database.workers.drop_months("execution_log", 0) == []
    rows = await schedules.sql("SELECT count(*) FROM execution_log WHERE at <= $1", now_ms)
    assert rows[0]["count"] >= 3
    assert await schedules.database.workers.drop_months("execution_log", 90) == []
    [row] = await schedules.sql("SELECT min(at) AS at FROM execution_log")
    assert row["at"] == now_ms - 20 * day
    assert await schedules.sql("SELECT * FROM execution_log_190001") == []


async def test_rights_that_are_lacking_are_named(user: User) -> None:
    await user.may("SELECT, INSERT ON execution_log, worker, worker_run")
    database = Database(user.url)

    async def work(connection: Connection) -> None:
        await ensure_months(connection, "execution_log", [ms("2031-02-01 00:00")])

    with pytest.raises(DatabaseUnavailable, match="it must own worker_run, execution_log"):
        await database.workers.in_transaction(work)
    await database.aclose()
