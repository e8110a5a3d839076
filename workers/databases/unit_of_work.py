"""UnitOfWork: one transaction on a database of users, committed only while the run is ours."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from workers.databases.engines import OpenDatabase
from workers.databases.repository import IRepositoryBase, repository_of
from workers.run_handle import RunHandle, RunLost

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class UnitOfWork:
    """For `async with`, in plain `def` workers for `with`, whose calls then need no `await`.

    At the end of the block it asks whether the run is still ours, and commits; after an error, or
    where the run was lost, nothing of it is kept. In the database of the service itself the asking
    and the commit are one transaction; elsewhere they follow each other at once.
    """

    def __init__(self, database: OpenDatabase, handle: RunHandle | None) -> None:
        self._database = database
        self._handle = handle
        self._opened: AbstractAsyncContextManager[AsyncSession] | None = None
        self._session: AsyncSession | None = None

    @property
    def session(self) -> "AsyncSession":
        """SQLAlchemy's AsyncSession, for statements of your own. Raises RuntimeError outside of the
        block."""
        if self._session is None:
            raise RuntimeError("a unit of work is used within its `with` block")
        return self._session

    def repository(self, kind: type[Any]) -> Any:
        """The repository of a mapped class; or one of `kind`, if that is a class on
        IRepositoryBase."""
        return repository_of(kind, self.session, self._database.in_time)

    async def execute(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Runs one statement within the transaction; its rows as dictionaries."""
        from sqlalchemy import text

        result: Any = await self._database.in_time(
            self.session.execute(text(sql), dict(parameters or {}))
        )
        return [dict(row) for row in result.mappings()] if result.returns_rows else []

    async def commit(self) -> None:
        """Keeps what was done so far, if the run is still ours. Raises RunLost, which undoes it."""
        await self._database.in_time(self.session.flush())
        try:
            await self._check()
        except RunLost:
            await self.rollback()
            raise
        await self._database.in_time(self.session.commit())

    async def rollback(self) -> None:
        """Undoes what was done since the last commit."""
        await self._database.in_time(self.session.rollback())

    async def __aenter__(self) -> Self:
        if self._opened is not None:
            raise RuntimeError("a unit of work is used once: ask for another")
        self._opened = self._database.session()
        self._session = await self._opened.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._opened is not None  # noqa: S101 - entered
        try:
            if error is None:
                await self.commit()
        finally:
            self._session = None
            await self._opened.__aexit__(None, None, None)  # rolls back what is left

    def __enter__(self) -> "BlockingWork":
        self._database.check_thread()
        self._database.waited(self.__aenter__())
        return BlockingWork(self, self._database)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.waited(self.__aexit__(kind, error, trace))

    async def _check(self) -> None:
        if self._handle is None:
            return
        if not self._database.is_core:
            await self._database.in_time(self._handle.still_ours())
            return
        connection = await self._database.in_time(self.session.connection())
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection  # asyncpg's, in the transaction that commits
        await self._database.in_time(self._handle.check(driver))


class BlockingWork:
    """A unit of work in a plain `def` worker's thread: its calls wait, on the event loop."""

    def __init__(self, work: UnitOfWork, database: OpenDatabase) -> None:
        self._work = work
        self._database = database

    def repository(self, kind: type[Any]) -> "BlockingRepository":
        return BlockingRepository(self._work.repository(kind), self._database)

    def execute(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        return self._database.waited(self._work.execute(sql, parameters))

    def commit(self) -> None:
        self._database.waited(self._work.commit())

    def rollback(self) -> None:
        self._database.waited(self._work.rollback())


class BlockingRepository:
    """A repository whose methods wait."""

    def __init__(self, repository: IRepositoryBase[Any], database: OpenDatabase) -> None:
        self._repository = repository
        self._database = database

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._repository, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._database.waited(method(*args, **kwargs))

        return call
