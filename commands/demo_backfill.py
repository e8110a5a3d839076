"""The demo's backfill: older data of some markets goes into the record, and its holes are told."""

import asyncio
import time
from collections import Counter
from typing import Any, Final

import aiohttp

from commands.console import Console
from commands.demo_client import compact_table, get, post, progress_bars, utc
from commands.errors import DemoFailed
from market.timeframes import DAY_MS

_PATH: Final = "/api/history/backfill"
# The last of them has minutes without trades, and so without candles.
_KNOWN: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "1000PEPEUSDT", "XRPUSDT", "1000SHIBUSDT")
_DAYS: Final = 3
_TIMEFRAMES: Final = ("5m", "4h", "8h")
_DONE_S: Final = 60.0
_SEARCHED_S: Final = 20.0
_LOOK_S: Final = 0.2
_SHOWN: Final = 3  # holes


async def show_a_backfill(console: Console, client: aiohttp.ClientSession, document: Any) -> None:
    """Fills the record with some days of some markets of a document. Raises DemoFailed."""
    names = sorted({market["symbol"] for market in document["markets"]})
    symbols = ([name for name in _KNOWN if name in names] or names)[: len(_KNOWN)]
    console.print(
        f"\n[bold]Backfill:[/bold] {_DAYS} days of {len(symbols)} symbols on all exchanges, in "
        "what the budgets have to spare."
    )
    wanted = {
        "symbols": symbols,
        "timeframes": [*_TIMEFRAMES],
        "from": document["last_closed_open_time"] - _DAYS * DAY_MS,
    }
    asked = await post(client, _PATH, 202, json=wanted)
    done = await _ended(console, client, asked["id"])
    kept = await _kept(client, symbols)
    console.print(
        f"{done['rows']:,} rows came by {done['requests']} requests; the record has "
        f"{sum(kept.values()):,} candles of 5m of {len(kept)} markets now.",
        highlight=False,
    )
    await _show_holes(console, client, asked["id"])


async def _ended(console: Console, client: aiohttp.ClientSession, wish_id: int) -> Any:
    """The backfill once it is over, on a progress bar until then."""
    deadline_s = time.monotonic() + _DONE_S
    with progress_bars(console) as bars:
        bar = bars.add_task("backfill: queued", total=None)
        while True:
            found = await get(client, f"{_PATH}/{wish_id}")
            bars.update(
                bar,
                description=f"backfill: {found['rows']:,} rows",
                completed=found["done"],
                total=found["total"] or None,
            )
            if found["finished_at"] is not None:
                break
            if time.monotonic() > deadline_s:
                raise DemoFailed(f"the backfill did not end within {_DONE_S:.0f} s: {found}")
            await asyncio.sleep(_LOOK_S)
    if found["state"] != "complete":
        raise DemoFailed(f"the backfill ended {found['state']}: {found['error']}")
    return found


async def _kept(client: aiohttp.ClientSession, symbols: list[str]) -> Counter[str]:
    """How many candles of 5m the record has, by market."""
    names = ",".join(symbols)
    path = f"/api/historical/candles?symbols={names}&timeframe=5m&columns=close"
    answer = await get(client, path)
    return Counter(
        {f"{each['exchange']}:{each['symbol']}": len(each["rows"]) for each in answer["markets"]}
    )


async def _show_holes(console: Console, client: aiohttp.ClientSession, wish_id: int) -> None:
    """The holes that the search after the backfill has found, if it found any."""
    finished_ms = (await get(client, f"{_PATH}/{wish_id}"))["finished_at"]
    deadline_s = time.monotonic() + _SEARCHED_S
    while True:
        last = (await get(client, "/jobs/holes"))["last"]
        if last is not None and last["finished_at"] >= finished_ms:
            break
        if time.monotonic() > deadline_s:
            raise DemoFailed(f"no search for holes ended within {_SEARCHED_S:.0f} s: {last}")
        await asyncio.sleep(_LOOK_S)
    holes = (await get(client, "/api/history/holes?kind=candles&timeframe=5m"))["holes"]
    if not holes:
        console.print("No candle of 5m is lacking.")
        return
    table = compact_table("Holes of 5m (/api/history/holes)", ("from", "to", "lack", "state"))
    for hole in holes[:_SHOWN]:
        table.add_row(
            f"{hole['exchange']}:{hole['symbol']}",
            utc(hole["from"], "%m-%d %H:%M"),
            utc(hole["to"], "%m-%d %H:%M"),
            str(hole["instants"]),
            hole["state"],
        )
    console.print(table)
    console.print(
        f"{len(holes)} in all. Where the exchange had nothing (asked), it is asked once more after "
        "a day; then the hole is the exchange's.",
        highlight=False,
    )
