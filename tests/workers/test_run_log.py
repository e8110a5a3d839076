"""The run log: what workers log is stored, nothing makes them wait, and what is dropped is told."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import structlog

from database import Database, LogFilter, LogLine
from logging_setup import FieldsLine, configure_logging, hide_secrets
from stores.cold.workers.log import NewLine
from tests.fixtures.postgres import DatabaseIn, OwnPostgres
from tests.fixtures.signals import until
from workers.run_log import DROPPED, LONGEST_FIELDS, RunLog
from workers.threads import in_thread


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    configure_logging("INFO", "console", ["first-secret"])
    yield
    root.handlers[:], level = before
    root.setLevel(level)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    await found.open()
    yield found
    await found.aclose()


@asynccontextmanager
async def flushed(log: RunLog) -> AsyncIterator[None]:
    """Lines are taken within it, and have been written after it."""
    stop = asyncio.Event()
    task = asyncio.create_task(log.flush(stop))
    await asyncio.sleep(0)  # it takes lines from here on
    try:
        yield
    finally:
        stop.set()
        await task


async def lines(database: Database, **wanted: Any) -> list[LogLine]:
    return await database.execution_log.listed(LogFilter(**wanted), limit=1000)


def bound(worker: str, run: int | None = None) -> AbstractContextManager[None]:
    found: AbstractContextManager[None] = structlog.contextvars.bound_contextvars(
        **({"worker": worker} if run is None else {"worker": worker, "run": run})
    )
    return found


async def test_lines_of_runs_are_stored_and_no_others(database: Database) -> None:
    log = structlog.get_logger("plugins.funds")
    async with flushed(RunLog(database.execution_log, "host-1")):
        log.info("outside")
        with bound("funds", 7):
            log.info("saved", rows=3, ratio=float("inf"), names=["a", "b"])
            log.debug("not on the console, and not here")
            logging.getLogger("library").warning("took %s s", 4)
            logging.getLogger("other").error(FieldsLine("connection_lost", {"exchange": "okx"}))
            await in_thread("a-worker", lambda: log.warning("from_thread", at=None))
            await asyncio.to_thread(lambda: log.warning("from_pool"))
            try:
                raise ValueError("first-secret is wrong")
            except ValueError:
                log.exception("failed")
        with bound("trades"):
            log.critical("closed")
        log.info("outside")
    found = await lines(database)
    assert [(line.worker, line.run, line.host, line.level, line.event) for line in found] == [
        ("funds", 7, "host-1", "info", "saved"),
        ("funds", 7, "host-1", "warning", "took 4 s"),
        ("funds", 7, "host-1", "error", "connection_lost"),
        ("funds", 7, "host-1", "warning", "from_thread"),
        ("funds", 7, "host-1", "warning", "from_pool"),
        ("funds", 7, "host-1", "error", "failed"),
        ("trades", None, "host-1", "critical", "closed"),
    ]
    assert found[0].fields == {"rows": 3, "ratio": "Infinity", "names": ["a", "b"]}
    assert found[2].fields == {"exchange": "okx"}
    assert found[3].fields == {"at": None}
    trace = found[5].fields["exception"]
    assert trace.startswith("Traceback") and "ValueError: *** is wrong" in trace


async def test_texts_are_printable_in_bounds_and_without_secrets(database: Database) -> None:
    log = structlog.get_logger("plugins.funds")
    hide_secrets(["second-secret"])
    async with flushed(RunLog(database.execution_log, "h")):
        with bound("funds", 1):
            log.info("got\x1b[31m\0second-secret", value="\ud800 second-secret", url="a\nb")
            log.info("e" * 100_000, long="x" * 100_000, short=1, **{"n" * 200: "y"})
    first, second = await lines(database)
    assert first.event == "got\\x1b[31m\\x00***"
    assert first.fields == {"value": "\\ud800 ***", "url": "a\\nb"}
    assert len(second.event) < 3000
    assert len(json.dumps(dict(second.fields))) <= LONGEST_FIELDS
    assert second.fields["short"] == "1" and str(second.fields["long"]).endswith("x...")


async def test_a_value_that_cannot_be_told_ends_no_run(database: Database) -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError

    logging.getLogger().handlers.clear()  # the console's tells of it on its own
    run_log = RunLog(database.execution_log, "h")
    with run_log.taking(), bound("funds", 1):
        structlog.get_logger("plugins.funds").info("lost", value=Hostile())
    async with flushed(run_log):
        pass
    [dropped] = await lines(database)
    assert (dropped.event, dropped.fields["lines"]) == (DROPPED, 1)


async def test_what_does_not_fit_is_dropped_oldest_first_and_told_once_the_database_is_back(
    own_postgres: OwnPostgres,
) -> None:
    database = Database(own_postgres.url)
    await database.open()
    try:
        log = structlog.get_logger("plugins.funds")
        run_log = RunLog(database.execution_log, "h", most_lines=10, every_s=0.01, now_ms=lambda: 9)
        async with flushed(run_log):
            own_postgres.kill()
            with bound("funds", 1):
                for number in range(25):
                    log.info("line", number=number)
            own_postgres.start()

            async def told() -> bool:
                return bool(await lines(database, from_ms=10))

            await until(told)
        kept = await lines(database, from_ms=10)
        assert [line.fields["number"] for line in kept] == [*range(15, 25)]
        [dropped] = await lines(database, to_ms=10)
        assert (dropped.worker, dropped.run, dropped.level) == ("funds", None, "warning")
        assert dropped.event == DROPPED and dropped.fields["lines"] == 15
        assert 0 < dropped.fields["from_ms"] <= dropped.fields["to_ms"]
    finally:
        await database.aclose()


async def test_characters_are_bounded_too(database: Database) -> None:
    log = structlog.get_logger("plugins.funds")
    run_log = RunLog(database.execution_log, "h", most_characters=5_000)
    with run_log.taking(), bound("funds", 1):
        for number in range(20):
            log.info("line", number=number, text="x" * 1000)
    async with flushed(run_log):
        pass
    found = [line.fields.get("number") for line in await lines(database, level="info")]
    assert found[:4] == [16, 17, 18, 19]


async def test_threads_that_log_at_once_lose_nothing(database: Database) -> None:
    log = structlog.get_logger("plugins.funds")
    begun = threading.Barrier(4)

    def work(thread: int) -> None:
        begun.wait(30)
        with bound("funds", thread):
            for number in range(200):
                log.info("line", number=number)

    async with flushed(RunLog(database.execution_log, "h", every_s=0.001)):
        await asyncio.gather(*(in_thread("t", partial(work, n)) for n in range(4)))
    for run in range(4):
        found = await lines(database, run=run)
        assert [line.fields["number"] for line in found] == [*range(200)]


async def test_pages_are_read_in_both_orders_and_by_every_filter(database: Database) -> None:
    october, november = 1_790_000_000_000, 1_793_000_000_000
    levels = ["debug", "info", "warning", "error", "critical"]
    rows = [
        NewLine(at_ms, worker, run, "h", level, f"e{number}", json.dumps({"n": number}))
        for number, (at_ms, worker, run, level) in enumerate(
            (start + 1000 * (place // 3), worker, run, level)
            for start in (october, november)
            for place, level in enumerate(levels * 2)
            for worker, run in (("a", 1), ("b", None))
        )
    ]
    await database.execution_log.write(rows)
    await database.execution_log.write([])
    stored = await lines(database)
    assert [line.event for line in stored] == [
        row.event for row in sorted(rows, key=lambda row: row.at_ms)
    ]
    for newest in (False, True):
        paged: list[LogLine] = []
        while page := await database.execution_log.listed(
            LogFilter(), limit=7, newest=newest, after=paged[-1].cursor if paged else None
        ):
            paged += page
        assert paged == (stored[::-1] if newest else stored)
    filters: list[tuple[dict[str, Any], Callable[[LogLine], bool]]] = [
        ({"worker": "b"}, lambda line: line.worker == "b"),
        ({"run": 1}, lambda line: line.run == 1),
        ({"level": "error"}, lambda line: line.level in ("error", "critical")),
        ({"from_ms": november}, lambda line: line.at_ms >= november),
        ({"to_ms": october + 1000}, lambda line: line.at_ms < october + 1000),
        (
            {"worker": "a", "run": 1, "level": "info", "from_ms": october, "to_ms": november},
            lambda line: line.worker == "a" and line.level != "debug" and line.at_ms < november,
        ),
    ]
    for wanted, keeps in filters:
        assert await lines(database, **wanted) == [line for line in stored if keeps(line)]


async def test_a_database_of_another_encoding_holds_all_lines(database_in: DatabaseIn) -> None:
    database = Database(await database_in("LATIN1"))
    try:
        log = structlog.get_logger("plugins.funds")
        async with flushed(RunLog(database.execution_log, "h")):
            with bound("funds", 1):
                log.info("値", value="値")
                log.info("é", value="é")
        found = await lines(database)
        assert [(line.event, line.fields["value"]) for line in found] == [
            ("\\u5024", "値"),
            ("\\xe9", "é"),
        ]
    finally:
        await database.aclose()
