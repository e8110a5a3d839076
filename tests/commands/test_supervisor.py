"""Children that die, that will not end, and that are told to stop between two lives."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from commands.supervisor import Child, ChildSpec
from tests.fixtures.signals import until_true

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").close()
time.sleep(60)
"""


def child_of(folder: Path, program: str) -> Child:
    file = folder / "program.py"
    file.write_text(program)
    return Child(ChildSpec("child", [str(file), str(folder / "started")]))


async def test_a_child_that_dies_is_started_again_with_growing_pauses(tmp_path: Path) -> None:
    child = child_of(tmp_path, "raise SystemExit(3)")
    with structlog.testing.capture_logs() as logged:
        running = asyncio.create_task(child.keep_running())
        await until_true(lambda: sum(line["event"] == "child_died" for line in logged) >= 3)
        # It is told while nothing runs: no further child is started.
        await child.stop(1)
        await running
    died = [line for line in logged if line["event"] == "child_died"]
    assert [line["restart_in_s"] for line in died] == [0.2, 0.4, 0.8]
    assert {line["exit_code"] for line in died} == {3}
    assert sum(line["event"] == "child_started" for line in logged) == 3
    assert child.pid is None


TELLS_ITS_ENVIRONMENT = """
import os, sys
with open(sys.argv[1], "w") as told:
    told.write(os.environ["GIVEN"] + " " + os.environ["KEPT"])
"""


@pytest.mark.parametrize("ours", [None, "ours"])
async def test_a_child_gets_variables_unless_they_are_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: str | None
) -> None:
    if ours is not None:
        monkeypatch.setenv("GIVEN", ours)
    monkeypatch.setenv("KEPT", "kept")
    os.mkfifo(tmp_path / "started")
    child = child_of(tmp_path, TELLS_ITS_ENVIRONMENT)
    child.spec = replace(child.spec, environment={"GIVEN": "given"})
    running = asyncio.create_task(child.keep_running())
    told = await asyncio.to_thread((tmp_path / "started").read_text)
    await child.stop(1)
    await running
    assert told == f"{ours or 'given'} kept"


async def test_a_child_that_will_not_end_is_killed_in_time(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "started")
    child = child_of(tmp_path, STUBBORN)
    clock = asyncio.get_running_loop().time
    with structlog.testing.capture_logs() as logged:
        running = asyncio.create_task(child.keep_running())
        await asyncio.to_thread((tmp_path / "started").read_bytes)
        began = clock()
        await child.stop(0.3)
        assert 0.3 <= clock() - began < 3
        await running
    assert [line["event"] for line in logged] == ["child_started", "child_killed"]
    assert child.pid is None


async def test_a_child_that_was_well_for_long_is_started_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commands.supervisor._HEALTHY_AFTER_S", 0.0)
    child = child_of(tmp_path, "")
    with structlog.testing.capture_logs() as logged:
        running = asyncio.create_task(child.keep_running())
        await until_true(lambda: sum(line["event"] == "child_died" for line in logged) >= 3)
        await child.stop(1)
        await running
    assert {line["restart_in_s"] for line in logged if line["event"] == "child_died"} == {0.2}
