"""One server's files: locks, log and record; server.py decides what a leftover record means."""

import fcntl
import json
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from stores.embedded.folders import Account
from stores.embedded.process_identity import process_identity

_LOG_TAIL_BYTES: Final = 2000
_LOG_LIMIT_BYTES: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """A server's socket and, once it runs, its pid and `process_identity`."""

    socket: str
    pid: int = 0
    identity: str = ""

    def is_alive(self) -> bool:
        return self.pid > 0 and process_identity(self.pid) == self.identity

    def send(self, number: signal.Signals) -> bool:
        """Sends a signal to the recorded process; False if it is gone."""
        try:
            if not hasattr(os, "pidfd_open"):
                if alive := self.is_alive():
                    os.kill(self.pid, number)
                return alive
            handle = os.pidfd_open(self.pid)
            try:
                if alive := self.is_alive():
                    signal.pidfd_send_signal(handle, number)
                return alive
            finally:
                os.close(handle)
        except ProcessLookupError:
            return False


class ServerFiles:
    """`<name>.control`, `.users`, `.server` (the record) and `.log` in `folder`.

    They belong to `owner()`, which is called when a file is opened.
    """

    def __init__(self, folder: Path, name: str, owner: Callable[[], Account]) -> None:
        self.folder = folder
        self._name = name
        self._owner = owner
        self.description = f"{name} in {folder.parent}"  # for messages
        self.log_path = self.path("log")

    def path(self, suffix: str) -> Path:
        return self.folder / f"{self._name}.{suffix}"

    def open(self, suffix: str) -> int:
        """The descriptor of the file, which is created if missing."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(self.path(suffix), flags, 0o600)
        status, owner = os.fstat(descriptor), self._owner()
        if status.st_uid != owner.uid and os.geteuid() == 0 and status.st_nlink == 1:
            os.fchown(descriptor, owner.uid, owner.gid)
        return descriptor

    def read_record(self) -> ServerRecord:
        """The stored record; an empty one if the file is missing or unreadable."""
        try:
            fields = json.loads(self.path("server").read_bytes() or b"{}")
            return ServerRecord(str(fields["socket"]), int(fields["pid"]), str(fields["identity"]))
        except (OSError, ValueError, TypeError, KeyError):
            return ServerRecord("")

    def write_record(self, record: ServerRecord) -> None:
        descriptor = self.open("server")
        try:
            text = json.dumps(asdict(record)).encode()
            os.pwrite(descriptor, text, 0)
            os.ftruncate(descriptor, len(text))
        finally:
            os.close(descriptor)

    def open_log(self) -> int:
        """A descriptor that appends; a log over _LOG_LIMIT_BYTES is renamed to .log.1 first."""
        if self.log_path.exists() and self.log_path.stat().st_size > _LOG_LIMIT_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        descriptor = self.open("log")
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
        return descriptor

    def log_bytes(self) -> int:
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def log_tail(self, start: int = 0) -> str:
        """The log's path and its last lines after byte `start`."""
        try:
            text = self.log_path.read_bytes()[start:][-_LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            text = ""
        lines = text.strip().splitlines()[-12:]
        end = "\n".join(["", *lines]) if lines else " (empty)"
        return f"the end of its log {self.log_path}:{end}"

    def remove(self) -> None:
        for path in self.folder.glob(f"{self._name}.*"):
            path.unlink()
