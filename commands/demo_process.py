"""The demo's processes: started without the user's settings and ended with the demo."""

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from commands.arguments import PARENT_FD_FLAG
from commands.errors import DemoFailed
from commands.listening import READY_WORDS
from commands.serve import MAIN

_START_S: Final = 60.0
_STOP_S: Final = 10.0


@contextlib.asynccontextmanager
async def running(
    arguments: list[str], environment: dict[str, str], folder: Path
) -> AsyncIterator[str]:
    """Runs a command of main.py until the block ends; yields its HTTP address.

    The command runs in `folder` and a clean environment, so that neither the user's settings nor
    their `.env` reach it. It ends by itself if this process is killed.
    """
    read_end, write_end = os.pipe()
    own = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(MAIN),
        *arguments,
        PARENT_FD_FLAG,
        str(read_end),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**own, **environment},
        cwd=folder,
        pass_fds=(read_end,),
        start_new_session=True,
    )
    os.close(read_end)
    lines: deque[str] = deque(maxlen=15)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    reader = asyncio.create_task(_read(process, lines, ready))
    try:
        try:
            address = await asyncio.wait_for(ready, _START_S)
        except TimeoutError:
            raise DemoFailed(
                f"{arguments[0]} was not ready after {_START_S:.0f} s; its last lines:\n"
                + "\n".join(lines)
            ) from None
        yield address
    finally:
        os.close(write_end)
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()
        await reader


async def _read(
    process: asyncio.subprocess.Process, lines: "deque[str]", ready: "asyncio.Future[str]"
) -> None:
    """Keeps the process's last lines in `lines`; completes `ready` with its address."""
    assert process.stdout is not None  # noqa: S101 - asked for with PIPE
    async for raw in process.stdout:
        line = raw.decode(errors="replace").rstrip()
        lines.append(line)
        _, found, address = line.partition(READY_WORDS)
        if found and not ready.done():
            ready.set_result(address.split()[0])
    if not ready.done():
        ready.set_exception(DemoFailed("a process ended before it was ready:\n" + "\n".join(lines)))
