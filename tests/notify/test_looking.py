"""The watcher with what status/ really finds: stores that are killed, and come back."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from config import load_settings
from database import Database
from notify.destination import Destination
from notify.outbox import Outbox
from notify.rules import Rules
from notify.texts import Writer
from notify.watcher import Watcher
from status.looking import Looking
from status.problem import Problem
from stores.hot.opening import open_hot_store
from stores.hot.store import HotStore
from tests.fixtures.clock import ManualClock
from tests.fixtures.signals import until
from tests.fixtures.upstash import OwnValkey
from tests.notify.receiver import receiving


@dataclass(frozen=True)
class Stores:
    store: HotStore
    database: Database


async def test_a_hot_store_and_a_database_that_are_gone_are_told(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    server = own_valkey()
    settings = load_settings(
        redis_url=server.url, database_url="postgresql://nobody:x@127.0.0.1:1/nothing", live="off"
    )
    async with contextlib.AsyncExitStack() as opened:
        receiver = await opened.enter_async_context(receiving())
        store = open_hot_store(settings, client_name="test")
        opened.push_async_callback(store.aclose)
        database = Database("postgresql://nobody:x@127.0.0.1:1/nothing")
        opened.push_async_callback(database.aclose)
        stores, looking = Stores(store, database), Looking(settings)

        async def look() -> Sequence[Problem]:
            return (await looking.look(stores)).problems

        clock = ManualClock()
        watcher = Watcher(
            *(store, look, Outbox([Destination(receiver.url, 1)])),
            rules=Rules(after_s=0, again_s=10**6, most=60),
            writer=Writer("live-1"),
            holder="host-1:1",
            clock=clock,
            ttl_s=2.0,
        )
        stop = asyncio.Event()
        stop.set()
        opened.push_async_callback(watcher.run, stop)

        async def is_told(mark: str, what: str) -> None:
            async def found() -> bool:
                clock.now += 40
                await watcher.step()
                await watcher.settled()
                return f"[{mark}] live-1: {what}" in receiver.titles

            await until(found, 60, lambda: receiver.titles)

        await is_told("critical", "database away: cold")
        await is_told("critical", "no worker: workers")
        server.kill()
        await is_told("critical", "store away: hot")
        server.start()
        await is_told("over", "store away: hot")
        # Nothing is known of the others while it is away: they were told once, and are not over.
        assert len(receiver.titles) == len(set(receiver.titles)) == 4, receiver.titles
        assert all("127.0.0.1" not in body["message"] for body in receiver.taken)
