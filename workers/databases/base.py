"""BaseDatabase: tells type checkers what @database gives a class; at run time it does nothing."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NoReturn

from workers.databases.errors import UnknownDatabase

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession


class BaseDatabase:
    """A base for classes with @database, which replaces its methods; see declaration.py."""

    @classmethod
    def get_engine(cls) -> "AsyncEngine":
        _refuse(cls)

    @classmethod
    def create_session(cls) -> "AbstractAsyncContextManager[AsyncSession]":
        _refuse(cls)

    @classmethod
    def execute_sql(cls, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        _refuse(cls)


def _refuse(cls: type[BaseDatabase]) -> NoReturn:
    raise UnknownDatabase(f"{cls.__name__} is no database yet: decorate it with @database(...)")
