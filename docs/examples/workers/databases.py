"""The databases of the examples and their tables: `main` for funds, `rates` for exchange rates."""

from sqlalchemy import func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from perpcache.workers import BaseDatabase, IRepositoryBase, database


@database("main")  # its address: MAIN_DATABASE_URL
class Main(BaseDatabase):
    """PostgreSQL, MySQL or SQLite."""


@database("rates", url="sqlite:///rates.db")
class Rates(BaseDatabase):
    """A file of its own, in the working directory."""


class MainTable(DeclarativeBase):
    """A table of `main`."""


class RatesTable(DeclarativeBase):
    """A table of `rates`."""


class FundValue(MainTable):
    """The value of a fund's unit on a day, in dong."""

    __tablename__ = "fund_values"
    code: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float]


class Rate(RatesTable):
    """What a dollar cost on a day."""

    __tablename__ = "rates"
    currency: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[str] = mapped_column(primary_key=True)
    per_dollar: Mapped[float]


class RateRepository(IRepositoryBase[Rate]):
    """The rows of rates, and a question that only they are asked."""

    model = Rate

    async def days(self) -> int:
        """How many days are there."""
        counted = select(func.count(Rate.day.distinct()))
        return int((await self.in_time(self.session.execute(counted))).scalar_one())


async def create_tables() -> None:
    """What a migration would do; it leaves tables that are there."""
    for place, table in ((Main, MainTable), (Rates, RatesTable)):
        async with place.get_engine().begin() as connection:
            await connection.run_sync(table.metadata.create_all)
