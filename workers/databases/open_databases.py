"""Databases: users' databases of a process: addresses checked, engines made, connections ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final, Self

from addresses.user_database import UserDatabaseAddress, parse_user_database
from logging_setup import hide_secrets
from workers.databases.declaration import CORE, DatabaseDefinition
from workers.databases.engines import OpenDatabase, lacks_packages
from workers.databases.errors import MISSING_PACKAGES, UnknownDatabase
from workers.databases.unit_of_work import UnitOfWork
from workers.environment import names_of
from workers.run_handle import RunHandle

_KEY: Final = "database_url"


class Databases:
    """The databases of one process and event loop. `core_url`: of the service's own database."""

    def __init__(
        self,
        definitions: Iterable[DatabaseDefinition],
        environment: Mapping[str, str],
        core_url: str | None,
    ) -> None:
        self._definitions = {definition.name: definition for definition in definitions}
        self._environment = environment
        self._core_url = core_url
        self._open: dict[str, OpenDatabase] = {}

    def wrong(self) -> list[str]:
        """One line, with file and line of the declaration, for each database that cannot be used:
        without an address, with a wrong one, or without the packages for it."""
        lines = []
        for definition in self._definitions.values():
            try:
                address = self._address_of(definition)
            except ValueError as error:
                lines.append(f"{definition.place}: database {definition.name}: {error}")
                continue
            if lacks_packages(address):
                lines.append(f"{definition.place}: database {definition.name}: {MISSING_PACKAGES}")
        return lines

    async def open(self) -> None:
        """Makes the engines, which connect when they are first used; call it on the event loop of
        the workers. Raises ValueError for what `wrong` tells."""
        if self._definitions:
            await asyncio.to_thread(_import_sqlalchemy)
        loop = asyncio.get_running_loop()
        for name, definition in self._definitions.items():
            address = self._address_of(definition)
            hide_secrets(address.secrets)
            is_core = self._url_of(definition) == self._core_url
            opened = OpenDatabase(definition, address, loop, is_core=is_core)
            self._open[name] = definition.binding.database = opened

    async def aclose(self) -> None:
        """Ends all connections, within seconds."""
        for name, opened in self._open.items():
            self._definitions[name].binding.database = None
            await opened.aclose()
        self._open.clear()

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        """Open within the block."""
        await self.open()
        try:
            yield self
        finally:
            await self.aclose()

    def unit_of_work(self, name: str, handle: RunHandle | None) -> UnitOfWork:
        """A unit of work of the run; None: of no run, so that nothing can take it away. Raises
        UnknownDatabase."""
        if name not in self._open:
            known = ", ".join(sorted(self._definitions)) or "none"
            raise UnknownDatabase(f"no @database is called {name[:80]!r}; there are: {known}")
        return UnitOfWork(self._open[name], handle)

    def _address_of(self, definition: DatabaseDefinition) -> UserDatabaseAddress:
        names = " or ".join(self._names_of(definition))
        url = self._url_of(definition)
        if url is None:
            if definition.url == CORE:
                raise ValueError("the service has no database of its own here")
            raise ValueError(f"has no address: set {names}, such as sqlite:///{definition.name}.db")
        try:
            return parse_user_database(url)
        except ValueError as error:
            where = "url" if definition.url is not None else names
            raise ValueError(f"{where} {error}") from None

    def _url_of(self, definition: DatabaseDefinition) -> str | None:
        if definition.url is None:
            found = [self._environment.get(name) for name in self._names_of(definition)]
            url = next((value for value in found if value), None)
        else:
            url = definition.url
        return self._core_url if url == CORE else url

    def _names_of(self, definition: DatabaseDefinition) -> list[str]:
        return names_of(definition.name, _KEY)[:1]


def _import_sqlalchemy() -> None:
    """Takes a third of a second, which the event loop need not wait for."""
    import sqlalchemy.ext.asyncio  # noqa: F401
