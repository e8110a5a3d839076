"""The options of a DATABASE_URL on a real server: schemas, settings of the session, poolers."""

import asyncio
import os
import shutil
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import pytest

from database import Database, DatabaseUnavailable
from market.markets import Exchange, ListedMarket, Market
from stores.cold.migrate import MIGRATIONS
from stores.cold.pool import DatabasePool
from tests.fixtures.proxies import serving

BTC = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")


@pytest.fixture
async def server(empty_database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(empty_database_url, timeout=10)
    yield connection
    await connection.close()


async def symbols(database: Database) -> list[str]:
    found = await database.get_all_unique_coins(exchanges=list(Exchange), quote="USDT")
    return [market.symbol for market in found]


@pytest.mark.parametrize("told", [b"", b"client_encoding\0klingon\0"])
async def test_a_server_that_is_no_postgresql_is_an_unavailable_database(told: bytes) -> None:
    def message(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("!i", len(body) + 4) + body

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8192)
        parameter = message(b"S", told) if told else b""
        writer.write(message(b"R", bytes(4)) + parameter + message(b"Z", b"I"))
        await writer.drain()
        await reader.read(8192)

    async with serving(talk) as port:
        database = Database(f"postgresql://u:geheim@127.0.0.1:{port}/x?sslmode=disable")
        try:
            with pytest.raises(DatabaseUnavailable, match="the database failed: ") as caught:
                await database.open()
            assert "geheim" not in str(caught.value)
        finally:
            await database.aclose()


@pytest.mark.parametrize("option", ["schema=My%22Own", "search_path=%22My%22%22Own%22,public"])
async def test_everything_lies_in_the_schema_that_is_asked_for(
    empty_database_url: str, server: Any, option: str
) -> None:
    url = f"{empty_database_url}&{option}&connection_limit=1"
    if option.startswith("schema"):
        database = Database(url)
        with pytest.raises(
            DatabaseUnavailable, match='no schema of DATABASE_URL exists: create "My'
        ):
            await database.open()
        await database.aclose()
    await server.execute('CREATE SCHEMA "My""Own"')
    database = Database(url)
    try:
        await database.markets.save_markets(
            Exchange.BINANCE, [ListedMarket(BTC, None)], seen_at_ms=1
        )
        assert await symbols(database) == ["BTCUSDT"]
        found = await asyncio.gather(*(symbols(database) for _ in range(5)))
        assert found == [["BTCUSDT"]] * 5
    finally:
        await database.aclose()
    rows = await server.fetch("SELECT schemaname FROM pg_tables WHERE tablename = 'coins'")
    assert [row["schemaname"] for row in rows] == ['My"Own']
    plain = Database(empty_database_url)
    try:
        assert await symbols(plain) == []
    finally:
        await plain.aclose()


async def test_what_consoles_add_has_its_effect_or_none(database_url: str) -> None:
    added = (
        "&channel_binding=require&connect_timeout=10&keepalives=1&keepalives_idle=30&pgbouncer=true"
        "&pool_timeout=20&prepared_statements=false&statement_cache_size=0&supa=base-pooler.x"
        "&gssencmode=disable&application_name=mine&statement_timeout=5s&connection_limit=1"
        "&options=-c%20lock_timeout%3D7s"
    )
    pool = DatabasePool(f"{database_url}{added}", MIGRATIONS, read_s=5, write_s=5)

    async def read(connection: Any) -> list[str]:
        names = ("application_name", "statement_timeout", "lock_timeout")
        return [await connection.fetchval(f"SHOW {name}") for name in names]

    try:
        assert await pool.read(read) == ["mine", "5s", "7s"]
    finally:
        await pool.aclose()


async def test_an_address_that_the_server_refuses_is_told_as_it_says(database_url: str) -> None:
    database = Database(f"{database_url}&timezone=Nowhere")
    with pytest.raises(DatabaseUnavailable, match=r"the database failed: invalid value .*TimeZone"):
        await database.open()
    await database.aclose()


_POOLER = """
[databases]
* = host={host} port=5432 user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
"""


@pytest.fixture
async def pooler(database_url: str, tmp_path: Path) -> AsyncIterator[str]:
    """The database's address behind pgbouncer in transaction mode."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    parts = urlsplit(database_url)
    (host,) = parse_qs(parts.query)["host"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = tmp_path / "pgbouncer.ini"
    settings.write_text(
        _POOLER.format(
            host=host, user=parts.username, password=unquote(parts.password or ""), port=port
        )
    )
    # It refuses to run as root; the file reaches the other user through a descriptor.
    as_user = ("-u", "postgres") if os.geteuid() == 0 else ()
    with settings.open("rb") as file:
        process = await asyncio.create_subprocess_exec(
            *(program, "-q", *as_user, f"/proc/self/fd/{file.fileno()}"), pass_fds=(file.fileno(),)
        )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    assert process.returncode is None
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield f"postgresql://{parts.username}:x@127.0.0.1:{port}{parts.path}?sslmode=disable"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("options", ["", "&pgbouncer=true&schema=own"])
async def test_a_transaction_pooler_is_enough(pooler: str, server: Any, options: str) -> None:
    await server.execute("CREATE SCHEMA own")
    databases = [Database(f"{pooler}{options}") for _ in range(4)]

    async def work(database: Database) -> None:
        # More clients than connections, so that each transaction may meet another session.
        for seen_at_ms in range(1, 6):
            await database.markets.save_markets(
                Exchange.BINANCE, [ListedMarket(BTC, 1.0)], seen_at_ms=seen_at_ms
            )
            assert await symbols(database) == ["BTCUSDT"]

    try:
        await asyncio.gather(*map(work, databases))
    finally:
        for database in databases:
            await database.aclose()
    rows = await server.fetch("SELECT schemaname FROM pg_tables WHERE tablename = 'coins'")
    assert [row["schemaname"] for row in rows] == ["own" if options else "public"]
