"""`unpause`: lifts our own pause of an exchange, for all processes at this address."""

import argparse
import asyncio

from budgets.lifting import lift_pause
from commands.embedded_stores import embedded_stores
from commands.errors import EXIT_COMPLETE
from commands.runtime import cancelled_by
from commands.terminal import say
from config import Settings, SettingsError
from market.markets import Exchange
from stores.hot.opening import open_hot_store


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Raises SettingsError for an exchange that is none of EXCHANGES, StoreUnavailable."""
    known = [str(each) for each in settings.exchanges]
    if arguments.name.lower() not in known:
        raise SettingsError(
            [f"unpause: unknown exchange {arguments.name!r}: EXCHANGES are {', '.join(known)}"]
        )
    return await cancelled_by(stop, _lift(settings, Exchange(arguments.name.lower())))


async def _lift(settings: Settings, exchange: Exchange) -> int:
    async with embedded_stores(settings, cold=False) as found:
        store = open_hot_store(found, client_name="perpcache-unpause")
        try:
            lifted = await lift_pause(store, settings, exchange)
        finally:
            await store.aclose()
    if lifted.left_s is not None:
        say(
            f"lifted the pause of {exchange} (EGRESS_ID {lifted.egress_id}), which had"
            f" {lifted.left_s:.0f} s left: {lifted.cause}"
        )
    say(lifted.note)
    return EXIT_COMPLETE
