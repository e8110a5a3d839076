"""Mistakes in workers of users end the start of real processes: each a line, with file and line."""

import asyncio
import os
import sys
from pathlib import Path

from tests.docs.blocks import ROOT

WRONG = """
from perpcache.workers import schedule

@schedule("61 * * * *")
async def first(job): ...

@schedule(every="1m", queue="No")
async def second(job): ...
"""
LACKING = """
from pydantic import BaseModel
from perpcache.workers import database, schedule

class Source(BaseModel):
    url: str

@schedule(every="1h", config=Source)
async def crawl(job): ...
"""


async def refused(command: str, folder: Path, text: str, **settings: str) -> list[str]:
    """Starts a process with this module in `plugins`; the lines that it ends with, by code 78."""
    (folder / "plugins").mkdir()
    (folder / "plugins" / "mine.py").write_text(text)
    of_tests = {
        "SCHEDULES": "on",
        "WORKERS": "plugins",
        "LIVE": "off",
        "PORT": "0",
        "DATA_DIR": str(folder / "data"),
        "BINANCE_BASE_URL": "http://127.0.0.1:1",
        "BYBIT_BASE_URL": "http://127.0.0.1:1",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "main.py"), command),
        cwd=folder,
        env={**os.environ, **of_tests, **settings},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, told = await asyncio.wait_for(process.communicate(), 100)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = told.decode()
    assert process.returncode == 78 and "Traceback" not in text, text
    return [line for line in text.splitlines() if line.startswith("perpcache: ")]


async def test_serve_starts_nothing_where_a_declaration_is_wrong(tmp_path: Path) -> None:
    lines = await refused("serve", tmp_path, WRONG)
    assert [line[:53] for line in lines] == [
        "perpcache: plugins/mine.py:4: worker first: cron: '61",
        "perpcache: plugins/mine.py:7: worker second: queue: '",
    ]
    assert not (tmp_path / "data").exists()


async def test_a_worker_process_ends_where_a_key_has_no_value(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    (line,) = await refused(
        "worker", tmp_path, LACKING, DATABASE_URL=database_url, REDIS_URL=redis_url
    )
    assert line.startswith("perpcache: plugins/mine.py:8: ")
    assert "crawl" in line and "url" in line and "CRAWL_URL" in line
