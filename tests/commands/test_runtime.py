"""An event loop that code of others ends: its process ends too."""

import subprocess
import sys
from pathlib import Path

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


def test_a_process_ends_whose_loop_was_ended_by_a_task() -> None:
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1 and "event_loop_ended" in ended.stdout + ended.stderr
