"""The trial of a mutant: its tests, run on a copy of the checkout, until the first one fails."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import psutil

from mutants.mutant import Mutant

_START_S: Final = 60.0  # for pytest and the servers of the tests, on a busy machine
_SLOWER: Final = 5.0  # how much longer than before tests may take
_TEST_S: Final = 30.0  # at least, for one test
_ENDS_WITHIN_S: Final = 5.0
_ALL_PASSED: Final = 0

Outcome = Literal["killed", "survived", "no test"]


@dataclass(frozen=True, slots=True)
class Trial:
    """How a mutant fared, and after how many seconds."""

    mutant: Mutant
    outcome: Outcome
    seconds: float
    tests: int


class TrialFolder:
    """A copy of the checkout in which one mutant after the other is tried."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = Path(tempfile.mkdtemp(prefix="pm-"))
        self._mutants_written = 0

    def __enter__(self) -> Self:
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(  # noqa: S603 - our own arguments
            listed, cwd=self._root, capture_output=True, check=True
        ).stdout
        for name in names.decode().split("\0"):
            source = self._root / name
            if name and source.is_file():
                target = self._folder / "checkout" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def passes(self, tests: Sequence[str], expected_s: float, slowest_s: float) -> bool:
        """Whether all these tests pass on what the folder holds now."""
        temporary = self._folder / "t"
        temporary.mkdir()
        recorded = self._root.parent / "shared" / "fixtures"
        environment = {"RECORDED_DATA": str(recorded)} | os.environ | {"TMPDIR": str(temporary)}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        command += [f"--timeout={max(_TEST_S, _SLOWER * slowest_s):g}", *tests]
        run = subprocess.Popen(  # noqa: S603 - our own arguments
            command,
            cwd=self._folder / "checkout",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return run.wait(_START_S + _SLOWER * expected_s) == _ALL_PASSED
        except subprocess.TimeoutExpired:
            return False
        finally:
            _end(run)
            shutil.rmtree(temporary, ignore_errors=True)

    def survives(
        self, mutant: Mutant, tests: Sequence[str], expected_s: float, slowest_s: float
    ) -> bool:
        """Whether all these tests pass on the mutant."""
        file = self._folder / "checkout" / mutant.path
        source, times = file.read_bytes(), file.stat()
        self._mutants_written += 1
        try:
            file.write_bytes(mutant.applied(source))
            # Compiled files are told apart by size and time, and the size may be the same.
            changed_s = times.st_mtime + 10 * self._mutants_written
            os.utime(file, (changed_s, changed_s))
            return self.passes(tests, expected_s, slowest_s)
        finally:
            file.write_bytes(source)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def _end(run: "subprocess.Popen[bytes]") -> None:
    """Ends pytest and what it started: gently at first, so that its servers are stopped."""
    try:
        started = psutil.Process(run.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    if run.poll() is None:
        run.send_signal(signal.SIGINT)
        try:
            run.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
    for process in started:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(started, timeout=_ENDS_WITHIN_S)


def timed(began: float) -> float:
    """Seconds since then."""
    return time.monotonic() - began
