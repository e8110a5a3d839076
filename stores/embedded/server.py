"""One server process shared by processes of ours: found, started, counted and ended by locks.

It owns the lock files in `DATA_DIR/stores` and knows nothing of any store's protocol. The methods
block (briefly, each with a deadline) and belong into a thread.

- `<name>.control` is locked while someone starts or ends the server.
- `<name>.users` carries one shared lock for each user: the kernel drops it with the process,
  however that ends. Whoever can lock it alone is the last.
- `<name>.server` is locked by the server itself, which inherits the descriptor: as long as any
  process of it works on the data, no second one starts. It also says pid, identity and socket.
"""

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, Final

import psutil
import structlog

from stores.embedded.places import (
    Account,
    is_socket_folder,
    make_folder,
    make_socket_folder,
    owner_of,
)
from stores.embedded.process import (
    DiskFull,
    EmbeddedStoresError,
    Patience,
    ServerRecord,
    process_identity,
    same_file,
    try_lock,
)

_START_DEADLINE_S: Final = 120.0  # a large append-only file is read before the first answer
_STOP_DEADLINE_S: Final = 30.0
_NO_SOCKET_PATIENCE_S: Final = 3.0
_LEFTOVER_PATIENCE_S: Final = 10.0
_POLL_S: Final = 0.02
_LOG_TAIL_BYTES: Final = 2000
_LOG_LIMIT_BYTES: Final = 5_000_000
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
        self.log_path = self.folder / f"{self.name}.log"
        self._owner: Account | None = None
        self._users: int | None = None
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
        """Becomes a user and returns the address of the server, which then answers: at once, or,
        where it has lived before and may come later, when there is space on the disk again.

        Raises EmbeddedStoresError.
        """
        with self._plain_errors():
            make_folder(self.folder, self.owner())
            with self._control(Patience(_START_DEADLINE_S, give_up)):
                self._join()
                try:
                    return self._ensure_running(give_up)
                except DiskFull:
                    address = self._read_record().socket
                    if not (self.may_come_later and address):
                        self._leave()
                        raise
                    return self._url(Path(address))
                except BaseException:
                    self._leave()
                    raise

    def looks_alive(self) -> bool:
        """A cheap look from outside: the process is there, and so is its socket."""
        record = self._record
        return record is not None and record.is_alive() and Path(record.socket).exists()

    def free_mb(self) -> int:
        """What is left on the disk of DATA_DIR."""
        status = os.statvfs(self.data_dir)
        return status.f_bavail * status.f_frsize // 1_000_000

    def keep_running(self, give_up: threading.Event) -> str:
        """Starts the server again at the same address, unless someone else already has."""
        with self._plain_errors(), self._control(Patience(_START_DEADLINE_S, give_up)):
            return self._ensure_running(give_up)

    def release(self) -> None:
        """Is a user no longer; the last one ends the server."""
        if self._users is None:
            return
        try:
            with self._plain_errors(), self._control(Patience(_STOP_DEADLINE_S)):
                self._leave()
                if self._nobody_uses():
                    self._end_server()
        finally:
            self._leave()

    def remove(self) -> None:
        """Ends the server and removes its data; refused while someone uses it."""
        if not self.folder.is_dir():
            return
        with self._plain_errors(), self._control(Patience(_STOP_DEADLINE_S)):
            if not self._nobody_uses():
                raise EmbeddedStoresError(f"{self.name} in {self.data_dir} is in use")
            self._end_server()
            self._remove_data()
            for path in self.folder.glob(f"{self.name}.*"):
                path.unlink()

    def owner(self) -> Account:
        """Who the files in DATA_DIR belong to."""
        if self._owner is None:
            self._owner = owner_of(self.data_dir)
        return self._owner

    # Locks.

    def _open(self, suffix: str) -> int:
        path = self.folder / f"{self.name}.{suffix}"
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        status, owner = os.fstat(descriptor), self.owner()
        if status.st_uid != owner.uid and os.geteuid() == 0 and status.st_nlink == 1:
            os.fchown(descriptor, owner.uid, owner.gid)
        return descriptor

    @contextlib.contextmanager
    def _control(self, patience: Patience) -> Iterator[None]:
        path = self.folder / f"{self.name}.control"
        busy = f"{self.name} in {self.data_dir} is being started or ended by another process"
        while True:
            descriptor = self._open("control")
            try:
                while not try_lock(descriptor, fcntl.LOCK_EX):
                    patience.wait(busy)
                # Someone may have removed the file, and others locked a new one.
                if same_file(descriptor, path):
                    yield
                    return
            finally:
                os.close(descriptor)

    def _join(self) -> None:
        if self._users is None:
            self._users = self._open("users")
            # Locked alone only by holders of the control lock, so this does not wait.
            fcntl.flock(self._users, fcntl.LOCK_SH)

    def _leave(self) -> None:
        if self._users is not None:
            # Not only closed: a forked child may hold the same descriptor.
            fcntl.flock(self._users, fcntl.LOCK_UN)
            os.close(self._users)
            self._users = None

    def _nobody_uses(self) -> bool:
        descriptor = self._open("users")
        try:
            return try_lock(descriptor, fcntl.LOCK_EX)
        finally:
            os.close(descriptor)

    # Starting. All of it happens under the control lock.

    def _ensure_running(self, give_up: threading.Event) -> str:
        patience = Patience(_START_DEADLINE_S, give_up)
        while True:
            found = self._find_or_lock(patience)
            if isinstance(found, ServerRecord):
                self._record = found
                if self._wait_until_it_serves(found, patience):
                    return self._url(Path(found.socket))
                continue  # it was ending, or could not be reached and has been ended
            log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
            try:
                record = self._record = self._spawn(found)
            finally:
                os.close(found)
            try:
                if self._wait_until_it_serves(record, patience):
                    _log.info("store_started", store=self.name, pid=record.pid)
                    return self._url(Path(record.socket))
            except BaseException:
                self._end_process(record)
                raise
            tail = self._log_tail(log_start)
            if self.free_mb() < _FULL_MB or os.strerror(errno.ENOSPC) in tail:
                raise DiskFull(
                    f"{self.name} ended while starting, and the disk is full: no space left in"
                    f" {self.data_dir} ({self.free_mb()} MB free); {tail}"
                )
            raise EmbeddedStoresError(f"{self.name} ended while starting; {tail}")

    def _find_or_lock(self, patience: Patience) -> ServerRecord | int:
        """The server that runs, or, if none does, the locked descriptor for a new one."""
        since = time.monotonic()
        while True:
            record = self._read_record()
            if record.is_alive() and self._may_be(record.pid):
                return record
            descriptor = self._open("server")
            if try_lock(descriptor, fcntl.LOCK_EX):
                return descriptor
            os.close(descriptor)
            # Whoever started it died before writing its pid, or a part of it is still ending.
            holders = self._holders()
            pid = _listener(record.socket)
            if any(process.pid == pid for process in holders):
                found = replace(record, pid=pid, identity=process_identity(pid) or "gone")
                self._write_record(found)
                return found
            if time.monotonic() - since > _LEFTOVER_PATIENCE_S:
                for process in holders:
                    process.kill()
            patience.wait(f"a part of an earlier {self.name} holds {self.folder} and does not end")

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
        path = os.path.realpath(self.folder / f"{self.name}.server")
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
        earlier = self._read_record().socket
        folder = make_socket_folder(
            launch.account,
            self.socket_name,
            Path(earlier).parent if earlier else None,
            # Written down first: a server whose starter dies now can still be found.
            lambda folder: self._write_record(ServerRecord(str(folder / self.socket_name))),
        )
        socket_path = folder / self.socket_name
        self._remove_sockets(folder)
        log = self._open_log()
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
        self._write_record(record)
        return record

    def _wait_until_it_serves(self, record: ServerRecord, patience: Patience) -> bool:
        """False if the server ended, or lost its socket and was ended."""
        path = Path(record.socket)
        last_seen = time.monotonic()
        while record.is_alive():
            if path.exists():
                last_seen = time.monotonic()
                if self._serves(self._ask(path)):
                    return True
            elif time.monotonic() - last_seen > _NO_SOCKET_PATIENCE_S:
                _log.warning("store_lost_its_socket", store=self.name, pid=record.pid)
                self._end_process(record)
                return False
            patience.wait(f"{self.name} (pid {record.pid}) does not answer; {self._log_tail()}")
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
        found = self._find_or_lock(Patience(_STOP_DEADLINE_S))
        if isinstance(found, ServerRecord):
            self._end_process(found)
        else:
            os.close(found)
        record = self._read_record()
        if record.socket:
            folder = Path(record.socket).parent
            if is_socket_folder(folder, self._runs_as()):
                self._remove_sockets(folder)
                with contextlib.suppress(OSError):  # something of someone else lies in it
                    folder.rmdir()
            self._write_record(ServerRecord(record.socket))
        self._record = None

    def _remove_sockets(self, folder: Path) -> None:
        for name in (self.socket_name, f"{self.socket_name}.lock"):
            (folder / name).unlink(missing_ok=True)

    def _end_process(self, record: ServerRecord) -> None:
        started = time.monotonic()
        for ending, patience_s in self.endings:
            if not record.send(ending):
                break
            patience = Patience(patience_s)
            try:
                while record.is_alive():
                    patience.wait("it does not end")
            except EmbeddedStoresError:
                _log.warning("store_does_not_end", store=self.name, asked_by=ending.name)
        # What the server left, such as its helpers, ends by itself: the lock says when.
        found = self._find_or_lock(Patience(_STOP_DEADLINE_S))
        if isinstance(found, ServerRecord):
            raise EmbeddedStoresError(f"{self.name} (pid {record.pid}) cannot be ended")
        os.close(found)
        took_ms = round((time.monotonic() - started) * 1000)
        _log.info("store_ended", store=self.name, pid=record.pid, ms=took_ms)

    # The record and the log.

    def _read_record(self) -> ServerRecord:
        try:
            fields = json.loads((self.folder / f"{self.name}.server").read_bytes() or b"{}")
            return ServerRecord(str(fields["socket"]), int(fields["pid"]), str(fields["identity"]))
        except (OSError, ValueError, TypeError, KeyError):
            return ServerRecord("")

    def _write_record(self, record: ServerRecord) -> None:
        descriptor = self._open("server")
        try:
            text = json.dumps(asdict(record)).encode()
            os.pwrite(descriptor, text, 0)
            os.ftruncate(descriptor, len(text))
        finally:
            os.close(descriptor)

    def _open_log(self) -> int:
        if self.log_path.exists() and self.log_path.stat().st_size > _LOG_LIMIT_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        descriptor = self._open("log")
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
        return descriptor

    def _log_tail(self, start: int = 0) -> str:
        try:
            text = self.log_path.read_bytes()[start:][-_LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            text = ""
        lines = text.strip().splitlines()[-12:]
        end = "\n".join(["", *lines]) if lines else " (which says nothing)"
        return f"the end of its log {self.log_path}:{end}"

    @contextlib.contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = f"{self.name} in {self.data_dir}"
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"{where}: the disk is full: {error}") from error
            raise EmbeddedStoresError(f"{where}: {error}") from error


def _listener(path: str) -> int:
    """The process that listens on a unix socket, by the kernel's word; 0 if none is known."""
    if not path or not hasattr(socket, "SO_PEERCRED"):
        return 0
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(path)
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        except OSError:
            return 0
    return int.from_bytes(credentials[:4], sys.byteorder)
