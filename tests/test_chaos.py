"""A short run of `make chaos`: faults of every part, every version of every document compared."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.fixtures.signals import until_true

_ROOT: Final = Path(__file__).resolve().parents[1]
_DEADLINE_S: Final = 170.0


async def _start(*arguments: str, cwd: Path) -> asyncio.subprocess.Process:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos", *arguments),
        cwd=cwd,
        env={**environment, "PYTHONPATH": str(_ROOT)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )


async def _output(process: asyncio.subprocess.Process, within_s: float = _DEADLINE_S) -> str:
    try:
        output, _ = await asyncio.wait_for(process.communicate(), within_s)
    finally:
        if process.returncode is None:
            process.terminate()  # it ends what it started
            await process.wait()
    return output.decode(errors="replace")


@pytest.mark.slow
@pytest.mark.timeout(_DEADLINE_S + 20)
async def test_a_short_run_has_no_violation(tmp_path: Path) -> None:
    process = await _start("--seed", "5", "--seconds", "10", "--mode", "polling", cwd=tmp_path)
    output = await _output(process)
    assert process.returncode == 0, output
    told = re.search(
        r"(\d+) faults injected, (\d+) reads checked, (\d+) versions, (\d+) rows; violations: 0",
        output,
    )
    assert told, output
    faults, reads, versions, rows = map(int, told.groups())
    assert faults > 10
    assert reads > 100
    assert versions > 2 * 11  # each document while things broke, and again when all was well
    assert rows > 10_000


@pytest.mark.slow
@pytest.mark.timeout(500)
async def test_a_run_with_streams_has_no_violation(tmp_path: Path) -> None:
    arguments = ("--seed", "5", "--seconds", "60", "--mode", "streams")
    process = await _start(*arguments, cwd=tmp_path)
    output = await _output(process, 480)
    assert process.returncode == 0, output
    assert "violations: 0" in output
    assert int(re.findall(r"candles taken from streams (\d+)", output)[0]) > 24
    assert int(re.findall(r"closes: (\d+)", output)[0]) >= 6


@pytest.mark.timeout(90)
async def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    process = await _start("--seed", "6", "--seconds", "30", "--quiet", cwd=tmp_path)
    me = psutil.Process(process.pid)
    started: list[psutil.Process] = []

    def is_starting() -> bool:
        """The simulator, both stores and the service: in the middle of the start."""
        with contextlib.suppress(psutil.Error):
            started[:] = me.children(recursive=True)
        return len(started) >= 5

    await until_true(is_starting)
    process.send_signal(signal.SIGINT)
    output = await _output(process)
    assert process.returncode == 130, output
    assert [child for child in started if child.is_running()] == []


async def test_the_plan_can_be_looked_at(tmp_path: Path) -> None:
    process = await _start("--seed", "6", "--plan", "--mode", "polling", cwd=tmp_path)
    output = await _output(process)
    assert process.returncode == 0
    again = await _start("--seed", "6", "--plan", "--mode", "polling", cwd=tmp_path)
    assert await _output(again) == output
    assert re.search(r"^ *\d+\.\d s  process   worker_killed", output, re.MULTILINE)
    wrong = await _start("--seconds", "1", cwd=tmp_path)
    assert "--seconds must be 5 to 3600" in await _output(wrong)
    assert wrong.returncode == 2
