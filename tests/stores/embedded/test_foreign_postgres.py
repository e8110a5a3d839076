"""Another PostgreSQL on this machine, and whatever leads to it, changes nothing for ours."""

import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from database import Database
from stores.embedded.folders import our_account, unprivileged
from stores.embedded.postgres_programs import (
    PostgresPrograms,
    can_run,
    installed_trees,
    program_files,
)
from tests.fixtures.postgres import OwnPostgres, quick_folder
from tests.fixtures.signals import until

OLDER = """#!/bin/sh
echo "$0 $*" >> "{used}"
echo "postgres (PostgreSQL) 9.6.24"
exit 1
"""


@pytest.fixture
def foreign_port() -> Iterator[int]:
    """A server that lets everybody in, on a port of this machine and a socket of its own."""
    account = unprivileged(our_account())
    assert account is not None
    with contextlib.ExitStack() as opened:
        name = opened.enter_context(
            tempfile.TemporaryDirectory(prefix="pc-foreign-", dir=quick_folder())
        )
        folder = Path(name)
        folder.chmod(0o711)
        lock = os.open(os.devnull, os.O_RDWR)
        opened.callback(os.close, lock)
        tree = installed_trees()[max(installed_trees(), key=int)]
        if not can_run(account, tree):
            files = program_files(tree)
            tree = files.ensure_copy(folder, lock) / tree.relative_to(files.root)
        sockets = folder / "sockets"
        sockets.mkdir()
        os.chown(sockets, account.uid, account.gid)
        programs = PostgresPrograms(tree, account, lock)
        data = str(sockets / "data")
        programs.initdb("-D", data, "-U", "perpcache", "--auth=trust", "--no-sync")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(sockets),  # as most write it: without quotes
        }
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        server = subprocess.Popen(  # noqa: S603 - our own arguments
            [programs.path("postgres"), "-D", data, *options],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **account.run_options(),
        )
        opened.callback(server.wait, 10)
        opened.callback(server.terminate)
        yield port


@pytest.fixture
async def led_astray(
    foreign_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Path]:
    """Every sign points to the foreign server; yields the file that fake programs write to."""

    async def foreign_answers() -> bool:
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            connection = await asyncpg.connect(
                host="127.0.0.1",
                port=foreign_port,
                user="perpcache",
                database="postgres",
                ssl=False,
            )
            await connection.close()
            return True
        return False

    assert await until(foreign_answers, within_s=20)  # whoever follows the signs gets there

    used = tmp_path / "used"
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("postgres", "initdb", "pg_ctl", "psql"):
        (programs / name).write_text(OLDER.format(used=used))
        (programs / name).chmod(0o755)
    service = f"host=127.0.0.1\nport={foreign_port}\nuser=perpcache\ndbname=postgres\n"
    for name, text in {
        ".pgpass": "*:*:*:*:wrong\n",
        ".pg_service.conf": f"[foreign]\n{service}",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    for name, value in {
        "HOME": str(tmp_path),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(foreign_port),
        "PGUSER": "perpcache",
        "PGPASSWORD": "wrong",
        "PGPASSFILE": str(tmp_path / ".pgpass"),
        "PGDATABASE": "postgres",
        "PGDATA": str(tmp_path),
        "PGSERVICE": "foreign",
        "PGSERVICEFILE": str(tmp_path / ".pg_service.conf"),
        "PGOPTIONS": "-c search_path=nowhere",
        "PGSSLMODE": "verify-full",
        "PGSSLNEGOTIATION": "direct",
        "PGSSLROOTCERT": str(tmp_path / "no.crt"),
        "PGTARGETSESSIONATTRS": "read-only",
        "PGREQUIREAUTH": "gss",
        "PGTZ": "Nowhere/Nonsense",
    }.items():
        monkeypatch.setenv(name, value)

    yield used


def assert_unused(led_astray: Path) -> None:
    assert not led_astray.exists(), led_astray.read_text()


async def where(url: str) -> str:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return str(await connection.fetchval("SHOW data_directory"))
    finally:
        await connection.close()


@pytest.fixture
def new_postgres(led_astray: Path) -> Iterator[OwnPostgres]:
    """A server whose cluster was made where the signs are."""
    with tempfile.TemporaryDirectory(prefix="pc-", dir=quick_folder()) as folder:
        server = OwnPostgres(Path(folder))
        yield server
        server.embedded.release()
        server.embedded.remove()


async def test_an_embedded_server_started_beside_it_is_ours(
    led_astray: Path, new_postgres: OwnPostgres
) -> None:
    assert await where(new_postgres.url) == str(new_postgres.embedded.data_folder() / "data")
    database = Database(new_postgres.url)
    assert await database.coin_records.list_coins() == []
    await database.aclose()
    new_postgres.kill()  # finds its own processes
    new_postgres.start()
    assert await where(new_postgres.url) == str(new_postgres.embedded.data_folder() / "data")
    assert_unused(led_astray)


async def test_the_databases_of_tests_are_ours(led_astray: Path, database_url: str) -> None:
    assert "pc-foreign-" not in await where(database_url)
    database = Database(database_url)
    assert await database.markets.selected(exchanges=(), quote="USDT") == []
    await database.aclose()
    assert_unused(led_astray)
