"""The house holds: arrows run one way, nothing runs in a circle, every module says what it owns."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
# A room may import rooms with a smaller number, and itself. Rooms with the same number do not know
# of each other. A new room is a line here.
LEVELS: Final = {
    "timing": 0,
    "market": 1,
    "logging_setup": 1,
    "config": 2,
    "metrics": 2,
    "documents": 3,
    "venues": 3,
    "stores": 4,
    "budgets": 5,
    "cache_manager": 5,
    "database": 5,
    "job_queue": 5,
    "data_collector": 6,
    "api": 8,
    "jobs": 8,
    "api_routes": 9,
    "worker": 9,
    "commands": 10,
    "main": 11,
}
# Programs beside the product. They talk to it as users do, or build its parts to measure them.
BESIDE: Final = ("simulator", "benchmarks", "chaos", "deploy", "tests")
# `simulate` starts the simulator, as a program of its own.
STARTS_THE_SIMULATOR: Final = ("main", "commands")
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


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def imports_of(module: str, *, late: bool) -> Iterator[str]:
    """What of ours a module imports; `late`: inside functions and for types alone, too."""
    tree = tree_of(module)
    for node in ast.walk(tree) if late else tree.body:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            names = [
                f"{node.module}.{alias.name}"
                if f"{node.module}.{alias.name}" in modules()
                else str(node.module)
                for alias in node.names
            ]
        else:
            continue
        yield from (name for name in names if name in modules() or room_of(name) in BESIDE)


def test_every_room_has_its_level() -> None:
    folders = {file.parent.name for file in ROOT.glob("*/*.py") if file.parent.name[0] != "."}
    files = {file.stem for file in ROOT.glob("*.py")}
    unknown = (folders | files) - {*LEVELS, *BESIDE}
    assert not unknown, f"give each of {sorted(unknown)} its level in LEVELS"


def test_arrows_run_one_way() -> None:
    up = []
    for module in modules():
        room = room_of(module)
        for target in imports_of(module, late=True):
            other = room_of(target)
            if other == room or (other == "simulator" and room in STARTS_THE_SIMULATOR):
                continue
            if other in BESIDE or room in BESIDE or LEVELS[other] >= LEVELS[room]:
                up.append(f"{module} -> {target}")
    assert not up, "arrows that run up, or between rooms of one level:\n" + "\n".join(up)


def test_no_module_imports_itself_through_others() -> None:
    edges = {module: set(imports_of(module, late=True)) - {module} for module in modules()}
    left = dict(edges)
    while free := [module for module, targets in left.items() if not targets & left.keys()]:
        for module in free:
            del left[module]
    # What is left lies on a circle, or imports one.
    while used := [m for m in left if not any(m in targets for targets in left.values())]:
        for module in used:
            del left[module]
    assert not left, "these modules import each other in a circle: " + ", ".join(sorted(left))


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_is_one_noun_and_says_which(name: str) -> None:
    lines = modules()[name].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES, f"{len(lines)} lines: split it by noun"
    if modules()[name].name == "__init__.py" and not lines:
        return
    first = (ast.get_docstring(tree_of(name)) or "").partition("\n\n")[0]
    assert first, "the module's docstring opens with one sentence: what it owns"
    assert "\n" not in first, "the sentence is one line"
    assert first.endswith("."), "it is a sentence"


def test_the_median_module_is_short() -> None:
    sizes = sorted(
        len(file.read_text(encoding="utf-8").splitlines())
        for name, file in modules().items()
        if room_of(name) != "simulator" and file.stat().st_size
    )
    assert sizes[len(sizes) // 2] <= 160
