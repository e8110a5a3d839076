"""Registry: the workers of this process, built-in ones and those of users' modules, all checked."""

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

import structlog

from config import Settings
from texts.foreign import foreign_text
from workers.databases.declaration import DatabaseDefinition
from workers.declared import DECLARED, Declaration, forget_gone_modules
from workers.definition import WorkerDefinition, WrongWorkers

ENTRY_POINTS: Final = "perpcache.workers"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Registry:
    """What this process knows. `definitions` by name; `databases` of @database by name."""

    definitions: Mapping[str, WorkerDefinition]
    databases: Mapping[str, DatabaseDefinition] = field(default_factory=dict)


def load_registry(settings: Settings, built_in: Sequence[WorkerDefinition]) -> Registry:
    """Imports the modules of WORKERS, and those that installed packages name as entry points
    `perpcache.workers`, and collects what they declare. A user's worker takes the place of a
    built-in one of the same name.

    Raises WrongWorkers with a line for every mistake.
    """
    mistakes: list[str] = []
    found: list[Declaration] = []
    for asked_by, point in _modules(settings):
        found += [one for one in _declared_by(asked_by, point, mistakes) if one not in found]
    definitions = {definition.name: definition for definition in built_in}
    users: dict[str, WorkerDefinition] = {}
    databases: dict[str, DatabaseDefinition] = {}
    for declaration in found:
        mistakes += [f"{declaration.place}: {mistake}" for mistake in declaration.mistakes]
        database = declaration.database
        if database is not None and (
            (earlier := databases.setdefault(database.name, database)) is not database
        ):
            mistakes.append(
                f"{database.place}: database {database.name}: {earlier.place} has the name, too:"
                " give each another"
            )
        definition = declaration.definition
        if definition is None:
            continue
        if (other := users.setdefault(definition.name, definition)) is not definition:
            mistakes.append(
                f"{definition.place}: worker {definition.name}: {other.place} has the name, too:"
                " give each another"
            )
    if mistakes:
        raise WrongWorkers(mistakes)
    for name in definitions.keys() & users.keys():
        _log.warning("built_in_worker_replaced", worker=name, by=users[name].place)
    return Registry(definitions | users, databases)


def _modules(settings: Settings) -> Iterator[tuple[str, EntryPoint]]:
    """Who asks for a module, and the entry point that names it."""
    for module in settings.workers:
        yield "WORKERS", EntryPoint(module, module, ENTRY_POINTS)
    for point in entry_points(group=ENTRY_POINTS):
        package = point.dist.name if point.dist is not None else "?"
        yield f"entry point {point.name} of {package}", point


def _declared_by(asked_by: str, point: EntryPoint, mistakes: list[str]) -> list[Declaration]:
    """What the module, its parts, and what it is the first to import declare."""
    forget_gone_modules()
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    before = len(DECLARED)
    try:
        point.load()
    except (Exception, SystemExit) as error:  # whatever the code of others raises
        mistakes.append(f"{asked_by}: {point.value} cannot be imported: {_cause(error)}")
        return []
    module = point.module
    return [
        one
        for number, one in enumerate(DECLARED)
        if number >= before or one.module == module or one.module.startswith(f"{module}.")
    ]


def _cause(error: BaseException) -> str:
    """The place in the code of others where the error came from, and what it says."""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}:{error.lineno}: "
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "importlib" not in frame.filename][1:]
        place = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
    return f"{place}{type(error).__name__}: {foreign_text(str(error), 300)}"
