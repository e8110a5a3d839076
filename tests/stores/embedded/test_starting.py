"""Embedded stores started and stopped: they serve, keep their data, and say why they cannot."""

import asyncio
import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import redis

from stores.embedded.postgres import EmbeddedPostgres
from stores.embedded.stores import (
    EmbeddedStores,
    EmbeddedStoresError,
    remove_embedded_data,
)
from stores.embedded.valkey import EmbeddedValkey
from tests.fixtures.disk import MakeDisk, fill
from tests.fixtures.lateness import elapsed_elsewhere
from tests.stores.embedded.users import (
    User,
    eventually,
    fails,
    moment,
    only_root,
    pids,
    servers,
    socket_of,
    sql,
    stores_of,
    valkey_get,
    valkey_set,
)


async def test_both_serve_and_keep_their_data(data_dir: Path) -> None:
    stopping = contextlib.ExitStack()
    async with stores_of(data_dir) as addresses:
        valkey_set(addresses.redis_url, "key", "value")
        await sql(addresses.database_url, "CREATE TABLE kept AS SELECT 42 AS n")
        with redis.Redis.from_url(str(addresses.redis_url)) as client:
            settings: Any = client.config_get("append*", "maxmemory-policy", "port")
        assert settings["appendonly"] == "yes"
        assert settings["appendfsync"] == "everysec"
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["port"] == "0"
        assert await sql(addresses.database_url, "SELECT current_database()") == "perpcache"
        for server in servers(data_dir):
            assert not server.net_connections("inet")  # unix sockets only
            assert os.getsid(server.pid) == server.pid  # Ctrl-C does not reach it
        assert (data_dir / "valkey" / "appendonlydir").is_dir()
        sockets = [socket_of(addresses.redis_url), socket_of(addresses.database_url)]
        assert all(path.is_socket() for path in sockets)
        took = stopping.enter_context(elapsed_elsewhere())
    stopping.close()
    assert took.own_s < 2
    assert not servers(data_dir)
    assert not any(path.parent.exists() for path in sockets)
    async with stores_of(data_dir) as again:
        assert again == addresses
        assert valkey_get(again.redis_url, "key") == "value"
        assert await sql(again.database_url, "SELECT n FROM kept") == 42


async def test_only_those_asked_for_run(data_dir: Path) -> None:
    async with stores_of(data_dir, postgres=False) as addresses:
        assert addresses.redis_url and addresses.database_url is None
        assert set(pids(data_dir)) == {"valkey-server"}
        async with stores_of(data_dir) as both:
            assert both.redis_url == addresses.redis_url
            assert set(pids(data_dir)) == {"valkey-server", "postgres"}
        # Nobody uses PostgreSQL any more, somebody still uses Valkey.
        assert set(pids(data_dir)) == {"valkey-server"}
    async with stores_of(data_dir, valkey=False) as addresses:
        assert addresses.redis_url is None
        assert set(pids(data_dir)) == {"postgres"}


async def test_start_and_stop_may_be_repeated(data_dir: Path) -> None:
    stores = EmbeddedStores(data_dir, postgres=False)
    await stores.stop()
    first = await stores.start()
    assert await stores.start() is first
    await stores.stop()
    await stores.stop()
    assert not servers(data_dir)
    assert await stores.start() == first
    await stores.stop()


async def test_a_cancelled_start_leaves_nothing(data_dir: Path) -> None:
    for number in range(5):
        stores = EmbeddedStores(data_dir)
        start = asyncio.create_task(stores.start())
        await eventually(lambda: moment(number, data_dir) or start.done())  # noqa: B023
        start.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await start
            await stores.stop()  # it was quicker
        assert not servers(data_dir)
    async with stores_of(data_dir) as addresses:
        assert await sql(addresses.database_url, "SELECT 1") == 1


async def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    async with stores_of(data_dir):
        pass
    manifest = data_dir / "valkey" / "appendonlydir" / "appendonly.aof.manifest"
    kept = manifest.read_bytes()
    manifest.write_text("nonsense\n")
    message = await fails(data_dir)  # and the other one is given back
    assert str(data_dir / "stores" / "valkey.log") in message
    assert "manifest" in message.rpartition("valkey.log")[2]
    manifest.write_bytes(kept)
    cluster = EmbeddedPostgres(data_dir)._remembered_place()
    assert cluster
    settings = cluster / "data" / "postgresql.conf"
    with settings.open("a") as file:
        file.write("no_such_setting = 1\n")
    message = await fails(data_dir)
    assert "postgres.log" in message and "no_such_setting" in message
    version = cluster / "data" / "PG_VERSION"
    version.write_text("9\n")
    assert "is of PostgreSQL 9; installed: " in await fails(data_dir, valkey=False)


async def test_a_lost_password_is_replaced(data_dir: Path) -> None:
    async with stores_of(data_dir, valkey=False) as addresses:
        await sql(addresses.database_url, "CREATE TABLE kept AS SELECT 42 AS n")
    (data_dir / "stores" / "postgres.password").unlink()
    async with stores_of(data_dir, valkey=False) as again:
        assert again != addresses
        assert await sql(again.database_url, "SELECT n FROM kept") == 42


async def test_data_dir_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedStoresError, match="DATA_DIR cannot be created"):
        await EmbeddedStores(tmp_path / "file" / "data").start()


@only_root
async def test_a_full_disk_is_named(make_disk: MakeDisk) -> None:
    small_disk = make_disk(10)
    # Each says which store it is, and leaves the space that there is to the other.
    said = await fails(small_disk, valkey=False)
    assert said.startswith("postgres: the disk is full: no space left in ")
    assert f" {small_disk}" in said
    assert not [path for path in small_disk.rglob("*") if path.stat().st_size > 100_000]
    filler = fill(small_disk)
    said = await fails(small_disk, postgres=False)
    assert said.startswith("valkey") and "the disk is full: no space left in " in said
    assert f" {small_disk}" in said
    filler.unlink()
    async with stores_of(small_disk, postgres=False) as addresses:
        valkey_set(addresses.redis_url, "key", "value")
        fill(small_disk).unlink()
    async with stores_of(small_disk, postgres=False) as addresses:
        assert valkey_get(addresses.redis_url, "key") == "value"


async def test_removing_takes_everything_but_others_things(data_dir: Path) -> None:
    (data_dir / "notes").write_text("mine")
    remove_embedded_data(data_dir)  # nothing there yet
    user = User(data_dir)
    addresses = user.ask("start")
    with pytest.raises(EmbeddedStoresError, match="in use"):
        remove_embedded_data(data_dir)
    assert len(pids(data_dir)) == 2
    user.kill()
    remove_embedded_data(data_dir)  # nobody uses them any more: ended, then removed
    assert not servers(data_dir)
    assert os.listdir(data_dir) == ["notes"]  # noqa: PTH208 - names are what counts
    assert not socket_of(addresses["redis"]).parent.exists()
    assert not socket_of(addresses["database"]).parent.exists()


async def test_a_server_that_does_not_end_is_ended(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        EmbeddedValkey, "stop_signals", ((signal.SIGTERM, 0.3), (signal.SIGKILL, 5.0))
    )
    server = EmbeddedValkey(data_dir)
    server.acquire(threading.Event())
    os.kill(pids(data_dir)["valkey-server"], signal.SIGSTOP)
    await asyncio.to_thread(server.release)
    assert not servers(data_dir)
