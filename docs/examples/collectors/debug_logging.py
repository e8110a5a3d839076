"""Log files: in LOG_DIR, from LOG_LEVEL on, collector_debug.log and its like for all collectors."""

import asyncio
import os
from pathlib import Path

from docs.examples.collectors.local_exchange import LocalExchangeCollector as MyCollector


async def main() -> None:
    os.environ["LOG_LEVEL"] = "DEBUG"
    os.environ["LOG_DIR"] = "logs"
    collector = MyCollector(symbols=["BTC-USDT"])  # reads the settings
    await collector.start()
    await collector.stop()
    show(Path("logs"))


def show(folder: Path) -> None:
    for file in sorted(folder.iterdir()):
        print(f"{file}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    asyncio.run(main())
