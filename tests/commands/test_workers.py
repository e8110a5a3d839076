"""`workers` on the command line: its lists, switches and log, and a worker run here and now."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from database import Database
from main import main
from stores.cold.workers.log import NewLine
from tests.fixtures.api import ServedApi
from tests.fixtures.forked import ended

RunWorkers = Callable[..., Awaitable[tuple[int, str, str]]]
PLUGIN: Final = """
from perpcache.workers import Context, schedule


@schedule()
async def doubled(job: Context) -> dict[str, int]:
    job.log.info("doubling", number=job.input["number"])
    return {"rows": 2 * job.input["number"]}


@schedule("0 0 * * *")
def failing(job: Context) -> None:
    raise ValueError("no such page")
"""


@pytest.fixture
def workers(
    controlled_api: ServedApi, redis_url: str, database_url: str, tmp_path: Path
) -> RunWorkers:
    """Runs `main.py workers ...`: the exit code and what it printed."""
    (tmp_path / "own_plugin.py").write_text(PLUGIN)

    async def run(*words: str) -> tuple[int, str, str]:
        environment = {
            "PATH": "/usr/bin:/bin",
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            "DATA_DIR": str(tmp_path / "data"),
            "WORKERS": "own_plugin",
        }
        return await ended(main, ["workers", *words], environment, tmp_path)

    return run


async def test_list_pause_and_resume(workers: RunWorkers) -> None:
    code, printed, _ = await workers("pause", "ui_data", "fund_values")
    assert (code, printed) == (0, "2 paused\n")
    code, printed, _ = await workers("list")
    assert code == 0
    lines = {line.split()[0]: line for line in printed.splitlines()[1:]}
    assert "every 300 s, 60 s after" in lines["ui_data"] and " paused " in lines["ui_data"]
    assert "0 15 * * 1-5 Asia/Ho_Chi_Minh" in lines["fund_values"]
    assert " on " in lines["closes"]
    assert printed.endswith("7 workers, 4 of them on\n")  # trades is off by itself
    code, printed, _ = await workers("resume", "ui_data")
    assert (code, printed) == (0, "1 resumed\n")
    code, _, errors = await workers("pause", "closes", "ui_dat")
    assert (code, "did you mean ui_data?" in errors) == (1, True)
    assert " on " in (await workers("list"))[1].split("\ncloses")[1].splitlines()[0]


async def test_one_is_run_here_and_now(workers: RunWorkers) -> None:
    code, printed, errors = await workers("run", "doubled", "--input", '{"number": 21}')
    assert (code, json.loads(printed)) == (0, {"rows": 42})
    assert "doubling" in errors
    code, printed, errors = await workers("run", "failing")
    assert (code, printed) == (1, "")
    assert "worker failing: ValueError: no such page" in errors
    code, _, errors = await workers("run", "double")
    assert (code, "did you mean doubled?" in errors) == (1, True)


async def test_the_log(workers: RunWorkers, database_url: str) -> None:
    database = Database(database_url)
    await database.execution_log.write(
        [
            NewLine(1_763_726_400_000 + number, "closes", 7, "h", level, f"e{number}", '{"n": 1}')
            for number, level in enumerate(("info", "error", "debug"))
        ]
    )
    await database.aclose()
    code, printed, _ = await workers("logs", "closes")
    assert code == 0
    assert printed.splitlines() == [
        "2025-11-21 12:00:00 info     closes run=7 e0 n=1",
        "2025-11-21 12:00:00 error    closes run=7 e1 n=1",
        "2025-11-21 12:00:00 debug    closes run=7 e2 n=1",
    ]
    code, printed, _ = await workers("logs", "--level", "error", "--run", "7")
    assert printed == "2025-11-21 12:00:00 error    closes run=7 e1 n=1\n"
    assert (await workers("logs", "--lines", "0"))[0] == 2
