"""Users' databases: units of work that commit only while the run is ours, on real servers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import String
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import Database, DatabaseUnavailable
from stores.cold.pool import Connection
from tests.fixtures.postgres import OwnPostgres
from workers import declared
from workers.databases.declaration import DatabaseDefinition, database
from workers.databases.errors import UnknownDatabase, UserDatabaseUnavailable
from workers.databases.open_databases import Databases
from workers.databases.repository import IRepositoryBase
from workers.run_handle import RunHandle, RunLost
from workers.threads import in_thread


class Base(DeclarativeBase):
    pass


class Fund(Base):
    __tablename__ = "funds"
    code: Mapped[str] = mapped_column(String(20), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    nav: Mapped[float]
    note: Mapped[str | None] = mapped_column(String(100))
    named: Mapped[str | None] = mapped_column("a_name", String(100), unique=True)


class Tag(Base):
    __tablename__ = "tags"
    tag: Mapped[str] = mapped_column(String(20), primary_key=True)


class FundRepository(IRepositoryBase[Fund]):
    model = Fund

    async def best(self) -> str:
        rows = await self.find()
        return max(rows, key=lambda row: row.nav).code


def declared_as(name: str, url: str | None, **options: Any) -> tuple[DatabaseDefinition, Any]:
    """What @database declares, and the class that it was put on."""
    before = len(declared.DECLARED)
    target = database(name, url=url, **options)(type(name.title(), (), {}))
    [declaration] = declared.DECLARED[before:]
    del declared.DECLARED[before:]
    assert not declaration.mistakes
    return declaration.database, target


class Run:
    """A run that a test can take away; it notes what was asked."""

    def __init__(self, worker: str = "funds") -> None:
        self.is_ours = True
        self.asked: list[str] = []
        self.handle = RunHandle(
            *(1, worker, 0, "force", 1, uuid4(), "here", self._check, self._still_ours)
        )

    async def _check(self, connection: Connection) -> None:
        assert connection.is_in_transaction()
        self.asked.append("check")
        if not self.is_ours:
            raise RunLost

    async def _still_ours(self) -> None:
        self.asked.append("still_ours")
        if not self.is_ours:
            raise RunLost


@asynccontextmanager
async def opened(url: str, core_url: str | None = None, **options: Any) -> AsyncIterator[Any]:
    """Databases with one that is called main, its tables made, and its class."""
    definition, target = declared_as("main", url, **options)
    databases = Databases([definition], {}, core_url)
    assert databases.wrong() == []
    async with databases.opened():
        engine: AsyncEngine = target.get_engine()
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield databases, target


SERVERS = ["postgresql", "sqlite", pytest.param("mariadb", marks=pytest.mark.slow)]


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/users.db"
    name = "database_url" if request.param == "postgresql" else "mariadb_url"
    found: str = request.getfixturevalue(name)
    return found


def fund(code: str, nav: float, day: int = 1, **more: Any) -> dict[str, Any]:
    return {"code": code, "day": day, "nav": nav, **more}


async def stored(target: Any) -> dict[tuple[str, int], tuple[float, str | None]]:
    rows = await target.execute_sql("SELECT code, day, nav, note FROM funds ORDER BY code, day")
    return {(row["code"], row["day"]): (row["nav"], row["note"]) for row in rows}


async def test_upserts_insert_and_update_as_a_dictionary_does(url: str) -> None:
    random = Random(5)  # noqa: S311 - not for secrets
    naive: dict[tuple[str, int], dict[str, Any]] = {}
    async with opened(url) as (databases, target):
        for _ in range(6):
            rows: list[Any] = []
            for _ in range(random.choice([0, 1, 40])):
                row = fund(f"F{random.randrange(9)}", random.randrange(99), random.randrange(4))
                if random.random() < 0.5:
                    row["note"] = random.choice(["a", "é 値", None])
                rows.append(Fund(**row) if random.random() < 0.3 else row)
                naive.setdefault((row["code"], row["day"]), {"note": None}).update(row)
            async with databases.unit_of_work("main", Run().handle) as work:
                written = await work.repository(Fund).upsert(rows)
            assert written <= len(rows)
        assert await stored(target) == {k: (v["nav"], v["note"]) for k, v in naive.items()}


async def test_upserts_of_more_rows_than_one_statement_takes(url: str) -> None:
    async with opened(url) as (databases, target):
        async with databases.unit_of_work("main", None) as work:
            rows = (fund(f"F{number}", number) for number in range(2500))
            assert await work.repository(Fund).upsert(rows) == 2500
            assert (
                await work.repository(Tag).upsert([{"tag": "a"}, {"tag": "b"}, {"tag": "a"}]) == 2
            )
            assert await work.repository(Tag).upsert([{"tag": "a"}]) == 1
        assert len(await stored(target)) == 2500
        assert await target.execute_sql("SELECT count(*) AS n FROM tags") == [{"n": 2}]


async def test_upserts_by_another_unique_key(url: str) -> None:
    async with opened(url) as (databases, target):
        async with databases.unit_of_work("main", None) as work:
            funds = work.repository(Fund)
            await funds.upsert([fund("A", 1, named="first")])
            await funds.upsert([fund("A", 2, named="first", note="again")], on=["a_name"])
            for wrong, key in (([fund("A", 1, colour="red")], None), ([{}], None), ([7], None)):
                with pytest.raises(ValueError, match=r"column|mapping"):
                    await funds.upsert(wrong, on=key)
            with pytest.raises(ValueError, match="no column 'color'"):
                await funds.upsert([fund("A", 1)], on=["color"])
        assert await stored(target) == {("A", 1): (2, "again")}


async def test_what_a_lost_run_did_is_not_kept(url: str) -> None:
    async with opened(url) as (databases, target):
        run = Run()
        async with databases.unit_of_work("main", run.handle) as work:
            await work.repository(Fund).upsert([fund("KEPT", 1)])
            assert run.asked == []
        assert run.asked == ["still_ours"]
        with pytest.raises(RunLost):
            async with databases.unit_of_work("main", run.handle) as work:
                await work.repository(Fund).upsert([fund("LOST", 1)])
                run.is_ours = False
        with pytest.raises(ZeroDivisionError):
            async with databases.unit_of_work("main", None) as work:
                await work.repository(Fund).upsert([fund("FAILED", 1 / 0)])
        with pytest.raises(DatabaseUnavailable):
            async with databases.unit_of_work("main", _asks_in_vain()) as work:
                await work.repository(Fund).upsert([fund("UNSURE", 1)])
        assert await stored(target) == {("KEPT", 1): (1, None)}


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])  # MariaDB commits what changes tables
async def test_tables_that_a_lost_run_made_are_not_kept(
    kind: str, database_url: str, tmp_path: Path
) -> None:
    url = database_url if kind == "postgresql" else f"sqlite:///{tmp_path}/users.db"
    async with opened(url) as (databases, target):
        run = Run()
        async with databases.unit_of_work("main", run.handle) as work:
            await work.execute("CREATE TABLE kept (a integer)")
            await work.execute("INSERT INTO kept VALUES (1)")
        with pytest.raises(RunLost):
            async with databases.unit_of_work("main", run.handle) as work:
                await work.execute("/* ours */ CREATE TABLE lost (a integer)")
                await work.execute("-- too\n alter table kept ADD COLUMN b integer")
                await work.execute("INSERT INTO kept VALUES (2, 2)")
                await work.execute("DROP TABLE funds")
                # Reads beside it do not wait.
                assert kind == "postgresql" or await target.execute_sql("SELECT * FROM kept")
                run.is_ours = False
        assert await target.execute_sql("SELECT * FROM kept") == [{"a": 1}]
        assert await stored(target) == {}
        await target.execute_sql("CREATE TABLE lost (a integer)")  # there is none


def _asks_in_vain() -> RunHandle:
    async def fails(*_: object) -> None:
        raise DatabaseUnavailable("the database is away")

    return RunHandle(1, "funds", 0, "force", 1, uuid4(), "here", fails, fails)


async def test_commits_in_between_ask_each_time(url: str) -> None:
    async with opened(url) as (databases, target):
        run = Run()
        with pytest.raises(RunLost):
            async with databases.unit_of_work("main", run.handle) as work:
                await work.repository(Fund).upsert([fund("A", 1)])
                await work.commit()
                await work.repository(Fund).upsert([fund("B", 1)])
                await work.rollback()
                await work.execute("INSERT INTO tags (tag) VALUES (:tag)", {"tag": "x"})
                run.is_ours = False
                await work.commit()
        assert await stored(target) == {("A", 1): (1, None)}
        assert await target.execute_sql("SELECT tag FROM tags") == []


async def test_plain_functions_use_it_without_await(url: str) -> None:
    async with opened(url) as (databases, target):

        def work_in_thread() -> tuple[int, str, list[dict[str, Any]]]:
            with databases.unit_of_work("main", run.handle) as work:
                funds = work.repository(FundRepository)
                written = funds.upsert([fund("A", 1), fund("B", 3)])
                best = funds.best()
                work.execute("UPDATE funds SET nav = :nav WHERE code = 'A'", {"nav": 9})
            return written, best, target.execute_sql("SELECT code, nav FROM funds ORDER BY code")

        run = Run()
        written, best, rows = await in_thread("test", work_in_thread)
        assert (written, best) == (2, "B")
        assert rows == [{"code": "A", "nav": 9}, {"code": "B", "nav": 3}]
        run.is_ours = False
        with pytest.raises(RunLost):
            await in_thread("test", work_in_thread)
        assert await stored(target) == {("A", 1): (9, None), ("B", 1): (3, None)}
        with (
            pytest.raises(RuntimeError, match="async with"),
            databases.unit_of_work("main", None),
        ):
            pass


async def test_repositories_find_add_and_delete(url: str) -> None:
    async with opened(url) as (databases, target):
        async with databases.unit_of_work("main", None) as work:
            funds = work.repository(FundRepository)
            await funds.add(Fund(code="A", day=1, nav=1), Fund(code="A", day=2, nav=5))
            await funds.add(Fund(code="B", day=1, nav=3))
            found = await funds.get(("A", 2))
            assert found is not None and found.nav == 5
            assert await funds.get(("C", 1)) is None
            assert [row.day for row in await funds.find(code="A")] == [1, 2]
            assert [row.code for row in await funds.find(limit=1)] == ["A"]
            assert await funds.count() == 3 and await funds.count(code="B") == 1
            assert await funds.best() == "A"
            with pytest.raises(ValueError, match="no whole table"):
                await funds.delete()
            assert await funds.delete(code="A", day=2) == 1
        with pytest.raises(IntegrityError) as raised:
            async with databases.unit_of_work("main", None) as work:
                await work.repository(Fund).add(Fund(code="B", day=1, nav=7, note="private"))
        assert "private" not in str(raised.value)  # parameters are not told
        with pytest.raises(TypeError, match="neither a mapped class"):
            async with databases.unit_of_work("main", None) as work:
                work.repository(str)
        async with target.create_session() as session:
            assert (await session.get(Fund, ("B", 1))).nav == 3
        assert len(await stored(target)) == 2


async def test_a_unit_of_work_is_used_once_and_within_its_block(url: str) -> None:
    async with opened(url) as (databases, _):
        work = databases.unit_of_work("main", None)
        with pytest.raises(RuntimeError, match="within its"):
            work.repository(Fund)
        async with work:
            pass
        with pytest.raises(RuntimeError, match="used once"):
            async with work:
                pass


async def test_a_database_has_no_more_connections_than_declared(url: str) -> None:
    async with opened(url, connections=1, deadline_s=0.5) as (databases, target):
        async with databases.unit_of_work("main", None):
            with pytest.raises(UserDatabaseUnavailable, match=r"^database main has all its|within"):
                await target.execute_sql("SELECT 1 AS one")
        assert await target.execute_sql("SELECT 1 AS one") == [{"one": 1}]


async def test_the_service_s_own_database_commits_while_the_run_s_row_is_locked(
    database_url: str,
) -> None:
    core = Database(database_url)
    try:
        await core.open()
    finally:
        await core.aclose()
    other = await asyncpg.connect(database_url, timeout=10)
    asked: list[str] = []

    async def check(connection: Connection) -> None:
        row = await connection.fetchrow("SELECT code FROM funds FOR UPDATE")
        assert row is not None and row["code"] == "A"  # it sees what is not committed yet
        assert await other.fetch("SELECT code FROM funds") == []
        asked.append("check")

    async def never() -> None:
        raise AssertionError("the check of the same transaction is enough")

    handle = RunHandle(1, "funds", 0, "force", 1, uuid4(), "here", check, never)
    try:
        for url in ("core", database_url):
            async with opened(url, database_url) as (databases, target):
                async with databases.unit_of_work("main", handle) as work:
                    await work.repository(Fund).upsert([fund("A", 1)])
                assert await stored(target) == {("A", 1): (1, None)}
                await target.execute_sql("DELETE FROM funds")
    finally:
        await other.close()
    assert asked == ["check", "check"]


async def test_deadlines_hold_and_the_database_goes_on(database_url: str) -> None:
    async with opened(database_url, deadline_s=0.3) as (databases, target):
        with pytest.raises(UserDatabaseUnavailable, match=r"main gave no answer within 0\.3 s"):
            await target.execute_sql("SELECT pg_sleep(60)")
        with pytest.raises(UserDatabaseUnavailable):
            async with databases.unit_of_work("main", None) as work:
                await work.execute("SELECT pg_sleep(60)")
    async with opened(database_url) as (_, target):
        assert await target.execute_sql("SELECT 1 AS one") == [{"one": 1}]


async def test_a_server_that_died_is_told_and_used_again(own_postgres: OwnPostgres) -> None:
    async with opened(own_postgres.url) as (databases, target):
        own_postgres.kill()
        with pytest.raises(UserDatabaseUnavailable, match=r"^database main failed: "):
            async with databases.unit_of_work("main", None) as work:
                await work.repository(Fund).upsert([fund("A", 1)])
        own_postgres.start()
        async with databases.unit_of_work("main", None) as work:
            await work.repository(Fund).upsert([fund("B", 1)])
        assert await stored(target) == {("B", 1): (1, None)}


async def test_no_password_is_told(database_url: str) -> None:
    parts = urlsplit(database_url)
    place = parts.netloc.rpartition("@")[2]
    secret = "Wjqz-Kvxq-Zfkw"
    wrong = urlunsplit(parts._replace(netloc=f"nobody:{secret}@{place}"))
    definition, target = declared_as("main", wrong)
    assert secret not in repr(definition)
    async with Databases([definition], {}, None).opened():
        with pytest.raises(UserDatabaseUnavailable, match="main failed: ") as raised:
            await target.execute_sql("SELECT 1")
    assert secret not in str(raised.value)
    assert secret not in repr(raised.value.__cause__)


async def test_names_that_are_not_there_are_told(tmp_path: Path) -> None:
    definition, target = declared_as("main", f"sqlite:///{tmp_path}/a.db")
    with pytest.raises(UnknownDatabase, match="main is not open here"):
        target.get_engine()
    databases = Databases([definition], {}, None)
    async with databases.opened():
        with pytest.raises(UnknownDatabase, match="'other'; there are: main"):
            databases.unit_of_work("other", None)
    with pytest.raises(UnknownDatabase):
        await target.execute_sql("SELECT 1")


@pytest.mark.parametrize(
    ("url", "environment", "line"),
    [
        (None, {}, "has no address: set FUNDS_DATABASE_URL, such as sqlite:///funds.db"),
        (None, {"FUNDS_DATABASE_URL": "redis://x"}, "FUNDS_DATABASE_URL must be a URL with"),
        ("mysql://me:Qxzk@db", {}, "url has a path that is not the name of one database"),
        ("sqlite://host/x", {}, "url must name a file"),
        ("core", {}, "the service has no database of its own here"),
        (None, {"FUNDS_DATABASE_URL": "sqlite:///a.db"}, None),
    ],
)
def test_addresses_are_checked_with_file_and_line(
    url: str | None, environment: dict[str, str], line: str | None
) -> None:
    definition, _ = declared_as("funds", url)
    found = Databases([definition], environment, None).wrong()
    assert "Qxzk" not in "".join(found)
    if line is None:
        assert found == []
    else:
        [told] = found
        assert "tests/workers/test_databases.py:" in told
        assert f"database funds: {line}" in told


def test_missing_packages_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.databases.engines.PACKAGES", {"sqlite": ("no_such_package",)})
    definition, _ = declared_as("funds", "sqlite:///a.db")
    [told] = Databases([definition], {}, None).wrong()
    assert told.endswith("not installed: pip install -r requirements-databases.txt")


def test_wrong_declarations_are_noted() -> None:
    before = len(declared.DECLARED)
    database("Bad name", connections=0, deadline_s=0)(type("X", (), {}))
    [declaration] = declared.DECLARED[before:]
    del declared.DECLARED[before:]
    assert [text.partition(": ")[2][:11] for text in declaration.mistakes] == [
        *("its name mu", "connections", "deadline_s ")
    ]
