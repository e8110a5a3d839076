"""How numbers travel from process to process, and become one page."""

import pytest
from prometheus_client import CollectorRegistry, Gauge

from metrics.exposition import LARGEST_PACKED, MalformedMetrics, MetricsPage, pack, unpack
from metrics.worker import WorkerMetrics
from tests.fixtures.numbers import Numbers, numbers_of


def test_numbers_survive_the_way_through_the_store() -> None:
    metrics = WorkerMetrics()
    metrics.lease_requested("funding", acquired=True)
    with metrics.running("collect:4h", 3.0) as run:
        run.outcome = "complete"
    metrics.published("collect:4h", {"rows": 7, "markets": 2, "missing": 1, "carried_over": 0})
    page = MetricsPage()
    page.add(unpack(pack(metrics.registry).encode()), {"worker": 'a"b\\c:1'})
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
    with pytest.raises(MalformedMetrics):
        unpack(text)


def test_what_is_too_large_is_neither_sent_nor_read() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("perpcache_many", "Too many.", ("x",), registry=registry)
    for number in range(30_000):
        gauge.labels(hex(hash(str(number)))).set(number * 1.1)
    assert pack(registry) == ""
    with pytest.raises(MalformedMetrics, match="too long"):
        unpack(b"A" * (LARGEST_PACKED + 1))


def test_a_name_keeps_one_type_whoever_tells_it() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    Gauge("perpcache_x", "Ours.", registry=ours).set(1)
    WorkerMetrics()
    metric = Gauge("perpcache_x", "Theirs.", ("part",), registry=theirs)
    metric.labels("a").set(2)
    page = MetricsPage()
    page.add(ours.collect(), {"process": "api-1"})
    page.add(unpack(pack(theirs).encode()), {"worker": "w"})
    text = page.text().decode()
    assert text.count("# TYPE perpcache_x gauge") == 1
    assert Numbers(text).of("perpcache_x") == 3
