"""docs/history.md: its command that downloads from the archive, run against the simulated one."""

import asyncio
import shlex
from pathlib import Path

import pytest

from commands import import_files
from config import Settings
from main import build_parser
from tests.docs.blocks import claim
from tests.fixtures.simulator import StartSimulator

COMMAND = claim("docs/history.md", "import --download")


async def test_the_command_of_the_document(
    start_simulator: StartSimulator, database_url: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    sim = start_simulator(binance=1, bybit=0, now="2026-11-30T12:00:00Z", frozen=True)
    words = shlex.split(COMMAND.text)
    assert words[:2] == [".venv/bin/python", "main.py"]
    values: dict[str, object] = {
        "database_url": database_url,
        "data_dir": tmp_path,
        "binance_base_url": sim.base_url,
        "archive_url": sim.base_url,
    }
    settings = Settings(**values)  # type: ignore[arg-type]
    parsed = build_parser(words[2:]).parse_args(words[2:])
    assert await import_files.run(settings, asyncio.Event(), parsed) == 0
    # October: a file of candles, one of funding, and of open interest one for each day and the one
    # before, whose last snapshot is the first of the month.
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("34 files of "), last
