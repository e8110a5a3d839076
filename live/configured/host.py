"""CollectorHost: runs in this process those collectors of the installation whose lease is free."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from config import LiveSettings
from live.configured.actual import lease_name
from live.configured.following import Following
from live.configured.hosted import HostedCollector, HostParts
from live.configured.process_outputs import ProcessOutputs
from live.manager import CollectorManager
from live.outputs.output import Output
from logging_setup import OutageLog
from metrics.collectors import CollectorMetrics
from stores.hot.leases import lock_key, try_acquire
from stores.hot.store import HotStore, StoreUnavailable
from timing.backoff import stop_or
from timing.clock import Clock

LEASE_S: Final = 15.0
LOOK_EVERY_S: Final = 1.5  # whether leases are free
_ASK_FOR_ALL: Final = 10  # looks
_STOP_S: Final = 1.0  # for outputs and connections; `serve` allows little more

log = structlog.get_logger(__name__)


class CollectorHost:
    """Each collector runs in one process of all that have COLLECTORS set: in the holder of its
    lease. The others look again and again whether it is free."""

    def __init__(
        self,
        following: Following,
        *,
        open_output: Callable[[str], Output],
        settings: LiveSettings,
        store: HotStore,
        holder: str,
        clock: Clock,
        metrics: CollectorMetrics | None = None,
        lease_s: float = LEASE_S,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._following = following
        self._lease_s = lease_s
        self._look_every_s = look_every_s
        self._parts = HostParts(
            manager=CollectorManager("collectors", settings=settings, clock=clock, metrics=metrics),
            outputs=ProcessOutputs(open_output, clock),
            settings=settings,
            store=store,
            holder=holder,
            clock=clock,
        )
        self._hosted: dict[str, asyncio.Task[None]] = {}
        self._looks = 0
        self._outage = OutageLog(log, "collector_leases_unknown", "collector_leases_known_again")

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Failures of stores and exchanges are never raised."""
        parts = self._parts
        await parts.manager.start()
        following = asyncio.create_task(self._following.run(), name="collectors wanted")
        try:
            while not stop.is_set():
                await self._take_free_ones(stop)
                await stop_or(stop, self._look_every_s)
        finally:
            following.cancel()
            if not stop.is_set():  # this task is cancelled
                for hosted in self._hosted.values():
                    hosted.cancel()
            await asyncio.gather(following, *self._hosted.values(), return_exceptions=True)
            stopping = asyncio.create_task(parts.manager.stop())
            await parts.outputs.aclose(_STOP_S)
            await asyncio.wait({stopping}, timeout=_STOP_S)

    async def _take_free_ones(self, stop: asyncio.Event) -> None:
        self._hosted = {name: task for name, task in self._hosted.items() if not task.done()}
        names = [name for name in self._following.desired if name not in self._hosted]
        try:
            for name in await self._free(names):
                if not stop.is_set():
                    await self._host(name, stop)
            self._outage.recovered()
        except StoreUnavailable as error:
            self._outage.failed(error)

    async def _free(self, names: list[str]) -> list[str]:
        """Those whose lease nobody holds, in one command. Now and then all of them: to ask for a
        lease gives it an expiry if somebody has taken it away."""
        self._looks += 1
        if not names or self._looks % _ASK_FOR_ALL == 0:
            return names
        keys = [lock_key(lease_name(name)) for name in names]
        held = await self._parts.store.execute("MGET", *keys)
        return [name for name, value in zip(names, held, strict=True) if value is None]

    async def _host(self, name: str, stop: asyncio.Event) -> None:
        parts = self._parts
        lease = await try_acquire(
            parts.store, lease_name(name), holder=parts.holder, ttl_s=self._lease_s
        )
        if lease is None:
            return
        hosted = HostedCollector(parts, lease, name, lambda: self._following.desired.get(name))
        task = asyncio.create_task(hosted.run(stop), name=f"collector {name}")
        task.add_done_callback(_tell_fault)
        self._hosted[name] = task


def _tell_fault(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("collector_host_fault", task=task.get_name(), exc_info=error)
