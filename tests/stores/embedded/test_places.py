"""Where embedded stores may lie and listen, whose they are, and who gets in."""

import json
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from stores.embedded.folders import Account, make_socket_folder
from stores.embedded.process_identity import process_identity
from stores.embedded.stores import (
    remove_embedded_data,
)
from tests.stores.embedded.users import (
    ROOT,
    User,
    a_program,
    end,
    modes,
    only_root,
    ordinary_user,
    packages,
    servers,
    sleeper,
    socket_of,
    sql,
    stores_of,
    valkey_get,
    valkey_set,
)


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
    nobody = ordinary_user()
    data_dir = make_data_dir("a b/Füße", 0o700)
    for folder in (data_dir, data_dir.parent):
        os.chown(folder, nobody.uid, nobody.gid)
    before = modes(data_dir)
    reachable = {}
    if not nobody.can_run(a_program()):
        reachable = {"PYTHONPATH": str(packages(data_dir.parents[1] / "packages", 0o755))}
    with User(data_dir, account=nobody, **reachable) as user:
        addresses = user.ask("start")
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
    nobody = ordinary_user()
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
    nobody = ordinary_user()
    data_dir = make_data_dir()
    os.chown(data_dir, nobody.uid, nobody.gid)
    async with stores_of(data_dir) as addresses:
        assert await sql(addresses.database_url, "SELECT 1") == 1
    assert {path.lstat().st_uid for path in data_dir.rglob("*")} == {nobody.uid}


async def test_a_user_who_may_not_write_is_told(make_data_dir: Callable[..., Path]) -> None:
    data_dir = make_data_dir()
    data_dir.chmod(0o555)
    nobody = ordinary_user()
    with User(data_dir, account=nobody if ROOT else None) as user:
        assert str(data_dir) in user.ask("start")["error"]
    data_dir.chmod(0o755)
