"""The sections Configuration and Databases of docs/workers.md run as they stand."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final
from uuid import uuid4

import pytest

from addresses.environment import environment_of
from config import load_settings
from database import Database
from tests.docs.blocks import Block, claim
from workers import declared
from workers.config_control import ConfigControl
from workers.configuration import Configuration
from workers.databases.open_databases import Databases
from workers.definition import WorkerDefinition
from workers.registry import Registry
from workers.run_handle import RunHandle
from workers.sync import sync
from workers.threads import in_thread

DOCUMENT: Final = "docs/workers.md"
PAGES: Final = claim(DOCUMENT, "# plugins/pages.py")
PAGES_ENVIRONMENT: Final = claim(DOCUMENT, "WORKER_CONFIG_PAGES=5")
QUOTES: Final = claim(DOCUMENT, "# plugins/quotes.py")
QUOTES_ENVIRONMENT: Final = claim(DOCUMENT, "QUOTES_DATABASE_URL=sqlite")


class Ran:
    """A module made of a block, and what it declares."""

    def __init__(self, block: Block) -> None:
        before = len(declared.DECLARED)
        self.module: Any = ModuleType(f"document_{uuid4().hex}")
        sys.modules[self.module.__name__] = self.module  # for annotations of mapped classes
        exec(compile(block.text, DOCUMENT, "exec"), self.module.__dict__)  # noqa: S102
        found = declared.DECLARED[before:]
        del declared.DECLARED[before:]
        assert not [mistake for one in found for mistake in one.mistakes]
        workers = [one.definition for one in found if one.definition is not None]
        self.workers: dict[str, WorkerDefinition] = {one.name: one for one in workers}
        self.databases = [one.database for one in found if one.database is not None]


@pytest.fixture
def _here(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.startswith("document_"):
            del sys.modules[name]


class Job:
    """What the blocks use of a Context."""

    def __init__(self, config: Any = None, databases: Databases | None = None) -> None:
        self.config = config
        self.logged: list[Any] = []
        self.log = self
        self._databases = databases

    def info(self, event: str, **fields: Any) -> None:
        self.logged.append((event, fields))

    def unit_of_work(self, name: str) -> Any:
        async def ours(*_: object) -> None:
            pass

        assert self._databases is not None
        handle = RunHandle(1, "quotes", 0, "force", 1, uuid4(), "here", ours, ours)
        return self._databases.unit_of_work(name, handle)


@pytest.mark.usefixtures("_here")
async def test_the_levels_of_configuration(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [crawl] = Ran(PAGES).workers.values()
    database = Database(database_url)
    try:
        await sync(database, Registry({"crawl": crawl}), load_settings())
        missing = Configuration(database.worker_config, environment_of())
        [line] = await missing.wrong_at_start([crawl])
        assert line.startswith(f"{DOCUMENT}:") and "url: has no value: set CRAWL_URL" in line
        for pair in PAGES_ENVIRONMENT.text.split():
            monkeypatch.setenv(*pair.split("=", 1))
        configuration = Configuration(database.worker_config, environment_of())
        job = Job(await configuration.read(crawl))
        function: Any = crawl.function
        assert await function(job) == 5
        assert job.logged == [("crawl", {"url": "https://news.example.com", "pages": 5})]
        control = ConfigControl(database.worker_config, environment_of())
        await control.put(None, "pages", 7, "test")
        await control.put("crawl", "pages", 8, "test")
        configuration.forget()
        assert (await configuration.read(crawl))["pages"] == 8
    finally:
        await database.aclose()


@pytest.mark.usefixtures("_here")
async def test_a_database_of_one_s_own() -> None:
    found = Ran(QUOTES)
    environment = dict([QUOTES_ENVIRONMENT.text.strip().split("=", 1)])
    databases = Databases(found.databases, environment, None)
    assert databases.wrong() == []
    async with databases.opened():
        async with found.module.Quotes.get_engine().begin() as connection:
            await connection.run_sync(found.module.Base.metadata.create_all)
        job = Job(databases=databases)
        quotes: Any = found.workers["quotes"].function
        assert await quotes(job) == {"rows": 2, "dear": 1}
        halved: Any = found.workers["halved"].function
        assert await in_thread("test", lambda: halved(job)) == [{"price": 65.6}, {"price": 61.0}]
