"""The picture of the page in README: `python -m tests.dashboard.picture` makes docs/dashboard.png.

The whole service runs over the simulated exchanges and is looked at in Chromium, as in the tests.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

from tests.fixtures.browser import browser, opened
from tests.fixtures.demo_service import running_demo
from tests.fixtures.simulator import Simulator

PICTURE: Final = Path(__file__).resolve().parents[2] / "docs" / "dashboard.png"
MOST_BYTES: Final = 200_000
ROUTE: Final = "#/market/BTCUSDT/4h"
_SIZE: Final = (1280, 746)
_MARKETS: Final = 12
_DRAWN_MS: Final = 3000


async def make(path: Path) -> None:
    """Writes the picture: one market, candles with open interest and funding on both exchanges."""
    simulator = Simulator({"binance": _MARKETS, "bybit": _MARKETS, "providers": True})
    try:
        async with (
            running_demo(simulator, HISTORY_CANDLES="120", FUNDING_HISTORY="90") as service,
            browser() as launched,
            opened(launched, service.address, size=_SIZE, zone="UTC") as page,
        ):
            await page.goto(ROUTE)
            await page.sees("Bybit")
            await page.page.wait_for_selector("canvas")
            await page.page.wait_for_timeout(_DRAWN_MS)  # nothing tells that all is drawn
            await page.page.screenshot(path=path, animations="disabled")
    finally:
        simulator.stop()


if __name__ == "__main__":
    asyncio.run(make(PICTURE))
    if (size := PICTURE.stat().st_size) > MOST_BYTES:
        sys.exit(f"{PICTURE.name} has {size} bytes, more than {MOST_BYTES}")
