"""The view Whole market: numbers made of the API's, order, search, heat map, thousands of rows."""

from typing import Any, Final

from tests.dashboard.conftest import CRON_SECRET, OpenPage
from tests.fixtures.browser import PHONE, Opened
from tests.fixtures.service import Service

HOUR_MS: Final = 3_600_000
TABLE: Final = ".windowed"
# What the view asks for, by the documents that there are: the finest that tells of a day.
LIMITS: Final = {"1h": 26, "30m": 50, "2h": 14, "4h": 8}
# In the page: a table of 3000 rows, and what of it is in the page at its top and at its end.
_THOUSANDS: Final = """async () => {
  const {h, render} = await import("preact");
  const {WindowedTable} = await import(`${location.pathname}views/markets/window.js`);
  const rows = Array.from({length: 3000}, (_, at) => ({key: `row ${at}`, at}));
  const columns = [{key: "at", title: "Number", render: row => `number ${row.at}`}];
  const box = document.querySelector("main").appendChild(document.createElement("div"));
  const props = {caption: "Thousands", columns, rows, sort: {key: "at", isDown: false}};
  render(h(WindowedTable, {...props, onSort: () => {}}), box);
  const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  const seen = () => [...box.querySelectorAll("tbody tr:not(.space)")].map(row => row.innerText);
  await frame();
  const top = seen();
  const scroller = box.querySelector(".windowed");
  const height = scroller.scrollHeight;
  scroller.scrollTop = scroller.scrollHeight;
  while (!seen().includes("number 2999")) await frame();
  const end = seen();
  const last = box.querySelector("tbody tr:last-child").getAttribute("aria-rowindex");
  const total = box.querySelector("table").getAttribute("aria-rowcount");
  render(null, box);
  box.remove();
  return {top, end, height, last, total};
}"""


async def opened(demo_page: OpenPage, route: str = "#/markets", **options: Any) -> Opened:
    page = await demo_page(route, **options)
    await page.page.wait_for_selector(f"{TABLE} tbody tr[data-key]")
    return page


async def table(page: Opened) -> dict[str, dict[str, str]]:
    """The shown rows in order: by market its cells' values, those of documents in full."""
    found: list[tuple[str, dict[str, str]]] = await page.page.evaluate(
        """() => [...document.querySelectorAll(".windowed tbody tr[data-key]")].map(row => [
          row.dataset.key,
          Object.fromEntries([...row.querySelectorAll("td")].map(cell => [
            cell.dataset.column, cell.querySelector("data")?.value ?? cell.innerText]))])"""
    )
    return dict(found)


def changed(new: float | None, old: float | None) -> float | None:
    return None if new is None or not old else new / old - 1


def expected(told: Any, funding: Any) -> dict[str, dict[str, Any]]:
    """The table's numbers, from whole documents, row by row."""
    rates = {(m["exchange"], m["symbol"]): m for m in funding["markets"]}
    found = {}
    for market in told["markets"]:
        rows = {row[0]: dict(zip(told["columns"], row, strict=True)) for row in market["rows"]}
        if not rows:
            continue
        last_ms = max(rows)
        at_ms = last_ms
        if rows[at_ms]["open_interest"] is None:
            at_ms -= told["interval_ms"]

        def interest(ms: int, rows: dict[int, Any] = rows) -> float | None:
            value: float | None = rows.get(ms, {}).get("open_interest")
            return value

        settled = rates[market["exchange"], market["symbol"]]
        rate = settled["rows"][-1][1] if settled["rows"] else None
        found[f"{market['exchange']} {market['symbol']}"] = {
            "price": rows[last_ms]["close"],
            "rate": rate,
            "rate8h": None if rate is None else rate * 8 / settled["interval_hours"],
            "interestValue": interest(at_ms),
            **{
                f"change{hours}h": changed(interest(at_ms), interest(at_ms - hours * HOUR_MS))
                for hours in (1, 4, 24)
            },
        }
    return found


async def source(page: Opened) -> str:
    documents = (await page.fetched("status"))["documents"]
    return next(name for name in LIMITS if documents[name])


async def test_numbers_are_made_of_the_documents(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await opened(demo_page)
    asked = {url.split("/cache/")[1] for url in page.requested if "/cache/" in url}
    name = await source(page)
    assert asked == {f"{name}?limit={LIMITS[name]}", "global_fr?limit=1"}
    told, funding = await page.fetched(f"cache/{name}"), await page.fetched("cache/global_fr")
    wanted, shown = expected(told, funding), await table(page)
    assert set(shown) == set(wanted) and len(shown) > 5
    for market, numbers in wanted.items():
        for column, value in numbers.items():
            text = shown[market][column]
            if value is None:
                assert text in ("–", ""), (market, column)
            else:
                assert abs(float(text) - value) <= 1e-12 * max(1, abs(value)), (market, column)
    # What is published is shown without being asked for.
    before = await page.text(".fresh")
    await demo_service.post(
        "/api/v1/internal/update-fr", None, Authorization=f"Bearer {CRON_SECRET}"
    )
    await page.page.wait_for_function(
        "before => document.querySelector('.fresh').innerText.split('Funding of')[1] !=="
        " before.split('Funding of')[1]",
        arg=before,
    )


async def test_order_search_and_the_way_to_a_market(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await opened(demo_page)
    name = await source(page)
    wanted = expected(await page.fetched(f"cache/{name}"), await page.fetched("cache/global_fr"))
    prices = [wanted[key]["price"] for key in wanted]
    head = page.page.locator(f"{TABLE} th", has_text="Price")
    button = head.get_by_role("button")
    for way in ("descending", "ascending"):
        await button.focus()
        await page.page.keyboard.press("Enter")
        assert await head.get_attribute("aria-sort") == way
        shown = [float(each["price"]) for each in (await table(page)).values()]
        assert shown == sorted(prices, reverse=way == "descending")
    await page.page.get_by_role("radio", name="Bybit", exact=True).check(force=True)
    await page.page.fill("input[type=search]", "eth")
    await page.sees("1 market", "main")
    assert [*await table(page)] == ["bybit ETHUSDT"]
    # The address holds it all.
    await page.page.reload()
    await page.page.wait_for_selector(f"{TABLE} tbody tr[data-key]")
    assert [*await table(page)] == ["bybit ETHUSDT"]
    await page.page.click(f"{TABLE} a")
    await page.page.wait_for_selector("[data-exchange=bybit] .last")
    assert page.page.url.endswith(f"#/market/ETHUSDT/{name}?exchanges=bybit")


async def test_the_heat_map(demo_page: OpenPage, demo_service: Service) -> None:
    page = await opened(demo_page, "#/markets?show=change4h")
    name = await source(page)
    wanted = expected(await page.fetched(f"cache/{name}"), await page.fetched("cache/global_fr"))
    cells = await page.page.evaluate(
        """() => [...document.querySelectorAll(".heat a")].map(
             cell => [cell.dataset.key, cell.lastChild.data, cell.className])"""
    )
    assert {key for key, _, _ in cells} == set(wanted)
    for key, text, classes in cells:
        change = wanted[key]["change4h"]
        if change is None:
            assert (text, "heat-none" in classes) == ("–", True)
            continue
        assert abs(float(text.replace("\N{MINUS SIGN}", "-")) - 100 * change) <= 0.0051
        # 1, 4 and 10 % are the limits of the classes, which the legend tells.
        steps = sum(abs(change) >= limit for limit in (0.01, 0.04, 0.1))
        sign = "m" if change < 0 else "p"
        assert classes.endswith(f"heat-{sign}{steps}" if steps else "heat-0")
    counts = await page.page.locator(".heat-count").all_inner_texts()
    assert sum(map(int, counts)) == len(wanted)
    # One stop of the tab key; the arrows move, Enter opens.
    stops = page.page.locator(".heat a[tabindex='0']")
    assert await stops.count() == 1
    await stops.focus()
    first = await stops.get_attribute("data-key")
    await page.page.keyboard.press("End")
    assert await stops.get_attribute("data-key") != first
    await page.page.keyboard.press("Home")
    assert await stops.get_attribute("data-key") == first
    await page.page.keyboard.press("ArrowRight")
    assert await stops.count() == 1 and await stops.get_attribute("data-key") != first
    await page.page.keyboard.press("Enter")
    await page.page.wait_for_selector(".exchange .last")


async def test_thousands_of_rows_are_not_in_the_page(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await opened(demo_page)
    found = await page.page.evaluate(_THOUSANDS)
    assert found["top"][0] == "number 0" and len(found["top"]) < 60
    assert found["end"][-1] == "number 2999" and len(found["end"]) < 60
    assert (found["last"], found["total"]) == ("3001", "3001")
    assert found["height"] >= 3000 * 32


async def test_it_looks_well(demo_page: OpenPage, demo_service: Service) -> None:
    for name, options in (
        ("light", {}),
        ("dark", {"dark": True}),
        ("phone", {"size": PHONE, "dark": True}),
    ):
        page = await opened(demo_page, **options)
        assert await page.fits(), name
        if name != "phone":
            assert await page.violations() == []
        await page.shot(f"markets-{name}")
