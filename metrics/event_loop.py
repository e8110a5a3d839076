"""Event-loop lag: how late timers run, as a histogram, and a warning when it is long."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector

_LAG_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_LAG_EVERY_S: Final = 0.25
_LAG_LOGGED_S: Final = 1.0

log = structlog.get_logger(__name__)


def process_registry() -> CollectorRegistry:
    """A registry with this process's memory, CPU time and open files."""
    registry = CollectorRegistry()
    ProcessCollector(namespace="perpcache", registry=registry)
    return registry


def loop_lag(registry: CollectorRegistry) -> Histogram:
    return Histogram(
        "perpcache_event_loop_lag_seconds",
        f"How late the event loop ran a timer, measured every {_LAG_EVERY_S:g} s.",
        buckets=_LAG_S,
        registry=registry,
    )


@contextlib.asynccontextmanager
async def measuring_loop_lag(lag: Histogram) -> AsyncIterator[None]:
    """Measures the event loop's lag inside this context."""
    watch = asyncio.create_task(_watch_loop(lag), name="loop-lag")
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def _watch_loop(lag: Histogram) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LAG_EVERY_S
        await asyncio.sleep(_LAG_EVERY_S)
        late_s = max(0.0, loop.time() - due)
        lag.observe(late_s)
        if late_s > _LAG_LOGGED_S:
            log.warning("event_loop_blocked", for_s=round(late_s, 2))
