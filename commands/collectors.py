"""The collectors of COLLECTORS: their file, read at start, and their host, in the live process."""

import asyncio
from functools import partial

from api.parts import Parts
from commands.composition import holder_name
from config import Settings, SettingsError
from live.configured.collector_file import CollectorFile, WrongCollectors, read_collector_file
from live.configured.following import Following
from live.configured.host import CollectorHost
from live.outputs.kinds import open_output
from metrics.live import LiveMetrics
from timing.clock import SystemClock


def read_collectors(settings: Settings) -> CollectorFile | None:
    """What the file says; None without one. Raises SettingsError with a line for each mistake."""
    if settings.collectors is None:
        return None
    try:
        return read_collector_file(settings.collectors)
    except WrongCollectors as error:
        raise SettingsError([f"COLLECTORS: {line}" for line in error.lines]) from None


async def host_collectors(
    settings: Settings,
    parts: Parts,
    metrics: LiveMetrics,
    file: CollectorFile,
    stop: asyncio.Event,
) -> None:
    """Runs the collectors whose leases are free, until `stop`."""
    clock = SystemClock()
    host = CollectorHost(
        Following(file, parts.database.collectors, parts.store, clock),
        open_output=partial(
            open_output,
            store=parts.store,
            database=parts.database,
            settings=settings,
            metrics=metrics.outputs,
        ),
        settings=settings,
        store=parts.store,
        holder=holder_name(),
        clock=clock,
        metrics=metrics.collectors,
    )
    await host.run(stop)
