"""A blocked event loop is seen in the numbers."""

import asyncio
import time

from metrics.event_loop import measuring_loop_lag
from metrics.exposition import MetricsPage
from metrics.worker import WorkerMetrics
from tests.fixtures.numbers import numbers_of


async def test_a_blocked_event_loop_is_seen() -> None:
    metrics = WorkerMetrics()
    async with measuring_loop_lag(metrics.loop_lag):
        await asyncio.sleep(0)
        time.sleep(0.6)  # noqa: ASYNC251 - this is what is measured
        async with asyncio.timeout(60):
            told = metrics.registry.get_sample_value
            while not told("perpcache_event_loop_lag_seconds_count"):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0)
    page = MetricsPage()
    page.add(metrics.registry.collect())
    assert numbers_of(page).of("perpcache_event_loop_lag_seconds_sum") >= 0.3
