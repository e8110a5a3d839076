"""The demo's history: a document as it was before the close, read back from the record."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from commands.console import Console
from commands.demo_client import compact_table, get, utc
from commands.errors import DemoFailed

_RECORDED_S: Final = 30.0
_LOOK_S: Final = 0.2
_SHOWN: Final = "BTCUSDT"


async def show_the_record(console: Console, client: aiohttp.ClientSession, then: Any) -> None:
    """Reads `then`, a document that was served before, as it was, and the candles that are kept.
    Raises DemoFailed if it differs from what was served."""
    console.print(
        "\n[bold]History:[/bold] every version is recorded in PostgreSQL, each value with the time "
        "since which it is known."
    )
    timeframe = then["timeframe"]
    path = f"/cache/{timeframe}?symbol={_SHOWN}&as_of={then['updated_at']}"
    as_of = await _recorded(client, path)
    served = [market for market in then["markets"] if market["symbol"] == _SHOWN]
    if as_of["version"] != then["version"] or as_of["markets"] != served:
        raise DemoFailed(f"GET {path} is not what was served then")
    now = await get(client, f"/cache/{timeframe}?symbol={_SHOWN}")
    kept = await get(client, f"/api/historical/candles?symbols={_SHOWN}&timeframe={timeframe}")
    _print(console, as_of, now, kept)


async def _recorded(client: aiohttp.ClientSession, path: str) -> Any:
    """The JSON of a GET, as soon as the record has come so far."""
    try:
        async with asyncio.timeout(_RECORDED_S):
            while True:
                async with client.get(path) as reply:
                    if reply.status not in (404, 503):
                        break
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise DemoFailed(
            f"GET {path} found nothing recorded after {_RECORDED_S:.0f} s:"
            f" {(await get(client, '/jobs/record'))['last']}"
        ) from None
    return await get(client, path)


def _print(console: Console, then: Any, now: Any, kept: Any) -> None:
    """The newest candle of `then`, as it was and as it is; how many candles the record has."""
    before, after = _rows(then), _rows(now)
    table = compact_table(
        f"{then['timeframe']} candles as of {utc(then['updated_at'])} UTC (?as_of=), and now",
        ("opened", "close then", "close now"),
    )
    for market, rows in before.items():
        open_ms = max(rows)
        row = after.get(market, {}).get(open_ms)
        table.add_row(
            market,
            f"{utc(open_ms, '%H:%M')} UTC",
            f"{rows[open_ms]['close']:.6g}",
            "-" if row is None else f"{row['close']:.6g}",
        )
    console.print(table)
    console.print(
        f"As it was: version {then['version']}, equal to what was served then. {kept['rows']:,} "
        f"closed candles of {then['timeframe']} are kept of {len(kept['markets'])} markets named "
        f"{_SHOWN}; `python main.py sql` reads all in SQL.",
        highlight=False,
    )


def _rows(document: Any) -> dict[str, dict[int, Mapping[str, Any]]]:
    """The rows of each market by open time."""
    columns = document["columns"]
    return {
        f"{market['exchange']}:{market['symbol']}": {
            values[0]: dict(zip(columns, values, strict=True)) for values in market["rows"]
        }
        for market in document["markets"]
    }
