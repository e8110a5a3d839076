"""Which tests run which lines: the tests, run once, each with the lines that it runs here.

Lines that a test runs in processes of its own are not seen. The result is kept in a file until
the code or the tests change.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import coverage

FOLDER: Final = "MUTANTS_FOLDER"  # environment variable: where the plugin writes
ROOMS: Final = "MUTANTS_ROOMS"  # and which files it looks at, comma-separated


class SuiteFailed(Exception):
    """The tests could not be run on the unchanged code."""


@dataclass(frozen=True, slots=True)
class CoveredLines:
    """`tests`: by file and line, which tests run it. `seconds`: how long each passed test took."""

    tests: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]

    def of_lines(self, path: str, lines: Iterable[int]) -> set[str]:
        """The tests that run one of these lines."""
        by_line = self.tests.get(path, {})
        return {test for line in lines for test in by_line.get(line, ())}

    def of_file(self, path: str) -> set[str]:
        """The tests that run anything of this file."""
        return self.of_lines(path, self.tests.get(path, {}))


def covered_lines(
    root: Path, rooms: Sequence[str], tests: Sequence[str], kept: Path, processes: int
) -> CoveredLines:
    """The lines of `rooms` that these tests run: what `kept` holds, or what a run of them finds
    now. Raises SuiteFailed.
    """
    wanted = _fingerprint(root)
    if kept.is_file():
        stored = json.loads(kept.read_text())
        if stored["fingerprint"] == wanted:
            return _read(stored)
    kept.parent.mkdir(parents=True, exist_ok=True)
    for old in kept.parent.glob("run.*"):
        old.unlink()
    found = _run_tests(root, rooms, tests, kept.parent, processes)
    kept.write_text(json.dumps({"fingerprint": wanted} | found))
    return _read(found)


def _read(stored: dict[str, Any]) -> CoveredLines:
    tests = {
        path: {int(line): names for line, names in lines.items()}
        for path, lines in stored["tests"].items()
    }
    return CoveredLines(tests, stored["seconds"])


def _fingerprint(root: Path) -> str:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"],  # noqa: S607
        cwd=root,
        capture_output=True,
        check=True,
    )
    digest = hashlib.sha256()
    for name in sorted(listed.stdout.split(b"\0")):
        file = root / name.decode()
        if name and file.is_file():
            digest.update(name + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _run_tests(
    root: Path, rooms: Sequence[str], tests: Sequence[str], folder: Path, processes: int
) -> dict[str, Any]:
    environment = os.environ | {FOLDER: str(folder), ROOMS: ",".join(rooms)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "mutants.pytest_plugin", *tests]
    command += ["-n", str(processes), "--dist", "worksteal", "--tb=no"]
    run = subprocess.run(  # noqa: S603 - our own arguments
        command, cwd=root, env=environment
    )
    if run.returncode not in (0, 1):  # 1: some failed, and are left out
        raise SuiteFailed(f"the tests did not run: pytest exited with {run.returncode}")
    seconds: dict[str, float] = {}
    for file in folder.glob("run.*.json"):
        seconds |= json.loads(file.read_text())
    data = coverage.Coverage(data_file=str(folder / "run.coverage"), config_file=False)
    data.combine([str(file) for file in folder.glob("run.coverage.*")], keep=False)
    return {"tests": _by_line(root, data, seconds), "seconds": seconds}


def _by_line(
    root: Path, data: coverage.Coverage, seconds: dict[str, float]
) -> dict[str, dict[int, list[str]]]:
    found: dict[str, dict[int, list[str]]] = {}
    measured = data.get_data()
    for file in measured.measured_files():
        lines: defaultdict[int, list[str]] = defaultdict(list)
        for line, contexts in measured.contexts_by_lineno(file).items():
            lines[line] = sorted(name for name in contexts if name in seconds)
        found[str(Path(file).relative_to(root))] = dict(lines)
    return found
