"""The configuration chain on a real PostgreSQL: levels, changes, refusals, and hidden secrets."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from addresses.environment import environment_of
from config import load_settings
from database import Database, DatabaseUnavailable
from logging_setup import cleaned_lines, configure_logging
from stores.cold.reader_role import ensure_reader
from stores.cold.workers.config import HIDDEN_VALUE
from tests.fixtures.postgres import OwnPostgres
from workers.config_control import (
    ConfigControl,
    UnknownConfigKey,
    UnknownConfigWorker,
    WrongConfigValue,
)
from workers.configuration import Configuration, WrongConfiguration
from workers.definition import WorkerDefinition
from workers.environment import names_of
from workers.registry import Registry
from workers.sync import sync

SECRET = "Wqzx-Kvjq-Zfkw"


class Funds(BaseModel):
    url: str
    pages: int = Field(3, ge=1, le=9)
    codes: list[str] = []
    token: SecretStr | None = None

    @field_validator("url")
    @classmethod
    def _is_https(cls, value: str) -> str:
        if not value.startswith("https://"):
            raise ValueError("must begin with https://")
        return value


async def nothing(_: object) -> None:
    pass


def worker(name: str = "fund_values", config: type[BaseModel] | None = Funds) -> WorkerDefinition:
    place = "plugins/funds.py:3"
    return WorkerDefinition(
        name=name, kind="schedule", function=nothing, place=place, every_s=60, config=config
    )


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    await found.open()
    yield found
    await found.aclose()


async def synced(database: Database, *definitions: WorkerDefinition) -> ConfigControl:
    """The workers' rows, and a control that knows these alone, as API processes do."""
    await sync(database, Registry({one.name: one for one in definitions}), load_settings())
    return ConfigControl(database.worker_config, {})


async def test_each_level_gives_what_the_ones_before_it_lack(database: Database) -> None:
    definition, clock = worker(), Clock()
    control = await synced(database, definition, worker("other"))
    environment: dict[str, str] = {}
    configuration = Configuration(database.worker_config, environment, clock=clock)

    async def level() -> tuple[Any, str]:
        configuration.forget()
        found = await configuration.read(definition)
        told = await ConfigControl(database.worker_config, environment).explained("fund_values")
        [pages] = [one for one in told if one.key == "pages"]
        assert pages.value in (found["pages"], str(found["pages"]))
        return found["pages"], pages.level

    environment["FUND_VALUES_URL"] = "https://a"
    assert await level() == (3, "default")
    environment["WORKER_CONFIG_PAGES"] = "4"
    assert await level() == (4, "environment")
    environment["FUND_VALUES_PAGES"] = "5"
    assert await level() == (5, "environment")
    await control.put(None, "pages", 6, "test")
    assert await level() == (6, "shared")
    await control.put("fund_values", "pages", 7, "test")
    assert await level() == (7, "own")
    assert (await configuration.read(worker("other", None)))["pages"] == 6
    assert await control.delete("fund_values", "pages")
    assert not await control.delete("fund_values", "pages")
    assert await level() == (6, "shared")


async def test_what_is_read_is_the_validated_model(database: Database) -> None:
    environment = {
        "FUND_VALUES_URL": "https://a",
        "FUND_VALUES_CODES": '["A", "B"]',
        "FUND_VALUES_TOKEN": SECRET,
    }
    found = await Configuration(database.worker_config, environment).read(worker())
    assert dict(found) == {
        "url": "https://a",
        "pages": 3,
        "codes": ["A", "B"],
        "token": SecretStr(SECRET),
    }
    assert isinstance(found.model, Funds)
    assert SECRET not in f"{found!r}{found['token']}"
    with pytest.raises(KeyError, match="declares no key 'page'"):
        found["page"]


async def test_without_a_model_any_key_is_looked_up(database: Database) -> None:
    control = await synced(database, worker(config=None))
    await control.put("fund_values", "codes", ["A"], "test")
    environment = {"FUND_VALUES_URL": "https://a"}
    found = await Configuration(database.worker_config, environment).read(worker(config=None))
    assert (found["codes"], found["url"], list(found)) == (["A"], "https://a", ["codes"])
    assert "url" in found and "other" not in found and found.get("other", 1) == 1
    with pytest.raises(
        KeyError, match="fund_values has no value of 'token': set FUND_VALUES_TOKEN"
    ):
        found["token"]


async def test_changes_count_within_half_a_second_and_at_once_when_told(
    database: Database,
) -> None:
    control = await synced(database, worker())
    clock = Clock()
    configuration = Configuration(
        database.worker_config, {"FUND_VALUES_URL": "https://a"}, clock=clock
    )
    assert (await configuration.read(worker()))["pages"] == 3
    await control.put("fund_values", "pages", 4, "test")
    clock.now_s += 0.49
    assert (await configuration.read(worker()))["pages"] == 3
    clock.now_s += 0.02
    assert (await configuration.read(worker()))["pages"] == 4
    await control.put("fund_values", "pages", 5, "test")
    configuration.forget()
    assert (await configuration.read(worker()))["pages"] == 5


async def test_changes_are_told_to_all_processes(database: Database, database_url: str) -> None:
    control = await synced(database, worker())
    heard: list[object] = []
    listener = await asyncpg.connect(database_url, timeout=10)
    try:
        await listener.add_listener("perpcache_workers", lambda *told: heard.append(told[-1]))
        await control.put("fund_values", "pages", 4, "test")
        await control.delete("fund_values", "pages")
        await listener.execute("SELECT 1")
    finally:
        await listener.close()
    assert heard.count("config") == 2


async def test_while_the_database_is_away_what_was_read_last_counts(
    own_postgres: OwnPostgres,
) -> None:
    database = Database(own_postgres.url)
    try:
        control = await synced(database, worker())
        await control.put("fund_values", "url", "https://a", "test")
        configuration = Configuration(database.worker_config, {})
        never_read = Configuration(database.worker_config, {})
        assert (await configuration.read(worker()))["url"] == "https://a"
        own_postgres.kill()
        configuration.forget()
        assert (await configuration.read(worker()))["url"] == "https://a"
        with pytest.raises(DatabaseUnavailable):
            await never_read.read(worker())
        own_postgres.start()
    finally:
        await database.aclose()


@pytest.mark.parametrize(
    ("of", "key", "value", "why"),
    [
        ("fund_values", "pages", "many", "pages: must be a whole number"),
        ("fund_values", "pages", 10, "pages: must be at most 9"),
        (None, "pages", 10, "pages: for worker fund_values must be at most 9"),
        ("fund_values", "url", None, "url: must be a text"),
        ("fund_values", "codes", ["A", 1], "codes: each item must be a text"),
        ("fund_values", "token", 7, "token: must be a text, or must be null"),
        (None, "no key", 1, "the key must be"),
        (None, "k", float("nan"), "the value must be JSON"),
        (None, "k", "\ud800", "the value must be JSON"),
        (None, "k", "x" * 40_000, "the value may have 32768 characters"),
    ],
)
async def test_wrong_values_are_refused_when_they_are_set(
    database: Database, of: str | None, key: str, value: Any, why: str
) -> None:
    control = await synced(database, worker())
    with pytest.raises(WrongConfigValue) as raised:
        await control.put(of, key, value, "test")
    assert str(raised.value).startswith(why)
    assert await database.worker_config.rows() == []


async def test_models_of_this_process_refuse_what_schemas_cannot_say(database: Database) -> None:
    class Pair(BaseModel):
        low: int = 1
        high: int = 2

        @model_validator(mode="after")
        def _in_order(self) -> "Pair":
            if self.low > self.high:
                raise ValueError("low must not be above high")
            return self

    definitions = {"fund_values": worker(), "pair": worker("pair", Pair)}
    await synced(database, *definitions.values())
    control = ConfigControl(database.worker_config, {}, definitions)
    with pytest.raises(WrongConfigValue, match="url: must begin with https://"):
        await control.put("fund_values", "url", "ftp://a", "test")
    with pytest.raises(WrongConfigValue, match="low: low must not be above high"):
        await control.put("pair", "low", 3, "test")
    await control.put("pair", "high", 5, "test")
    await control.put("pair", "low", 3, "test")


async def test_names_that_are_not_there_are_told(database: Database) -> None:
    control = await synced(database, worker())
    with pytest.raises(UnknownConfigWorker) as no_worker:
        await control.put("fund_value", "pages", 1, "test")
    assert no_worker.value.near == ["fund_values"]
    with pytest.raises(UnknownConfigKey, match="it declares codes, pages, token, url") as no_key:
        await control.put("fund_values", "page", 1, "test")
    assert no_key.value.near == ["pages"]
    for call in (control.explained("x"), control.delete("x", "pages")):
        with pytest.raises(UnknownConfigWorker):
            await call


async def test_rows_that_became_wrong_fail_the_run_with_their_key(
    database: Database, database_url: str
) -> None:
    control = await synced(database, worker())
    await control.put("fund_values", "url", "https://a", "test")
    connection = await asyncpg.connect(database_url, timeout=10)
    await connection.execute(
        "INSERT INTO worker_config VALUES (null, 'pages', '\"many\"', 0, 'somebody')"
    )
    await connection.close()
    configuration = Configuration(database.worker_config, {})
    with pytest.raises(WrongConfiguration) as raised:
        await configuration.read(worker())
    assert str(raised.value).startswith("configuration of worker fund_values: pages: ")
    assert "(in the shared row)" in str(raised.value)
    assert "many" not in str(raised.value).replace("integer", "")
    [pages] = [one for one in await control.explained("fund_values") if one.key == "pages"]
    assert (pages.level, pages.problem) == ("shared", "must be a whole number")
    assert await configuration.wrong_at_start([worker()]) == []  # its runs fail, not the start


async def test_missing_and_wrong_variables_stop_the_start_with_file_and_line(
    database: Database,
) -> None:
    lines = await Configuration(database.worker_config, {}).wrong_at_start(
        [worker(), worker("free", None)]
    )
    assert lines == [
        "plugins/funds.py:3: configuration of worker fund_values: url: has no value: set"
        " FUND_VALUES_URL or WORKER_CONFIG_URL, or its row (PUT /api/config)"
    ]
    environment = {"FUND_VALUES_URL": f"ftp://{SECRET}", "WORKER_CONFIG_PAGES": "99"}
    [line] = await Configuration(database.worker_config, environment).wrong_at_start([worker()])
    assert "url: must begin with https:// (in FUND_VALUES_URL)" in line
    assert "less than or equal to 9 (in WORKER_CONFIG_PAGES)" in line
    assert SECRET not in line
    control = await synced(database, worker())
    [url, *_] = await control.explained("fund_values")
    assert (url.key, url.level, url.problem) == ("url", "missing", "has no value")


async def test_secret_values_are_told_by_nothing(database: Database, database_url: str) -> None:
    configure_logging("INFO", "console")
    definition = worker()
    control = await synced(database, definition)
    await control.put("fund_values", "url", "https://a", "test")
    for of in (None, "fund_values"):
        shown = await control.put(of, "token", SECRET, "test")
        assert (shown.value, shown.secret) == (HIDDEN_VALUE, True)
    assert cleaned_lines(f"sent {SECRET}") == "sent ***"
    told = [*await control.explained("fund_values"), *await control.shared()]
    assert SECRET not in repr(told) + repr(await database.worker_config.rows())
    owner = await asyncpg.connect(database_url, timeout=10)
    assert SECRET not in str(await owner.fetch("SELECT * FROM worker_config"))
    await owner.close()
    reader = await asyncpg.connect(await ensure_reader(database_url), timeout=10)
    try:
        assert len(await reader.fetch("SELECT * FROM worker_config")) == 3
        for table in ("worker_config", "worker_secret", "worker", "pg_stats"):
            rows = await reader.fetch(f"SELECT t::text FROM {table} AS t")  # noqa: S608
            assert SECRET not in str(rows)
        assert await reader.fetchval("SELECT count(*) FROM worker_secret") == 0
    finally:
        await reader.close()
    found = await Configuration(database.worker_config, {}).read(definition)
    assert found["token"].get_secret_value() == SECRET
    assert await control.delete("fund_values", "token")
    assert await control.delete(None, "token")
    assert [row.key for row in await database.worker_config.rows()] == ["url"]


class Account(BaseModel):
    name: str
    key: SecretStr


class Secrets(BaseModel):
    account: Account = Account(name="shown-name", key=SecretStr("declared-key"))
    keys: list[SecretStr] = [SecretStr("listed-key")]
    stripped: SecretStr = SecretStr("")

    @field_validator("stripped")
    @classmethod
    def _strip(cls, value: SecretStr) -> SecretStr:
        return SecretStr(value.get_secret_value().strip("/"))


async def test_declared_secrets_and_those_that_validators_made_are_hidden(
    database: Database,
) -> None:
    configure_logging("INFO", "console")
    definition = worker(config=Secrets)
    await synced(database, definition)
    await Configuration(database.worker_config, {"FUND_VALUES_STRIPPED": "//made-of-it//"}).read(
        definition
    )
    assert cleaned_lines("declared-key listed-key made-of-it") == "*** *** ***"


async def test_values_that_were_stored_before_their_key_was_secret_are_hidden_at_start(
    database: Database, database_url: str
) -> None:
    class Plain(BaseModel):
        token: str = ""

    control = await synced(database, worker(config=Plain))
    await control.put("fund_values", "token", SECRET, "test")
    await control.put("fund_values", "token", f"{SECRET}!", "test")
    configuration = Configuration(database.worker_config, {"FUND_VALUES_URL": "https://a"})
    assert await configuration.wrong_at_start([worker()]) == []
    owner = await asyncpg.connect(database_url, timeout=10)
    assert json.loads(await owner.fetchval("SELECT value FROM worker_config")) == HIDDEN_VALUE
    await owner.close()
    assert (await configuration.read(worker()))["token"] == SecretStr(f"{SECRET}!")


def test_variables_have_the_worker_s_name_and_none_of_our_own_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names_of("fund-values", "api.key") == ["FUND_VALUES_API_KEY", "WORKER_CONFIG_API_KEY"]
    assert names_of(None, "url") == ["WORKER_CONFIG_URL"]
    assert names_of("api", "token") == ["WORKER_CONFIG_TOKEN"]
    (tmp_path / ".env").write_text("fund_values_url=https://file\nFUND_VALUES_PAGES=2\nEMPTY=\n")
    monkeypatch.setenv("FUND_VALUES_PAGES", "3")
    found = environment_of(tmp_path)
    assert (found["FUND_VALUES_URL"], found["FUND_VALUES_PAGES"]) == ("https://file", "3")
    assert "EMPTY" not in found
    (tmp_path / ".env").write_bytes(b"A=\xff")
    assert "A" not in environment_of(tmp_path)
