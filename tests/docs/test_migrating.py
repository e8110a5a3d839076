"""docs/migrating.md: what it says is here is here, under the names it gives."""

import asyncio
import re
import shlex
import sys
import time
from importlib import import_module
from typing import Any, Final

import asyncpg
import pytest

from main import build_parser
from tests.docs.blocks import ROOT, claim
from tests.docs.test_schema import told_tables
from tests.fixtures.api import ServedApi

DOCUMENT: Final = "docs/migrating.md"
TEXT: Final = (ROOT / DOCUMENT).read_text(encoding="utf-8")
PRICES: Final = claim(DOCUMENT, "FROM market_prices")


TROUBLE: Final = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", re.findall(r"`python main\.py ([a-z][^`…]+)`", TEXT + TROUBLE))
def test_the_commands_are_there(line: str) -> None:
    build_parser().parse_args(shlex.split(line))


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("perpcache.workers", "schedule websocket database ScheduleBaseWorker WebSocketBaseWorker"),
        ("perpcache.workers", "IRepositoryBase"),
        ("perpcache.live", "BaseDataCollector CollectorManager CollectorConfig DataType"),
        ("perpcache.live", "MarketDataPoint"),
    ],
)
def test_the_names_are_there(module: str, names: str) -> None:
    for name in names.split():
        assert name in TEXT
        assert hasattr(import_module(module), name), name


def test_the_tables_are_there() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)+) \| (?:tables|views) of the same names", TEXT, re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(named) == 13
    assert named <= set(told_tables())


async def test_the_requests_are_there(native_api: ServedApi) -> None:
    async with native_api.http.get("/openapi.json") as answer:
        paths = set((await answer.json())["paths"])
    for path in (
        *("/get-market-data", "/cache/{name}", "/api/v1/internal/update-fr"),
        *(f"/api/worker/{each}" for each in ("status", "stats", "schedules", "health", "start")),
        *("/api/worker/stop", "/api/worker/force-collection", "/api/hierarchy/usage-stats"),
        *(f"/api/historical/{each}" for each in ("prices/{symbol}", "sentiment", "news")),
    ):
        assert path in paths


async def test_the_price_of_the_last_hours(database_url: str) -> None:
    now_ms = time.time_ns() // 1_000_000
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        for symbol, hours, price in (("btc", 1, 61_000), ("btc", 30, 59_000), ("eth", 1, 3_000)):
            at_ms = now_ms - hours * 3_600_000
            row: tuple[Any, ...] = (symbol, price, "a", at_ms, "USD", "spot", price, True, at_ms)
            await connection.execute(
                "INSERT INTO market_prices (symbol, price_usd, source, timestamp, quote, kind,"
                " price, stated, known_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                *row,
            )
    finally:
        await connection.close()
    words = shlex.split(PRICES.text)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *words[1:3], "--format", "csv", *words[3:]),
        cwd=ROOT,
        env={"DATABASE_URL": database_url, "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        printed, _ = await process.communicate()
    lines = printed.decode().splitlines()
    assert lines[0] == "price_usd,at"
    assert [line.partition(",")[0] for line in lines[1:]] == ["61000"]
