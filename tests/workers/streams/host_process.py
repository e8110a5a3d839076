"""A host of WebSocket workers in a process of its own, for tests that kill, freeze and end it.

Arguments: its name, how many workers, the source's address, `quick` or `real` times. It ends on
SIGTERM as `worker` does. Settings come from the environment.
"""

import asyncio
import signal
import sys
from dataclasses import replace
from typing import Any

from config import load_settings
from database import Database
from logging_setup import configure_logging
from stores.hot.opening import open_hot_store
from tests.workers.streams.hosting import QUICK, definition, maker
from workers.context import Context
from workers.registry import Registry
from workers.streams.reconciler import Reconciler


async def publish_with_host(host: str, feed: Context) -> None:
    """Publishes the host with each number that comes."""
    async for message in feed.messages():
        await feed.publish({"host": host, "number": message})


async def main(host: str, count: str, url: str, times: str) -> None:
    settings = load_settings()
    assert settings.database_url is not None
    store = open_hot_store(settings, client_name="test")
    database = Database(settings.database_url.get_secret_value())

    async def numbers(feed: Any) -> None:
        await publish_with_host(host, feed)

    names = [f"stream{number}" for number in range(int(count))]
    registry = Registry({name: definition(name, numbers, f"{url}/{host}/{name}") for name in names})
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    reconciler = Reconciler(
        store, database, registry, maker(settings, store), settings=settings, host=host,
        pace=replace(QUICK, settle_s=1.5) if times == "quick" else None,
    )  # fmt: skip
    try:
        await reconciler.run(stop)
    finally:
        await database.aclose()
        await store.aclose()


if __name__ == "__main__":
    configure_logging("INFO", "console")
    asyncio.run(main(*sys.argv[1:]))
