"""The demo's page: on a terminal the service runs on, live, until its user has seen the page."""

import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp

from commands.console import Console
from commands.demo_client import post, progress_bars, run_job
from commands.demo_process import running

_CHART: Final = "ui/#/market/BTCUSDT/4h"


def may_wait(console: Console) -> bool:
    """Whether somebody is there who can press Enter."""
    return console.is_terminal and sys.stdin.isatty()


async def show_the_page(
    console: Console, settings: Mapping[str, str], folder: Path, exchange_address: str
) -> None:
    """Starts the service of these settings once more, with schedules and streams, names its page,
    and waits for Enter. Raises DemoFailed."""
    console.print("\n[bold]The page:[/bold] the simulated exchanges go on, in your own time:")
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(exchange_address, timeout=timeout) as exchanges:
        await post(exchanges, "/sim/clock", json={"now": time.time_ns() // 1_000_000})
    ruled = {**settings, "SCHEDULES": "on", "LIVE": "auto"}
    async with running(["serve", "--one-process"], ruled, folder) as address:
        headers = {"Authorization": f"Bearer {settings['CRON_SECRET']}"}
        async with aiohttp.ClientSession(address, timeout=timeout) as client:
            with progress_bars(console) as bars:
                path = "/api/v1/internal/update-fr"
                await run_job(bars, client, "funding", path, headers=headers)
                wanted = {"timeframe": "all"}
                await run_job(bars, client, "candles", "/get-market-data", json=wanted)
        console.print(
            f"[bold]{address}/{_CHART}[/bold]\nshows BTCUSDT on all exchanges, with open interest "
            "and funding under its candles, and all the rest of the service.\n"
            "It stays open until you press [bold]Enter[/bold] here.",
            highlight=False,
            soft_wrap=True,
        )
        await _enter()


async def _enter() -> None:
    loop = asyncio.get_running_loop()
    pressed = asyncio.Event()
    loop.add_reader(sys.stdin, pressed.set)
    try:
        await pressed.wait()
    finally:
        loop.remove_reader(sys.stdin)
    sys.stdin.readline()
