"""A collector in a plain script: what comes, a cut of its connection, and that it comes back.

    PYTHONPATH=. python docs/examples/collector_demo.py [--seconds 10] [ws://127.0.0.1:9001/ws]

Without an address it serves its own exchange of a few made-up prices on this machine.
"""

import argparse
import asyncio
import contextlib
import json
from collections import Counter

from docs.examples.collectors.local_exchange import (
    LocalExchange,
    LocalExchangeCollector,
    connect_to_exchange,
)
from perpcache.live import CollectorManager, DataType, MarketDataPoint


class DemoCollector(LocalExchangeCollector):
    """Tickers and trades of the exchange at one address."""

    def __init__(self, url: str) -> None:
        super().__init__("demo", ["BTC-USDT", "ETH-USDT"], [DataType.TICKER, DataType.TRADE])
        self._url = url

    async def connect(self) -> bool:
        self.websocket = await connect_to_exchange(self._url)
        return True


async def run(url: str | None, seconds: float) -> bool:
    """Whether data came, also after the cut."""
    async with contextlib.AsyncExitStack() as stack:
        exchange = LocalExchange()
        if url is None:
            url = await stack.enter_async_context(exchange.serving())
        print(f"collecting from {url} for {seconds:g} s")
        collector, counts = DemoCollector(url), Counter[str]()

        async def count(data_point: MarketDataPoint) -> None:
            name = f"{data_point.symbol} {data_point.data_type.value}"
            counts[name] += 1
            if counts[name] == 1:
                print(f"first {name}: {data_point.data}")

        for data_type in (DataType.TICKER, DataType.TRADE):
            collector.add_data_callback(data_type, count)
        manager = CollectorManager("demo")
        manager.add_collector(collector)
        started = await manager.start()
        try:
            await asyncio.sleep(seconds / 2)
            before = counts.total()
            print(f"{before} points; the connection is cut")
            await exchange.cut()
            await manager.restart_collector("demo")
            await asyncio.sleep(seconds / 2)
            print(f"{counts.total() - before} points since the restart")
            print(json.dumps(manager.get_collector_status("demo"), indent=2))
        finally:
            await manager.stop()
        return started and 0 < before < counts.total()


def main() -> int:
    parser = argparse.ArgumentParser(description="Shows a collector at work.")
    parser.add_argument("url", nargs="?", help="an exchange such as local_exchange.py serves")
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    return 0 if asyncio.run(run(arguments.url, arguments.seconds)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
