"""Switches of the view Work beyond those of a single schedule: the agent, a WebSocket worker, a job
that runs, and a queue's limit."""

import pytest

from tests.dashboard.conftest import OpenPage
from tests.dashboard.test_work import give_token
from tests.fixtures.service import Service
from tests.fixtures.simulator import Simulator

_UNAUTHORIZED = "401"  # the browser's console tells of each
_TOLD = "[role=status]:has(.box)"


async def test_the_agent_is_stopped_and_started_and_its_workers_are_edited(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await demo_page("#/work/schedules", expected=[_UNAUTHORIZED])
    agent = page.page.locator("section", has=page.page.get_by_role("heading", name="The agent"))
    await agent.get_by_role("button", name="Stop the agent").click()
    dialog = page.page.get_by_role("dialog", name="Stop the agent?")
    await dialog.get_by_role("button", name="Cancel").click()
    assert (await demo_service.get("/api/worker/status"))["status"] == "running"
    await agent.get_by_role("button", name="Stop the agent").click()
    await dialog.get_by_role("button", name="Stop the agent").click()
    await give_token(page)
    await page.sees("The agent is stopped", _TOLD)
    await agent.get_by_text("Stopped", exact=True).wait_for()
    told = await demo_service.get("/api/worker/status")
    assert (told["status"], len(told["stopped"])) == ("stopped", 3)
    # What it says of its health is sentences.
    for sentence in ("Closes is stopped.", "historical_data is stopped.", "ui_data is stopped."):
        await agent.get_by_role("listitem").get_by_text(sentence, exact=True).wait_for()
    await page.shot("work-agent-stopped")
    await agent.get_by_role("button", name="Start the agent").click()
    await page.sees("The agent is running", _TOLD)
    assert (await demo_service.get("/api/worker/status"))["status"] == "running"
    await agent.get_by_role("button", name="Collect for users now").click()
    await page.sees("Collect for users: run", _TOLD)
    await agent.get_by_role("button", name="Collect for the history now").click()
    await page.sees("Collect for the history: run", _TOLD)

    row = page.page.locator("tr", has=page.page.get_by_role("link", name="closes", exact=True))
    await row.get_by_role("link", name="Edit closes").click()
    attempts = page.page.get_by_label("Attempts", exact=True)
    await attempts.fill("2")
    await page.page.get_by_role("button", name="Change", exact=True).click()
    await page.sees("Closes is changed", _TOLD)
    assert (await demo_service.get("/api/workers/closes"))["max_attempts"] == 2
    await page.page.get_by_role("button", name="Undo all changes").click()
    await page.page.get_by_role("dialog").get_by_role("button", name="Undo").click()
    await page.sees("Closes is as its code says", _TOLD)
    assert (await demo_service.get("/api/workers/closes"))["overridden"] == []


async def test_a_websocket_worker_is_stopped_and_started(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await demo_page("#/work/workers/marks", expected=[_UNAUTHORIZED])
    await page.page.locator("main .badge", has_text="Open").wait_for()
    published = page.page.locator("table:has(caption:text-is('Published')) tbody tr")
    await published.locator("code", has_text="mark").first.wait_for()
    assert await page.violations() == []
    await page.page.get_by_role("button", name="Stop marks").click()
    dialog = page.page.get_by_role("dialog", name="Stop marks?")
    assert "It disconnects" in await dialog.inner_text()
    await dialog.get_by_role("button", name="Stop marks").click()
    await give_token(page)
    await page.sees("Marks is stopped", _TOLD)
    assert (await demo_service.get("/api/workers/marks"))["enabled"] is False
    await page.page.locator("main .badge", has_text="Stopped").wait_for()
    # From the list of all workers, too.
    await page.page.get_by_role("link", name="All workers").click()
    row = page.page.locator("tr", has=page.page.get_by_role("link", name="marks", exact=True))
    await row.get_by_text("Stopped", exact=True).wait_for()
    await row.get_by_role("button", name="Start marks").click()
    await page.sees("Marks is started", _TOLD)
    await row.get_by_text("Open", exact=True).wait_for()
    assert (await demo_service.get("/api/workers/marks"))["enabled"] is True
    await page.shot("work-workers-websocket")


@pytest.mark.slow
async def test_a_job_that_runs_is_aborted(
    without_streams: Service, open_page: OpenPage, demo_exchanges: Simulator
) -> None:
    page = await open_page(without_streams.address, "#/work/jobs")
    before = (await without_streams.get("/cache/5m?limit=1"))["version"]
    demo_exchanges.post("/sim/faults", {"kind": "hold", "exchange": "bybit", "endpoint": "klines"})
    try:
        asked = await without_streams.post("/get-market-data", {"timeframe": "5m"})
        row = page.page.locator("tr", has=page.page.locator("code:text-is('collect:5m')"))
        await row.get_by_text("Active", exact=True).wait_for()
        await row.get_by_role("progressbar", name="Progress of collect:5m").wait_for()
        await row.get_by_role("button", name="Abort collect:5m").click()
        dialog = page.page.get_by_role("dialog", name="Abort collect:5m?")
        await dialog.get_by_role("button", name="Abort collect:5m").click()
        await row.locator("td[data-title='Last run']").get_by_text("Aborted").wait_for()
    finally:
        demo_exchanges.delete("/sim/faults")
    ended = await without_streams.get("/jobs/collect:5m")
    assert (ended["last"]["run"], ended["last"]["state"]) == (asked["run"], "aborted")
    assert (await without_streams.get("/cache/5m?limit=1"))["version"] == before
    assert await page.violations() == []


async def test_a_queue_is_limited_and_paused_until_it_is_resumed(
    demo_page: OpenPage, demo_service: Service
) -> None:
    page = await demo_page("#/work/schedules", expected=[_UNAUTHORIZED, "422"])
    row = page.page.locator("tr", has=page.page.get_by_role("rowheader", name="default"))
    await row.get_by_role("button", name="Limit default").click()
    dialog = page.page.get_by_role("dialog", name="Limit default")
    entry = dialog.get_by_label("Runs at once")
    await entry.fill("many")
    await dialog.get_by_role("button", name="Set the limit").click()
    await give_token(page)
    await dialog.locator(".field-error").wait_for()
    assert await entry.input_value() == "many"
    await entry.fill("3")
    await entry.press("Enter")
    await dialog.wait_for(state="hidden")
    await row.get_by_text("3 at once", exact=True).wait_for()
    assert (await demo_service.get("/api/queues"))["queues"][0]["concurrency"] == 3
    await row.get_by_role("button", name="Limit default").click()
    assert await entry.input_value() == "3"
    await entry.fill("")
    await dialog.get_by_role("button", name="Set the limit").click()
    await row.get_by_text("no limit", exact=True).wait_for()
    assert (await demo_service.get("/api/queues"))["queues"][0]["concurrency"] is None

    await row.get_by_role("button", name="Pause default").click()
    dialog = page.page.get_by_role("dialog", name="Pause default?")
    await dialog.get_by_label("For how long").fill("")
    await dialog.get_by_role("button", name="Pause default").click()
    await row.get_by_text("Paused until it is resumed", exact=True).wait_for()
    queue = (await demo_service.get("/api/queues"))["queues"][0]
    assert (queue["paused"], queue["paused_until"]) == (True, None)
    await row.get_by_role("button", name="Resume default").click()
    await row.get_by_text("Open", exact=True).wait_for()
    assert (await demo_service.get("/api/queues"))["queues"][0]["paused"] is False
