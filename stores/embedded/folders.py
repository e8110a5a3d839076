"""The system account of an embedded server, and the folders for its files and its socket."""

import os
import pwd
import re
import secrets
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# sun_path holds 108 bytes with its closing zero on Linux, 104 on macOS and the BSDs.
SOCKET_PATH_BYTES: Final = 103
# Servers get this environment only: PGDATA, LD_LIBRARY_PATH or locales of ours would change them.
SERVER_ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_CHECK_S: Final = 10.0
_SOCKET_FOLDER: Final = re.compile(r"perpcache-\d+-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that a server runs as and that owns its files."""

    uid: int
    gid: int

    @property
    def is_ours(self) -> bool:
        return self.uid == os.geteuid()

    def run_options(self) -> dict[str, Any]:
        """Arguments for subprocess that make the child run as this account."""
        common: dict[str, Any] = {"start_new_session": True, "env": SERVER_ENVIRONMENT}
        if self.is_ours:
            return common | {"umask": 0o077}
        return common | {"umask": 0o077, "user": self.uid, "group": self.gid, "extra_groups": []}

    def may_enter(self, folder: Path) -> bool:
        """Whether this account can enter `folder`, tried in a child so that ACLs count too."""
        return self._succeeds(["/bin/sh", "-c", 'cd -- "$1"', "sh", os.fspath(folder)])

    def can_run(self, program: Path) -> bool:
        """Whether this account can execute `program`, which must know `--version`."""
        return self._succeeds([os.fspath(program), "--version"])

    def _succeeds(self, command: list[str]) -> bool:
        try:
            done = subprocess.run(  # noqa: S603 - our own arguments
                command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_CHECK_S,
                check=False,
                **self.run_options(),
            )
        except (PermissionError, FileNotFoundError):
            return False
        return done.returncode == 0


def our_account() -> Account:
    return Account(os.geteuid(), os.getegid())


def owner_of(folder: Path) -> Account:
    """The account for new files in `folder`: ours or, if we are root, the folder's owner.

    So a user's folder stays usable for that user after root has used it.
    """
    ours = our_account()
    status = folder.stat()
    if ours.uid != 0 or status.st_uid == 0:
        return ours
    owner = Account(status.st_uid, status.st_gid)
    return owner if owner.may_enter(folder) else ours


def unprivileged(preferred: Account) -> Account | None:
    """An account that PostgreSQL accepts: not root, and listed in the user database."""
    if preferred.uid != 0:
        try:
            pwd.getpwuid(preferred.uid)
        except KeyError:
            if os.geteuid() != 0:
                return None
        else:
            return preferred
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    return None


def free_mb(folder: Path) -> int:
    """The space for unprivileged users on the disk of `folder`."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize // 1_000_000


def make_folder(folder: Path, owner: Account, mode: int = 0o700) -> None:
    """Creates `folder`, or checks that it is a real folder that belongs to `owner` or to us.

    Raises PermissionError if it is anything else.
    """
    try:
        folder.mkdir(mode)
    except FileExistsError:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (owner.uid, os.geteuid()):
            raise PermissionError(f"{folder} is not a folder of uid {owner.uid}") from None
    else:
        folder.chmod(mode)  # the umask may have taken bits away
    if folder.lstat().st_uid != owner.uid:
        os.chown(folder, owner.uid, owner.gid, follow_symlinks=False)


def make_socket_folder(
    account: Account, socket_name: str, preferred: Path | None, note: Callable[[Path], None]
) -> Path:
    """A folder with mode 0700 for `account`, with a path short enough for a socket.

    `preferred` is used if it still can be. `note` is called before the folder is created,
    so that a crash leaves no unknown folder. Raises OSError if no folder can be used.
    """
    refused: list[str] = []
    for folder in _socket_folders(account, preferred):
        if len(os.fsencode(folder / socket_name)) > SOCKET_PATH_BYTES:
            refused.append(f"{folder}: its path is too long")
        elif not _is_safe(folder.parent, account):
            refused.append(f"{folder.parent}: other users could move files in it")
        else:
            note(folder)
            try:
                folder.mkdir(0o700)
                if not account.is_ours:
                    os.chown(folder, account.uid, account.gid, follow_symlinks=False)
            except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
                refused.append(str(error))
                continue
            except FileExistsError:
                if not is_socket_folder(folder, account):
                    refused.append(f"{folder} exists and is not ours")
                    continue
            folder.chmod(0o700)
            if account.may_enter(folder):
                return folder
            folder.rmdir()
            refused.append(f"{folder.parent}: user {account.uid} may not enter it")
    raise PermissionError("no folder for a unix socket: " + "; ".join(refused))


def is_socket_folder(folder: Path, account: Account) -> bool:
    """Whether `make_socket_folder` created this folder for `account`.

    Root must check it, because the path comes from a file that an ordinary user can write.
    """
    try:
        status = folder.lstat()
    except OSError:
        return False
    of_account = stat.S_ISDIR(status.st_mode) and status.st_uid == account.uid
    return of_account and _SOCKET_FOLDER.fullmatch(folder.name) is not None


def _socket_folders(account: Account, preferred: Path | None) -> Iterator[Path]:
    if preferred is not None and _SOCKET_FOLDER.fullmatch(preferred.name):
        yield preferred
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    # Random, so that no other user can create it beforehand.
    name = f"perpcache-{account.uid}-{secrets.token_hex(4)}"
    for base in (runtime, tempfile.gettempdir(), "/tmp"):  # noqa: S108 - each is checked
        if base.startswith("/"):
            yield Path(base) / name


def _is_safe(base: Path, account: Account) -> bool:
    """Whether only root, we and `account` can move or delete files in `base`."""
    try:
        status = base.stat()
    except OSError:
        return False
    open_to_others = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    return status.st_uid in (0, os.geteuid(), account.uid) and not open_to_others
