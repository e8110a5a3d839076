"""The demo's rounds: what the agent does every 5 and 15 minutes, forced, and what that saved."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from commands.console import Console
from commands.demo_client import compact_table, get, progress_bars
from commands.demo_process import running
from commands.errors import DemoFailed

_ENDED_S: Final = 90.0
_LOOK_S: Final = 0.2
_OVER: Final = ("complete", "failed", "aborted", "coalesced")


async def show_the_rounds(console: Console, settings: Mapping[str, str], folder: Path) -> None:
    """Starts the service of these settings again, with schedules, and forces a round for what users
    look at and one for the history. Raises DemoFailed."""
    console.print(
        "\n[bold]Schedules:[/bold] the service feeds itself: after every close, and by two rounds, "
        "every 5 minutes for what users look at and every 15 for the history. Started again, in "
        "one process, both are forced now:"
    )
    scheduled = {
        **settings,
        "SCHEDULES": "on",
        "LIVE": "off",
        "UI_TIMEFRAMES": "5m",
        "HISTORY_TIMEFRAMES": "4h,8h",
    }
    async with running(["serve", "--one-process"], scheduled, folder) as address:
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(address, timeout=timeout) as client:
            await _show(console, client)


async def _show(console: Console, client: aiohttp.ClientSession) -> None:
    asked = await _forced(client)
    table = compact_table(
        "Rounds (GET /api/runs)", ("run", "took", "asked for", "rows saved"), "worker"
    )
    with progress_bars(console) as bars:
        for run in asked["runs"]:
            bar = bars.add_task(f"{run['worker']}: collecting", total=None)
            ended = await _ended(client, run)
            result = ended["result"]
            bars.update(bar, total=1, completed=1)
            table.add_row(
                run["worker"],
                str(run["id"]),
                f"{(ended['finished_at'] - ended['started_at']) / 1000:.1f} s",
                " ".join(each["id"].removeprefix("collect:") for each in result["asked"]),
                f"{result['rows']:,}",
            )
    console.print(table)
    stats = await get(client, "/api/worker/stats")
    console.print(
        f"Collections for users: {stats['ui_collections']}, for the history: "
        f"{stats['historical_collections']}; {stats['total_records_saved']:,} rows saved, "
        f"{stats['errors']} errors. `python main.py workers list` shows all workers.",
        highlight=False,
    )


async def _forced(client: aiohttp.ClientSession) -> Any:
    """The runs, once the process that has just started has its rows in the database."""
    path = "/api/worker/force-collection?type=both"
    deadline_s = time.monotonic() + _ENDED_S
    while True:
        async with client.post(path) as reply:
            if reply.status == 202:
                return await reply.json()
            text = await reply.text()
        if time.monotonic() > deadline_s:
            raise DemoFailed(f"POST {path} answered {reply.status}: {text}")
        await asyncio.sleep(_LOOK_S)


async def _ended(client: aiohttp.ClientSession, run: Any) -> Any:
    deadline_s = time.monotonic() + _ENDED_S
    while (found := await get(client, f"/api/runs/{run['id']}"))["state"] not in _OVER:
        if time.monotonic() > deadline_s:
            raise DemoFailed(f"{run['worker']} did not end within {_ENDED_S:.0f} s: {found}")
        await asyncio.sleep(_LOOK_S)
    if found["state"] != "complete":
        raise DemoFailed(f"{run['worker']} ended {found['state']}: {found['error']}")
    return found
