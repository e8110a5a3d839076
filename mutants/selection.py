"""Which tests may notice a mutant: those that run its line, the closest and quickest first.

Lines that run at import, such as constants, are run by no test: the tests of the lines that name
the constant are taken for them.
"""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

from mutants.covered_lines import CoveredLines
from mutants.mutant import Mutant

_ROUNDS: Final = 4  # a constant may be part of another one, and that of a third
_SLOWEST_S: Final = 20.0


class Selection:
    """Chooses tests for the mutants of the files in `rooms`."""

    def __init__(self, root: Path, files: list[str], covered: CoveredLines) -> None:
        self._covered = covered
        self._lines = {file: (root / file).read_text().splitlines() for file in files}
        self._constants = {file: _constants(root / file) for file in files}

    def tests_for(self, mutant: Mutant, most_s: float) -> list[str]:
        """The tests to run, until they take `most_s`; the first is included in any case."""
        chosen: list[str] = []
        left_s = most_s
        for test in sorted(self._candidates(mutant), key=lambda test: self._rank(mutant, test)):
            taken_s = self._covered.seconds[test]
            if taken_s > _SLOWEST_S or (chosen and taken_s > left_s):
                continue
            chosen.append(test)
            left_s -= taken_s
        return chosen

    def _candidates(self, mutant: Mutant) -> set[str]:
        covered, path = self._covered, mutant.path
        first, last = mutant.lines
        return (
            covered.of_lines(path, range(first, last + 1))
            or covered.of_lines(path, range(mutant.around[0], mutant.around[1] + 1))
            or self._of_users(mutant.place.rpartition(".")[2])
            or covered.of_file(path)
        )

    def _of_users(self, name: str) -> set[str]:
        """The tests that run lines which name this, or what is made of it."""
        names, tests = {name}, set[str]()
        for _ in range(_ROUNDS):
            word = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b")
            for file, lines in self._lines.items():
                numbers = [n for n, line in enumerate(lines, 1) if word.search(line)]
                tests |= self._covered.of_lines(file, numbers)
                names |= {
                    constant
                    for constant, (first, last) in self._constants[file].items()
                    if any(first <= number <= last for number in numbers)
                }
            if tests:
                break
        return tests

    def _rank(self, mutant: Mutant, test: str) -> tuple[int, float]:
        """First the tests of the same module, then those of the same room; the quickest first."""
        file = Path(test.partition("::")[0])
        module = Path(mutant.path)
        if file == Path("tests") / module.with_name(f"test_{module.name}"):
            distance = 0
        elif file.is_relative_to(Path("tests") / module.parent):
            distance = 1
        else:
            distance = 2
        return distance, self._covered.seconds[test]


@cache
def _constants(file: Path) -> dict[str, tuple[int, int]]:
    """The names that a module defines at import, with the lines of their definitions."""
    found: dict[str, tuple[int, int]] = {}
    for node in ast.parse(file.read_text()).body:
        lines = (node.lineno, node.end_lineno or node.lineno)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {ast.unparse(target): lines for target in targets}
        elif isinstance(node, ast.ClassDef):
            found[node.name] = lines
    return found
