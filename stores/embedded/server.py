"""One server process shared by processes of ours: found, started, counted and ended by locks.

It knows nothing of any store's protocol. The methods block (briefly, each with a deadline) and
belong into a thread. The files are in `DATA_DIR/stores`:

- `<name>.control` is locked while someone starts or ends the server.
- `<name>.users` carries one shared lock for each user: the kernel drops it with the process,
  however that ends. Whoever can lock it alone is the last.
- `<name>.server` is locked by the server itself, which inherits the descriptor: as long as any
  process of it works on the data, no second one starts. It also says pid, identity and socket.
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
from stores.embedded.process_identity import listener, process_identity
from stores.embedded.record import ServerFiles, ServerRecord
from stores.embedded.users import ServerUsers

_START_DEADLINE_S: Final = 120.0  # a large append-only file is read before the first answer
_STOP_DEADLINE_S: Final = 30.0
_NO_SOCKET_S: Final = 3.0
_LEFTOVER_S: Final = 10.0
_FULL_MB: Final = 8  # less than two segments of PostgreSQL's log

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started: as whom, in which folder, by which command for a given socket."""

    account: Account
    folder: Path
    command: Callable[[Path], list[str]]


class EmbeddedServer(ABC):
    """What the embedded servers have in common; a subclass knows its program and its protocol."""

    name: ClassVar[str]
    programs: ClassVar[Sequence[str]]  # names of processes that work on its data
    socket_name: ClassVar[str]
    # Whether its users can begin without it while there is no space left for its start.
    may_come_later: ClassVar[bool] = False
    # How it is asked to end, and for how many seconds each asking may take.
    endings: ClassVar[Sequence[tuple[signal.Signals, float]]]

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.folder = data_dir / "stores"
        self._files = ServerFiles(self.folder, self.name, self.owner)
        self._users = ServerUsers(self._files)
        self._owner: Account | None = None
        self._record: ServerRecord | None = None

    # What a subclass adds.

    @abstractmethod
    def _runs_as(self) -> Account:
        """The account of the server's process."""

    @abstractmethod
    def _prepare(self, lock: int) -> Launch:
        """Makes what the server needs before it can start; says how to start it.

        Programs that it runs on the data inherit `lock`, for they may outlive us.
        """

    @abstractmethod
    def _greeting(self) -> bytes:
        """What a client says to learn whether the server serves."""

    @abstractmethod
    def _serves(self, reply: bytes) -> bool:
        """Whether this reply to the greeting means that it does."""

    @abstractmethod
    def _url(self, socket_path: Path) -> str:
        """The address for clients; may hold a password."""

    @abstractmethod
    def _remove_data(self) -> None:
        """Removes everything of this store; it does not run."""

    # What users do.

    def acquire(self, give_up: threading.Event) -> str:
        """Makes this process a user, and returns the address of the server, which then answers.

        On a full disk one that may come later, and has an address, answers when there is space
        again. Raises EmbeddedStoresError.
        """
        with self._plain_errors():
            make_folder(self.folder, self.owner())
            with self._users.control(Deadline(_START_DEADLINE_S, give_up)):
                self._users.join()
                try:
                    return self._ensure_running(give_up)
                except DiskFull:
                    address = self._files.read_record().socket
                    if not (self.may_come_later and address):
                        self._users.leave()
                        raise
                    return self._url(Path(address))
                except BaseException:
                    self._users.leave()
                    raise

    def looks_alive(self) -> bool:
        """A cheap look from outside: the process is there, and so is its socket."""
        record = self._record
        return record is not None and record.is_alive() and Path(record.socket).exists()

    def data_folder(self) -> Path:
        """An existing folder on the disk that holds, or will hold, the data."""
        return self.data_dir

    def keep_running(self, give_up: threading.Event) -> str:
        """Starts the server again at the same address, unless someone else already has."""
        with self._plain_errors(), self._users.control(Deadline(_START_DEADLINE_S, give_up)):
            return self._ensure_running(give_up)

    def release(self) -> None:
        """Ends the use by this process; the last user ends the server."""
        if not self._users.joined:
            return
        try:
            with self._plain_errors(), self._users.control(Deadline(_STOP_DEADLINE_S)):
                self._users.leave()
                if self._users.nobody():
                    self._end_server()
        finally:
            self._users.leave()

    def remove(self) -> None:
        """Ends the server and removes its data; refused while someone uses it."""
        if not self.folder.is_dir():
            return
        with self._plain_errors(), self._users.control(Deadline(_STOP_DEADLINE_S)):
            if not self._users.nobody():
                raise EmbeddedStoresError(f"{self._files.what} is in use")
            self._end_server()
            self._remove_data()
            self._files.remove()

    def owner(self) -> Account:
        """Who the files in DATA_DIR belong to."""
        if self._owner is None:
            self._owner = owner_of(self.data_dir)
        return self._owner

    # Starting. All of it happens under the control lock.

    def _ensure_running(self, give_up: threading.Event) -> str:
        deadline = Deadline(_START_DEADLINE_S, give_up)
        while True:
            found = self._find_or_lock(deadline)
            if isinstance(found, ServerRecord):
                self._record = found
                if self._wait_until_it_serves(found, deadline):
                    return self._url(Path(found.socket))
                continue  # it was ending, or could not be reached and has been ended
            log_start = self._files.log_bytes()
            try:
                record = self._record = self._spawn(found)
            finally:
                os.close(found)
            try:
                if self._wait_until_it_serves(record, deadline):
                    _log.info("store_started", store=self.name, pid=record.pid)
                    return self._url(Path(record.socket))
            except BaseException:
                self._end_process(record)
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
        """The server that runs, or, if none does, the locked descriptor for a new one."""
        since = time.monotonic()
        while True:
            record = self._files.read_record()
            if record.is_alive() and self._may_be(record.pid):
                return record
            descriptor = self._files.open("server")
            if try_lock(descriptor, fcntl.LOCK_EX):
                return descriptor
            os.close(descriptor)
            # Whoever started it died before writing its pid, or a part of it is still ending.
            holders = self._holders()
            pid = listener(record.socket)
            if any(process.pid == pid for process in holders):
                found = replace(record, pid=pid, identity=process_identity(pid) or "gone")
                self._files.write_record(found)
                return found
            if time.monotonic() - since > _LEFTOVER_S:
                for process in holders:
                    process.kill()
            deadline.wait(f"a part of an earlier {self.name} holds {self.folder} and does not end")

    def _may_be(self, pid: int) -> bool:
        """Root does not end any process that a file of an ordinary user names."""
        try:
            process = psutil.Process(pid)
            as_whom = os.geteuid() != 0 or process.uids().real == self._runs_as().uid
            return as_whom and process.name() in self.programs
        except psutil.Error:
            return False

    def _holders(self) -> list[psutil.Process]:
        """Processes of the server's programs that keep its lock file open."""
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
            # Written down first: a server whose starter dies now can still be found.
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
        # The server may outlive us; while we live, someone has to take note of its end.
        threading.Thread(target=process.wait, name=f"reap-{self.name}", daemon=True).start()
        record = ServerRecord(
            str(socket_path), process.pid, process_identity(process.pid) or "gone"
        )
        self._files.write_record(record)
        return record

    def _wait_until_it_serves(self, record: ServerRecord, deadline: Deadline) -> bool:
        """False if the server ended, or lost its socket and was ended."""
        path = Path(record.socket)
        last_seen = time.monotonic()
        while record.is_alive():
            if path.exists():
                last_seen = time.monotonic()
                if self._serves(self._ask(path)):
                    return True
            elif time.monotonic() - last_seen > _NO_SOCKET_S:
                _log.warning("store_lost_its_socket", store=self.name, pid=record.pid)
                self._end_process(record)
                return False
            deadline.wait(
                f"{self.name} (pid {record.pid}) does not answer; {self._files.log_tail()}"
            )
        return False

    def _ask(self, path: Path) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(os.fspath(path))
                client.sendall(self._greeting())
                return client.recv(1024)
            except OSError:
                return b""

    # Ending. Under the control lock, too.

    def _end_server(self) -> None:
        found = self._find_or_lock(Deadline(_STOP_DEADLINE_S))
        if isinstance(found, ServerRecord):
            self._end_process(found)
        else:
            os.close(found)
        record = self._files.read_record()
        if record.socket:
            folder = Path(record.socket).parent
            if is_socket_folder(folder, self._runs_as()):
                self._remove_sockets(folder)
                with contextlib.suppress(OSError):  # something of someone else lies in it
                    folder.rmdir()
            self._files.write_record(ServerRecord(record.socket))
        self._record = None

    def _remove_sockets(self, folder: Path) -> None:
        for name in (self.socket_name, f"{self.socket_name}.lock"):
            (folder / name).unlink(missing_ok=True)

    def _end_process(self, record: ServerRecord) -> None:
        started = time.monotonic()
        for ending, within_s in self.endings:
            if not record.send(ending):
                break
            deadline = Deadline(within_s)
            try:
                while record.is_alive():
                    deadline.wait("it does not end")
            except EmbeddedStoresError:
                _log.warning("store_does_not_end", store=self.name, asked_by=ending.name)
        # What the server left, such as its helpers, ends by itself: the lock says when.
        found = self._find_or_lock(Deadline(_STOP_DEADLINE_S))
        if isinstance(found, ServerRecord):
            raise EmbeddedStoresError(f"{self.name} (pid {record.pid}) cannot be ended")
        os.close(found)
        took_ms = round((time.monotonic() - started) * 1000)
        _log.info("store_ended", store=self.name, pid=record.pid, ms=took_ms)

    @contextlib.contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                folder = self._full_folder(error)
                raise DiskFull(
                    f"{self.name}: the disk is full: no space left in {folder}"
                    f" ({free_mb(folder)} MB free): {error.strerror}"
                ) from error
            raise EmbeddedStoresError(f"{self._files.what}: {error}") from error

    def _full_folder(self, error: OSError) -> Path:
        """The folder without space: that of the file which the error names, if it names one."""
        named = error.filename2 or error.filename
        folders = [self.folder, self.data_folder()]
        if isinstance(named, str | bytes):
            folders = [Path(os.fsdecode(named)).parent]
        return min(filter(Path.is_dir, folders), key=free_mb, default=self.data_dir)
