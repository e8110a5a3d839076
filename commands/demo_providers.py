"""The demo's providers: a price, news, the market's mood and a fee, with who told and how old."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from commands.console import Console
from commands.demo_client import get, post
from commands.demo_process import running
from market.markets import Exchange

_STORIES: Final = 3
_TOLD_S: Final = 15.0
_LOOK_S: Final = 0.5
# Who is asked first for a price.
_DOWN: Final = {"host": "api.coingecko.com", "class": "transient"}
_WEI_OF_A_GWEI: Final = 10**9
_WIDEST: Final = 31  # a title, so that the table has room on 80 columns with any source's name
# No markets: the simulated providers have every asset's price without them.
_NO_MARKETS: Final = tuple(word for name in Exchange for word in (f"--{name}", "0"))


@contextlib.asynccontextmanager
async def simulated_providers(folder: Path) -> AsyncIterator[str]:
    """Yields the address of simulated providers, for PROVIDERS_BASE_URL. Their time is the real
    one, for what they tell has an age."""
    arguments = ["simulate", "--port", "0", "--providers", *_NO_MARKETS]
    async with running(arguments, {}, folder) as address:
        yield address


async def show_the_providers(
    console: Console, client: aiohttp.ClientSession, providers_address: str
) -> None:
    """Asks for a price, news, the market's mood and a fee, and for another price while its first
    source is down. Raises DemoFailed."""
    console.print(
        "\n[bold]Providers:[/bold] prices, news, sentiment and fees, each from the first of many "
        "sources that answers (simulated too)."
    )
    table = table_of_answers()
    price = await _told(client, "/api/prices/btc")
    table.add_row("price of btc", _price(price), *_whose(price))
    async with aiohttp.ClientSession(providers_address) as simulated:
        await post(simulated, "/sim/providers/faults", json=_DOWN)
    price = await _told(client, "/api/prices/eth")
    table.add_row("price of eth *", _price(price), *_whose(price))
    for at, story in enumerate(await _stories(client), 1):
        table.add_row(f"news {at}", headline(story["title"]), *_whose(story))
    [mood, *_] = (await _told(client, "/api/sentiment"))["sentiment"]
    index = f"{mood['value']} of {mood['scale'][1]}, {mood['label']}"
    table.add_row("fear and greed", index, *_whose(mood))
    gas = await _told(client, "/api/gas/ethereum")
    table.add_row("gas of ethereum", _gwei(gas), *_whose(gas))
    console.print(table)
    console.print(
        "* CoinGecko, which is asked first for a price, was down then. "
        "`python main.py providers list` shows all sources.",
        highlight=False,
    )


def table_of_answers() -> Table:
    """What was asked, the answer, the source's name and the answer's age: fits in 80 columns."""
    table = Table(box=SIMPLE, pad_edge=False, collapse_padding=True)
    table.add_column("what", no_wrap=True)
    table.add_column("answer", no_wrap=True)
    table.add_column("by", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    return table


def headline(title: str) -> Text:
    """The title, cut to the room that the table has for it."""
    text = Text(title)
    text.truncate(_WIDEST, overflow="ellipsis")
    return text


async def _stories(client: aiohttp.ClientSession) -> list[Any]:
    """The newest stories; where few feeds have answered yet, asked for again."""
    deadline_s = time.monotonic() + _TOLD_S
    while True:
        told: list[Any] = (await _told(client, f"/api/news?limit={_STORIES}"))["news"]
        if len(told) == _STORIES or time.monotonic() > deadline_s:
            return told
        await asyncio.sleep(_LOOK_S)


async def _told(client: aiohttp.ClientSession, path: str) -> Any:
    """The JSON of a GET, asked again where nobody answered in time: a machine may be slow."""
    deadline_s = time.monotonic() + _TOLD_S
    while time.monotonic() < deadline_s:
        async with client.get(path) as reply:
            if reply.status != 503:
                break
        await asyncio.sleep(_LOOK_S)
    return await get(client, path)


def _price(price: Any) -> str:
    return f"{price['price']:,.2f} {price['quote']}"


def _whose(answer: Any) -> tuple[str, str]:
    """Who gave an answer, and how old it is."""
    return answer["provider"], _age(answer["age_s"])


def _age(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _gwei(gas: Any) -> str:
    return f"{Decimal(gas['fees']['base_fee_wei']) / _WEI_OF_A_GWEI:.3f} gwei"
