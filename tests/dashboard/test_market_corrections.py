"""Corrections in the view Market: a service without streams, whose exchange tells a candle anew."""

import asyncio
import re
from typing import TYPE_CHECKING, Final

import pytest

from tests.dashboard.conftest import OpenPage
from tests.dashboard.test_market import document, minutes, opened, rows_of
from tests.fixtures.service import Service
from tests.fixtures.simulator import Simulator

if TYPE_CHECKING:
    from playwright.async_api import Route

SHOWN_MS: Final = 4000  # two seconds, and as long again for a busy machine


@pytest.mark.slow
async def test_a_corrected_candle_is_marked(
    without_streams: Service, open_page: OpenPage, demo_exchanges: Simulator
) -> None:
    async def open_it(route: str) -> object:
        return await open_page(without_streams.address, route)

    page = await opened(open_it, "#/market/BTCUSDT/5m?exchanges=binance")  # type: ignore[arg-type]
    before = await document(without_streams, "cache/5m?symbol=BTCUSDT&exchange=binance")
    changed = rows_of(before, "binance", "BTCUSDT")[-4]
    correction = {"kind": "correction", "exchange": "binance", "symbol": "BTCUSDT"}
    demo_exchanges.post("/sim/faults", {**correction, "time": changed["open_time"]})
    # It shows with its publish: the record, which is written later, is waited for by nobody.
    recorded = asyncio.Event()

    async def later(route: "Route") -> None:
        await recorded.wait()
        await route.continue_()

    await page.page.route(re.compile("revisions=all"), later)
    asked = await without_streams.collect("5m")
    await page.sees("1 corrected candle", "[data-exchange=binance]")
    late_ms = await page.page.evaluate("Date.now()") - asked["finished_at"]
    assert late_ms < SHOWN_MS, late_ms
    await page.page.click(".twin summary")
    row = page.page.locator(".twin tr", has_text=minutes(changed["open_time"]))

    async def said_before() -> str:
        remark = await row.locator("td").last.inner_text()
        assert remark.startswith("corrected ")
        was = re.search(r"volume was ([\d,.]+\d)", remark)
        assert was is not None
        return was[1].replace(",", "")

    assert await said_before() == changed["volume"]
    recorded.set()
    async with page.page.expect_response(re.compile("revisions=all")):
        pass
    await page.page.evaluate("() => new Promise(done => setTimeout(done, 50))")
    assert await said_before() == changed["volume"]
    await page.shot("market-corrected")

    # As it was known before, the row has its first value, and is said to be corrected later.
    at = before["updated_at"] + 1
    await page.page.goto(f"{page.address}/ui/#/market/BTCUSDT/5m?exchanges=binance&as_of={at}")
    await page.sees("corrected later", ".twin table")
    cells = await row.locator("td").all_inner_texts()
    assert cells[4].replace(",", "") == changed["volume"]
