"""Embedded stores shared by real processes that are killed at bad moments, or outlive them."""

import asyncio
import json
import os
import random
import shutil
import signal
from pathlib import Path

import asyncpg
import redis

from stores.embedded.folders import Account
from stores.embedded.process_identity import process_identity
from stores.embedded.server_files import ServerRecord
from stores.embedded.stores import (
    StoreAddresses,
)
from tests.stores.embedded.users import (
    User,
    end,
    eventually,
    moment,
    pids,
    servers,
    sleeper,
    socket_of,
    sql,
    stores_of,
    valkey_get,
    valkey_set,
)


async def test_users_share_and_the_last_one_ends_them(data_dir: Path) -> None:
    with User(data_dir) as first, User(data_dir) as second:
        addresses = first.ask("start")
        running = pids(data_dir)
        assert set(running) == {"valkey-server", "postgres"}
        assert second.ask("start") == addresses
        assert pids(data_dir) == running
        assert first.ask("stop") == {"ok": True}
        assert pids(data_dir) == running
        assert valkey_get(addresses["redis"], "x") is None
        assert second.ask("stop") == {"ok": True}
        assert not servers(data_dir)


async def test_killed_users_are_no_users(data_dir: Path) -> None:
    first, second = User(data_dir), User(data_dir)
    addresses = first.ask("start")
    assert second.ask("start") == addresses
    running = pids(data_dir)
    valkey_set(addresses["redis"], "key", "value")
    first.kill()
    second.kill()
    assert pids(data_dir) == running  # they outlive their users
    with User(data_dir) as third:
        assert third.ask("start") == addresses  # and are found again
        assert pids(data_dir) == running
        assert valkey_get(addresses["redis"], "key") == "value"
        third.ask("stop")
    assert not servers(data_dir)


async def test_a_user_killed_in_the_middle_of_anything(data_dir: Path) -> None:
    for number in range(5):
        victim = User(data_dir)
        victim.send("start")
        await eventually(lambda: moment(number, data_dir))  # noqa: B023
        victim.kill()
    async with stores_of(data_dir) as addresses:
        assert set(pids(data_dir)) == {"valkey-server", "postgres"}
        assert await sql(addresses.database_url, "SELECT 1") == 1
        assert valkey_get(addresses.redis_url, "x") is None


async def test_a_start_racing_with_the_last_stop_ends_with_running_servers(
    data_dir: Path,
) -> None:
    with User(data_dir) as one, User(data_dir) as other:
        one.ask("start")
        for turn in range(10):
            one.send("stop")
            await asyncio.sleep(turn * 0.01)  # at another moment of the stop each time
            other.send("start")
            assert one.answer() == {"ok": True}
            addresses = other.answer()
            assert valkey_get(addresses["redis"], "x") is None
            assert await sql(addresses["database"], "SELECT 1") == 1
            one, other = other, one
        one.ask("stop")
    assert not servers(data_dir)


async def test_many_starting_and_stopping_at_random(data_dir: Path) -> None:
    async def use(number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - the same every time
        for turn in range(4):
            user = User(data_dir)
            addresses = await asyncio.to_thread(user.ask, "start")
            key = f"{number}-{turn}"
            await asyncio.to_thread(valkey_set, addresses["redis"], key, key)
            assert await sql(addresses["database"], "SELECT 1") == 1
            assert len(await asyncio.to_thread(pids, data_dir)) == 2
            await asyncio.sleep(chance.uniform(0, 0.2))  # so that users come and go unevenly
            assert await asyncio.to_thread(valkey_get, addresses["redis"], key) == key
            if chance.random() < 0.3:
                await asyncio.to_thread(user.kill)
            else:
                assert await asyncio.to_thread(user.ask, "stop") == {"ok": True}
                await asyncio.to_thread(user.close)

    await asyncio.gather(*(use(number) for number in range(4)))
    async with stores_of(data_dir) as addresses:  # the last one may have been killed
        for number in range(4):
            for turn in range(4):
                assert valkey_get(addresses.redis_url, f"{number}-{turn}") is not None


async def test_dead_servers_come_back_at_their_address_once(data_dir: Path) -> None:
    with User(data_dir) as other:
        async with stores_of(data_dir) as addresses:  # two that watch
            other.ask("start")
            valkey_set(addresses.redis_url, "key", "value")
            await sql(addresses.database_url, "CREATE TABLE kept AS SELECT 42 AS n")
            with redis.Redis.from_url(str(addresses.redis_url)) as client:
                client.execute_command("WAITAOF", 1, 0, 2000)  # everysec: let it be written
            for _ in range(2):
                before = set(pids(data_dir).values())
                for server in servers(data_dir):
                    server.kill()
                await eventually(lambda: _is_ready(addresses))
                now = set(pids(data_dir).values())
                assert len(now) == 2 and not now & before
                assert valkey_get(addresses.redis_url, "key") == "value"
                assert await sql(addresses.database_url, "SELECT n FROM kept") == 42
            other.ask("stop")
    assert not servers(data_dir)


def _is_ready(addresses: StoreAddresses) -> bool:
    try:
        valkey_get(addresses.redis_url, "x")
        asyncio.run(sql(addresses.database_url, "SELECT 1"))
    except (redis.RedisError, OSError, asyncpg.PostgresError):
        return False
    return True


async def test_a_cleaned_runtime_folder_is_made_again(data_dir: Path) -> None:
    async with stores_of(data_dir) as addresses:
        valkey_set(addresses.redis_url, "key", "value")
        for url in (addresses.redis_url, addresses.database_url):
            shutil.rmtree(socket_of(url).parent)
        await eventually(lambda: _is_ready(addresses))
        assert len(pids(data_dir)) == 2
        assert valkey_get(addresses.redis_url, "key") == "value"


async def test_a_server_that_ended_uncleanly_leaves_nothing_in_the_way(data_dir: Path) -> None:
    user = User(data_dir)
    addresses = user.ask("start")
    valkey_set(addresses["redis"], "key", "value")
    with redis.Redis.from_url(addresses["redis"]) as client:
        client.execute_command("WAITAOF", 1, 0, 2000)
    user.kill()
    for server in servers(data_dir):
        server.kill()
    # Sockets, postmaster.pid and the lock's record are still there, and name what is gone.
    assert socket_of(addresses["redis"]).exists() and socket_of(addresses["database"]).exists()
    async with stores_of(data_dir) as again:
        assert again.redis_url == addresses["redis"]
        assert again.database_url == addresses["database"]
        assert valkey_get(again.redis_url, "key") == "value"


async def test_a_pid_given_to_another_process_fools_nobody(data_dir: Path) -> None:
    user = User(data_dir)
    user.ask("start")
    user.kill()
    cluster = next(
        Path(process.cwd()) for process in servers(data_dir) if process.name() == "postgres"
    )
    status = cluster.stat()
    for server in servers(data_dir):
        server.kill()
    stranger = sleeper(Account(status.st_uid, status.st_gid))
    try:
        for name in ("valkey", "postgres"):
            path = data_dir / "stores" / f"{name}.server"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": stranger.pid}))
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        text = "\n".join([str(stranger.pid), *lines[1:], ""])
        (cluster / "postmaster.pid").write_text(text)
        async with stores_of(data_dir) as addresses:
            assert await sql(addresses.database_url, "SELECT 1") == 1
            assert valkey_get(addresses.redis_url, "x") is None
        assert stranger.poll() is None  # and nobody ended it
    finally:
        end(stranger)


async def test_servers_are_found_though_their_record_was_lost(data_dir: Path) -> None:
    user = User(data_dir)
    addresses = user.ask("start")
    running = pids(data_dir)
    user.kill()
    for name in ("valkey", "postgres"):
        # As if the starter had been killed between starting the server and writing its pid down.
        path = data_dir / "stores" / f"{name}.server"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": 0, "identity": ""}))
    async with stores_of(data_dir) as again:
        assert pids(data_dir) == running
        assert again.redis_url == addresses["redis"]
    assert not servers(data_dir)


def test_identity_tells_processes_apart() -> None:
    first, second = sleeper(), sleeper()
    record = ServerRecord("", first.pid, process_identity(first.pid) or "")
    try:
        assert record.is_alive()
        assert process_identity(second.pid) is not None
        assert not ServerRecord("", first.pid, "another boot:1").is_alive()
        first.kill()
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
        assert not record.is_alive()  # dead, though nobody has taken note of it
        assert not record.send(signal.SIGTERM)
    finally:
        end(first)
        end(second)
    assert process_identity(first.pid) is None
