"""The demo as a client: requests as any program sends them, jobs on progress bars, and tables."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
from rich.box import SIMPLE
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from commands.console import Console
from commands.errors import DemoFailed
from commands.terminal import plain_phase

_JOB_S: Final = 120.0
_LOOK_S: Final = 0.2


async def get(client: aiohttp.ClientSession, path: str) -> Any:
    """The JSON of a GET. Raises DemoFailed."""
    async with client.get(path) as reply:
        if reply.status != 200:
            raise DemoFailed(f"GET {path} answered {reply.status}: {await reply.text()}")
        return await reply.json()


async def post(client: aiohttp.ClientSession, path: str, status: int = 200, **request: Any) -> Any:
    """The JSON of a POST that has to answer with `status`. Raises DemoFailed."""
    async with client.post(path, **request) as reply:
        if reply.status != status:
            raise DemoFailed(f"POST {path} answered {reply.status}: {await reply.text()}")
        return await reply.json()


@contextmanager
def progress_bars(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description:<37}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield bars


async def run_job(
    bars: Progress, client: aiohttp.ClientSession, what: str, path: str, **request: Any
) -> float:
    """Posts to `path` and shows the resulting job on a progress bar until it ends; returns how many
    seconds that took. Raises DemoFailed."""
    began_s = time.monotonic()
    bar = bars.add_task(f"{what}: queued", total=None)
    asked = await post(client, path, 202, **request)

    def show(progress: Any) -> None:
        bars.update(
            bar,
            description=f"{what}: {plain_phase(progress['phase'])}",
            completed=progress["done"],
            total=progress["total"] or None,
        )

    result = await ended_job(client, what, asked, show)
    bars.update(
        bar,
        description=f"{what}: {result['requests']} requests",
        completed=result["markets"],
        total=result["markets"],
    )
    return time.monotonic() - began_s


async def ended_job(
    client: aiohttp.ClientSession, what: str, asked: Any, show: Callable[[Any], None] | None = None
) -> Any:
    """Waits for the run that a POST has `asked` for; its result. Raises DemoFailed."""
    deadline = time.monotonic() + _JOB_S
    while True:
        job = await get(client, f"/jobs/{asked['id']}")
        last = job["last"]
        if last and last["run"] >= asked["run"]:
            break
        if time.monotonic() > deadline:
            raise DemoFailed(f"the {what} job did not end within {_JOB_S:.0f} s: {job}")
        if show is not None:
            show(job["progress"])
        await asyncio.sleep(_LOOK_S)
    if last["state"] != "complete":
        raise DemoFailed(f"the {what} job ended {last['state']}: {last['error']}")
    return last["result"]


def compact_table(title: str, columns: Iterable[str], first: str = "market") -> Table:
    """A table of markets, or of what `first` says; `columns` follow the names and hold numbers or a
    word."""
    table = Table(title=title, box=SIMPLE, pad_edge=False, collapse_padding=True)
    table.add_column(first, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def utc(moment_ms: int, form: str = "%H:%M:%S") -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime(form)


def short_number(number: float | None) -> str:
    """A number as text, in thousands, millions or billions; `-` for None."""
    if number is None:
        return "-"
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:.0f}"
