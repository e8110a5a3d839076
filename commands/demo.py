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
from typing import Any

import aiohttp

from commands.console import Console
from commands.demo_asset import show_an_asset
from commands.demo_backfill import show_a_backfill
from commands.demo_client import compact_table, get, progress_bars, run_job, short_number, utc
from commands.demo_close import Simulated, begin_ms, show_a_close
from commands.demo_history import show_the_record
from commands.demo_page import may_wait, show_the_page
from commands.demo_process import running
from commands.demo_providers import show_the_providers, simulated_providers
from commands.demo_rounds import show_the_rounds
from commands.errors import DemoFailed
from commands.runtime import cancelled_by, stop_signals
from logging_setup import configure_logging
from market.markets import Exchange
from stores.embedded.stores import remove_embedded_data


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
        "data is removed.\nNext: [bold]make run[/bold] serves the live exchanges and their page, "
        "docs/start.md shows how a bot reads it.",
        highlight=False,
    )
    return 0


async def _show(console: Console, folder: Path, markets: int) -> None:
    console.print(
        f"Perpcache demo: {len(Exchange)} exchanges simulated with {markets} markets each, limits "
        "included."
    )
    counts = [word for exchange in Exchange for word in (f"--{exchange}", str(markets))]
    begin = str(begin_ms(time.time_ns() // 1_000_000))
    simulator = running(["simulate", "--port", "0", "--now", begin, *counts], {}, folder)
    async with simulator as exchange_address, simulated_providers(folder) as providers_address:
        secret = secrets.token_hex(16)
        settings = {
            "DATA_DIR": str(folder),
            "PORT": "0",
            "LOG_FORMAT": "console",
            **{f"{name.upper()}_BASE_URL": exchange_address for name in Exchange},
            **{
                f"{name.upper()}_WS_URL": exchange_address.replace("http", "ws", 1)
                for name in Exchange
            },
            "EXCHANGES": ",".join(Exchange),
            "TIMEFRAMES": "5m,4h,8h",
            "PROVIDERS_BASE_URL": providers_address,
            "CRON_SECRET": secret,
        }
        # What is shown is asked for: no schedule fires in the middle of it.
        service = running(["serve"], {**settings, "LIVE": "auto", "SCHEDULES": "off"}, folder)
        console.print("Starting Valkey, PostgreSQL, the API, the worker and the live feed ...")
        async with service as address:
            console.print(
                f"The service answers at {address}, its page is {address}/ui/", highlight=False
            )
            timeout = aiohttp.ClientTimeout(total=30)
            async with (
                aiohttp.ClientSession(address, timeout=timeout) as client,
                aiohttp.ClientSession(exchange_address, timeout=timeout) as simulated,
            ):
                job_s = await _refresh(console, client, secret)
                four_hours = await get(client, "/cache/4h")
                eight_hours = await get(client, "/cache/8h")
                _print_table(console, four_hours, eight_hours)
                await show_a_close(console, client, Simulated(simulated), job_s)
                await show_an_asset(console, client)
                await show_a_backfill(console, client, four_hours)
                await show_the_record(console, client, four_hours)
                await show_the_providers(console, client, providers_address)
        await show_the_rounds(console, settings, folder)
        if may_wait(console):
            await show_the_page(console, settings, folder, exchange_address)


async def _refresh(console: Console, client: aiohttp.ClientSession, secret: str) -> float:
    """Collects funding and 4h candles; returns how many seconds the latter took."""
    with progress_bars(console) as bars:
        headers = {"Authorization": f"Bearer {secret}"}
        await run_job(bars, client, "funding", "/api/v1/internal/update-fr", headers=headers)
        wanted = {"timeframe": "4h"}
        return await run_job(bars, client, "4h candles", "/get-market-data", json=wanted)


def _print_table(console: Console, four_hours: Any, eight_hours: Any) -> None:
    longer = {(m["exchange"], m["symbol"]): m["rows"] for m in eight_hours["markets"]}
    closed = four_hours["last_closed_open_time"]
    columns = four_hours["columns"]
    table = compact_table(
        f"Closed candles of {utc(closed, '%Y-%m-%d %H:%M')} UTC, and rows of 4h and 8h",
        ("close", "volume", "OI", "funding", "4h", "8h"),
    )
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
            short_number(row["volume"]),
            short_number(row["open_interest"]),
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
