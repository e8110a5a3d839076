"""The 404 for an unpublished document: what to POST, its job, and how the last run ended."""

import time
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from tests.fixtures.api import ServedApi, StartApi, get
from tests.fixtures.clock import next_millisecond


async def test_nothing_yet_says_what_to_post(api: ServedApi) -> None:
    status, headers, body = await get(api, "/cache/4h")
    assert status == 404
    assert 'POST /get-market-data {"timeframe":"4h"}' in orjson.loads(body)["detail"]
    assert headers["content-type"] == "application/json"
    _, _, body = await get(api, "/cache/global_fr")
    assert "POST /api/v1/internal/update-fr" in orjson.loads(body)["detail"]


async def test_nothing_yet_says_how_the_job_goes_and_how_it_ended(api: ServedApi) -> None:
    """One job makes 4h and 8h; what is said of either is said of it."""

    async def told() -> set[str]:
        answers = [await get(api, f"/cache/{name}") for name in ("4h", "8h")]
        assert {answer[0] for answer in answers} == {404}
        assert {answer[1]["cache-control"] for answer in answers} == {"no-cache"}
        return {orjson.loads(body)["detail"].replace("8h", "4h") for _, _, body in answers}

    follow = "GET /jobs/collect:4h follows it"
    also = ', {"timeframe":"all"} with all others'
    assert await told() == {
        f'nothing collected yet: POST /get-market-data {{"timeframe":"4h"}} collects it{also}'
    }
    await api.queue.request("collect:4h")
    assert await told() == {f"nothing collected yet: collect:4h is queued, {follow}"}
    async with api.lease() as lease:
        job = await api.queue.take(lease)
        assert job is not None
        assert await told() == {f"nothing collected yet: collect:4h is running, {follow}"}
        before_ms = time.time_ns() // 1_000_000
        await api.queue.finish(
            job, lease, state="failed", as_of_ms=None, result=None, error="binance: unreachable"
        )
    after = await api.queue.get("collect:4h")
    assert after is not None
    assert after.finished_at is not None
    assert before_ms - 1000 < after.finished_at
    ended = datetime.fromtimestamp(after.finished_at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    failed = f"the last run of collect:4h failed at {ended}: binance: unreachable"
    again = f'POST /get-market-data {{"timeframe":"4h"}} tries again{also}'
    assert await told() == {f"nothing collected yet: {failed}; {again}"}
    await api.queue.request("collect:4h")
    assert await told() == {f"nothing collected yet: collect:4h is queued, {follow}; {failed}"}
    await api.queue.abort("collect:4h")
    (text,) = await told()
    assert "the last run of collect:4h was aborted at " in text


async def detail(api: ServedApi, name: str) -> str:
    status, _, body = await get(api, f"/cache/{name}")
    told = orjson.loads(body)["detail"]
    assert (status, isinstance(told, str)) == (404, True)
    return str(told)


async def test_nothing_yet_tells_of_the_job_of_all_timeframes_as_of_its_own(
    native_api: ServedApi,
) -> None:
    queue = native_api.queue
    await queue.request("collect:all")
    for name in ("5m", "8h", "1d"):
        queued = "nothing collected yet: collect:all is queued, GET /jobs/collect:all follows it"
        assert await detail(native_api, name) == queued
    assert "POST /api/v1/internal/update-fr refreshes it" in await detail(native_api, "global_fr")
    # Where both are queued, the document's own job is told; one that runs comes first.
    await queue.request("collect:4h")
    assert "collect:4h is queued" in await detail(native_api, "8h")
    async with native_api.lease() as lease:
        job = await queue.take(lease)
        assert job is not None and job.id == "collect:all"
        assert "yet: collect:all is running, GET /jobs/coll" in await detail(native_api, "4h")
        await queue.finish(
            job, lease, state="failed", as_of_ms=None, result=None, error="binance: unreachable"
        )
        told = await detail(native_api, "4h")
        assert "yet: collect:4h is queued, GET /jobs/collect:4h follows it; the last" in told
        assert told.endswith("Z: binance: unreachable")
        # How the newest run ended is told, whichever job it was of.
        job = await queue.take(lease)
        assert job is not None and job.id == "collect:4h"
        next_millisecond()
        await queue.finish(
            job, lease, state="failed", as_of_ms=None, result=None, error="bybit: unreachable"
        )
    assert "yet: the last run of collect:4h failed at" in await detail(native_api, "8h")
    told = await detail(native_api, "1h")
    assert "yet: the last run of collect:all failed at" in told
    assert told.endswith(
        'Z: binance: unreachable; POST /get-market-data {"timeframe":"1h"} tries again,'
        ' {"timeframe":"all"} with all others'
    )


async def test_nothing_yet_leaves_out_the_job_of_all_where_it_does_not_make_the_document(
    start_api: StartApi, store_settings: dict[str, Any]
) -> None:
    api = await start_api(**store_settings, timeframes="5m,1h")
    await api.queue.request("collect:all")
    assert "collect:all is queued" in await detail(api, "1h")
    only = 'nothing collected yet: POST /get-market-data {"timeframe":"4h"} collects it'
    assert await detail(api, "4h") == only


async def test_nothing_yet_says_that_the_markets_are_not_known(native_api: ServedApi) -> None:
    """Whoever waits for a first document sees why there is none to come."""
    queue = native_api.queue

    async def told() -> str:
        _, _, body = await get(native_api, "/cache/4h")
        detail = orjson.loads(body)["detail"]
        assert isinstance(detail, str)
        return detail

    ends: tuple[tuple[Literal["complete", "failed"], Any, str | None], ...] = (
        ("failed", None, "bybit instruments: HTTP 502"),
        ("complete", {"markets": 3, "absent": {"bybit": "HTTP 451"}}, None),
        ("complete", {"markets": 3, "absent": "odd"}, None),
    )
    for state, result, error in ends:
        await queue.request("discovery")
        async with native_api.lease() as lease:
            job = await queue.take(lease)
            assert job is not None
            await queue.finish(job, lease, state=state, as_of_ms=None, result=result, error=error)
        text = await told()
        if error:
            assert "with all others; the last run of discovery failed at" in text
            assert text.endswith(f"Z: {error}")
        elif result and isinstance(result["absent"], dict):
            assert text.endswith("Z without bybit: HTTP 451")
        else:
            assert "discovery" not in text
    await queue.request("collect:4h")
    async with native_api.lease() as lease:
        job = await queue.take(lease)
        assert job is not None
        await queue.progress(job, lease, phase="waiting", done=0, total=0)
        assert "collect:4h is waiting for another job, GET /jobs/collect:4h" in await told()


async def test_no_funding_yet_says_how_its_job_goes(native_api: ServedApi) -> None:
    await native_api.queue.request("funding")
    _, _, body = await get(native_api, "/cache/global_fr")
    assert "no funding yet: funding is queued, GET /jobs/funding" in orjson.loads(body)["detail"]
