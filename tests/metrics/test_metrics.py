"""The numbers of the API, the workers and the exchanges; the dashboard and the alerts on them."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from api.scrape import ProcessGroup
from budgets.exchange_client import ExchangeClient
from config import load_settings
from market.markets import Exchange
from metrics.api import ApiMetrics
from metrics.event_loop import loop_watched
from metrics.exchanges import ExchangeMetrics
from metrics.exposition import LARGEST_PACKED, NotPacked, Page, packed, unpacked
from metrics.worker import WorkerMetrics
from stores.hot.beats import beat
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.asking import server_time_ms
from tests.fixtures.service import Service, StartService
from tests.fixtures.simulator import NOW_MS, StartSimulator
from venues.errors import RateLimited

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENT = b'{"timeframe":"4h","markets":[],"missing":[]}'


class Numbers:
    """A scrape, parsed by Prometheus' own client."""

    def __init__(self, page: str) -> None:
        self.families = list(text_string_to_metric_families(page))
        self.samples = [sample for family in self.families for sample in family.samples]

    def of(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name that carry these labels; KeyError without any."""
        found = [
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        if not found:
            raise KeyError((name, labels))
        return sum(found)

    def labels(self, name: str) -> set[str]:
        """The label names of the samples of that name; empty where there is none."""
        return {label for sample in self.samples if sample.name == name for label in sample.labels}


async def scrape(api: ServedApi) -> Numbers:
    async with api.http.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Numbers(await answer.text())


async def get(api: ServedApi, path: str, **headers: str) -> tuple[int, Mapping[str, str]]:
    async with api.http.get(path, headers=headers) as answer:
        await answer.read()
        return answer.status, answer.headers


# --- what travels --------------------------------------------------------------------------------


def numbers_of(page: Page) -> Numbers:
    return Numbers(page.text().decode())


def test_numbers_survive_the_way_through_the_store() -> None:
    metrics = WorkerMetrics()
    metrics.lease_asked("funding", acquired=True)
    with metrics.running("collect:4h", 3.0) as run:
        run.outcome = "complete"
    metrics.published("collect:4h", {"rows": 7, "markets": 2, "missing": 1, "carried_over": 0})
    page = Page()
    page.add(unpacked(packed(metrics.registry).encode()), {"worker": 'a"b\\c:1'})
    told = numbers_of(page)
    worker = {"worker": 'a"b\\c:1'}
    assert told.of("perpcache_lease_requests_total", lane="funding", **worker) == 1
    assert told.of("perpcache_rows_total", job_id="collect:4h", **worker) == 7
    assert told.of("perpcache_job_runs_total", outcome="complete", **worker) == 1
    assert told.of("perpcache_job_lease_wait_seconds_bucket", le="2.5", **worker) == 0
    assert told.of("perpcache_job_lease_wait_seconds_bucket", le="5.0", **worker) == 1
    assert told.of("perpcache_job_lease_wait_seconds_sum", **worker) == 3
    assert told.of("perpcache_job_running", **worker) == 0
    assert not any(sample.name.endswith("_created") for sample in told.samples)


@pytest.mark.parametrize("text", [b"", b"hello", b"aGVsbG8=", b"eJyLVspIVYoFAAk0Ag8=", b"\xff" * 9])
def test_what_is_no_packed_registry_is_told(text: bytes) -> None:
    with pytest.raises(NotPacked):
        unpacked(text)


def test_what_is_too_large_is_neither_sent_nor_read() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("perpcache_many", "Too many.", ("x",), registry=registry)
    for number in range(30_000):
        gauge.labels(hex(hash(str(number)))).set(number * 1.1)
    assert packed(registry) == ""
    with pytest.raises(NotPacked, match="too long"):
        unpacked(b"A" * (LARGEST_PACKED + 1))


def test_a_name_keeps_one_type_whoever_tells_it() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    Gauge("perpcache_x", "Ours.", registry=ours).set(1)
    WorkerMetrics()
    metric = Gauge("perpcache_x", "Theirs.", ("part",), registry=theirs)
    metric.labels("a").set(2)
    page = Page()
    page.add(ours.collect(), {"process": "api-1"})
    page.add(unpacked(packed(theirs).encode()), {"worker": "w"})
    text = page.text().decode()
    assert text.count("# TYPE perpcache_x gauge") == 1
    assert Numbers(text).of("perpcache_x") == 3


async def test_a_blocked_event_loop_is_seen() -> None:
    metrics = WorkerMetrics()
    async with loop_watched(metrics.loop_lag):
        await asyncio.sleep(0)
        time.sleep(0.6)  # noqa: ASYNC251 - this is what is measured
        await asyncio.sleep(0.05)
    page = Page()
    page.add(metrics.registry.collect())
    assert numbers_of(page).of("perpcache_event_loop_lag_seconds_sum") >= 0.3


# --- the API -------------------------------------------------------------------------------------


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
    while (await scrape(native_api)).of("perpcache_http_waiting_requests") < 1:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
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
    assert 0 <= told.of("perpcache_job_queued_seconds") < 5
    assert (told.of("perpcache_store_up"), told.of("perpcache_workers")) == (1, 0)


async def test_workers_tell_their_numbers_through_the_store(api: ServedApi) -> None:
    for name, runs in (("a:1", 2), ("b:2", 5)):
        metrics = WorkerMetrics()
        for _ in range(runs):
            with metrics.running("funding", 0) as run:
                run.outcome = "complete"
        await beat(api.store, name, packed(metrics.registry))
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


async def test_without_the_store_the_process_tells_its_own_numbers(start_api: StartApi) -> None:
    api = await start_api(redis_url="redis://127.0.0.1:1")
    assert (await get(api, "/cache/4h"))[0] == 503
    began = time.monotonic()
    told = await scrape(api)
    assert time.monotonic() - began < 3
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
        page = Page()
        page.add(unpacked((await one.read(api.store))["api-2"]), {"process": "api-2"})
        assert numbers_of(page).of("perpcache_http_requests_total", process="api-2") == count


# --- the exchanges -------------------------------------------------------------------------------


async def test_failures_retries_and_pauses(
    start_simulator: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_collector.fetch_strategies.BACKOFF_S", 0.01)
    simulator = start_simulator(binance=1, bybit=1, now=NOW_MS, frozen=True)
    settings = load_settings(binance_base_url=simulator.base_url, bybit_base_url=simulator.base_url)
    simulator.post("/sim/faults", {"kind": "status", "status": 502, "count": 2})
    registry = CollectorRegistry()
    metrics = ExchangeMetrics(registry)

    def told() -> Numbers:
        page = Page()
        page.add(registry.collect())
        return numbers_of(page)

    async with ExchangeClient(settings, metrics=metrics) as client:
        before = told()
        assert before.of("perpcache_exchange_retries_total") == 0
        await server_time_ms(client, Exchange.BINANCE)
        name = "perpcache_exchange_requests_total"
        now = told()
        where = {"exchange": "binance", "endpoint": "time"}
        assert (now.of(name, **where, status="502"), now.of(name, **where, status="200")) == (2, 1)
        assert now.of("perpcache_exchange_retries_total", **where) == 2
        assert now.of("perpcache_exchange_retries_total", exchange="bybit") == 0
        assert now.of("perpcache_exchange_errors_total", kind="SourceDown") == 2
        used = now.of("perpcache_exchange_weight_used", exchange="binance", counter="weight")
        left = now.of("perpcache_exchange_weight_left", exchange="binance", counter="weight")
        spent = now.of("perpcache_exchange_weight_total", exchange="binance", counter="weight")
        assert (used, left, spent) == (3, 2400 * 0.9 - 3, 3)

        await client.limits.of(Exchange.BYBIT).pause(50, "test")
        assert 45 < told().of("perpcache_exchange_pause_left_seconds", exchange="bybit") <= 50
        simulator.post("/sim/faults", {"kind": "status", "status": 418, "exchange": "binance"})
        with pytest.raises(Exception) as stopped:
            await server_time_ms(client, Exchange.BINANCE)
        assert not isinstance(stopped.value, RateLimited)
        now = told()
        assert now.of(name, exchange="binance", status="418") == 1
        assert now.of("perpcache_exchange_pauses_total", exchange="binance") == 1
        assert now.of("perpcache_exchange_errors_total", kind="Banned") == 1


# --- the whole service, and what is made from its numbers ----------------------------------------


async def service_numbers(service: Service) -> Numbers:
    return Numbers(await service.text("/metrics"))


async def numbers_after(service: Service, job_id: str) -> Numbers:
    """A scrape in which the worker has told of the job's end, which it does at once."""
    async with asyncio.timeout(20):
        while True:
            numbers = await service_numbers(service)
            try:
                if numbers.of("perpcache_job_last_success_timestamp_seconds", job_id=job_id):
                    return numbers
            except KeyError:
                await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_a_collection_moves_the_numbers(
    start_simulator: StartSimulator,
    start_service: StartService,
    redis_url: str,
    database_url: str,
) -> None:
    simulator = start_simulator(binance=8, bybit=8)
    service = await start_service(
        BINANCE_BASE_URL=simulator.base_url,
        BYBIT_BASE_URL=simulator.base_url,
        REDIS_URL=redis_url,
        DATABASE_URL=database_url,
        WEB_CONCURRENCY="2",
    )
    await service.funding_ready()
    last = await service.collect("4h")
    told = await numbers_after(service, "collect:4h")
    await service.get("/cache/4h")
    told = await service_numbers(service)

    stats = simulator.stats()
    ours: Counter[tuple[str, str]] = Counter()
    for sample in told.samples:
        if sample.name == "perpcache_exchange_requests_total":
            ours[sample.labels["exchange"], sample.labels["status"]] += int(sample.value)
    theirs: Counter[tuple[str, str]] = Counter()
    for exchange, endpoints in stats["requests"].items():
        for statuses in endpoints.values():
            for status, count in statuses.items():
                theirs[exchange, status] += count
    assert ours == theirs
    for endpoint in ("klines", "open_interest", "funding"):
        for exchange in ("binance", "bybit"):
            counted = told.of(
                "perpcache_exchange_requests_total", exchange=exchange, endpoint=endpoint
            )
            assert counted == sum(stats["requests"][exchange][endpoint].values())
    assert stats["weight_used"] == told.of("perpcache_exchange_weight_total", counter="weight")

    run = {"job_id": "collect:4h", "outcome": "complete"}
    assert told.of("perpcache_job_runs_total", **run) == 1
    assert told.of("perpcache_job_runs_total", outcome="failed") == 0
    duration_s = told.of("perpcache_job_duration_seconds_sum", **run)
    assert duration_s == pytest.approx(last["result"]["duration_ms"] / 1000, abs=0.5)
    assert told.of("perpcache_job_rows", job_id="collect:4h") == last["result"]["rows"]
    assert told.of("perpcache_rows_total", job_id="collect:4h") == last["result"]["rows"]
    assert told.of("perpcache_job_markets", job_id="collect:4h") == last["result"]["markets"]
    assert told.of("perpcache_job_running") == 0
    assert told.of("perpcache_lease_requests_total", lane="funding", outcome="acquired") >= 1

    document = await service.get("/cache/4h")
    assert told.of("perpcache_cache_version", timeframe="4h") == document["version"]
    age_s = told.of("perpcache_cache_age_seconds", timeframe="4h")
    assert 0 <= age_s <= time.time() - document["updated_at"] / 1000
    assert told.of("perpcache_workers") == 1
    assert told.of("perpcache_event_loop_lag_seconds_count") > 0
    assert {sample.labels.get("process") for sample in told.samples} == {None, "api-1", "api-2"}

    await the_numbers_never_fall(service)
    for file in ("grafana-dashboard.json", "alerts.example.yml"):
        check_expressions(expressions_of(file), await service_numbers(service))


async def the_numbers_never_fall(service: Service) -> None:
    """Whichever of the processes answers, it knows of every request that was told before."""
    seen: dict[frozenset[tuple[str, str]], float] = {}
    answered_by: Counter[str] = Counter()
    # A connection for each request: the system hands each to whichever process takes it.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(service.address, connector=connector) as http:
        for _ in range(200):
            await asyncio.gather(*(_read(http, "/health") for _ in range(8)))
            for sample in Numbers(await _read(http, "/metrics")).samples:
                if sample.name != "perpcache_http_requests_total":
                    continue
                key = frozenset(sample.labels.items())
                assert sample.value >= seen.get(key, 0), key
                seen[key] = sample.value
                if sample.labels["route"] == "/metrics":
                    answered_by[sample.labels["process"]] = int(sample.value)
            if len(answered_by) == 2 and min(answered_by.values()) >= 5:
                return
    raise AssertionError(f"one process answered nearly everything: {answered_by}")


async def _read(http: aiohttp.ClientSession, path: str) -> str:
    async with http.get(path) as answer:
        assert answer.status == 200
        return await answer.text()


def expressions_of(file: str) -> list[str]:
    text = (DOCS / file).read_text()
    if file.endswith(".json"):
        panels = json.loads(text)["panels"]
        return [target["expr"] for panel in panels for target in panel.get("targets", ())]
    # Folded scalars are joined; the rest of the file is promtool's to check.
    joined = re.sub(r">-\n\s+", "", text)
    joined = re.sub(r"\n\s+(?=rate|increase|/ )", " ", joined)
    return re.findall(r"expr: (.+)", joined)


def check_expressions(expressions: list[str], numbers: Numbers) -> None:
    """Every name is in the scrape, and every label of an expression on what it is taken from."""
    assert len(expressions) >= 10
    for expression in expressions:
        names = set(re.findall(r"\bperpcache_[a-z0-9_]+", expression))
        assert names, expression
        labels: set[str] = {"instance"}  # added by Prometheus itself
        for name in names:
            found = numbers.labels(name)
            # The caches and the store have samples with few labels or none.
            assert any(sample.name == name for sample in numbers.samples), name
            labels |= found
        for group in re.findall(r"\bby \(([^)]*)\)", expression):
            assert {label.strip() for label in group.split(",")} <= labels, expression
        for selector in re.findall(r"perpcache_[a-z0-9_]+\{([^}]*)\}", expression):
            assert set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", selector)) <= labels, expression


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = json.loads((DOCS / "grafana-dashboard.json").read_text())
    assert board["schemaVersion"] >= 36
    assert [v["type"] for v in board["templating"]["list"] if v["name"] == "datasource"] == [
        "datasource"
    ]
    panels: list[dict[str, Any]] = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: Counter[tuple[int, int]] = Counter()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        taken.update(
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        )
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert references
        assert len(set(references)) == len(references)
    assert set(taken.values()) == {1}  # no panel lies upon another


def test_every_number_is_on_the_dashboard() -> None:
    """What nobody looks at need not be counted."""
    shown = " ".join(expressions_of("grafana-dashboard.json"))
    for registry in (WorkerMetrics().registry, ApiMetrics().registry):
        for family in registry.collect():
            if not family.name.startswith("perpcache_process"):
                assert family.name in shown


def _quoted_labels(text: str) -> Iterator[str]:
    return iter(re.findall(r"\{\{ \$labels\.(\w+) \}\}", text))


def test_alerts_speak_of_labels_that_their_expressions_keep() -> None:
    text = (DOCS / "alerts.example.yml").read_text()
    for alert in text.split("- alert: ")[1:]:
        kept = {
            label.strip()
            for group in re.findall(r"by \(([^)]*)\)", alert)
            for label in group.split(",")
        }
        assert set(_quoted_labels(alert)) <= kept, alert
