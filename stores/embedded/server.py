"""An embedded server shared by several processes: found, started, restarted and stopped.

The methods block, each with a deadline, so call them in a thread. The files in `DATA_DIR/stores`:

- `<name>.control` is locked while a process starts or stops the server.
- `<name>.users` carries one shared lock per user process, which the kernel drops when that
  process ends. A process that can lock it exclusively is the last user.
- `<name>.server` is locked by the server itself, which inherits the descriptor, so no second
  server starts while any process of the first one runs. It holds pid, identity and socket.
"""

import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final

import psutil
import structlog

from stores.embedded.errors import Deadline, DiskFull, EmbeddedStoresError
from stores.embedded.folders import (
    Account,
    free_mb,
    is_socket_folder,
    make_folder,
    make_socket_folder,
    owner_of,
)
from stores.embedded.locks import try_lock
from stores.embedded.process_identity import listening_pid, process_identity
from stores.embedded.server_files import ServerFiles, ServerRecord
from stores.embedded.usage import ServerUsers

_START_DEADLINE_S: Final = 120.0  # Valkey reads a large append-only file before it answers
_STOP_DEADLINE_S: Final = 30.0
_NO_SOCKET_S: Final = 3.0
_LEFTOVER_S: Final = 10.0
_FULL_MB: Final = 8  # two segments of PostgreSQL's write-ahead log

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a server: its account, its folder, and its command for a given socket."""

    account: Account
    folder: Path
    command: Callable[[Path], list[str]]


class EmbeddedServer(ABC):
    """One embedded server; subclasses add the program and the protocol."""

    name: ClassVar[str]
    programs: ClassVar[Sequence[str]]  # names of processes that work on its data
    socket_name: ClassVar[str]
    # Whether users can start without it while the disk is full.
    optional_at_start: ClassVar[bool] = False
    # The signals that stop it, each with the seconds before the next one is sent.
    stop_signals: ClassVar[Sequence[tuple[signal.Signals, float]]]

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.folder = data_dir / "stores"
        self._files = ServerFiles(self.folder, self.name, self.owner)
        self._users = ServerUsers(self._files)
        self._owner: Account | None = None
        self._record: ServerRecord | None = None

    # Implemented by subclasses.

    @abstractmethod
    def _runs_as(self) -> Account:
        """The account of the server's process."""

    @abstractmethod
    def _prepare(self, lock: int) -> Launch:
        """Creates what the server needs before its start.

        Programs that it runs on the data inherit `lock`, because they may outlive us.
        """

    @abstractmethod
    def _probe(self) -> bytes:
        """The bytes to send to learn whether the server is ready."""

    @abstractmethod
    def _is_ready(self, reply: bytes) -> bool:
        """Whether this reply to the probe means that the server is ready."""

    @abstractmethod
    def _url(self, socket_path: Path) -> str:
        """The address for clients; may hold a password."""

    @abstractmethod
    def _remove_data(self) -> None:
        """Removes all data of this store, whose server is stopped."""

    # Called by users.

    def acquire(self, give_up: threading.Event) -> str:
        """Makes this process a user, starts the server if needed, and returns its address.

        If the disk is full and the server is `optional_at_start`, its earlier address is returned
        although it does not run yet. Raises EmbeddedStoresError.
        """
        with self._translated_errors():
            make_folder(self.folder, self.owner())
            with self._users.control(Deadline(_START_DEADLINE_S, give_up)):
                self._users.join()
                try:
                    return self._ensure_running(give_up)
                except DiskFull:
                    address = self._files.read_record().socket
                    if not (self.optional_at_start and address):
                        self._users.leave()
                        raise
                    return self._url(Path(address))
                except BaseException:
                    self._users.leave()
                    raise

    def is_alive(self) -> bool:
        """Whether the process and its socket exist; cheap, and sends nothing."""
        record = self._record
        return record is not None and record.is_alive() and Path(record.socket).exists()

    def data_folder(self) -> Path:
        """An existing folder on the disk of the data."""
        return self.data_dir

    def restart(self, give_up: threading.Event) -> str:
        """Restarts the server at the same address, unless another process already has."""
        with self._translated_errors(), self._users.control(Deadline(_START_DEADLINE_S, give_up)):
            return self._ensure_running(give_up)

    def release(self) -> None:
        """Ends the use by this process, and stops the server if it was the last user."""
        if not self._users.joined:
            return
        try:
            with self._translated_errors(), self._users.control(Deadline(_STOP_DEADLINE_S)):
                self._users.leave()
                if self._users.is_unused():
                    self._stop_server()
        finally:
            self._users.leave()

    def remove(self) -> None:
        """Stops the server and removes its data. Raises EmbeddedStoresError if it has users."""
        if not self.folder.is_dir():
            return
        with self._translated_errors(), self._users.control(Deadline(_STOP_DEADLINE_S)):
            if not self._users.is_unused():
                raise EmbeddedStoresError(f"{self._files.description} is in use: stop it first")
            self._stop_server()
            self._remove_data()
            self._files.remove()

    def owner(self) -> Account:
        """The account that owns the files in DATA_DIR."""
        if self._owner is None:
            self._owner = owner_of(self.data_dir)
        return self._owner

    # Starting. The control lock is held throughout.

    def _ensure_running(self, give_up: threading.Event) -> str:
        deadline = Deadline(_START_DEADLINE_S, give_up)
        while True:
            found = self._find_or_lock(deadline)
            if isinstance(found, ServerRecord):
                self._record = found
                if self._wait_until_ready(found, deadline):
                    return self._url(Path(found.socket))
                continue  # it was ending, or was stopped because it had lost its socket
            log_start = self._files.log_bytes()
            try:
                record = self._record = self._spawn(found)
            finally:
                os.close(found)
            try:
                if self._wait_until_ready(record, deadline):
                    _log.info("store_started", store=self.name, pid=record.pid)
                    return self._url(Path(record.socket))
            except BaseException:
                self._stop_process(record)
                raise
            tail = self._files.log_tail(log_start)
            folder = self.data_folder()
            if free_mb(folder) < _FULL_MB or os.strerror(errno.ENOSPC) in tail:
                raise DiskFull(
                    f"{self.name} ended while starting, and the disk is full: no space left in"
                    f" {folder} ({free_mb(folder)} MB free); {tail}"
                )
            raise EmbeddedStoresError(f"{self.name} ended while starting; {tail}")

    def _find_or_lock(self, deadline: Deadline) -> ServerRecord | int:
        """The running server's record or, if none runs, the locked descriptor for a new one."""
        since = time.monotonic()
        while True:
            record = self._files.read_record()
            if record.is_alive() and self._is_our_server(record.pid):
                return record
            descriptor = self._files.open("server")
            if try_lock(descriptor, fcntl.LOCK_EX):
                return descriptor
            os.close(descriptor)
            # Its starter died before writing its pid, or some of its processes are still ending.
            holders = self._holders()
            pid = listening_pid(record.socket)
            if any(process.pid == pid for process in holders):
                found = replace(record, pid=pid, identity=process_identity(pid) or "gone")
                self._files.write_record(found)
                return found
            if time.monotonic() - since > _LEFTOVER_S:
                for process in holders:
                    process.kill()
            deadline.wait(
                f"a process of an earlier {self.name} uses {self.folder} and does not end"
            )

    def _is_our_server(self, pid: int) -> bool:
        """Whether it runs our program as the right user; the pid may be forged in the record."""
        try:
            process = psutil.Process(pid)
            right_user = os.geteuid() != 0 or process.uids().real == self._runs_as().uid
            return right_user and process.name() in self.programs
        except psutil.Error:
            return False

    def _holders(self) -> list[psutil.Process]:
        """The processes of the server's programs that have its lock file open."""
        path = os.path.realpath(self._files.path("server"))
        found = []
        for process in psutil.process_iter():
            try:
                if process.name() in self.programs and any(
                    file.path == path for file in process.open_files()
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def _spawn(self, lock: int) -> ServerRecord:
        launch = self._prepare(lock)
        earlier = self._files.read_record().socket
        folder = make_socket_folder(
            launch.account,
            self.socket_name,
            Path(earlier).parent if earlier else None,
            # Recorded first, so that the server is found even if its starter dies now.
            lambda folder: self._files.write_record(ServerRecord(str(folder / self.socket_name))),
        )
        socket_path = folder / self.socket_name
        self._remove_sockets(folder)
        log = self._files.open_log()
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program and arguments
                launch.command(socket_path),
                cwd=launch.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                **launch.account.run_options(),
            )
        finally:
            os.close(log)
        # The server may outlive us; if it ends earlier, this thread reaps it.
        threading.Thread(target=process.wait, name=f"reap-{self.name}", daemon=True).start()
        record = ServerRecord(
            str(socket_path), process.pid, process_identity(process.pid) or "gone"
        )
        self._files.write_record(record)
        return record

    def _wait_until_ready(self, record: ServerRecord, deadline: Deadline) -> bool:
        """Whether the server gets ready; False if it ended or was stopped without its socket."""
        path = Path(record.socket)
        last_seen = time.monotonic()
        while record.is_alive():
            if path.exists():
                last_seen = time.monotonic()
                if self._is_ready(self._send_probe(path)):
                    return True
            elif time.monotonic() - last_seen > _NO_SOCKET_S:
                _log.warning("store_lost_its_socket", store=self.name, pid=record.pid)
                self._stop_process(record)
                return False
            deadline.wait(
                f"{self.name} (pid {record.pid}) does not answer; {self._files.log_tail()}"
            )
        return False

    def _send_probe(self, path: Path) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(os.fspath(path))
                client.sendall(self._probe())
                return client.recv(1024)
            except OSError:
                return b""

    # Stopping. The control lock is held throughout.

    def _stop_server(self) -> None:
        found = self._find_or_lock(Deadline(_STOP_DEADLINE_S))
        if isinstance(found, ServerRecord):
            self._stop_process(found)
        else:
            os.close(found)
        record = self._files.read_record()
        if record.socket:
            folder = Path(record.socket).parent
            if is_socket_folder(folder, self._runs_as()):
                self._remove_sockets(folder)
                with contextlib.suppress(OSError):  # it may hold other files
                    folder.rmdir()
            self._files.write_record(ServerRecord(record.socket))
        self._record = None

    def _remove_sockets(self, folder: Path) -> None:
        for name in (self.socket_name, f"{self.socket_name}.lock"):
            (folder / name).unlink(missing_ok=True)

    def _stop_process(self, record: ServerRecord) -> None:
        started = time.monotonic()
        for stop_signal, within_s in self.stop_signals:
            if not record.send(stop_signal):
                break
            deadline = Deadline(within_s)
            try:
                while record.is_alive():
                    deadline.wait("the server does not end")
            except EmbeddedStoresError:
                _log.warning("store_did_not_stop", store=self.name, signal=stop_signal.name)
        # Its child processes end by themselves; the lock is free when they have.
        found = self._find_or_lock(Deadline(_STOP_DEADLINE_S))
        if isinstance(found, ServerRecord):
            raise EmbeddedStoresError(f"{self.name} (pid {record.pid}) survives SIGKILL")
        os.close(found)
        took_ms = round((time.monotonic() - started) * 1000)
        _log.info("store_stopped", store=self.name, pid=record.pid, ms=took_ms)

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                folder = self._fullest_folder(error)
                raise DiskFull(
                    f"{self.name}: the disk is full: no space left in {folder}"
                    f" ({free_mb(folder)} MB free): {error.strerror}"
                ) from error
            raise EmbeddedStoresError(f"{self._files.description}: {error}") from error

    def _fullest_folder(self, error: OSError) -> Path:
        """The folder of the file that the error names, else our fullest folder."""
        named = error.filename2 or error.filename
        folders = [self.folder, self.data_folder()]
        if isinstance(named, str | bytes):
            folders = [Path(os.fsdecode(named)).parent]
        return min(filter(Path.is_dir, folders), key=free_mb, default=self.data_dir)
