"""`python -m mutants`: draws a sample of mutants, tries each, and prints those that survive."""

import argparse
import itertools
import os
import random
import secrets
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from mutants.covered_lines import CoveredLines, SuiteFailed, covered_lines
from mutants.equivalent import EQUIVALENT
from mutants.mutant import Mutant
from mutants.python_changes import changes, compiles
from mutants.selection import Selection
from mutants.trial import NOTICED, Trial, TrialFolder, timed

ROOT: Final = Path(__file__).resolve().parents[1]
ROOMS: Final = ("data_collector", "job_queue", "stores/hot", "documents", "venues")
# The tests that may notice them; those of other rooms only take time.
_TESTS: Final = (
    *(f"tests/{room}" for room in ROOMS),
    *("tests/api/documents", "tests/budgets", "tests/faults", "tests/jobs"),
    *("tests/test_cache_manager.py", "tests/test_mixed_releases.py", "tests/test_publishing.py"),
)
_KEPT: Final = ROOT / ".mutants" / "covered.json"
_SAMPLE: Final = 300
_ENOUGH: Final = 0.95  # of the mutants must be killed
_CONTROLS: Final = 5  # mutants whose tests are run on the unchanged code first
# Of the tests of a mutant, as many as this: the first few kill most.
_FIRST_S: Final = 4.0
_THEN_S: Final = 30.0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mutants",
        description="Changes the code in small ways, one at a time (a < becomes <=, a number is "
        "one more, a statement is left out; in the Lua scripts, too), and runs the tests that run "
        "the changed line, until one fails. Prints the changes that no test notices. Which tests "
        "run which lines is found by running the tests of these rooms once, without those that "
        "start whole services; it is kept until the code changes.",
        epilog="The same seed draws the same sample from the same code. Exit code: 0 if at least "
        "95 % are noticed, 1 if not, 2 if the tests do not run.",
    )
    parser.add_argument(
        "--count", type=int, default=_SAMPLE, help="how many mutants (%(default)d; 0: all)"
    )
    parser.add_argument("--seed", type=int, help="seed of the sample (random, and printed)")
    parser.add_argument("--only", nargs="+", default=[], metavar="FILE", help="files to change")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--list", action="store_true", help="print the sample and exit")
    return parser


def main() -> int:
    arguments = build_parser().parse_args()
    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    files = _files(arguments.only)
    everything = [m for file in files for m in changes(file, (ROOT / file).read_bytes())]
    sample = _draw(everything, arguments.count, seed)
    _say(f"{len(sample)} of {len(everything)} mutants of {len(files)} files, seed {seed}")
    if arguments.list:
        for mutant in sample:
            _say(mutant.id)
        return 0
    try:
        covered = covered_lines(ROOT, ROOMS, _TESTS, _KEPT, arguments.jobs)
    except SuiteFailed as error:
        _say(str(error))
        return 2
    run = _Run(Selection(ROOT, _files([]), covered), covered)
    if not run.unchanged_code_passes(sample[:_CONTROLS]):
        _say("the tests of the first mutants fail on the unchanged code, so they prove nothing")
        return 2
    return _report(run.all(sample, arguments.jobs))


def _files(only: list[str]) -> list[str]:
    known = [str(file.relative_to(ROOT)) for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise SystemExit(f"not among the files to change: {', '.join(unknown)}")
    return sorted(only or known)


def _draw(everything: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """`count` mutants that can be compiled; all of them if it is 0."""
    random.Random(seed).shuffle(everything)  # noqa: S311 - to be repeatable
    valid = (m for m in everything if compiles(m, (ROOT / m.path).read_bytes()))
    return list(itertools.islice(valid, count or None))


class _Run:
    """The trials, in several folders at once."""

    def __init__(self, selection: Selection, covered: CoveredLines) -> None:
        self._selection = selection
        self._covered = covered
        self._lock = threading.Lock()
        self._done = 0

    def unchanged_code_passes(self, sample: list[Mutant]) -> bool:
        """Whether the tests of these mutants pass on the code as it is."""
        tests = {test for m in sample for test in self._selection.tests_for(m, _FIRST_S)}
        seconds = [self._covered.seconds[test] for test in tests]
        with TrialFolder(ROOT) as folder:
            outcome = (
                folder.test(sorted(tests), sum(seconds), max(seconds)) if tests else "survived"
            )
            return outcome == "survived"

    def all(self, sample: list[Mutant], jobs: int) -> list[Trial]:
        """Tries each mutant; the results in the order of the sample."""
        local = threading.local()
        folders: list[TrialFolder] = []

        def start() -> None:
            local.folder = TrialFolder(ROOT).__enter__()
            folders.append(local.folder)

        def try_one(mutant: Mutant) -> Trial:
            trial = self._try(local.folder, mutant)
            with self._lock:
                self._done += 1
                place = f"{mutant.path}:{mutant.lines[0]}"
                numbers = f"{self._done}/{len(sample)} {trial.outcome:9} {trial.seconds:5.1f} s"
                _say(f"{numbers}  {place}  {mutant.before[:40]!r} => {mutant.after[:40]!r}")
                if trial.outcome not in NOTICED:
                    _say(f"after {trial.tests} tests:\n{mutant.diff(ROOT)}\n")
            return trial

        pool = ThreadPoolExecutor(jobs, initializer=start)
        try:
            return list(pool.map(try_one, sample))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for folder in folders:
                folder.__exit__(None, None, None)

    def _try(self, folder: TrialFolder, mutant: Mutant) -> Trial:
        began = time.monotonic()
        first = self._selection.tests_for(mutant, _FIRST_S)
        if not first:
            return Trial(mutant, "no test", 0.0, 0)
        all_of_them = self._selection.tests_for(mutant, _THEN_S)
        then = [test for test in all_of_them if test not in first]
        for tests in (first, then):
            seconds = [self._covered.seconds[test] for test in tests]
            if not tests:
                continue
            outcome = folder.test_mutant(mutant, tests, sum(seconds), max(seconds))
            if outcome in NOTICED:
                return Trial(mutant, outcome, timed(began), len(first))
        return Trial(mutant, "survived", timed(began), len(first) + len(then))


def _report(trials: list[Trial]) -> int:
    alive = [trial for trial in trials if trial.outcome not in NOTICED]
    late = sum(trial.outcome == "timed out" for trial in trials)
    known = [trial for trial in alive if trial.mutant.id in EQUIVALENT]
    survivors = [trial for trial in alive if trial not in known]
    _say("")
    for trial in survivors:
        _say(f"{trial.outcome}: {trial.mutant.id}")
    counted = len(trials) - len(known)
    share = (counted - len(survivors)) / counted if counted else 1.0
    _say(
        f"\n{len(trials)} mutants: {len(trials) - len(alive)} killed ({late} by time), "
        f"{len(survivors)} survived, {len(known)} known to change nothing; {share:.1%} killed"
    )
    return 0 if share >= _ENOUGH else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
