"""Modules of users: imported by the names in WORKERS and by entry points, for what they declare."""

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from texts.foreign import foreign_text
from workers.declared import DECLARED, Declaration, forget_gone_modules

ENTRY_POINTS: Final = "perpcache.workers"


def declared_by_users(modules: Sequence[str], mistakes: list[str]) -> list[Declaration]:
    """What `modules`, found from the working directory, too, and those of the entry points declare,
    each once. A package stands for every module in it, but for those whose names begin with _.

    What cannot be imported, or declares nothing, is added to `mistakes`, a line each.
    """
    forget_gone_modules()
    importlib.invalidate_caches()  # of folders that have changed a moment ago
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # at the end: a folder of users hides no module of ours
    found: list[Declaration] = []
    for asked_by, points in _asked_for(modules):
        for point in points:
            found += [one for one in _declared_by(asked_by, point, mistakes) if one not in found]
    return found


def _asked_for(modules: Sequence[str]) -> Iterator[tuple[str, list[EntryPoint]]]:
    """Who asks for modules, and the entry points that name them."""
    for module in modules:
        yield "WORKERS", [_point(module)]
    for point in entry_points(group=ENTRY_POINTS):
        package = point.dist.name if point.dist is not None else "?"
        yield f"entry point {point.name} of {package}", [point]


def _point(module: str) -> EntryPoint:
    return EntryPoint(module, module, ENTRY_POINTS)


def _declared_by(asked_by: str, point: EntryPoint, mistakes: list[str]) -> list[Declaration]:
    """What the module, its parts, and what they are the first to import declare."""
    before, module, wrong = len(DECLARED), point.module, len(mistakes)
    _load(asked_by, point, mistakes)
    for part in _parts(module):
        _load(asked_by, _point(part), mistakes)
    found = [
        one
        for number, one in enumerate(DECLARED)
        if number >= before or one.module == module or one.module.startswith(f"{module}.")
    ]
    if not found and len(mistakes) == wrong and not _brings_others(module):
        file = getattr(sys.modules.get(module), "__file__", None) or "a folder without modules"
        mistakes.append(f"{asked_by}: {module} declares no worker and no database ({file})")
    return found


def _brings_others(module: str) -> bool:
    """Whether the module imports from one that declares something, which was loaded before it."""
    names = {declaration.module for declaration in DECLARED}
    return any(
        getattr(value, "__name__", None) in names or getattr(value, "__module__", None) in names
        for value in vars(sys.modules[module]).values()
    )


def _load(asked_by: str, point: EntryPoint, mistakes: list[str]) -> None:
    try:
        point.load()
    except (Exception, SystemExit) as error:  # whatever the code of others raises
        mistakes.append(f"{asked_by}: {point.value} cannot be imported: {_cause(error)}")


def _parts(module: str) -> Iterator[str]:
    """The modules in a package, and in the packages in it, in the order of their names. One whose
    package cannot be imported is not looked for: that it cannot is told."""
    path = getattr(sys.modules.get(module), "__path__", ())
    for found in sorted(pkgutil.iter_modules(path), key=lambda one: one.name):
        if not found.name.startswith("_"):
            yield f"{module}.{found.name}"
            yield from _parts(f"{module}.{found.name}")


def _cause(error: BaseException) -> str:
    """The place in the code of others where the error came from, and what it says."""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}:{error.lineno}: "
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "importlib" not in frame.filename][1:]
        place = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
    return f"{place}{type(error).__name__}: {foreign_text(str(error), 300)}"
