"""What docs/history.md tells to run, run against the real API and database."""

import asyncio
import json
import shlex
import sys

import numpy as np
import pytest

from database import Database, NotedHole, SeriesKey, SeriesRows
from market.timeframes import Timeframe
from tests.docs.blocks import Block, claim
from tests.fixtures.api import ServedApi, StartApi

CURL = claim("docs/history.md", "curl 'http://127.0.0.1:8000/api/historical")
HOLES = claim("docs/history.md", "/api/history/holes?")
SCRIPTS = {
    "pandas": claim("docs/history.md", "import pandas"),
    "arro3": claim("docs/history.md", "read_ipc_stream"),
}
FIRST_MS = 1_793_491_200_000  # 2026-11-01 00:00 UTC
CLOSES = [100.0, 110.0, 99.0, 99.0, 108.9]


@pytest.fixture
async def api(start_api: StartApi, redis_url: str, database_url: str) -> ServedApi:
    database = Database(database_url)
    times = FIRST_MS + Timeframe.H4.interval_ms * np.arange(len(CLOSES), dtype=np.int64)
    values = np.column_stack([np.array(CLOSES)] * 6)
    key = SeriesKey.candles("binance", "BTCUSDT", Timeframe.H4)
    await database.history.store([SeriesRows(key, times, values)], FIRST_MS)
    await database.aclose()
    return await start_api(redis_url=redis_url, dsn=database_url)


async def printed(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        said = (await process.communicate())[0].decode()
    assert process.returncode == 0
    return said


async def test_curl_reads_three_candles(api: ServedApi) -> None:
    words = [word.replace(":8000", f":{api.port}") for word in shlex.split(CURL.text)]
    answer = json.loads(await printed(words[0], "-fsS", *words[1:]))
    assert [row[4] for row in answer["markets"][0]["rows"]] == CLOSES[:3]
    assert answer["next"]


async def test_curl_lists_holes(api: ServedApi, database_url: str) -> None:
    database = Database(database_url)
    lacking = NotedHole(FIRST_MS - 14_400_000, FIRST_MS, 14_400_000, "not_asked")
    key = SeriesKey.candles("binance", "BTCUSDT", Timeframe.H4)
    await database.holes.note(("binance", "BTCUSDT"), {key: [lacking]}, FIRST_MS)
    await database.aclose()
    words = [word.replace(":8000", f":{api.port}") for word in shlex.split(HOLES.text)]
    answer = json.loads(await printed(words[0], "-fsS", *words[1:]))
    assert [(each["from"], each["state"]) for each in answer["holes"]] == [
        (lacking.from_ms, "not_asked")
    ]


@pytest.mark.parametrize(
    ("block", "expected"),
    [(SCRIPTS["pandas"], "0.1\n"), (SCRIPTS["arro3"], f"{len(CLOSES)} {sum(CLOSES) / 5}\n")],
    ids=SCRIPTS,
)
async def test_the_scripts_print_what_the_rows_say(
    api: ServedApi, block: Block, expected: str
) -> None:
    said = await printed(sys.executable, "-c", block.text.replace(":8000", f":{api.port}"))
    if block is SCRIPTS["pandas"]:
        # The changes are +10 %, -10 %, 0 and +10 %.
        said = f"{float(said) ** 2 * 3:.4f}\n"
        expected = f"{sum((x - 0.025) ** 2 for x in (0.1, -0.1, 0.0, 0.1)):.4f}\n"
    assert said == expected
