"""`make demo`: the whole service against the simulated exchanges, then everything removed.

It starts two processes, uses the service over HTTP as any client does, and cleans up.
"""

import argparse
import asyncio
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.box import SIMPLE
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from commands.console import Console
from commands.demo_process import running
from commands.errors import DemoFailed
from commands.runtime import cancelled_by, stop_signals
from commands.terminal import plain_phase
from logging_setup import configure_logging
from market.markets import DEFAULT_EXCHANGES
from stores.embedded.stores import remove_embedded_data

_JOB_S: Final = 120.0


def run(arguments: argparse.Namespace) -> int:
    """Runs `demo` on an event loop of its own, without the user's settings."""
    configure_logging("WARNING", "console")
    return asyncio.run(_until_stopped(arguments.markets))


async def _until_stopped(markets: int) -> int:
    stop = asyncio.Event()
    with stop_signals(stop.set):
        return await cancelled_by(stop, run_demo(markets))


async def run_demo(markets: int) -> int:
    """Shows the main job on a temporary DATA_DIR, which is removed however it ends. Returns the
    exit code: 0, or 1 with a reason."""
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="perpcache-demo-"))
    started = time.monotonic()
    try:
        await _show(console, folder, markets)
    except (DemoFailed, aiohttp.ClientError, TimeoutError) as error:
        console.print("[red]demo failed:[/red]")
        for line in str(error).splitlines():
            console.say(line)
        return 1
    finally:
        await asyncio.to_thread(remove_embedded_data, folder)
        shutil.rmtree(folder, ignore_errors=True)
    console.print(
        f"Done in {time.monotonic() - started:.0f} s; nothing is left running, and the temporary "
        "data is removed.\nNext: [bold]make run[/bold] serves the live exchanges, "
        "README.md shows how a bot reads it.",
        highlight=False,
    )
    return 0


async def _show(console: Console, folder: Path, markets: int) -> None:
    console.print(
        f"Perpcache demo: both exchanges simulated with {markets} markets each, limits included."
    )
    counts = [word for exchange in DEFAULT_EXCHANGES for word in (f"--{exchange}", str(markets))]
    simulator = running(["simulate", "--port", "0", *counts], {}, folder)
    async with simulator as exchange_address:
        secret = secrets.token_hex(16)
        service = running(
            ["serve"],
            {
                "DATA_DIR": str(folder),
                "PORT": "0",
                "LOG_FORMAT": "console",
                **{f"{name.upper()}_BASE_URL": exchange_address for name in DEFAULT_EXCHANGES},
                "CRON_SECRET": secret,
            },
            folder,
        )
        console.print("Starting Valkey, PostgreSQL, the API and the worker ...")
        async with service as address:
            console.print(f"The service answers at {address}", highlight=False)
            timeout = aiohttp.ClientTimeout(total=30)
            async with aiohttp.ClientSession(address, timeout=timeout) as client:
                await _refresh(console, client, secret)
                four_hours = await _get(client, "/cache/4h")
                eight_hours = await _get(client, "/cache/8h")
            _print_table(console, four_hours, eight_hours)


async def _refresh(console: Console, client: aiohttp.ClientSession, secret: str) -> None:
    columns = (
        TextColumn("{task.description:<37}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        headers = {"Authorization": f"Bearer {secret}"}
        await _run_job(bars, client, "funding", "/api/v1/internal/update-fr", headers=headers)
        await _run_job(bars, client, "4h candles", "/get-market-data", json={"timeframe": "4h"})


async def _run_job(
    bars: Progress, client: aiohttp.ClientSession, what: str, path: str, **request: Any
) -> None:
    """Posts to `path` and shows the resulting job on a progress bar until it ends."""
    bar = bars.add_task(f"{what}: queued", total=None)
    async with client.post(path, **request) as reply:
        asked = await reply.json()
        if reply.status != 202:
            raise DemoFailed(f"POST {path} answered {reply.status}: {asked}")
    deadline = time.monotonic() + _JOB_S
    while True:
        job = await _get(client, f"/jobs/{asked['id']}")
        last = job["last"]
        if last and last["run"] >= asked["run"]:
            break
        if time.monotonic() > deadline:
            raise DemoFailed(f"the {what} job did not end within {_JOB_S:.0f} s: {job}")
        now = job["progress"]
        bars.update(
            bar,
            description=f"{what}: {plain_phase(now['phase'])}",
            completed=now["done"],
            total=now["total"] or None,
        )
        await asyncio.sleep(0.2)
    if last["state"] != "complete":
        raise DemoFailed(f"the {what} job ended {last['state']}: {last['error']}")
    result = last["result"]
    bars.update(
        bar,
        description=f"{what}: {result['requests']} requests",
        completed=result["markets"],
        total=result["markets"],
    )


async def _get(client: aiohttp.ClientSession, path: str) -> Any:
    async with client.get(path) as reply:
        if reply.status != 200:
            raise DemoFailed(f"GET {path} answered {reply.status}: {await reply.text()}")
        return await reply.json()


def _print_table(console: Console, four_hours: Any, eight_hours: Any) -> None:
    longer = {(m["exchange"], m["symbol"]): m["rows"] for m in eight_hours["markets"]}
    closed = four_hours["last_closed_open_time"]
    columns = four_hours["columns"]
    opened = time.strftime("%Y-%m-%d %H:%M", time.gmtime(closed / 1000))
    table = Table(
        title=f"Closed candles of {opened} UTC, and rows of 4h and 8h",
        box=SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("market", no_wrap=True)
    for name in ("close", "volume", "OI", "funding", "4h", "8h"):
        table.add_column(name, justify="right", no_wrap=True)
    last = {
        (m["exchange"], m["symbol"]): row
        for m in four_hours["markets"]
        for row in (dict(zip(columns, values, strict=True)) for values in m["rows"][-2:])
        if row["open_time"] == closed
    }
    shown = [m for m in four_hours["markets"] if (m["exchange"], m["symbol"]) in last]
    for market in shown[:: max(1, len(shown) // 8)][:8]:
        row = last[market["exchange"], market["symbol"]]
        table.add_row(
            f"{market['exchange']}:{market['symbol']}",
            f"{row['close']:.5g}",
            _short(row["volume"]),
            _short(row["open_interest"]),
            "-" if row["funding_rate"] is None else f"{row['funding_rate']:.4%}",
            str(len(market["rows"])),
            str(len(longer.get((market["exchange"], market["symbol"]), []))),
        )
    console.print(table)
    console.print(
        f"{len(four_hours['markets'])} markets, "
        f"{sum(len(m['rows']) for m in four_hours['markets']):,} rows of 4h, "
        f"{sum(len(m['rows']) for m in eight_hours['markets']):,} rows of 8h, "
        f"{len(four_hours['missing'])} named as missing."
    )


def _short(number: float | None) -> str:
    """A number as text, in thousands, millions or billions; `-` for None."""
    if number is None:
        return "-"
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:.0f}"
