"""The view Work: what its tables say is what the API says, and each action shows in the API."""

import re
from typing import Any, Final

import pytest

from tests.dashboard.conftest import API_TOKEN, OpenPage
from tests.dashboard.shown_workers import HOSTILE
from tests.fixtures.browser import PHONE, Opened
from tests.fixtures.service import Service

_UNAUTHORIZED: Final = "401"  # the browser's console tells of each


async def test_a_schedule_is_stopped_and_started(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await demo_page("#/work/schedules", expected=[_UNAUTHORIZED])
    row = page.page.locator("tr", has=page.page.get_by_role("link", name="holes", exact=True))
    known = await demo_service.get("/api/workers")
    names = {each["name"] for each in known["workers"] if each["kind"] == "schedule"}
    shown = page.page.locator("table:has-text('Fires') tbody th a")
    await row.wait_for()
    assert {*await shown.all_inner_texts()} == names
    await row.get_by_role("button", name="Stop").click()
    dialog = page.page.get_by_role("dialog", name="Stop holes?")
    await dialog.get_by_role("button", name="Cancel").click()
    assert (await demo_service.get("/api/workers/holes"))["enabled"] is True
    await row.get_by_role("button", name="Stop").press("Enter")
    await dialog.get_by_role("button", name="Stop holes").press("Enter")
    await give_token(page, "a wrong one")
    await page.sees("did not take the last one")
    await give_token(page)
    await page.sees("Holes: its schedule fires no more", "[role=status]:has(.box)")
    assert (await demo_service.get("/api/workers/holes"))["enabled"] is False
    # The focus is where it was, at the button that says something else now.
    start = row.get_by_role("button", name="Start")
    await start.wait_for()
    assert await start.evaluate("each => each === document.activeElement")
    await row.get_by_role("button", name="Start").click()  # the token is known now
    await page.sees("Holes: its schedule fires again", "[role=status]:has(.box)")
    assert (await demo_service.get("/api/workers/holes"))["enabled"] is True
    await row.get_by_role("button", name="Stop").wait_for()
    assert await page.violations() == []
    await page.shot("work-schedules")


async def test_a_run_is_followed_and_what_it_says_is_text(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await demo_page("#/work/workers/crawl", expected=[_UNAUTHORIZED])
    await page.sees("Configuration")
    assert 'Crawls "pages" of <b>one</b> source.' in await page.text()
    await page.page.get_by_role("button", name="Run now").click()
    await give_token(page)
    link = page.page.locator("table:has-text('Stands for') tbody th a").first
    await link.click()
    run = re.search(r"runs/(\d+)$", page.page.url)
    assert run is not None
    await page.sees("Complete")
    told = await demo_service.get(f"/api/runs/{run[1]}")
    assert told["result"] == {"rows": 12, "note": HOSTILE}
    assert HOSTILE in await page.text("main")
    await page.sees(f'{HOSTILE} pages=3 said=it\'s "so"', ".log")
    log = await demo_service.get(f"/api/runs/{run[1]}/log")
    await page.page.wait_for_function(
        "count => document.querySelectorAll('.log li').length === count", arg=len(log["lines"])
    )
    assert await page.page.locator("main img, main b").count() == 0
    assert await page.page.title() == "Work · Perpcache"
    assert await page.violations() == []
    await page.goto("#/work/workers/refused")
    await page.page.get_by_role("button", name="Run now").click()
    await page.sees(f"RuntimeError: the source said {HOSTILE}", ".work")
    assert await page.page.locator("main img").count() == 0


@pytest.mark.slow
async def test_a_run_that_goes_on_is_followed_and_aborted(
    demo_page: OpenPage, demo_service: Service
) -> None:
    asked = await demo_service.post("/api/workers/lines/run")
    page = await demo_page(f"#/work/runs/{asked['id']}", expected=[_UNAUTHORIZED])
    await page.sees("line number=", ".log")
    seen = await page.page.locator(".log li").count()
    await page.page.wait_for_function(
        "seen => document.querySelectorAll('.log li').length > seen + 3", arg=seen
    )
    await page.page.get_by_role("button", name="Abort").click()
    dialog = page.page.get_by_role("dialog", name=f"Abort run {asked['id']}?")
    await dialog.get_by_role("button", name="Abort run").click()
    await give_token(page)
    await page.sees("aborted by api", ".box-critical")
    assert (await demo_service.get(f"/api/runs/{asked['id']}"))["state"] == "aborted"
    await page.sees("The run is over.")


async def test_an_edit_survives_refreshes_and_is_told_what_is_allowed(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await demo_page("#/work/workers/ui_data", expected=[_UNAUTHORIZED, "422"])
    form = page.page.locator("form.form")
    offset = page.page.get_by_label("Seconds after the period")
    await offset.fill("soon")
    await _refreshed(page, "/api/workers/ui_data")
    assert await offset.input_value() == "soon"
    assert await offset.evaluate("each => each === document.activeElement")
    await form.get_by_role("button", name="Change").click()
    await give_token(page)
    wrong = form.locator(".field", has=offset).locator(".field-error")
    await wrong.wait_for()
    assert "integer" in await wrong.inner_text()
    assert await offset.input_value() == "soon"
    await form.get_by_label("Time zone").fill("Mars/Base")
    await offset.fill("90")
    await form.get_by_role("button", name="Change").click()
    zone = form.locator(".field", has=page.page.get_by_label("Time zone")).locator(".field-error")
    await zone.wait_for()
    assert "Mars/Base" in await zone.inner_text()
    await form.get_by_label("Time zone").fill("UTC")
    await form.get_by_role("button", name="Change").click()
    await page.sees("ui_data is changed; it fires next at", "[role=status]:has(.box)")
    now = await demo_service.get("/api/workers/ui_data")
    assert (now["offset_s"], "offset_s" in now["overridden"]) == (90, True)
    await page.page.get_by_role("button", name="Undo all changes").click()
    await page.page.get_by_role("dialog").get_by_role("button", name="Undo").click()
    await page.sees("ui_data is as its code says", "[role=status]:has(.box)")
    now = await demo_service.get("/api/workers/ui_data")
    assert (now["offset_s"], now["overridden"]) == (60, [])
    assert await page.violations() == []


async def test_values_of_the_configuration_are_set_and_deleted(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await demo_page("#/work/workers/crawl", expected=[_UNAUTHORIZED, "422"])
    pages = page.page.get_by_label("pages", exact=True)
    await pages.fill("99")
    await page.page.get_by_role("button", name="Set pages").click()
    await give_token(page)
    wrong = page.page.locator(".field", has=pages).locator(".field-error")
    await wrong.wait_for()
    assert "9" in await wrong.inner_text()
    await pages.fill("5")
    await pages.press("Enter")
    await page.sees("Pages is 5", "[role=status]:has(.box)")
    told = await demo_service.get("/api/config/crawl/pages")
    assert (told["value"], told["level"]) == (5, "own")
    assert "keep-me-unseen" not in await page.page.content()  # the secret's default
    await page.page.get_by_role("button", name="Delete pages").click()
    await page.page.get_by_role("dialog").get_by_role("button", name="Delete pages").click()
    await page.sees("Pages is not set here any more", "[role=status]:has(.box)")
    assert (await demo_service.get("/api/config/crawl/pages"))["level"] == "default"


async def test_a_queue_is_paused_and_resumed(demo_page: OpenPage, demo_service: Service) -> None:
    page = await demo_page("#/work/schedules", expected=[_UNAUTHORIZED, "422"])
    await page.page.get_by_role("button", name="Pause default").click()
    dialog = page.page.get_by_role("dialog", name="Pause default?")
    await dialog.get_by_label("For how long").fill("a while")
    await dialog.get_by_role("button", name="Pause default").click()
    await give_token(page)
    wrong = dialog.locator(".field-error")
    await wrong.wait_for()
    assert "90s, 15m, 2h or 1d" in await wrong.inner_text()
    await dialog.get_by_label("For how long").fill("15m")
    await dialog.get_by_role("button", name="Pause default").click()
    await page.sees("Default is paused until", "[role=status]:has(.box)")
    assert (await demo_service.get("/api/queues"))["queues"][0]["paused"] is True
    await page.page.get_by_role("button", name="Resume default").click()
    await page.sees("Default is open", "[role=status]:has(.box)")
    assert (await demo_service.get("/api/queues"))["queues"][0]["paused"] is False


async def test_a_collector_is_ruled(demo_page: OpenPage, demo_service: Service) -> None:
    page = await demo_page("#/work/collectors", expected=[_UNAUTHORIZED, "400"])
    row = page.page.locator("tr:has-text('majors')")
    await row.get_by_text("Running", exact=True).wait_for()
    assert await page.violations() == []
    await row.get_by_role("button", name="Stop majors").click()
    await page.page.get_by_role("dialog").get_by_role("button", name="Stop majors").click()
    await give_token(page)
    await page.sees("Majors: wanted now: stopped", "[role=status]:has(.box)")
    assert (await _desired(demo_service))["running"] is False
    await row.get_by_role("button", name="Start majors", exact=True).click()
    await page.sees("Majors: wanted now: running", "[role=status]:has(.box)")
    assert (await _desired(demo_service))["running"] is True
    await row.get_by_role("link", name="majors").click()
    another = page.page.get_by_label("Another symbol")
    await another.fill("not a market!")
    await another.press("Enter")
    await page.sees("not the name of a market", ".field-error")
    await another.fill("SOL-USDT")
    await another.press("Enter")
    await page.sees("Majors follows 3 symbols", "[role=status]:has(.box)")
    assert "SOL-USDT" in (await _desired(demo_service))["symbols"]
    await page.page.get_by_role("button", name="Remove SOL-USDT").click()
    await page.page.get_by_role("dialog").get_by_role("button", name="Remove SOL-USDT").click()
    await page.sees("Majors follows 2 symbols", "[role=status]:has(.box)")
    assert "SOL-USDT" not in (await _desired(demo_service))["symbols"]


@pytest.mark.slow
async def test_a_refresh_is_asked_for(demo_page: OpenPage, demo_service: Service) -> None:
    before = await demo_service.get("/jobs/collect:4h")
    page = await demo_page("#/work/jobs", expected=[_UNAUTHORIZED])
    await page.sees("collect:4h", ".work")
    await page.page.get_by_label("Timeframe").select_option("4h")
    await page.page.get_by_role("button", name="Refresh").click()
    await give_token(page)
    await page.sees("collect:4h: run", "[role=status]:has(.box)")
    ended = await demo_service.job(
        "collect:4h", lambda job: job["last"] and job["last"]["run"] > before["run"]
    )
    row = page.page.locator("tr:has-text('collect:4h')")
    await row.get_by_text(f"{ended['last']['result']['rows']:,} rows").wait_for()
    assert await page.violations() == []


async def test_a_provider_is_probed_and_switched(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await demo_page("#/work/providers", expected=[_UNAUTHORIZED])
    known = await demo_service.get("/api/providers")
    chains = {each["chain"] for each in known["resources"]}
    shown = page.page.locator("tbody th a")
    await shown.first.wait_for()
    assert {*await shown.all_inner_texts()} == chains
    assert await page.violations() == []
    await page.page.get_by_role("link", name="price.spot", exact=True).click()
    await page.page.locator("code:text-is('price.spot/kraken')").wait_for()
    ids = [each["id"] for each in known["resources"] if each["chain"] == "price.spot"]
    assert await page.page.locator("tbody th code").all_inner_texts() == ids
    row = page.page.locator("tr:has-text('price.spot/kraken')")
    await row.get_by_role("button", name="Probe").click()
    await give_token(page)
    await page.sees("price.spot/kraken answered within", "[role=status]:has(.box)")
    await row.get_by_role("button", name="Disable").click()
    await page.page.get_by_role("dialog").get_by_role("button", name="Disable it").click()
    await page.sees("price.spot/kraken is not asked", "[role=status]:has(.box)")
    assert (await _resource(demo_service, "price.spot/kraken"))["asked"] is False
    await row.get_by_text("Disabled", exact=True).wait_for()
    await row.get_by_role("button", name="Enable").click()
    await page.sees("price.spot/kraken is asked", "[role=status]:has(.box)")
    assert (await _resource(demo_service, "price.spot/kraken"))["asked"] is True


@pytest.mark.slow
@pytest.mark.parametrize("section", ["schedules", "workers", "workers/crawl", "jobs", "providers"])
async def test_a_phone_shows_it_in_the_dark(demo_page: OpenPage, section: str) -> None:
    page = await demo_page(f"#/work/{section}", size=PHONE, dark=True)
    await page.page.wait_for_selector("main table tbody tr")
    assert await page.fits()
    assert await page.violations() == []
    await page.shot(f"work-{section.replace('/', '-')}-phone-dark")


async def give_token(page: Opened, token: str = API_TOKEN) -> None:
    """Answers the dialog that asks for API_TOKEN."""
    dialog = page.page.get_by_role("dialog", name="Token")
    await dialog.get_by_label("API_TOKEN").fill(token)
    await dialog.get_by_role("button", name="Go on").click()


async def _refreshed(page: Opened, path: str) -> None:
    """Waits until the page has asked for this again, and shows it."""
    await page.page.wait_for_event("response", lambda answer: answer.url.endswith(path))
    await page.page.evaluate("() => new Promise(done => setTimeout(done, 50))")


async def _desired(service: Service) -> Any:
    return (await service.get("/api/collectors/majors"))["desired"]


async def _resource(service: Service, name: str) -> Any:
    return (await service.get(f"/api/providers/{name}"))["resources"][0]
