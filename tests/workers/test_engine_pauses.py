"""Pauses of queues in the engine's manager: when they end, it looks for runs at once."""

import asyncio

from database import Database
from timing.clock import now_ms
from workers.engine import Engine, _Manager
from workers.engine_driver import EngineDriver
from workers.seam import QueueRule


async def test_the_end_of_a_pause_is_known_however_late_it_was_set() -> None:
    opened = asyncio.Event()

    class Driver(EngineDriver):
        def wake(self) -> None:
            if not manager.is_closed("q:default"):
                opened.set()

    async def take(_: object) -> None: ...

    driver = Driver()
    engine = Engine(Database("postgresql://nobody@127.0.0.1:1/none"), "engine")
    manager = _Manager(engine.queries(driver), "engine")
    manager.entrypoint("q:default")(take)
    upkeep = asyncio.create_task(engine._upkeep(driver, manager))
    await asyncio.sleep(0)  # it waits already
    manager.limit({"default": QueueRule(paused_until_ms=now_ms() + 100)})
    assert manager.is_closed("q:default")
    async with asyncio.timeout(30):
        await opened.wait()
    upkeep.cancel()
