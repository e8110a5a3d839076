"""The running service that the dashboard's tests look at, and windows of a browser on it.

Browser and service are started once for all tests of this folder in a process of pytest, so these
tests share one event loop. `demo_page` opens a window; it fails the test if the page complained.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio

from main import main
from stores.embedded.stores import remove_embedded_data
from tests.fixtures.api import StartApi, starting_apis
from tests.fixtures.browser import DESK, Opened, browser, opened
from tests.fixtures.demo_service import API_TOKEN, CRON_SECRET, running_demo
from tests.fixtures.forked import ForkedProgram
from tests.fixtures.service import OF_TESTS, SHORT_HISTORY, Service, asking
from tests.fixtures.simulator import Simulator

__all__ = ["API_TOKEN", "CRON_SECRET", "EXCHANGES", "MARKETS", "OpenPage"]

if TYPE_CHECKING:
    from playwright.async_api import Browser

HERE: Final = Path(__file__).parent
MARKETS: Final = 6  # of each exchange
EXCHANGES: Final = ("binance", "bybit", "okx")

OpenPage = Callable[..., Awaitable[Opened]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    session = pytest.mark.asyncio(loop_scope="session")
    for item in items:
        if str(item.path).startswith(f"{HERE}{os.sep}") and pytest_asyncio.is_async_test(item):
            item.add_marker(session, append=False)


@pytest.fixture(scope="session")
def demo_exchanges() -> Iterator[Simulator]:
    """Three exchanges and the providers, simulated, in real time."""
    simulator = Simulator({**dict.fromkeys(EXCHANGES, MARKETS), "providers": True})
    try:
        yield simulator
    finally:
        simulator.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def demo_service(demo_exchanges: Simulator) -> AsyncIterator[Service]:
    """The whole service with funding, 5m and 4h collected, a collector and schedules, as `make run`
    has them. `service.post(...)` and `service.collect("5m")` publish; API_TOKEN guards changes."""
    workers = "tests.dashboard.shown_workers"
    streams = demo_exchanges.base_url.replace("http", "ws", 1)
    marks = f"{streams}/market/ws"
    settings = {"EXCHANGES": ",".join(EXCHANGES), "WORKERS": workers, "MARKS_URL": marks}
    async with running_demo(demo_exchanges, **settings) as service:
        yield service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_browser() -> "AsyncIterator[Browser]":
    async with browser() as launched:
        yield launched


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(shared_browser: "Browser") -> AsyncIterator[OpenPage]:
    """Opens a window on any address: `await open_page(address, "#/now", size=PHONE, dark=True,
    expected=[...])`."""
    async with contextlib.AsyncExitStack() as windows:

        async def open_it(address: str, route: str = "", **options: Any) -> Opened:
            page = await windows.enter_async_context(opened(shared_browser, address, **options))
            await page.goto(route)
            return page

        yield open_it


@pytest_asyncio.fixture(loop_scope="session")
async def demo_page(open_page: OpenPage, demo_service: Service) -> OpenPage:
    """Opens a window on the running demo: `await demo_page("#/market/BTCUSDT/4h", dark=True)`."""

    async def open_it(
        route: str = "", *, size: tuple[int, int] = DESK, dark: bool = False, **options: Any
    ) -> Opened:
        return await open_page(demo_service.address, route, size=size, dark=dark, **options)

    return open_it


@pytest_asyncio.fixture(loop_scope="session")
async def start_api() -> AsyncIterator[StartApi]:
    """As the fixture of tests/fixtures/api.py, on the loop of these tests."""
    async with starting_apis() as start:
        yield start


@pytest_asyncio.fixture(loop_scope="session")
async def without_streams(demo_exchanges: Simulator, tmp_path: Path) -> AsyncIterator[Service]:
    """A service that asks for every candle: streams would be believed for what had closed."""
    settings = {**OF_TESTS, **SHORT_HISTORY, **asking(demo_exchanges), "DATA_DIR": str(tmp_path)}
    settings |= {"LIVE": "off", "TIMEFRAMES": "5m"}
    process = ForkedProgram(main, ["serve", "--one-process"], settings, tmp_path)
    await process.open()
    service = Service(process)
    try:
        await service.wait_ready()
        await service.funding_ready()
        await service.collect("5m")
        yield service
    finally:
        await service.stop()
        remove_embedded_data(tmp_path)
