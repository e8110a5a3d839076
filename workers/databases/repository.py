"""IRepositoryBase: the rows of one mapped class: found, added, deleted, inserted or updated."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

Row = TypeVar("Row")
InTime = Callable[[Awaitable[Any]], Awaitable[Any]]
# Of one statement: PostgreSQL takes 65,535, SQLite 32,766 (since 3.32).
_MOST_PARAMETERS: Final = 30_000
_MOST_ROWS: Final = 1_000


class IRepositoryBase(Generic[Row]):
    """The base of repositories, and the repository of a mapped class that has none of its own.

    A class on it names its mapped class by `model`, and adds methods that use `self.session`;
    `await self.in_time(...)` gives a call the database's deadline. All methods raise
    UserDatabaseUnavailable and SQLAlchemy's errors. Keyword arguments such as `code="VFMVF1"` are
    columns that must be equal.
    """

    model: type[Row]

    def __init__(
        self, session: "AsyncSession", in_time: InTime, model: type[Row] | None = None
    ) -> None:
        if model is not None:
            self.model = model
        self.session = session
        self.in_time = in_time

    async def get(self, key: Any) -> Row | None:
        """The row with this primary key: a value, or a tuple of several columns' values."""
        found: Row | None = await self.in_time(self.session.get(self.model, key))
        return found

    async def find(self, *, limit: int | None = None, **equal: Any) -> list[Row]:
        """The rows with these values, in the order of the primary key."""
        from sqlalchemy import inspect, select

        mapper: Any = inspect(self.model)
        order = mapper.primary_key
        statement = select(self.model).filter_by(**equal).order_by(*order).limit(limit)
        return list((await self.in_time(self.session.execute(statement))).scalars())

    async def count(self, **equal: Any) -> int:
        """How many rows have these values."""
        from sqlalchemy import func, select

        statement = select(func.count()).select_from(self.model).filter_by(**equal)
        return int((await self.in_time(self.session.execute(statement))).scalar_one())

    async def add(self, *rows: Row) -> None:
        """Inserts new rows, now, so that what is wrong with them is raised here."""
        self.session.add_all(rows)
        await self.in_time(self.session.flush())

    async def delete(self, **equal: Any) -> int:
        """Deletes the rows with these values, of which there must be one at least; how many."""
        from sqlalchemy import delete

        if not equal:
            raise ValueError("delete() needs a column and its value: it deletes no whole table")
        statement = delete(self.model).filter_by(**equal)
        return int((await self.in_time(self.session.execute(statement))).rowcount)

    async def upsert(
        self, rows: Iterable[Mapping[str, Any] | Row], *, on: Sequence[str] | None = None
    ) -> int:
        """Inserts rows, and updates those whose key is there already; returns how many it wrote.

        A row is a mapping of column names, or an object of the mapped class; columns that it does
        not name keep what they have. `on`: the columns of the key, default the primary key; they
        must be unique in the table (MySQL looks at every unique key). Several rows with one key
        are as if written one after another. Raises ValueError for unknown columns.
        """
        from workers.databases.upserts import distinct_rows, upsert_statement

        await self.in_time(self.session.flush())
        table: Any = self.model.__table__  # type: ignore[attr-defined] # of a mapped class
        key = [str(name) for name in on or [column.key for column in table.primary_key]]
        dialect = self.session.get_bind().dialect.name
        written = 0
        for columns, values in distinct_rows(self.model, rows, key).items():
            size = max(min(_MOST_PARAMETERS // len(columns), _MOST_ROWS), 1)
            for first in range(0, len(values), size):
                chunk = values[first : first + size]
                statement = upsert_statement(dialect, table, chunk, key)
                await self.in_time(self.session.execute(statement))
                written += len(chunk)
        return written


def repository_of(
    kind: type[Any], session: "AsyncSession", in_time: InTime
) -> IRepositoryBase[Any]:
    """Raises TypeError for a class that is neither mapped nor a repository."""
    if issubclass(kind, IRepositoryBase):
        if getattr(kind, "model", None) is None:
            raise TypeError(f"{kind.__name__} must name its mapped class: model = ...")
        return kind(session, in_time)
    if getattr(kind, "__table__", None) is None:
        raise TypeError(f"{kind.__name__} is neither a mapped class nor on IRepositoryBase")
    return IRepositoryBase(session, in_time, kind)
