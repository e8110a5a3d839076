"""`beat`: fires the schedules of workers, and runs none of them, until stopped."""

import argparse
import asyncio

from api.parts import Parts
from commands.composition import open_parts
from commands.data_dir import remember_exchanges
from commands.runtime import tune_garbage_collection
from commands.store_check import StoreCheck, run_beside
from commands.workers_part import check_workers, run_beat
from config import Settings, SettingsError
from status.low_disks import DiskTeller


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Fires what is due until `stop`. Raises SettingsError with SCHEDULES=off, and for mistakes in
    the workers of WORKERS."""
    if settings.schedules == "off":
        raise SettingsError(["SCHEDULES: is off, so there is nothing to fire; set it to on"])
    check_workers(settings)
    remember_exchanges(settings)
    async with open_parts(settings, "beat") as parts:
        tune_garbage_collection()
        child = arguments.parent_fd is not None
        own = settings.embeds_hot_store
        check = StoreCheck(settings, parts.store, own=own, tell=not child, child=child)
        await check.until_known(stop)
        work = _work(settings, parts, stop)
        if child:
            return await work
        telling = DiskTeller(settings, parts.store).run(stop)
        return await run_beside(check.keep(stop), run_beside(telling, work, stop), stop)


async def _work(settings: Settings, parts: Parts, stop: asyncio.Event) -> int:
    await run_beat(settings, parts, stop)
    return 0
