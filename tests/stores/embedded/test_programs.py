"""The servers' programs, where the account that runs them cannot reach them or paths are odd."""

import os
from collections.abc import Callable
from pathlib import Path

from tests.stores.embedded.users import (
    User,
    only_root,
    ordinary_user,
    packages,
    servers,
    sql,
    valkey_get,
)

ODD = 'it\'s "odd" $HOME `id` \\ here'


@only_root
async def test_programs_that_the_database_user_may_not_run_are_copied(
    make_data_dir: Callable[..., Path],
) -> None:
    data_dir = make_data_dir()
    closed = packages(data_dir.parent / "closed", 0o700)
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


@only_root
async def test_root_runs_them_for_an_ordinary_user_who_cannot_reach_them(
    make_data_dir: Callable[..., Path],
) -> None:
    data_dir = make_data_dir(ODD)
    nobody = ordinary_user()
    os.chown(data_dir, nobody.uid, nobody.gid)
    closed = packages(data_dir.parent / "closed", 0o700)
    with User(data_dir, PYTHONPATH=str(closed)) as user:
        addresses = user.ask("start")
        assert addresses.get("ok"), addresses
        for server in servers(data_dir):
            assert server.exe().startswith(f"{data_dir}/")
            assert server.uids().real == nobody.uid
        assert await sql(addresses["database"], "SELECT 1") == 1
        assert valkey_get(addresses["redis"], "x") is None
        # What root wrote there is his.
        assert {path.lstat().st_uid for path in data_dir.rglob("*")} == {nobody.uid}
        user.ask("stop")
        assert user.ask("start") == addresses
        user.ask("stop")


async def test_they_run_from_a_path_that_a_shell_would_read_otherwise(
    make_data_dir: Callable[..., Path],
) -> None:
    data_dir = make_data_dir()
    odd = packages(data_dir.parent / ODD, 0o755)
    with User(data_dir, PYTHONPATH=str(odd)) as user:
        addresses = user.ask("start")
        assert addresses.get("ok"), addresses
        assert {Path(server.exe()).is_relative_to(odd) for server in servers(data_dir)} == {True}
        assert await sql(addresses["database"], "SELECT 1") == 1
        user.ask("stop")
