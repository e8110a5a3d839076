"""The embedded PostgreSQL: its cluster, password, settings, and the account that runs it."""

import contextlib
import os
import re
import secrets
import shutil
import signal
import struct
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

import psutil

from stores.embedded.errors import EmbeddedStoresError
from stores.embedded.folders import Account, make_folder, our_account, unprivileged
from stores.embedded.postgres_programs import (
    PostgresPrograms,
    can_run,
    installed_trees,
    program_files,
)
from stores.embedded.programs import require_space
from stores.embedded.server import EmbeddedServer, Launch

_NAME: Final = "perpcache"  # of the role and of the database
_CLUSTER_MB: Final = 64  # for a new cluster and its write-ahead log
# Parents of the cluster if its account may not enter DATA_DIR.
_FALLBACK_PARENTS: Final = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - checked before use

# Sized for a few dozen connections; the record's rows come in their order and are read so.
_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "64",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",  # /dev/shm may be tiny, or emptied at a logout
    "max_worker_processes": "0",
    "max_parallel_workers": "0",
    "max_logical_replication_workers": "0",
    "autovacuum_max_workers": "1",
    "wal_level": "minimal",
    "wal_compression": "on",  # of whole pages, which are half of what the record writes
    "max_wal_senders": "0",
    "min_wal_size": "16MB",
    "max_wal_size": "128MB",
    "jit": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "lc_messages": "C",
}


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL with its cluster in `DATA_DIR/postgres`, reached by unix socket and password.

    PostgreSQL refuses to run as root, so root starts it as another user. If that user may not
    enter DATA_DIR, the cluster is below /var/lib or /var/tmp, as `stores/postgres.place` says.
    """

    name = "postgres"
    programs = ("postgres", "initdb")
    socket_name = ".s.PGSQL.5432"
    optional_at_start = True  # documents are served, and known markets collected, without it
    # Fast shutdown, immediate shutdown (recovers at the next start), kill.
    stop_signals: ClassVar = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self._password_path = self.folder / "postgres.password"
        self._place_path = self.folder / "postgres.place"

    def data_folder(self) -> Path:
        place = self._remembered_place()
        return place if place and place.is_dir() else self.data_dir

    # The cluster.

    def _prepare(self, lock: int) -> Launch:
        account = self._runs_as()
        place = self._place(account)
        cluster = _cluster(place)
        programs = self._programs(account, place, lock)
        if not cluster.exists():
            self._make_cluster(programs, place)
        elif not self._password():
            self._remove_stale_pid(cluster)
            self._change_password(programs, cluster)
        self._remove_stale_pid(cluster)
        server = [programs.path("postgres"), "-D", os.fspath(cluster)]
        return Launch(account, place, lambda socket_path: [*server, *_settings(socket_path)])

    def _runs_as(self) -> Account:
        remembered = self._remembered_place()
        if remembered and os.geteuid() == 0 and (remembered / "data").is_dir():
            status = (remembered / "data").stat()
            return Account(status.st_uid, status.st_gid)
        account = unprivileged(self.owner())
        if account is None:
            raise EmbeddedStoresError(
                f"PostgreSQL cannot run as uid {os.geteuid()}, which has no entry in the user"
                " database: add one, or set DATABASE_URL"
                if os.geteuid()
                else "PostgreSQL does not run as root, and there is no user postgres or nobody:"
                " add one, or set DATABASE_URL"
            )
        return account

    def _remembered_place(self) -> Path | None:
        with contextlib.suppress(FileNotFoundError):
            place = Path(os.fsdecode(self._place_path.read_bytes()))
            # An ordinary user may have written the file, so root accepts only paths of this form.
            if _is_fallback(place):
                return place
        inside = self.data_dir / "postgres"
        return inside if inside.is_dir() else None

    def _place(self, account: Account) -> Path:
        remembered = self._remembered_place()
        if remembered and remembered.is_dir() and account.may_enter(remembered):
            return remembered
        if account.may_enter(self.data_dir):
            inside = self.data_dir / "postgres"
            make_folder(inside, self.owner(), 0o700 if account == self.owner() else 0o711)
            return inside
        refused: list[str] = []
        for base in _FALLBACK_PARENTS:
            parent = base / _NAME
            try:
                make_folder(parent, our_account(), 0o711)
                place = parent / secrets.token_hex(8)
                # Recorded first, so that a crash leaves no unknown folder.
                self._write(self._place_path, os.fsencode(place))
                make_folder(place, our_account(), 0o711)
            except OSError as error:
                refused.append(str(error))
                continue
            if account.may_enter(place):
                return place
            place.rmdir()
            refused.append(f"user {account.uid} may not enter {place}")
        raise EmbeddedStoresError(
            f"PostgreSQL runs as user {account.uid}, who may not enter {self.data_dir}, and no"
            f" other folder can be used ({'; '.join(refused)}): move DATA_DIR, or set DATABASE_URL"
        )

    def _make_cluster(self, programs: PostgresPrograms, place: Path) -> None:
        password = self._password()
        if not password:
            password = secrets.token_hex(24)
            self._write(self._password_path, password.encode())
        unfinished = place / "unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        make_folder(unfinished, programs.account)
        cluster, password_file = unfinished / "data", unfinished / "password"
        self._write(password_file, password.encode(), programs.account)
        options = ["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--wal-segsize=4"]
        options += ["-U", _NAME, f"--pwfile={password_file}"]
        programs.initdb("-D", os.fspath(cluster), *options)
        password_file.unlink()
        # Only unix-socket connections are allowed, and they need the password.
        self._write(cluster / "pg_hba.conf", b"local all all scram-sha-256\n", programs.account)
        programs.run_alone(cluster, f"CREATE DATABASE {_NAME}")
        cluster.rename(place / "data")
        unfinished.rmdir()

    def _change_password(self, programs: PostgresPrograms, cluster: Path) -> None:
        password = secrets.token_hex(24)
        programs.run_alone(cluster, f"ALTER ROLE {_NAME} PASSWORD '{password}'")
        self._write(self._password_path, password.encode())

    def _remove_stale_pid(self, cluster: Path) -> None:
        """Removes postmaster.pid if its pid now belongs to another program.

        No server runs, because we hold its lock, but PostgreSQL would refuse to start.
        """
        pid_file = cluster / "postmaster.pid"
        try:
            pid = int(pid_file.read_bytes().split(b"\n", 1)[0])
            if psutil.Process(pid).cwd() == os.path.realpath(cluster):
                return  # another server runs on this cluster, which PostgreSQL reports
        except FileNotFoundError:
            return
        except (ValueError, psutil.Error):
            pass
        pid_file.unlink(missing_ok=True)

    # The programs.

    def _programs(self, account: Account, place: Path, lock: int) -> PostgresPrograms:
        """Programs of the cluster's version that `account` can run, copied to `place` if needed.

        Raises DiskFull before anything is written if there is too little space.
        """
        tree = self._tree(place)
        files = None if can_run(account, tree) else program_files(tree)
        needed_mb = 0 if _cluster(place).exists() else _CLUSTER_MB
        if files and not files.is_copied(place):
            needed_mb += files.size_mb()
        require_space(self.name, place, needed_mb)
        if files:
            tree = files.ensure_copy(place, lock) / tree.relative_to(files.root)
        return PostgresPrograms(tree, account, lock)

    def _tree(self, place: Path) -> Path:
        trees = installed_trees()
        if _cluster(place).exists():
            wanted = (_cluster(place) / "PG_VERSION").read_text().strip()
        else:
            wanted = max(trees, key=int, default="")
        if wanted not in trees:
            raise EmbeddedStoresError(
                f"the database in {place} is of PostgreSQL {wanted or 'any'};"
                f" installed: {', '.join(trees) or 'none'}. Install that version, or set"
                " DATABASE_URL"
            )
        return trees[wanted]

    # The password.

    def _password(self) -> str:
        try:
            return self._password_path.read_text().strip()
        except FileNotFoundError:
            return ""

    def _write(self, path: Path, content: bytes, owner: Account | None = None) -> None:
        """Writes the file atomically, readable by its owner only."""
        owner = owner or self.owner()
        unfinished = path.with_name(path.name + ".unfinished")
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if not owner.is_ours:
                os.fchown(descriptor, owner.uid, owner.gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        unfinished.replace(path)

    # The server.

    def _probe(self) -> bytes:
        # The start-up packet of protocol 3.0: length, version, parameters.
        body = struct.pack("!i", 3 << 16) + f"user\0{_NAME}\0database\0{_NAME}\0\0".encode()
        return struct.pack("!i", len(body) + 4) + body

    def _is_ready(self, reply: bytes) -> bool:
        # Ready: it asks for the password, or has no connection left (53300). A server that is
        # starting up answers 57P03.
        return reply.startswith(b"R") or (reply.startswith(b"E") and b"\0C53300\0" in reply)

    def _url(self, socket_path: Path) -> str:
        folder = quote(os.fspath(socket_path.parent), safe="")
        # Explicit, because clients would take missing options from PGPORT, PGSSLMODE and so on.
        options = f"host={folder}&port=5432&sslmode=disable&sslnegotiation=postgres"
        options += "&target_session_attrs=any"
        return f"postgresql://{_NAME}:{self._password()}@/{_NAME}?{options}"

    def _remove_data(self) -> None:
        place = self._remembered_place()
        for folder in {place, self.data_dir / "postgres"}:
            if folder and folder.is_dir():
                shutil.rmtree(folder)
        if place and _is_fallback(place):
            with contextlib.suppress(OSError):  # it may hold clusters of other DATA_DIRs
                place.parent.rmdir()


def _is_fallback(place: Path) -> bool:
    return (
        place.parent.name == _NAME
        and place.parent.parent in _FALLBACK_PARENTS
        and re.fullmatch(r"[0-9a-f]{16}", place.name) is not None
    )


def _cluster(place: Path) -> Path:
    return place / "data"


def _settings(socket_path: Path) -> list[str]:
    folder = os.fspath(socket_path.parent).replace('"', '""')
    settings = _SETTINGS | {"unix_socket_directories": f'"{folder}"'}
    return [part for item in settings.items() for part in ("-c", "=".join(item))]
