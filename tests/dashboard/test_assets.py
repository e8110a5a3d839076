"""The view Assets: the API's figures over three exchanges, order, search, the way to a market."""

import json
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from playwright.async_api import Route

from market.assets.names import asset_of
from tests.dashboard.conftest import CRON_SECRET, EXCHANGES, OpenPage
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.browser import PHONE, Opened
from tests.fixtures.service import Service

NAMES: Final = {"binance": "Binance", "bybit": "Bybit", "okx": "OKX"}
SPANS: Final = ("1h", "4h", "24h")
LIST: Final = ".windowed tbody tr[data-key]"
TILES: Final = ".asset-tiles"
MINUS: Final = "\N{MINUS SIGN}"
UNKNOWN: Final = "–"  # and words for who listens
BASES: Final = (
    *("BTC", "1000PEPE", "1000000MOG", "1MBABYDOGE", "SHIB1000", "10000SATS", "1000000BABYDOGE"),
    *("1INCH", "0G", "4", "42", "1000X", "1MT", "1MOG", "1MBTC", "LUNA2", "X10000", "TOMI1000"),
    *("龙虾", "B10"),
)
_SHOWN: Final = """([rows, all]) => [...document.querySelectorAll(rows)].map(row => [
  row.dataset.key ?? row.querySelector("th").innerText,
  Object.fromEntries([...row.querySelectorAll("td")].map((cell, at) => [
    cell.dataset.column ?? all[at],
    [cell.querySelector("data")?.value ?? null, cell.innerText.split("\\n")[0].trim()]]))])"""
COLUMNS: Final = (
    *("symbol", "price", "interest", "share", "1h", "4h", "24h"),
    *("rate", "rate8h", "rateYear", "turnover"),
)

Cells = dict[str, tuple[str | None, str]]


async def opened(demo_page: OpenPage, route: str, shown: str = LIST, **options: Any) -> Opened:
    page = await demo_page(route, **options)
    await page.page.wait_for_selector(shown)
    return page


async def table(page: Opened, rows: str = LIST, columns: tuple[str, ...] = ()) -> dict[str, Cells]:
    """The rows in order: by their head, of each cell the value that it holds and its text."""
    found: list[tuple[str, Cells]] = await page.page.evaluate(_SHOWN, [rows, columns])
    return dict(found)


def percent(value: float, digits: int) -> str:
    return f"{value * 100:+.{digits}f}%".replace("-", MINUS)


def agrees(cell: tuple[str | None, str], value: float | None, text: str | None = None) -> bool:
    """Whether a cell holds this number and shows this text; a dash if it is not known."""
    if value is None:
        return cell[0] is None and cell[1].startswith(UNKNOWN)
    return cell[0] is not None and float(cell[0]) == value and text in (None, cell[1])


async def told_and_shown(page: Opened, path: str) -> Any:
    """The API's newest answer, once the page shows it."""
    told = await page.fetched(path)
    published = datetime.fromtimestamp(told["updated_at"] / 1000, UTC)
    wanted = published.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    await page.page.wait_for_selector(f".fresh time[datetime='{wanted}']")
    return told


async def altered(page: Opened, path: str, change: Any) -> None:
    """From now on the page gets the API's own answers with a change."""

    async def answer(route: Route) -> None:
        real = await route.fetch()
        told = change(json.loads(await real.text()))
        await route.fulfill(response=real, json=told)

    await page.page.route(path, answer)


async def test_the_list_is_that_of_the_api(demo_page: OpenPage, demo_service: Service) -> None:
    page = await opened(demo_page, "#/assets")
    told = (await told_and_shown(page, "market"))["assets"]
    shown = await table(page)
    assert [*shown] == [each["asset"] for each in told] and len(told) > 6
    assert next(each for each in told if each["asset"] == "BTC")["exchanges"] == [*EXCHANGES]
    known = 0
    for each in told:
        cells = shown[each["asset"]]
        interest = each["open_interest"]
        for column, value, text in (
            ("price", each["price"], None),
            ("interestQuote", interest["quote"], None),
            ("interestCoins", interest["coins"], None),
            *((f"change{span}", each["change"][span], 2) for span in SPANS),
            ("rate8h", each["rate_8h"], 4),
            ("rateYear", each["rate_year"], 2),
            ("turnover", each["turnover_24h"], None),
        ):
            wanted = None if value is None or text is None else percent(value, text)
            assert agrees(cells[column], value, wanted), (each["asset"], column, cells[column])
            known += value is not None
        assert agrees(cells["spread"], each["spread_bps"]), each
        names = ", ".join(NAMES[exchange] for exchange in each["exchanges"])
        assert cells["exchanges"][1].startswith(names)
    assert known > 6 * len(told)


async def test_what_is_not_known_in_the_list(demo_page: OpenPage, demo_service: Service) -> None:
    page = await demo_page("#/now", size=PHONE)
    name = "<b>" + "X" * 300

    def poor(told: Any) -> Any:
        nothing = dict.fromkeys(("price", "spread_bps", "rate_8h", "rate_year", "turnover_24h"))
        nothing |= {"open_interest": {"coins": None, "quote": None}}
        nothing |= {"change": dict.fromkeys(SPANS), "exchanges": [], "left_out": 2}
        return told | {"assets": [{"asset": name} | nothing, *told["assets"]]}

    await altered(page, "**/market", poor)
    await page.goto("?#/assets")
    await page.page.wait_for_selector(LIST)
    shown = await table(page)
    assert [*shown][-1] == name  # what is not known comes last
    figures = {column: cell for column, cell in shown[name].items() if column != "exchanges"}
    assert len(figures) == 10 and all(agrees(cell, None) for cell in figures.values()), figures
    cell = page.page.locator(LIST).last.locator("[data-column=exchanges]")
    assert await cell.inner_text() == "none 2 left out"
    assert "2 markets left out of sums" in await page.text(".fresh")
    assert await page.fits()
    await page.page.unroute_all(behavior="ignoreErrors")


async def test_order_search_and_the_way_there_and_back(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await opened(demo_page, "#/assets")
    head = page.page.locator(".windowed th", has_text="Price")
    for way in ("descending", "ascending"):
        await head.get_by_role("button").focus()
        await page.page.keyboard.press("Enter")
        assert await head.get_attribute("aria-sort") == way
        prices = [float(cells["price"][0] or 0) for cells in (await table(page)).values()]
        assert prices == sorted(prices, reverse=way == "descending")
    await page.page.fill("input[type=search]", "1000pepe")
    await page.sees("1 asset", "main")
    assert [*await table(page)] == ["PEPE"]
    await page.page.fill("input[type=search]", "bt")
    await page.sees("BTC", ".windowed")
    await page.page.reload()  # the address holds it all
    await page.page.wait_for_selector(LIST)
    assert "BTC" in await table(page)
    await page.page.get_by_role("link", name="BTC", exact=True).focus()
    await page.page.keyboard.press("Enter")
    await page.page.wait_for_selector(TILES)
    assert await page.page.evaluate("document.activeElement.innerText") == "BTC over exchanges"
    row = page.page.locator("tbody tr", has_text="OKX")
    await row.get_by_role("link", name="BTCUSDT").click()
    await page.page.wait_for_selector("[data-exchange=okx] .last")
    assert page.page.url.endswith("#/market/BTCUSDT/5m?exchanges=okx")
    await page.page.get_by_role("link", name="BTC over exchanges").click()
    await page.page.wait_for_selector(TILES)
    assert page.page.url.endswith("#/assets/BTC")


async def test_one_asset_is_that_of_the_api(demo_page: OpenPage, demo_service: Service) -> None:
    page = await opened(demo_page, "#/assets/btcusdt", TILES)  # a symbol of it will do
    told = await told_and_shown(page, "market/BTC")
    assert await page.text("main h1") == "BTC over exchanges"
    assert [market["exchange"] for market in told["markets"]] == [*EXCHANGES]
    tiles = await page.page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".asset-tiles .tile")].map(
             tile => [tile.querySelector("dt").innerText, [
               tile.querySelector(".tile-value data")?.value ?? null,
               tile.querySelector(".tile-note").innerText]]))"""
    )
    change = {
        span: told["change"][span] or {"coins": None, "coins_fraction": None} for span in SPANS
    }
    for title, value in (
        ("Price", told["price"]["median"]),
        ("Spread", told["price"]["spread_bps"]),
        ("Open interest", told["open_interest"]["quote"]),
        *((f"Change in {span[:-1]} h", change[span]["coins_fraction"]) for span in SPANS),
        ("Funding per 8 h", told["funding"]["rate_8h"]),
        ("Turnover in 24 h", told["turnover_24h"]["quote"]),
    ):
        assert (tiles[title][0] and float(tiles[title][0])) == value, title
    known = [span for span in SPANS if told["change"][span]]
    assert "1h" in known
    for span in known:
        way = "fallen by" if change[span]["coins"] < 0 else "risen by"
        assert tiles[f"Change in {span[:-1]} h"][1].startswith(way)
    assert percent(told["funding"]["rate_year"], 2) in tiles["Funding per 8 h"][1]
    lowest, highest = (NAMES[told["price"][f"{end}_exchange"]] for end in ("lowest", "highest"))
    assert tiles["Spread"][1] == f"from {lowest} to {highest}"

    shown = await table(page, "section tbody tr", COLUMNS)
    total = told["open_interest"]["quote"]
    for market in told["markets"]:
        cells, funding = shown[NAMES[market["exchange"]]], market["funding"]
        interest = market["open_interest"]["quote"]
        assert agrees(cells["price"], market["price"])
        assert agrees(cells["interest"], interest)
        assert cells["share"][1] == f"{interest / total * 100:.1f}%"
        assert agrees(cells["turnover"], market["turnover_24h"]["quote"])
        for span in SPANS:
            fraction = (market["change"][span] or {}).get("coins_fraction")
            assert agrees(cells[span], fraction, fraction and percent(fraction, 2))
        assert agrees(cells["rate"], funding["rate"])
        assert f"every {funding['interval_hours']}" in cells["rate"][1]
        assert agrees(cells["rate8h"], funding["rate_8h"], percent(funding["rate_8h"], 4))
        assert agrees(cells["rateYear"], funding["rate_year"], percent(funding["rate_year"], 2))
    await page.page.get_by_text("What these figures mean").click()
    await page.sees("not compounded", ".meanings")


async def test_what_is_published_is_read_again(demo_page: OpenPage, demo_service: Service) -> None:
    page = await opened(demo_page, "#/assets/BTC", TILES)

    def dearer(told: Any) -> Any:
        told["price"]["median"] = 98765.5
        told["funding"] |= {"rate_8h": -0.0002, "rate_year": -0.219}
        return told | {"version": told["version"] + 1}

    await altered(page, "**/market/BTC", dearer)
    # With funding that was asked for anew there is another overview, also within one candle.
    asked = await demo_service.post(
        "/api/v1/internal/update-fr", None, Authorization=f"Bearer {CRON_SECRET}"
    )
    await demo_service.ended(asked)
    before = (await page.fetched("cache/overview"))["version"]
    await demo_service.collect("5m")
    assert (await page.fetched("cache/overview"))["version"] > before
    await page.sees("98,765.5", TILES)
    await page.sees(f"{MINUS}21.90% a year, shorts pay", TILES)
    await page.page.wait_for_function(
        "() => document.querySelector('[role=status]').innerText.startsWith('Figures of')"
    )
    await page.page.unroute_all(behavior="ignoreErrors")


async def test_what_is_not_known_and_left_out_is_said(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await demo_page("#/now", size=PHONE)
    text = "<b>" + "x" * 300

    def poor(told: Any) -> Any:
        first, second, _ = told["markets"]
        nothing = {"coins": None, "quote": None}
        first |= {"open_interest": nothing, "funding": None, "turnover_24h": None, "price": None}
        first["change"] = dict.fromkeys(SPANS)
        second |= {"summed": False, "base": f"1000{text}", "units": 1000}
        second["turnover_24h"]["candles"] = 7
        reason = f"its last closed candle ended at 1796132400000: {text}"
        left_out = {"exchange": "bybit", "symbol": "BTCUSDT", "reason": reason}
        told["open_interest"] |= nothing | {"exchanges": []}
        told["change"] = dict.fromkeys(SPANS)
        told["funding"] = {"rate_8h": None, "rate_year": None, "exchanges": []}
        told["turnover_24h"] |= {"exchanges": ["okx"], "partial": ["okx"]}
        told["price"] |= {"spread_bps": None}
        return told | {"asset": f"BTC{text}", "left_out": [left_out]}

    await altered(page, "**/market/BTC", poor)
    await page.goto("?#/assets/BTC")
    await page.page.wait_for_selector(TILES)
    tiles = await page.text(TILES)
    assert tiles.count("not known") == 6 and "of OKX only; some of OKX lack" in tiles
    main = await page.text()
    assert "ended at 2026-12-01 13:40 UTC: <b>xxx" in main and "7 candles" in main
    row = page.page.locator("section tbody tr", has_text="Binance")
    assert await row.locator("td", has_text=UNKNOWN).count() == 10  # all but the symbol
    assert "0" not in "".join(await row.locator("td:not([data-title=Market])").all_inner_texts())
    assert "Left out" in await page.text("section tbody tr:has-text('Bybit')")
    assert await page.fits()
    await page.shot("asset-poor")
    await page.page.unroute_all(behavior="ignoreErrors")


@pytest.mark.slow
async def test_names_of_no_asset(demo_page: OpenPage, demo_service: Service) -> None:
    page = await demo_page("#/assets/NOSUCH", expected=["status of 404"])
    await page.sees("Nothing to show of NOSUCH", "main")
    await page.goto("#/assets/..%2F..%2Fstatus")
    await page.sees("Nothing to show of ../../status", "main")
    await page.goto("#/assets/..")  # its path would be another one
    await page.page.wait_for_selector(LIST)
    await page.page.fill("input[type=search]", "<b>nothing")
    await page.sees("No asset has this in its name", "main")


@pytest.mark.slow
async def test_before_anything_is_collected_it_says_what_to_post(
    start_api: StartApi, open_page: OpenPage, redis_url: str
) -> None:
    api: ServedApi = await start_api(redis_url=redis_url)
    page = await open_page(f"http://127.0.0.1:{api.port}", "#/assets")
    await page.sees('POST /get-market-data {"timeframe":"all"}', "main")
    assert not any(url.endswith("/market") for url in page.requested)


async def test_coins_are_the_assets_of_the_service(demo_page: OpenPage) -> None:
    page = await demo_page("#/now")
    found = await page.page.evaluate(
        """async bases => {
          const {coinOf} = await import(`${location.pathname}views/markets/coins.js`);
          return bases.map(coinOf);
        }""",
        BASES,
    )
    assert found == [asset_of(base).name for base in BASES]


async def test_it_looks_well(demo_page: OpenPage, demo_service: Service) -> None:
    for name, options in (
        ("light", {}),
        ("dark", {"dark": True}),
        ("phone", {"size": PHONE, "dark": True}),
    ):
        page = await opened(demo_page, "#/assets", **options)
        assert await page.fits(), name
        for what, route, shown in (("assets", "#/assets", LIST), ("asset", "#/assets/BTC", TILES)):
            await page.goto(route)
            await page.page.wait_for_selector(shown)
            assert await page.fits(), (name, what)
            if name != "phone":
                assert await page.violations() == []
            await page.shot(f"{what}-{name}")
