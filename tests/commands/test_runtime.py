"""An event loop that code of others ends: its process ends too."""

import subprocess
import sys
from pathlib import Path

import pytest

# A task that calls sys.exit ends the loop; another one then waits for ever.
PROGRAM = """
import argparse, asyncio, sys
from commands import runtime

runtime._TORN_ENDS_IN_S = 0.1

async def leaves():
    sys.exit(9)

async def stays():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def command(settings, stop, arguments):
    tasks = [asyncio.create_task(stays()), asyncio.create_task(leaves())]
    await asyncio.gather(*tasks)
    return 0

print(runtime.run(command, None, argparse.Namespace(parent_fd=None)))
"""


# A command that waits for what never comes.
HANGS = """
import argparse, asyncio, contextlib, os, signal
from commands import runtime

runtime._STOPS_IN_S = 0.1

async def command(settings, stop, arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    try:
        await asyncio.Event().wait()
    finally:
        print("cleaned up", flush=True)
        while IGNORES:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

print("exit code", runtime.run(command, None, argparse.Namespace(parent_fd=None)))
"""


def _ended(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("ignores", [False, True])
def test_a_command_that_does_not_stop_is_ended(ignores: bool) -> None:
    """Also one that does not take its cancellation."""
    ended = _ended(f"IGNORES = {ignores}\n{HANGS}")
    assert "command_did_not_stop" in ended.stdout + ended.stderr
    assert "cleaned up" in ended.stdout
    # What ignores its cancellation is left behind: the process ends without it.
    assert ("exit code 1" in ended.stdout) is not ignores
    assert ended.returncode == int(ignores)


def test_a_process_ends_whose_loop_was_ended_by_a_task() -> None:
    ended = _ended(PROGRAM)
    assert ended.returncode == 1 and "event_loop_ended" in ended.stdout + ended.stderr
