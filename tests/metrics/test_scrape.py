"""GET /metrics: the numbers of the API, the caches, the jobs and the workers."""

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Final

import pytest

from api.scrape import ProcessGroup
from metrics.api import ApiMetrics
from metrics.exposition import MetricsPage, pack, unpack
from metrics.live import FeedNumbers, LiveMetrics
from metrics.worker import WorkerMetrics
from stores.hot.beats import beat, live_beat
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.lateness import elapsed
from tests.fixtures.numbers import Numbers, numbers_of
from tests.fixtures.signals import until
from tests.metrics.dashboards import check_expressions, expressions_of

DOCUMENT: Final = b'{"timeframe":"4h","markets":[],"missing":[]}'


async def scrape(api: ServedApi) -> Numbers:
    async with api.http.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Numbers(await answer.text())


async def get(api: ServedApi, path: str, **headers: str) -> tuple[int, Mapping[str, str]]:
    async with api.http.get(path, headers=headers) as answer:
        await answer.read()
        return answer.status, answer.headers


async def test_requests_are_counted_by_route_and_status(api: ServedApi) -> None:
    await api.publish("4h", DOCUMENT, 7)
    status, headers = await get(api, "/cache/4h")
    assert status == 200
    assert (await get(api, "/cache/4h", **{"If-None-Match": headers["etag"]}))[0] == 304
    for path in ("/cache/7h", "/cache/4h?limit=x"):
        assert (await get(api, path))[0] == 422
    for path in ("/jobs/collect:4h", "/jobs/nonsense", "/wp-login.php", "/a/b/c"):
        assert (await get(api, path))[0] == 404
    async with api.http.post("/health") as answer:
        assert answer.status == 405
    async with api.http.head("/health") as answer:
        assert answer.status == 200
    async with api.http.post("/get-market-data", data=b"x" * 100_000) as answer:
        assert answer.status == 413
    told = await scrape(api)
    counted = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for sample in told.samples
        if sample.name == "perpcache_http_requests_total"
    }
    assert counted == {
        ("GET", "/cache/{name}", "200"): 1,
        ("GET", "/cache/{name}", "304"): 1,
        ("GET", "/cache/{name}", "422"): 2,
        ("GET", "/jobs/{job_id}", "404"): 2,
        ("GET", "other", "404"): 2,
        ("POST", "/health", "405"): 1,
        ("HEAD", "/health", "200"): 1,
        ("POST", "other", "413"): 1,
    }
    name = "perpcache_http_request_duration_seconds"
    assert told.of(f"{name}_count", route="/cache/{name}", status="304") == 1
    assert 0 < told.of(f"{name}_sum", route="/cache/{name}") < 2
    again = await scrape(api)
    assert again.of("perpcache_http_requests_total", route="/metrics", status="200") == 1


async def test_waiting_is_shown_but_is_no_latency(native_api: ServedApi) -> None:
    held = asyncio.create_task(get(native_api, "/cache/4h?wait=30"))

    async def is_held() -> bool:
        return (await scrape(native_api)).of("perpcache_http_waiting_requests") == 1

    await until(is_held, within_s=20)
    await native_api.publish("4h", DOCUMENT, 7)
    assert (await held)[0] == 200
    told = await scrape(native_api)
    assert told.of("perpcache_http_waiting_requests") == 0
    assert told.of("perpcache_http_requests_total", route="/cache/{name}", status="200") == 1
    assert told.of("perpcache_http_request_duration_seconds_count", route="/cache/{name}") == 0


async def test_the_state_of_the_caches_and_jobs(api: ServedApi) -> None:
    made_ms = time.time_ns() // 1_000_000 - 90_000
    meta = await api.publish("8h", DOCUMENT, 1_795_185_441_250, updated_at_ms=made_ms)
    await api.queue.request("collect:1h")
    told = await scrape(api)
    assert told.of("perpcache_cache_version", timeframe="8h") == 1_795_185_441_250
    assert 90 <= told.of("perpcache_cache_age_seconds", timeframe="8h") < 95
    as_of = told.of("perpcache_cache_as_of_timestamp_seconds", timeframe="8h")
    assert as_of == 1_795_185_441.25
    assert told.of("perpcache_cache_json_bytes", timeframe="8h") == len(DOCUMENT)
    assert told.of("perpcache_cache_stored_bytes", timeframe="8h") == meta.stored_bytes
    with pytest.raises(KeyError):
        told.of("perpcache_cache_age_seconds", timeframe="4h")
    assert told.of("perpcache_job_records", state="queued") == 1
    assert told.of("perpcache_job_records", state="failed") == 0
    assert 0 <= told.of("perpcache_job_queued_seconds") < 60
    assert (told.of("perpcache_store_up"), told.of("perpcache_workers")) == (1, 0)


async def test_workers_tell_their_numbers_through_the_store(api: ServedApi) -> None:
    for name, runs in (("a:1", 2), ("b:2", 5)):
        metrics = WorkerMetrics()
        for _ in range(runs):
            with metrics.running("funding", 0) as run:
                run.outcome = "complete"
        await beat(api.store, name, pack(metrics.registry))
    await beat(api.store, "silent:3")
    await beat(api.store, "broken:4", "no numbers")
    told = await scrape(api)
    assert told.of("perpcache_workers") == 4
    runs_of = [told.of("perpcache_job_runs_total", worker=name) for name in ("a:1", "b:2")]
    assert runs_of == [2, 5]
    workers = {sample.labels.get("worker") for sample in told.samples}
    assert workers == {None, "a:1", "b:2"}
    # A worker that died is not asked for again and again.
    await api.store.execute("DEL", "workers:silent:3")
    assert (await scrape(api)).of("perpcache_workers") == 3
    assert b"silent:3" not in await api.store.execute("SMEMBERS", "workers")


async def test_live_processes_tell_their_numbers_and_are_no_workers(api: ServedApi) -> None:
    for name, messages in (("a:1", 2), ("b:2", 5)):
        metrics = LiveMetrics()
        metrics.watch("binance", unproven=["silent"], reconnects=["cut"])
        metrics.collectors.message("okx", "BTC-USDT", "trade")
        if name == "b:2":
            metrics.closing_lag("binance")(1.3)
        with metrics.feeding("binance", partial(FeedNumbers, messages=messages)):
            await live_beat(api.store, name, pack(metrics.registry))
    await live_beat(api.store, "broken:3", "no numbers")
    told = await scrape(api)
    assert (told.of("perpcache_workers"), told.of("perpcache_live_processes")) == (0, 3)
    for name, messages in (("a:1", 2), ("b:2", 5)):
        assert told.of("perpcache_live_messages_total", live=name, exchange="binance") == messages
        assert told.of("collector_messages_total", live=name, symbol="BTC-USDT") == 1
        assert told.of("perpcache_process_resident_memory_bytes", live=name) > 1e6
    lag = "perpcache_live_closing_lag_seconds"
    assert told.of(f"{lag}_bucket", le="1.25") == 0
    assert told.of(f"{lag}_bucket", le="1.5") == 1
    assert told.of(f"{lag}_bucket", le="1.5", live="a:1") == 0
    assert (await get(api, "/ready"))[0] == 503  # without a worker


async def test_what_live_processes_tell_is_what_the_dashboard_and_the_alerts_ask_for(
    api: ServedApi,
) -> None:
    live, worker = LiveMetrics(), WorkerMetrics()
    live.watch("binance", unproven=["silent", "starting"], reconnects=["cut"])
    live.collectors.watch("okx")
    live.collectors.message("okx", "BTC-USDT", "trade")
    live.outputs.watch("redis")
    worker.watch_streams(["binance"])
    await live_beat(api.store, "a:1", pack(live.registry))
    await beat(api.store, "a:2", pack(worker.registry))
    told = await scrape(api)
    for file, least in (("grafana-dashboard.json", 20), ("alerts.example.yml", 4)):
        expressions = [text for text in expressions_of(file) if "live" in text]
        assert len(expressions) >= least
        check_expressions(expressions, told)


async def test_without_the_store_the_process_tells_its_own_numbers(start_api: StartApi) -> None:
    api = await start_api(redis_url="redis://127.0.0.1:1")
    assert (await get(api, "/cache/4h"))[0] == 503
    async with elapsed() as took:
        told = await scrape(api)
    assert took.own_s < 3
    assert told.of("perpcache_store_up") == 0
    assert told.of("perpcache_http_requests_total", status="503", process="api-1") == 1
    assert told.of("perpcache_process_resident_memory_bytes") > 1e6
    assert not any(sample.name.startswith("perpcache_cache") for sample in told.samples)


async def test_siblings_tell_each_others_numbers_and_never_older_ones(api: ServedApi) -> None:
    names = ("api-1", "api-2")
    first, second = (ApiMetrics(name, group="host:1") for name in names)
    one, two = ProcessGroup(first, names), ProcessGroup(second, names)
    assert await one.read(api.store) == {}
    for count in (1, 2, 3):
        second.answered("GET", "/health", 200, 0.001)
        # Whoever is asked tells first what it has, so that the other knows it from then on.
        assert list(await two.read(api.store)) == ["api-1"]
        page = MetricsPage()
        page.add(unpack((await one.read(api.store))["api-2"]), {"process": "api-2"})
        assert numbers_of(page).of("perpcache_http_requests_total", process="api-2") == count
