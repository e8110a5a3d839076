"""The page's shell: its views, links, keyboard, theme, tokens, and the API away and back."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.dashboard.conftest import OpenPage
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.browser import Opened
from tests.fixtures.proxies import relay, serving
from tests.fixtures.service import Service

NOTICE = Path(__file__).resolve().parents[2] / "dashboard" / "vendor" / "licences" / "NOTICE.txt"
VIEWS = ("Now", "Market", "Whole market", "Assets", "Around", "Work")
FOCUSED = "document.activeElement.innerText"


async def titled(page: Opened, view: str) -> None:
    await page.page.wait_for_function(
        "title => document.title === title", arg=f"{view} · Perpcache"
    )


async def background(page: Opened) -> str:
    found: str = await page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return found


async def test_every_view_is_a_link_away_by_keyboard(demo_page: OpenPage) -> None:
    page = await demo_page()
    keyboard = page.page.keyboard
    assert await page.page.title() == "Now · Perpcache"
    await keyboard.press("Tab")
    assert await page.page.evaluate(FOCUSED) == "Skip to the content"
    await keyboard.press("Enter")
    assert await page.page.evaluate("document.activeElement.id") == "main"
    assert urlsplit(page.page.url).fragment in ("", "/now")
    links = page.page.get_by_role("navigation", name="Views").get_by_role("link")
    assert await links.all_inner_texts() == list(VIEWS)
    for number, view in enumerate(VIEWS):
        await links.nth(number).focus()
        await keyboard.press("Enter")
        await page.page.wait_for_function(
            "title => document.title === title", arg=f"{view} · Perpcache"
        )
        assert await links.nth(number).get_attribute("aria-current") == "page"
        if number:  # where it was is no step
            await page.page.wait_for_function(
                "() => document.activeElement === document.querySelector('main h1')"
            )
    await page.page.go_back()
    await titled(page, "Around")
    await page.goto("#/nothing/of/this?kind=x")
    await titled(page, "Now")


async def test_the_theme_is_the_systems_until_the_user_chooses(demo_page: OpenPage) -> None:
    page = await demo_page(dark=True)
    dark = await background(page)
    button = page.page.get_by_role("button", name=re.compile("colours$"))
    await button.click()
    light = await background(page)
    assert light != dark
    await page.page.reload()
    await page.page.wait_for_selector("main h1")
    assert await background(page) == light
    assert await button.text_content() == "Dark colours"
    await button.click()
    assert await background(page) == dark
    # Back at the system's, it follows that again.
    await page.page.emulate_media(color_scheme="light")
    assert await background(page) == light


async def test_the_works_of_others_are_named_with_a_link(demo_page: OpenPage) -> None:
    page = await demo_page()
    foot = await page.text("footer")
    attribution = NOTICE.read_text("utf-8").split("\n\n")[1].splitlines()[:2]
    assert attribution[0] in foot
    for words in attribution[1].split("  "):
        assert words in foot
    link = page.page.get_by_role("link", name="https://www.tradingview.com/")
    assert await link.get_attribute("href") == "https://www.tradingview.com/"
    notice = page.page.get_by_role("link", name="Notice and licences")
    text = await notice.evaluate("link => fetch(link.href).then(answer => answer.text())")
    assert text == NOTICE.read_text("utf-8")


async def guarded(start_api: StartApi, redis_url: str) -> str:
    api: ServedApi = await start_api(redis_url=redis_url, read_token="reads")
    return f"http://127.0.0.1:{api.port}"


@pytest.mark.slow
async def test_a_token_is_asked_for_and_kept_nowhere(
    start_api: StartApi, open_page: OpenPage, redis_url: str
) -> None:
    address = await guarded(start_api, redis_url)
    page = await open_page(address, "#/now", expected=["401"])
    dialog = page.page.get_by_role("dialog", name="Token")
    entry = dialog.get_by_label("READ_TOKEN")
    await entry.wait_for()
    assert await entry.evaluate("input => input === document.activeElement")
    assert await page.violations() == []
    await page.shot("token")
    await entry.fill("wrong")
    await page.page.keyboard.press("Enter")
    await page.sees("did not take the last one")
    # A poll that comes meanwhile does not take what is typed.
    await entry.press_sequentially("rea")
    await page.page.wait_for_timeout(3500)
    await entry.press_sequentially("ds")
    await page.page.keyboard.press("Enter")
    await page.page.wait_for_selector(".problem")
    assert await page.page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
    assert await page.page.context.cookies() == []
    assert all("reads" not in url for url in page.requested)
    await page.page.reload()
    await entry.wait_for()


@pytest.mark.slow
async def test_who_gives_no_token_is_left_alone_and_can_change_their_mind(
    start_api: StartApi, open_page: OpenPage, redis_url: str
) -> None:
    address = await guarded(start_api, redis_url)
    page = await open_page(address, "#/now", expected=["401"])
    dialog = page.page.get_by_role("dialog", name="Token")
    await dialog.wait_for()
    await page.page.keyboard.press("Escape")
    await dialog.wait_for(state="hidden")
    await page.sees("Bearer <READ_TOKEN>", "main")
    async with page.page.expect_response("**/status"):
        pass
    assert await dialog.is_hidden()
    await page.page.locator("main").get_by_role("button", name="Enter the token").click()
    await dialog.get_by_label("READ_TOKEN").fill("reads")
    await page.page.keyboard.press("Enter")
    await page.page.wait_for_selector(".problem")


@pytest.mark.slow
async def test_what_the_foot_leads_to_opens_with_the_token(
    start_api: StartApi, open_page: OpenPage, redis_url: str
) -> None:
    address = await guarded(start_api, redis_url)
    page = await open_page(address, "#/now", expected=["401"])
    await page.page.goto(f"{address}/")  # as a user types it
    entry = page.page.get_by_role("dialog", name="Token").get_by_label("READ_TOKEN")
    await entry.fill("reads")
    await page.page.keyboard.press("Enter")
    await page.page.wait_for_selector(".problem")
    foot = page.page.locator("footer")
    for name, part in (("Status as JSON", '"status": "unavailable"'), ("Metrics", "# HELP ")):
        await foot.get_by_role("button", name=name).click()
        dialog = page.page.get_by_role("dialog", name=name)
        await dialog.get_by_text(part).wait_for()
        assert await page.violations() == []
        await page.shot(f"foot-{name.split()[0].lower()}", full=False)
        await dialog.get_by_role("button", name="Close").click()
    async with page.page.context.expect_page() as opened:
        await foot.get_by_role("link", name="API").click()
    docs = await opened.value
    await docs.get_by_label("READ_TOKEN").fill("wrong")
    await docs.keyboard.press("Enter")
    await docs.get_by_text("did not take the last one").wait_for()
    await docs.get_by_label("READ_TOKEN").fill("reads")
    await docs.keyboard.press("Enter")
    await docs.locator(".opblock-summary-path").first.wait_for()
    # What is tried there carries it, too.
    tried = docs.locator(".opblock-get", has=docs.locator("[data-path='/jobs']"))
    await tried.locator(".opblock-summary").click()
    await tried.get_by_role("button", name="Try it out").click()
    await tried.get_by_role("button", name="Execute").click()
    told = tried.locator(".live-responses-table tbody td.response-col_status").first
    await told.wait_for()
    assert await told.inner_text() == "200"


class Line:
    """A way to a server that can be cut: connections that are open end, new ones are refused."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_cut = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut.is_set():
            return
        ways = {
            asyncio.create_task(relay(reader, writer, self._port)),
            asyncio.create_task(self._is_cut.wait()),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def cut(self) -> None:
        self._is_cut.set()

    def mend(self) -> None:
        self._is_cut.clear()


@contextlib.asynccontextmanager
async def cuttable(address: str) -> AsyncIterator[tuple[Line, str]]:
    port = urlsplit(address).port
    assert port is not None
    line = Line(port)
    async with serving(line.talk) as own:
        yield line, f"http://127.0.0.1:{own}"


@pytest.mark.slow
async def test_what_was_seen_stays_while_the_api_is_away(
    open_page: OpenPage, demo_service: Service
) -> None:
    async with cuttable(demo_service.address) as (line, address):
        page = await open_page(address, "#/now", expected=["ERR_"])
        await page.page.wait_for_selector("tbody tr")
        seen = await page.page.locator("tbody th").all_inner_texts()
        line.cut()
        banner = page.page.locator(".banner")
        await banner.wait_for()
        told = await banner.inner_text()
        assert "The API does not answer" in told
        assert re.search(r"What you see is \d+\ss old", told)
        assert await page.page.locator("tbody th").all_inner_texts() == seen
        await page.sees("Not connected", "header")
        assert await page.violations() == []
        await page.shot("away", full=False)
        line.mend()
        await banner.wait_for(state="detached")  # by itself
        await page.sees("Ready", "header")
        heard = "document.querySelector('[aria-live=polite]').innerText"
        assert await page.page.evaluate(heard) == "The API answers again."


@pytest.mark.slow
async def test_every_view_says_so_where_nothing_is_there(
    start_api: StartApi, open_page: OpenPage, redis_url: str
) -> None:
    """No worker, no database, no document: words in place of an empty or broken page."""
    api = await start_api(redis_url=redis_url)
    page = await open_page(f"http://127.0.0.1:{api.port}", expected=["status of (404|503)"])
    for route in ("#/now", "#/market", "#/markets", "#/around", "#/work"):
        await page.goto(route)
        await page.page.wait_for_timeout(500)
        assert len(await page.text()) > 40, route
        assert "undefined" not in await page.text(), route
        assert "NaN" not in await page.text(), route
