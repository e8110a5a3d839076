"""docs/history-sql.md and Grafana's dashboard of candles, run on a real record."""

import asyncio
import csv
import io
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import numpy as np
import pytest

from benchmarks.collecting import BENCH_PYTHON
from database import Database, SeriesKey, SeriesRows
from market.timeframes import Timeframe
from tests.docs.blocks import ROOT, blocks, claim

DOCUMENT: Final = "docs/history-sql.md"
TABLE: Final = claim(DOCUMENT, 'main.py sql "SELECT')
CSV: Final = claim(DOCUMENT, "main.py sql --format csv")
DRIVER: Final = claim(DOCUMENT, "import sqlalchemy")
PANDAS: Final = claim(DOCUMENT, "from io import StringIO")
QUERIES: Final = [
    claim(DOCUMENT, block.text) for block in blocks(DOCUMENT) if block.language == "sql"
]
DASHBOARD: Final = ROOT / "docs" / "grafana-candles.json"
_H4_MS: Final = Timeframe.H4.interval_ms
_CANDLES: Final = 50


@pytest.fixture
async def recorded(database_url: str) -> AsyncIterator[str]:
    """A database with a market's candles, open interest and funding until now, half in chunks."""
    database = Database(database_url)
    newest_ms = Timeframe.H4.last_closed_open_time(time.time_ns() // 1_000_000)
    times = newest_ms - _H4_MS * np.arange(_CANDLES - 1, -1, -1)
    prices = 64_000 + np.arange(_CANDLES) / 4
    candles = np.column_stack([prices, prices + 9, prices - 9, prices + 0.25, prices, prices * 2])
    names = ("binance", "BTCUSDT")
    series = [
        (SeriesKey.candles(*names, Timeframe.H4), candles),
        (SeriesKey.open_interest(*names), prices[:, None]),
        (SeriesKey.funding(*names), prices[:, None] / 1e9),
    ]
    for part in (slice(0, 25), slice(25, _CANDLES - 2), slice(_CANDLES - 2, _CANDLES)):
        rows = [SeriesRows(key, times[part], values[part]) for key, values in series]
        await database.history.store(rows, int(times[part][-1]) + _H4_MS)
        if part.start == 0:
            await database.history.compact(newest_ms)
    await database.aclose()
    yield database_url


async def run(line: str, url: str, folder: Path) -> str:
    """What a line of a shell prints; it must end well."""
    process = await asyncio.create_subprocess_shell(
        line.replace(".venv/bin/python main.py", f"{sys.executable} {ROOT / 'main.py'}"),
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "DATABASE_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed
    return printed.decode()


async def test_the_lines_for_a_shell(recorded: str, tmp_path: Path) -> None:
    printed = await run(TABLE.text, recorded, tmp_path)
    assert "(5 rows)" in printed and f"{64_000 + (_CANDLES - 1) / 4:g}" in printed
    await run(CSV.text, recorded, tmp_path)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "btc.csv").read_text())))
    assert len(rows) == _CANDLES
    assert float(rows[0]["close"]) == 64_000.25


@pytest.mark.parametrize("block", QUERIES, ids=[f"line {block.line}" for block in QUERIES])
async def test_the_statements(recorded: str, block: Any) -> None:
    connection = await asyncpg.connect(recorded, timeout=10)
    try:
        found = await connection.fetch(filled(block.text).rstrip("; \n"))
    finally:
        await connection.close()
    assert found and not any(value is None for row in found for value in row.values())


def filled(query: str, days: int = 30) -> str:
    """A query of Grafana with its macros and variables filled in, as Grafana does."""
    now = datetime.now(UTC)
    values = {
        "$__timeFrom()": f"'{now - timedelta(days=days):%Y-%m-%dT%H:%M:%S.%f}Z'",
        "$__timeTo()": f"'{now:%Y-%m-%dT%H:%M:%S.%f}Z'",
        "$exchange": "binance",
        "$symbol": "BTCUSDT",
        "$timeframe": "4h",
    }
    for name, value in values.items():
        query = query.replace(name, value)
    assert "$" not in query
    return query


async def test_grafanas_dashboard(recorded: str) -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    connection = await asyncpg.connect(recorded, timeout=10)
    try:
        for variable, value in zip(
            dashboard["templating"]["list"], ("binance", "BTCUSDT", "4h"), strict=True
        ):
            assert [tuple(r) for r in await connection.fetch(filled(variable["query"]))] == [
                (value,)
            ]
        for panel in dashboard["panels"]:
            (target,) = panel["targets"]
            found = await connection.fetch(filled(target["rawSql"]))
            assert len(found) == _CANDLES
            assert isinstance(found[0]["time"], datetime)
            assert [row["time"] for row in found] == sorted(row["time"] for row in found)
    finally:
        await connection.close()
    candles = dashboard["panels"][0]
    assert candles["type"] == "candlestick"
    names = re.findall(r"\b(open|high|low|close|volume)\b", candles["targets"][0]["rawSql"])
    assert names == ["open", "high", "low", "close", "volume"]
    (shown,) = [block for block in QUERIES if "$exchange" in block.text]
    assert shown.text.split() == candles["targets"][0]["rawSql"].split()


async def test_pandas_by_csv(recorded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", recorded)
    printed: list[float] = []
    names = {"print": printed.append}
    code = PANDAS.text.replace(
        '".venv/bin/python", "main.py"', f'"{sys.executable}", "{ROOT}/main.py"'
    )
    await asyncio.to_thread(exec, compile(code, DOCUMENT, "exec"), names)
    assert 0 < printed[0] < 1e-3


async def test_pandas_by_a_driver(recorded: str, tmp_path: Path) -> None:
    """It runs where SQLAlchemy and a driver are: in the environment of the benchmarks."""
    python = await asyncio.to_thread(_with_driver)
    if python is None:
        pytest.skip("sqlalchemy and psycopg are not installed: `make bench` makes .venv-bench")
    start, end = DRIVER.text.index("address = "), DRIVER.text.index("engine = ")
    code = f"{DRIVER.text[:start]}address = {recorded!r}\n{DRIVER.text[end:]}"
    assert 0 < float(await run(f"{python} -c {shlex.quote(code)}", recorded, tmp_path)) < 1e-3


def _with_driver() -> str | None:
    """A Python that has what the example imports."""
    for python in (sys.executable, str(BENCH_PYTHON)):
        with suppress(OSError):
            command = [python, "-c", "import pandas, psycopg, sqlalchemy"]
            if not subprocess.run(command, capture_output=True, check=False).returncode:  # noqa: S603 - our own
                return python
    return None
