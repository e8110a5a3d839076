"""@database: declares a database of users; importing a module with it opens nothing."""

import re
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from workers.databases.errors import UnknownDatabase
from workers.declared import DECLARED, Declaration, place_of
from workers.declaring import NAME

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

CORE: Final = "core"  # the address that stands for DATABASE_URL, or the embedded database
_MOST_CONNECTIONS: Final = 50
_LONGEST_S: Final = 3600.0
_BIG_LETTER: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Opened(Protocol):
    """A database that this process has open: an OpenDatabase of engines.py, which knows us."""

    @property
    def engine(self) -> "AsyncEngine": ...
    def session(self) -> "AbstractAsyncContextManager[AsyncSession]": ...
    def execute_sql(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> Coroutine[Any, Any, list[dict[str, Any]]]: ...
    def awaited_or_waited(self, call: Coroutine[Any, Any, Any]) -> Any: ...


@dataclass(slots=True)
class Binding:
    """The open database behind a declaration, while a process has it open."""

    database: Opened | None = None


@dataclass(frozen=True, slots=True)
class DatabaseDefinition:
    """A database as its code declares it. `place`: file:line of the declaration. `url`: None where
    the environment has it, CORE for the service's own. `deadline_s`: of one call."""

    name: str
    place: str
    url: str | None = field(repr=False)
    connections: int
    deadline_s: float
    binding: Binding = field(default_factory=Binding, repr=False)


def database(
    name: str | None = None,
    *,
    url: str | None = None,
    connections: int = 4,
    deadline_s: float = 30.0,
) -> Callable[[type[Any]], Any]:
    """Declares a database, for `job.unit_of_work(name)`, and gives the class `get_engine`,
    `create_session` and `execute_sql`.

    `name`: else the class's, in lower case with underscores. `url`: postgresql://, mysql:// or
    sqlite:///; None: from <NAME>_DATABASE_URL of the environment or .env; `core`: the database of
    the service itself. `connections`: the most that a process opens. `deadline_s`: of one call.
    Mistakes are told when the worker process starts, with file and line.
    """
    frame = sys._getframe(1)
    place, module = place_of(frame), str(frame.f_globals.get("__name__", ""))

    def declare(decorated: type[Any]) -> Any:
        own = _BIG_LETTER.sub("_", decorated.__name__).lower() if name is None else str(name)
        mistakes = tuple(
            f"database {own}: {text}" for text in _mistakes(own, connections, deadline_s)
        )
        definition = DatabaseDefinition(own, place, url, connections, deadline_s)
        DECLARED.append(Declaration(place, module, None, mistakes, definition))
        for method in (get_engine, create_session, execute_sql):
            setattr(decorated, method.__name__, classmethod(_bound(method, definition)))
        return decorated

    return declare


def get_engine(definition: DatabaseDefinition) -> "AsyncEngine":
    """SQLAlchemy's AsyncEngine, of this process. Raises UnknownDatabase."""
    return opened(definition).engine


def create_session(definition: DatabaseDefinition) -> "AbstractAsyncContextManager[AsyncSession]":
    """A new AsyncSession, for `async with`; what is written through it is not bound to a run: that
    is what `job.unit_of_work` is for. Raises UnknownDatabase."""
    return opened(definition).session()


def execute_sql(
    definition: DatabaseDefinition, sql: str, parameters: Mapping[str, Any] | None = None
) -> Any:
    """Runs one statement in a transaction of its own, with `:name` for parameters, and returns its
    rows as dictionaries: `await` it; in a plain `def` worker's thread it returns them at once.

    Raises UnknownDatabase, UserDatabaseUnavailable, and SQLAlchemy's errors.
    """
    found = opened(definition)
    return found.awaited_or_waited(found.execute_sql(sql, parameters))


def opened(definition: DatabaseDefinition) -> Opened:
    if definition.binding.database is None:
        raise UnknownDatabase(
            f"database {definition.name} is not open here: it is while workers run"
        )
    return definition.binding.database


def _bound(method: Callable[..., Any], definition: DatabaseDefinition) -> Callable[..., Any]:
    def call(_: type[Any], *args: Any, **kwargs: Any) -> Any:
        return method(definition, *args, **kwargs)

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


def _mistakes(name: str, connections: Any, deadline_s: Any) -> list[str]:
    found = []
    if not NAME.fullmatch(name):
        found.append("its name must be 1 to 63 lower-case letters, digits and _, a letter first")
    if not isinstance(connections, int) or not 1 <= connections <= _MOST_CONNECTIONS:
        found.append(f"connections must be 1 to {_MOST_CONNECTIONS}")
    if not isinstance(deadline_s, int | float) or not 0 < deadline_s <= _LONGEST_S:
        found.append(f"deadline_s must be more than 0 and at most {_LONGEST_S:g}")
    return found
