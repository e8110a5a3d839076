"""What the page does with addresses, answers and entries that it was not made for."""

import json
from typing import Any

import pytest
from playwright.async_api import Route

from tests.dashboard.conftest import OpenPage
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.browser import PHONE

LONG = "<b>" + "x" * 400 + "\u202e"  # no place to break at, and it turns what follows around


def lengthened(value: Any, names: frozenset[str]) -> Any:
    """The JSON with a text too long for a phone behind each of these."""
    if isinstance(value, dict):
        return {
            name: item + LONG
            if name in names and isinstance(item, str)
            else lengthened(item, names)
            for name, item in value.items()
        }
    return [lengthened(each, names) for each in value] if isinstance(value, list) else value


async def test_addresses_of_nothing_say_what_there_is(demo_page: OpenPage) -> None:
    page = await demo_page("#/market/BTCUSDT/global_fr", expected=["status of (404|422)"])
    main = page.page.locator("main")
    assert "There is no timeframe global_fr" in await page.text()
    await main.get_by_role("link", name="4h", exact=True).click()
    await page.page.wait_for_selector("[data-exchange=bybit] .last")

    await page.goto("#/market/BTCUSDT/..%2F..%2Fstatus")
    await page.sees("There is no timeframe ../../status", "main")
    assert not any("/status?" in url for url in page.requested)

    await page.goto("#/market/BTCUSDT/4h?as_of=1700000000000")  # long before the record begins
    await page.sees("after 2023-11-14 22:13:20 UTC", "main")
    await page.goto("#/market/BTCUSDT/4h?as_of=1")
    await main.get_by_role("link", name="Show it as it is now").click()
    await page.page.wait_for_selector("[data-exchange=bybit] .last")


@pytest.mark.slow
async def test_a_view_that_fails_leaves_the_others(demo_page: OpenPage) -> None:
    page = await demo_page("#/around", expected=["TypeError", "status of"])

    async def broken(route: Route) -> None:
        told = await (await route.fetch()).json()
        await route.fulfill(json={**told, "documents": {"5m": 7}, "exchanges": None})

    await page.page.route("**/status", broken)
    await page.page.evaluate("location.hash = '#/now'")
    await page.sees("The page has failed here", "main")
    await page.page.get_by_role("link", name="Around").click()
    await page.page.wait_for_function(
        "() => document.querySelector('main h1')?.innerText === 'Around'"
    )
    await page.page.unroute("**/status")
    async with page.page.expect_response("**/status"):
        pass
    await page.page.get_by_role("link", name="Now", exact=True).click()
    await page.page.wait_for_selector("main tbody tr")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("view", "paths", "names", "shown"),
    [
        ("around", "**/api/**", {"provider", "label", "title", "text"}, ".source"),
        ("now", "**/status", {"state", "error", "kind", "text"}, ".facts"),
        ("market/BTCUSDT/4h", "**/cache/4h?*", {"base", "quote", "reason"}, ".last"),
    ],
)
async def test_long_texts_of_others_fit_a_phone(
    demo_page: OpenPage, view: str, paths: str, names: set[str], shown: str
) -> None:
    page = await demo_page("#/work/jobs", size=PHONE, expected=["status of"])

    async def stretched(route: Route) -> None:
        answer = await route.fetch()
        told = json.loads(await answer.text())
        await route.fulfill(response=answer, json=lengthened(told, frozenset(names)))

    await page.page.route(paths, stretched)
    await page.goto(f"?#/{view}")
    await page.page.wait_for_selector(shown)
    await page.sees("xxxxxxxx", "main")
    assert await page.fits()
    await page.shot(f"long-{view.partition('/')[0]}")
    await page.page.unroute_all(behavior="ignoreErrors")


@pytest.mark.slow
async def test_a_token_that_no_header_can_carry(
    start_api: StartApi, open_page: OpenPage, redis_url: str
) -> None:
    """Typed on another keyboard layout: it is told at once, and the next one counts."""
    api: ServedApi = await start_api(redis_url=redis_url, read_token="reads")
    page = await open_page(f"http://127.0.0.1:{api.port}", "#/now", expected=["401"])
    entry = page.page.get_by_role("dialog", name="Token").get_by_label("READ_TOKEN")
    await entry.fill("кефвы")
    await page.page.keyboard.press("Enter")
    await page.sees("another keyboard layout", "dialog[open]")
    await entry.fill("reads")
    await page.page.keyboard.press("Enter")
    await page.page.wait_for_selector(".problem")
