"""A Celery task that runs collectors; it occupies one worker process for as long as it runs.

With `run_for_s` it ends by itself, and a schedule may start the next one; without, it runs until
the worker is stopped.
"""

import asyncio
from typing import Any

from celery import Celery

from docs.examples.collectors.exchanges import BinanceCollector, OKXCollector
from perpcache.live import CollectorManager

app = Celery("crypto_collectors")


@app.task  # type: ignore[untyped-decorator]  # Celery has no types
def start_data_collection(
    run_for_s: float | None = None, check_every_s: float = 300.0
) -> dict[str, Any]:
    """Collects; the manager's statistics at the end."""
    return asyncio.run(_run(run_for_s, check_every_s))


async def _run(run_for_s: float | None, check_every_s: float) -> dict[str, Any]:
    manager = CollectorManager("celery_collectors")
    manager.add_collector(OKXCollector(["BTC-USDT"]))
    manager.add_collector(BinanceCollector(["ETH-USDT"]))
    await manager.start()
    try:
        async with asyncio.timeout(run_for_s):
            while True:
                await asyncio.sleep(check_every_s)
                if failed := manager.get_failed_collectors():
                    print(f"Restarting failed collectors: {failed}")
                    await manager.restart_all_collectors()
    except TimeoutError:
        return dict(manager.get_status()["statistics"])
    finally:
        await manager.stop()
