"""`make mutants`: which changes it makes, which tests it tries on them, and how they end."""

import subprocess
import sys
from pathlib import Path

import pytest

from mutants.covered_lines import CoveredLines
from mutants.equivalent import EQUIVALENT
from mutants.lua_changes import lua_changes
from mutants.mutant import Mutant
from mutants.python_changes import changes, compiles
from mutants.selection import Selection
from mutants.trial import TrialFolder

ROOT = Path(__file__).resolve().parents[1]


def changed(source: str) -> list[str]:
    """The new texts of a file, one for each mutant."""
    text = source.encode()
    found = [mutant for mutant in changes("a.py", text) if compiles(mutant, text)]
    return [mutant.applied(text).decode() for mutant in found]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = a < b", ["x = (a <= b)"]),
        ("x = a is not b", ["x = (a is b)"]),
        ("x = a + b", ["x = (a - b)"]),
        ("x = a and b", ["x = (a or b)"]),
        ("x = not a", ["x = a"]),
        ("x = 7", ["x = 8"]),
        ("x = True", ["x = False"]),
        ("x = 'key'", ["x = 'keyX'"]),
        ("x = min(a, b)", ["x = max(a, b)"]),
        ("x += a", ["x -= a"]),
        ("f()", ["pass"]),
        ("if a: f()", ["if (not a): f()", "if a: pass"]),
        ("while a: break", ["while (not a): break", "while a: continue"]),
        ("try: f()\nexcept E: g()", ["try: pass\nexcept E: g()", "try: f()\nexcept E: raise",
                                     "try: f()\nexcept E: pass"]),
        ("def f():\n  return a", ["def f():\n  return None"]),
        ("def f():\n  return g(k=a)", ["def f():\n  return None", "def f():\n  return g()"]),
        ("def f():\n  raise E", ["def f():\n  pass"]),
        ("é = 'ä' + b\nx = a > b", ["é = 'äX' + b\nx = a > b", "é = 'ä' + b\nx = (a >= b)"]),
    ],
)  # fmt: skip
def test_each_kind_of_change_is_made(before: str, after: list[str]) -> None:
    assert sorted(changed(before)) == sorted(after)


@pytest.mark.parametrize(
    "text",
    [
        '"""A text 1 < 2."""',
        "x: Literal[1, 'a'] = y",
        "def f(x: Literal[1]) -> Literal[2]:\n  '''Text.'''",
        "log.info('event', number=1)",
        "raise_s = 'words of a message'",
        "_WAIT_S: Final = 1.0",
        "__all__ = ['a', 'b']",
        "x = zip(a, b, strict=True)",
        "x = f'{a + 1}'",
    ],
)
def test_what_no_test_should_depend_on_stays(text: str) -> None:
    assert changed(text) == []


def test_scripts_are_changed_too() -> None:
    script = 'x = """\nif redis.call(\'GET\', KEYS[1]) == \'1\' then return 2 end -- 3 < 4\n"""'
    assert changed(script) == [script.replace("==", "~="), script.replace("return 2", "return 3")]
    text = "  redis.call('HSET', job, 'state', a)\nlocal b = c and 'x and y'\n"
    made = {text[:begin] + new + text[end:] for begin, end, new in lua_changes(text)}
    assert made == {
        text.replace("'state'", "'stateX'"),
        text.replace("redis.call('HSET', job, 'state', a)", "local nothing"),
        text.replace("c and", "c or"),
    }


def test_a_mutant_has_a_name_that_stays_when_lines_move() -> None:
    source = "class A:\n  def f(self):\n    return 1 if self.x else 2\n"
    names = [mutant.id for mutant in changes("a.py", source.encode())]
    later = [mutant.id for mutant in changes("a.py", b"import os\n\n" + source.encode())]
    assert names == later and len(set(names)) == len(names)
    assert "a.py A.f: 1 => 2 in return 1 if self.x else 2" in names


COVERED = CoveredLines(
    tests={
        "queue/a.py": {
            2: ["tests/queue/test_a.py::one", "tests/test_far.py::quick"],
            4: ["tests/queue/test_b.py::two"],
        }
    },
    seconds={
        "tests/queue/test_a.py::one": 2.0,
        "tests/test_far.py::quick": 0.1,
        "tests/queue/test_b.py::two": 3.0,
    },
)
SOURCE = "def f():\n  return 1\ndef g():\n  return LIMIT\nLIMIT: Final = 5 + 0\nOTHER: Final = 6\n"


@pytest.fixture
def chosen(tmp_path: Path) -> dict[str, list[str]]:
    """By the changed text and its new one, the tests for the mutants of SOURCE."""
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "a.py").write_text(SOURCE)
    selection = Selection(tmp_path, ["queue/a.py"], COVERED)
    found = changes("queue/a.py", SOURCE.encode())
    return {f"{m.before} => {m.after}": selection.tests_for(m, 60) for m in found}


def test_the_tests_of_a_line_are_chosen_the_closest_first(chosen: dict[str, list[str]]) -> None:
    assert chosen["1 => 2"] == ["tests/queue/test_a.py::one", "tests/test_far.py::quick"]


def test_a_constant_is_tested_where_it_is_used(chosen: dict[str, list[str]]) -> None:
    assert chosen["5 => 6"] == ["tests/queue/test_b.py::two"]
    assert len(chosen["6 => 7"]) == 3  # nobody names it: all tests of the file


def test_the_time_of_tests_is_limited_but_one_is_run(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    selection = Selection(tmp_path, [], COVERED)
    mutant = Mutant("queue/a.py", 0, 1, "", "", (2, 2), "f", (1, 2), "")
    assert selection.tests_for(mutant, 2.05) == ["tests/queue/test_a.py::one"]
    assert selection.tests_for(mutant, 0.01) == ["tests/queue/test_a.py::one"]


def test_a_trial_ends_with_the_first_test_that_fails_and_leaves_the_code_as_it_was(
    tmp_path: Path,
) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=tmp_path, check=True)  # noqa: S603, S607

    source = b"def f(a, b):\n    while a < b:\n        a += 1\n    return a\n"
    (tmp_path / "a.py").write_bytes(source)
    (tmp_path / "test_a.py").write_text(
        "from a import f\n\ndef test_f():\n    assert f(1, 3) == 3\n"
    )
    git("init", "-q")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    by_change = {m.after: m for m in changes("a.py", source)}
    with TrialFolder(tmp_path) as folder:
        assert folder.test(["test_a.py"], 1, 1) == "survived"
        # Off by one; and, in a file of the same length, nothing that its test could notice.
        assert folder.test_mutant(by_change["(a <= b)"], ["test_a.py"], 1, 1) == "killed"
        same = Mutant("a.py", 0, 0, "", "", (1, 1), "f", (1, 4), "")
        assert folder.test_mutant(same, ["test_a.py"], 1, 1) == "survived"
    assert (tmp_path / "a.py").read_bytes() == source


def test_the_same_seed_draws_the_same_sample() -> None:
    def sample(seed: int) -> list[str]:
        words = ["-m", "mutants", "--list", "--count", "20", "--seed", str(seed)]
        run = subprocess.run(  # noqa: S603 - our own arguments
            [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return run.stdout.splitlines()

    first = sample(1)
    assert len(first) == 21 and first == sample(1)


def test_what_is_known_to_change_nothing_is_a_mutant() -> None:
    files = {name.partition(" ")[0] for name in EQUIVALENT}
    ids = {m.id for file in files for m in changes(file, (ROOT / file).read_bytes())}
    assert set(EQUIVALENT) <= ids, "the code has changed: leave out what is no mutant any more"
