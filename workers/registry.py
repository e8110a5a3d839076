"""Registry: the workers of this process, built-in ones and those of users' modules, all checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from config import Settings
from workers.databases.declaration import DatabaseDefinition
from workers.definition import WorkerDefinition, WrongWorkers
from workers.users_modules import declared_by_users

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Registry:
    """What this process knows. `definitions` by name; `databases` of @database by name."""

    definitions: Mapping[str, WorkerDefinition]
    databases: Mapping[str, DatabaseDefinition] = field(default_factory=dict)


def load_registry(settings: Settings, built_in: Sequence[WorkerDefinition]) -> Registry:
    """Imports the modules of WORKERS, and those that installed packages name as entry points, and
    collects what they declare. A user's worker takes the place of a
    built-in one of the same name.

    Raises WrongWorkers with a line for every mistake.
    """
    mistakes: list[str] = []
    found = declared_by_users(settings.workers, mistakes)
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
