"""The house holds: arrows run one way, nothing runs in a circle, every module says what it owns."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
# A room may import rooms with a smaller number, and itself. Rooms with the same number do not know
# of each other. A new room is a line here.
LEVELS: Final = {
    "texts": 0,
    "timing": 0,
    "market": 1,
    "addresses": 1,
    "logging_setup": 1,
    "config": 2,
    "metrics": 2,
    "mcp_tools": 2,
    "documents": 3,
    "venues": 3,
    "stores": 4,
    "budgets": 5,
    "cache_manager": 5,
    "database": 5,
    "job_queue": 5,
    "data_collector": 6,
    "history": 6,
    "live": 6,
    "workers": 6,
    "providers": 6,
    "facade": 7,
    "perpcache": 7,
    "status": 7,
    "api": 8,
    "jobs": 8,
    "notify": 8,
    "api_routes": 9,
    "worker": 9,
    "commands": 10,
    "main": 11,
}
# Programs beside the product. They talk to it as users do, or build its parts to measure them.
BESIDE: Final = ("simulator", "benchmarks", "chaos", "client", "mutants", "deploy", "docs", "tests")
# The package in client/, by the name that its users import.
CLIENT: Final = "perpcache_client"
# `simulate` starts the simulator, as a program of its own.
STARTS_THE_SIMULATOR: Final = ("main", "commands")
IMPORTING_CALLS: Final = ("import_module", "__import__", "run_module", "resolve_name")
MOST_LINES: Final = 500


def room_of(module: str) -> str:
    return module.partition(".")[0]


@cache
def modules() -> dict[str, Path]:
    """Every module of the product and of the simulator, by its dotted name."""
    rooms = (*LEVELS, "simulator")
    files = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    files += [ROOT / f"{room}.py" for room in rooms if (ROOT / f"{room}.py").is_file()]
    found = {}
    for file in files:
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def tree_of(module: str) -> ast.Module:
    """Not kept: the trees are millions of objects, through which all later tests would look for
    garbage."""
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imports_of(module: str) -> set[str]:
    """What of ours a module imports, inside functions and for types alone, too."""
    return set(imports_in(tree_of(module)))


def imports_in(tree: ast.Module) -> Iterator[str]:
    """The modules of ours that are imported, by a statement or by a call with their names."""
    for node in ast.walk(tree):
        names: Iterable[str] = ()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            names = [
                f"{node.module}.{alias.name}"
                if f"{node.module}.{alias.name}" in modules()
                else str(node.module)
                for alias in node.names
            ]
        elif isinstance(node, ast.Call) and _function_of(node) in IMPORTING_CALLS:
            names = _named_by(node)
        yield from (
            name for name in names if name in modules() or room_of(name) in (*BESIDE, CLIENT)
        )


def _function_of(call: ast.Call) -> str:
    """`import_module` of `importlib.import_module(...)`."""
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def _named_by(call: ast.Call) -> Iterable[str]:
    """The modules that such a call may mean: one, or all that begin as its f-string does."""
    name = call.args[0] if call.args else None
    if isinstance(name, ast.Constant):
        return [str(name.value)]
    assert isinstance(name, ast.JoinedStr), f"line {call.lineno}: which module is imported?"
    beginning = name.values[0]
    assert isinstance(beginning, ast.Constant), f"line {call.lineno}: which room is it from?"
    return [module for module in modules() if module.startswith(str(beginning.value))]


def with_packages(module: str, imported: Iterable[str]) -> set[str]:
    """What runs where a module imports: the imported modules, and before them their packages, but
    for those that `module` lies in."""
    named = set(imported) - {module}
    packages = {name[:end] for name in named for end, sign in enumerate(name) if sign == "."}
    return named | {package for package in packages if not f"{module}.".startswith(f"{package}.")}


@pytest.mark.parametrize(
    ("text", "imported"),
    [
        ("import jobs.funding as f", {"jobs.funding"}),
        ("from jobs import funding, waiting", {"jobs.funding", "jobs.waiting"}),
        ("from jobs import *", {"jobs"}),
        ("from worker import Worker", {"worker"}),
        ("try:\n import worker\nexcept ImportError: pass", {"worker"}),
        ("def f():\n  from jobs import funding", {"jobs.funding"}),
        ("if TYPE_CHECKING:\n  import worker", {"worker"}),
        ("importlib.import_module('jobs.funding')", {"jobs.funding"}),
        ("__import__('jobs.funding')", {"jobs.funding"}),
        ("runpy.run_module('main')", {"main"}),
        ("import_module(f'timing.clo{rest}')", {"timing.clock"}),
        ("import tests.conftest", {"tests.conftest"}),
        ("import json, http.client", set()),
    ],
)
def test_no_import_goes_unnoticed(text: str, imported: set[str]) -> None:
    assert set(imports_in(ast.parse(text))) == imported


@pytest.mark.parametrize(
    "text", ["from . import funding", "import_module(name)", "__import__(a())"]
)
def test_an_import_that_does_not_say_what_is_refused(text: str) -> None:
    with pytest.raises(AssertionError, match="line 1"):
        list(imports_in(ast.parse(text)))


def test_an_import_runs_the_packages_around_it() -> None:
    assert with_packages("worker", {"jobs.funding"}) == {"jobs", "jobs.funding"}
    assert with_packages("jobs.due", {"jobs.due", "jobs.funding"}) == {"jobs.funding"}
    assert with_packages("jobs", {"jobs.funding"}) == {"jobs.funding"}


def test_every_room_has_its_level() -> None:
    found = {
        path.name if path.is_dir() else path.stem
        for path in ROOT.iterdir()
        if path.name[0] != "." and (path.suffix == ".py" or path.is_dir())
        if path.is_file() or (any(path.rglob("*.py")) and not (path / "pyvenv.cfg").exists())
    }
    known = {*LEVELS, *BESIDE}
    assert not found - known, f"give each of {sorted(found - known)} its level in LEVELS"
    assert not known - found, f"there is no {sorted(known - found)} any more"


def test_every_folder_of_modules_is_a_package() -> None:
    """Without a file __init__.py it has no sentence, and some tools pass it by."""
    folders = {file.parent for room in LEVELS for file in (ROOT / room).rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


def test_arrows_run_one_way() -> None:
    up = []
    for module in modules():
        room = room_of(module)
        for target in sorted(imports_of(module)):
            other = room_of(target)
            if other == room or (other == "simulator" and room in STARTS_THE_SIMULATOR):
                continue
            if other in (*BESIDE, CLIENT) or room in BESIDE or LEVELS[other] >= LEVELS[room]:
                up.append(f"{module} -> {target}")
    assert not up, "arrows that run up, or between rooms of one level:\n" + "\n".join(up)


def test_no_module_imports_itself_through_others() -> None:
    edges = {module: with_packages(module, imports_of(module)) for module in modules()}
    left = dict(edges)
    while free := [module for module, targets in left.items() if not targets & left.keys()]:
        for module in free:
            del left[module]
    # What is left lies on a circle, or imports one.
    while used := [m for m in left if not any(m in targets for targets in left.values())]:
        for module in used:
            del left[module]
    assert not left, "these modules import each other in a circle: " + ", ".join(sorted(left))


def test_a_module_is_one_noun_and_says_which() -> None:
    wrong = [f"{name}: {what}" for name in sorted(modules()) for what in _wrong_of(name)]
    assert not wrong, "modules to look at:\n" + "\n".join(wrong)


def _wrong_of(name: str) -> Iterator[str]:
    lines = modules()[name].read_text(encoding="utf-8").splitlines()
    if len(lines) > MOST_LINES:
        yield f"{len(lines)} lines: split it by noun"
    if modules()[name].name == "__init__.py" and not lines:
        return
    first = (ast.get_docstring(tree_of(name)) or "").partition("\n\n")[0]
    if not first:
        yield "its docstring opens with one sentence: what it owns"
    elif "\n" in first:
        yield "the sentence that its docstring opens with is one line"
    elif not first.endswith("."):
        yield "what its docstring opens with is a sentence"


def test_the_median_module_is_short() -> None:
    sizes = sorted(
        len(file.read_text(encoding="utf-8").splitlines())
        for name, file in modules().items()
        if room_of(name) != "simulator" and file.stat().st_size
    )
    assert sizes[len(sizes) // 2] <= 160
