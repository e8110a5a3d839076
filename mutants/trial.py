"""The trial of a mutant: its tests, run on a copy of the checkout, until the first one fails."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import psutil

from mutants import fork_server
from mutants.mutant import Mutant

_START_S: Final = 60.0  # for the servers of the tests, on a busy machine
_SLOWER: Final = 8.0  # how much longer than before tests may take
_TEST_S: Final = 60.0  # at least, for one test
_ENDS_WITHIN_S: Final = 5.0

Outcome = Literal["killed", "timed out", "survived", "no test"]
NOTICED: Final[tuple[Outcome, ...]] = ("killed", "timed out")


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
        self._server: _ForkServer

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
        self._server = _ForkServer(self._folder / "checkout")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def test(self, tests: Sequence[str], expected_s: float, slowest_s: float) -> Outcome:
        """How what the folder holds now fares in these tests: "survived" if all pass."""
        temporary = self._folder / "t"
        temporary.mkdir()
        recorded = self._root.parent / "shared" / "fixtures"
        environment = {
            "RECORDED_DATA": os.environ.get("RECORDED_DATA", str(recorded)),
            "TMPDIR": str(temporary),
        }
        arguments = ["-q", "-x", "-p", "no:cacheprovider", *fork_server.ARGUMENTS]
        arguments += [f"--timeout={max(_TEST_S, _SLOWER * slowest_s):g}", *tests]
        try:
            wanted = {"arguments": arguments, "environment": environment}
            code = self._server.run(wanted, _START_S + _SLOWER * expected_s)
            return "timed out" if code is None else "killed" if code else "survived"
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def test_mutant(
        self, mutant: Mutant, tests: Sequence[str], expected_s: float, slowest_s: float
    ) -> Outcome:
        """How the mutant fares in these tests."""
        file = self._folder / "checkout" / mutant.path
        source, times = file.read_bytes(), file.stat()
        self._mutants_written += 1
        try:
            file.write_bytes(mutant.applied(source))
            # Compiled files are told apart by size and time, and the size may be the same.
            changed_s = times.st_mtime + 10 * self._mutants_written
            os.utime(file, (changed_s, changed_s))
            return self.test(tests, expected_s, slowest_s)
        finally:
            file.write_bytes(source)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


class _ForkServer:
    """A process of mutants.fork_server in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, fork_server.__file__],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, wanted: object, deadline_s: float) -> int | None:
        """The exit code of a run; None if it was ended at the deadline."""
        assert self._process.stdin is not None  # noqa: S101 - PIPE
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        pytest = psutil.Process(self._answer())
        late = threading.Event()

        def end_late() -> None:
            late.set()
            _end(pytest)

        watch = threading.Timer(deadline_s, end_late)
        watch.start()
        try:
            code = self._answer()
        finally:
            watch.cancel()
        return None if late.is_set() else code

    def stop(self) -> None:
        """Ends it, and a run that is still going on."""
        for pytest in psutil.Process(self._process.pid).children():
            _end(pytest)
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> int:
        assert self._process.stdout is not None  # noqa: S101 - PIPE
        return int(self._process.stdout.readline())


def _end(pytest: psutil.Process) -> None:
    """Ends pytest and what it started: gently at first, so that its servers are stopped."""
    with contextlib.suppress(psutil.NoSuchProcess):
        processes = [*pytest.children(recursive=True), pytest]
        pytest.send_signal(signal.SIGINT)
        for process in psutil.wait_procs([pytest], timeout=_ENDS_WITHIN_S)[1] and processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def timed(began: float) -> float:
    """Seconds since then."""
    return time.monotonic() - began
