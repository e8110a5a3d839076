"""A management command of Django that runs collectors until it is stopped (Ctrl-C, SIGTERM).

In a project it stands as <application>/management/commands/run_collectors.py.
"""

import asyncio
import contextlib
import signal
from typing import Any

from django.core.management.base import BaseCommand

from docs.examples.collectors.exchanges import BinanceCollector, OKXCollector
from perpcache.live import CollectorManager


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    help = "Start crypto data collectors"

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self.run_collectors())

    async def run_collectors(self) -> None:
        manager = CollectorManager("django_collectors")
        manager.add_collector(OKXCollector(["BTC-USDT"]))
        manager.add_collector(BinanceCollector(["ETH-USDT"]))

        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)

        await manager.start()
        try:
            while not stopped.is_set():
                status = manager.get_status()
                self.stdout.write(f"Status: {status['statistics']}")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopped.wait(), 60)
        finally:
            await manager.stop()
            self.stdout.write("Stopped")
