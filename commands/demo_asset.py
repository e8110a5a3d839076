"""The demo's asset: what no single exchange tells, of one asset over all of them."""

from typing import Any, Final

import aiohttp
from rich.markup import escape

from commands.console import Console
from commands.demo_client import get, short_number
from commands.errors import DemoFailed

_SHOWN: Final = "BTC"


async def show_an_asset(console: Console, client: aiohttp.ClientSession) -> None:
    """Reads the overview's figures of one asset. Raises DemoFailed."""
    path = f"/market/{_SHOWN}"
    told = await get(client, path)
    if not told["open_interest"]["exchanges"]:
        raise DemoFailed(f"GET {path} has no open interest: {told}")
    console.print(
        f"\n[bold]Over exchanges:[/bold] what no single one tells (GET {path}; GET /market lists "
        f"all assets).\n{escape(_in_words(told))}",
        highlight=False,
    )


def _in_words(told: Any) -> str:
    """One asset's figures, on a few lines."""
    asset, quote, interest = told["asset"], told["quote"], told["open_interest"]
    price, funding, change = told["price"], told["funding"], told["change"]["24h"]
    parts = [
        f"{asset} on {', '.join(interest['exchanges'])}: open interest "
        f"{short_number(interest['coins'])} {asset}, {short_number(interest['quote'])} {quote}"
    ]
    if change is not None and change["coins_fraction"] is not None:
        parts.append(f"{change['coins_fraction']:+.2%} in 24 h")
    if funding["rate_8h"] is not None:
        parts.append(
            f"funding, weighted by it, {funding['rate_8h']:+.4%} per 8 h or "
            f"{funding['rate_year']:+.2%} a year"
        )
    if price["spread_bps"] is not None:
        parts.append(
            f"prices {price['spread_bps']:.1f} bp apart, {price['lowest_exchange']} the lowest"
        )
    return "; ".join(parts) + "."
