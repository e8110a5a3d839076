"""The view Around: numbers as the API has them, blocks that fail alone, hostile texts."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.dashboard.conftest import OpenPage
from tests.fixtures.api import StartApi
from tests.fixtures.browser import PHONE, Opened
from tests.fixtures.service import Service
from tests.fixtures.simulator import Simulator

if TYPE_CHECKING:
    from playwright.async_api import Response, Route


async def test_its_numbers_are_those_of_the_api(demo_page: OpenPage) -> None:
    page = await demo_page("#/now")
    told = _Told(page)
    await page.goto("#/around")
    prices = await told.of("/api/prices?")
    for each in prices["prices"]:
        row = await _row(page, "Prices", each["asset"])
        assert row["Price"] == f"{_exact(each['price'])} {each['quote']}"
        assert row["24 h"].replace("\u2212", "-") == f"{each['change_24h']:+.2%}"
        assert row["Told by"] == each["provider"]
        assert row["Age"].endswith("ago")
    assert len(prices["prices"]) == 5  # AGENT_ASSETS, as a user has it who sets nothing
    for chain in ("ethereum", "base"):
        gas = await told.of(f"/api/gas/{chain}")
        row = await _row(page, "Fees by chain", chain)
        gwei = {name: int(fee) / 10**9 for name, fee in gas["fees"].items()}
        assert float(row["Base fee"]) == gwei["base_fee_wei"]
        assert float(row["Fast"]) == gwei["max_fee_fast_wei"]
        assert f"{gas['block']:,}" in row["Chain"]
    bitcoin = await told.of("/api/gas/bitcoin")
    row = await _row(page, "Fees by chain", "bitcoin")
    assert float(row["Standard"]) == bitcoin["fees"]["fee_standard_sat_per_kvb"] / 1000
    assert row["Unit"] == "sat/vB"
    mood = (await told.of("/api/sentiment"))["sentiment"][0]
    assert await page.page.inner_text(".mood-value") == str(mood["value"])
    assert mood["label"] in await page.text(".mood")
    news = (await told.of("/api/news?"))["news"]
    assert news, "the simulated feeds tell stories"
    titles = await page.page.locator(".story-title").all_inner_texts()
    assert titles == [each["title"] for each in news]
    links = await page.page.locator(".story-title a").all()
    assert [await each.get_attribute("href") for each in links] == [each["url"] for each in news]
    assert {await each.get_attribute("rel") for each in links} == {"noopener noreferrer"}
    chain = await told.of("/api/blockchain/bitcoin")
    figures = await page.page.inner_text("section[aria-label='Statistics of Bitcoin']")
    assert f"{chain['height']:,}" in figures
    assert f"{chain['metrics']['mempool_count']['value']:,}" in figures
    whales = (await told.of("/api/whales?"))["whales"]
    assert await page.page.locator("table:has-text('Transaction') tbody tr").count() == len(whales)
    assert await page.violations() == []
    await page.shot("around-light")


async def test_the_index_of_thirty_days_has_a_table_of_the_same(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await demo_page("#/around")
    await page.page.wait_for_selector(".mood-dot")
    kept = await page.fetched("api/historical/sentiment?metric=fear_greed_altme&asset=MARKET")
    days = {each["timestamp"] // 86_400_000: each["value"] for each in kept["sentiment"]}
    await page.page.get_by_text("The same as a table").click()
    rows = await page.page.locator(".mood-history tbody tr").all_inner_texts()
    assert [int(row.split("\t")[1]) for row in rows] == [days[day] for day in sorted(days)[::-1]]
    assert await page.page.locator(".mood-dot").count() == len(days)
    assert len(days) >= 30  # at first sight: a new installation keeps what came before


@pytest.mark.slow
async def test_a_fallback_says_who_did_not_answer(
    demo_page: OpenPage, demo_exchanges: Simulator
) -> None:
    fault = {"host": "api.coingecko.com", "class": "transient", "seconds": 600}
    demo_exchanges.post("/sim/providers/faults", fault)
    try:
        page = await demo_page("#/around?assets=doge")
        await page.page.wait_for_selector("tr:has-text('doge')")
    finally:
        demo_exchanges.delete("/sim/providers/faults")
    row = await _row(page, "Prices", "doge")
    assert row["Told by"] != "coingecko"
    prices = page.page.locator("section:has(h2:text-is('Prices'))")
    await prices.get_by_text(re.compile("sources? did not answer")).click()
    assert "price.aggregate/coingecko" in await prices.inner_text()


async def test_one_that_fails_leaves_the_others_alone(demo_page: OpenPage) -> None:
    page = await demo_page("#/now", expected=["404"])
    # A chain that nobody knows, beside one that all know.
    await page.goto("#/around?gas=nochain,ethereum")
    failed = page.page.locator("tr:has-text('nochain')")
    await failed.get_by_text("nochain", exact=False).nth(1).wait_for()  # the API names it, too
    assert "ethereum" in await failed.inner_text()  # which chains there are
    row = await _row(page, "Fees by chain", "ethereum")
    assert float(row["Fast"]) > 0
    await page.page.wait_for_selector(".mood-value")


async def test_a_wrong_field_says_what_is_allowed(demo_page: OpenPage) -> None:
    page = await demo_page("#/around", expected=["422"])
    prices = page.page.locator("section:has(h2:text-is('Prices'))")
    await prices.get_by_text("Assets, kind and currency").click()
    await prices.get_by_label("Assets", exact=True).fill("btc, nosuchcoin")
    await prices.get_by_role("button", name="Show").click()
    wrong = prices.locator(".field-error")
    await wrong.wait_for()
    assert "nosuchcoin" in await wrong.inner_text()
    field = prices.get_by_label("Assets", exact=True)
    assert await field.get_attribute("aria-invalid") == "true"
    assert await field.input_value() == "btc, nosuchcoin"
    await field.fill("btc")
    await prices.get_by_role("button", name="Show").click()
    await wrong.wait_for(state="detached")
    await _row(page, "Prices", "btc")
    assert await page.page.locator("table:has-text('Market cap') tbody tr").count() == 1


async def test_what_strangers_wrote_is_text(demo_page: OpenPage) -> None:
    title = '<img src=x onerror="document.title=\'owned\'"> <b>BTC</b> & "so"'
    hostile: dict[str, Any] = {
        "title": title,
        "source": "<script>document.title='owned'</script>",
        "url": "javascript:document.title='owned'",
        "assets": ["<i>btc</i>"],
    }

    def changed(body: Any) -> None:
        body["news"][0] |= hostile

    page = await demo_page("#/now")
    await page.page.route("**/api/news?*", _changing(changed))
    await page.goto("#/around")
    story = page.page.locator(".stories li").first
    await story.wait_for()
    assert await story.locator(".story-title").inner_text() == title
    assert hostile["source"] in await story.inner_text()
    assert await story.locator("a, img, script, b, i").count() == 0  # no link, as it leads nowhere
    assert await page.page.title() == "Around · Perpcache"


@pytest.mark.slow
async def test_looking_asks_nobody_for_what_is_kept(demo_page: OpenPage) -> None:
    page = await demo_page("#/around")
    await page.page.wait_for_selector(".mood-value")
    await page.page.wait_for_selector(".stories li")
    before = await _asked(page)
    for _ in range(2):
        await page.page.reload()
        await page.page.wait_for_selector(".mood-value")
        await page.page.wait_for_selector(".stories li")
    after = await _asked(page)
    assert after == before


async def test_without_providers_one_line_says_so(
    open_page: OpenPage, start_api: StartApi, redis_url: str
) -> None:
    api = await start_api(redis_url=redis_url, providers="off")
    page = await open_page(f"http://127.0.0.1:{api.port}", "#/around", expected=["404", "503"])
    await page.sees("Providers are off: start the service with PROVIDERS=on", "main .card")
    assert await page.page.locator("main section").count() == 0
    asked = [url for url in page.requested if "/api/" in url]
    assert {url.partition("/api/")[2] for url in asked} == {"sentiment"}
    assert await page.violations() == []


async def test_statistics_are_short_and_heads_stand_over_their_numbers(
    demo_page: OpenPage,
) -> None:
    page = await demo_page("#/around")
    bsc = page.page.locator("section[aria-label='Statistics of BSC']")
    fee = bsc.locator("div", has=page.page.locator("dt", has_text="Base fee")).locator("dd")
    await fee.wait_for()
    stats = await page.fetched("api/blockchain/bsc")
    wei = stats["metrics"]["base_fee"]["value"]
    assert await fee.get_attribute("title") == f"{wei:,} wei"
    told = (await fee.inner_text()).split()
    assert told[1] == "gwei"
    assert float(told[0]) == pytest.approx(wei / 1e9, rel=0.005)
    ends = await page.page.evaluate("""() => {
      const end = (element) => {
        const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
        const range = document.createRange();
        while (texts.nextNode()) {
          if (texts.currentNode.data.trim()) range.selectNodeContents(texts.currentNode);
        }
        return Math.round(range.getBoundingClientRect().right);
      };
      const table = [...document.querySelectorAll("table")]
        .find(each => each.innerText.includes("Market cap"));
      const at = [...table.rows[0].cells].findIndex(each => each.innerText.includes("Market cap"));
      return [...table.rows].map(row => end(row.cells[at]));
    }""")
    assert len(ends) > 2
    assert max(ends) - min(ends) <= 1


@pytest.mark.slow
async def test_a_phone_shows_it_in_the_dark(demo_page: OpenPage) -> None:
    page = await demo_page("#/around", size=PHONE, dark=True)
    await page.page.wait_for_selector(".mood-value")
    await page.page.wait_for_selector("table:has-text('Transaction') tbody tr")
    assert await page.fits()
    assert await page.violations() == []
    await page.shot("around-phone-dark")


class _Told:
    """The newest JSON that the page was answered with, by the end of its address."""

    def __init__(self, page: Opened) -> None:
        self._page = page
        self._answers: list[Response] = []
        page.page.on("response", lambda answer: self._answers.append(answer))

    async def of(self, part: str) -> Any:
        while not (found := [each for each in self._answers if part in each.url]):
            await self._page.page.wait_for_event("response")
        body = await found[-1].json()
        # It is shown in the next turn of the page's loop.
        await self._page.page.evaluate("() => new Promise(done => setTimeout(done, 50))")
        return body


async def _row(page: Opened, caption: str, name: str) -> dict[str, str]:
    """The cells of a row by the heads of their columns, once it has them all."""
    script = """([caption, name]) => {
      const table = [...document.querySelectorAll('table')]
        .find(each => each.caption.innerText.startsWith(caption));
      const row = [...(table?.tBodies[0].rows ?? [])]
        .find(each => each.cells[0].innerText.toLowerCase().startsWith(name));
      const heads = [...(table?.tHead.rows[0].cells ?? [])].map(each => each.innerText.trim());
      if (!row || row.cells.length !== heads.length) return null;
      const pair = (cell, at) => [heads[at], cell.innerText.trim()];
      return Object.fromEntries([...row.cells].map(pair));
    }"""
    found = await page.page.wait_for_function(script, arg=[caption, name])
    cells: dict[str, str] = await found.json_value()
    return {head.rstrip("▾▴").strip(): text for head, text in cells.items()}


async def _asked(page: Opened) -> dict[str, int]:
    """How often chains had to ask: their questions but for those answered from what is kept."""
    usage = await page.fetched("api/hierarchy/usage-stats")
    chains = usage["by_chain"]
    return {name: chains[name]["asked"] - chains[name]["cached"] for name in ("sentiment.market",)}


def _exact(value: float) -> str:
    return f"{value:,.10f}".rstrip("0").rstrip(".")


def _changing(change: Callable[[Any], None]) -> "Callable[[Route], Any]":
    """Lets the API answer, and changes what it has answered."""

    async def handle(route: "Route") -> None:
        answer = await route.fetch()
        body = await answer.json()
        change(body)
        await route.fulfill(response=answer, body=json.dumps(body))

    return handle
