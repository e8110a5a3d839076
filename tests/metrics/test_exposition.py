"""How numbers travel from process to process, and become one page."""

import base64
import json
import zlib
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


def packed(families: object) -> bytes:
    return base64.b64encode(zlib.compress(json.dumps(families).encode()))


RIGHT: Final = ["perpcache_x", "gauge", "Help.", [["perpcache_x", {"lane": "a"}, 1]]]
junk: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([1]) | st.just({})
)


def replaced(value: Any, path: tuple[int, ...], new: object) -> Any:
    if not path:
        return new
    return [replaced(v, path[1:], new) if n == path[0] else v for n, v in enumerate(value)]


@pytest.mark.parametrize(
    "path", [(), (0,), (1,), (2,), (3,), (3, 0), (3, 0, 0), (3, 0, 1), (3, 0, 2)]
)
@settings(max_examples=30, deadline=None)
@given(new=junk)
def test_a_part_that_cannot_be_is_told_or_makes_a_page(path: tuple[int, ...], new: object) -> None:
    page = MetricsPage()
    try:
        page.add(unpack(packed([replaced(RIGHT, path, new)])), {"worker": "w"})
    except MalformedMetrics:
        return
    # A line ends at a line feed only, not at U+0085 or U+2028.
    for line in page.text().decode().removesuffix("\n").split("\n"):
        assert line.startswith(("# HELP perpcache_x ", "# TYPE perpcache_x ", "perpcache_x"))


BAD_LABELS: Final[tuple[Any, ...]] = ([1], None, "a", {"a b": "c"}, {'"': "c"}, {"": "c"})
IMPOSSIBLE: Final[list[tuple[tuple[int, ...], Any]]] = [
    *(((0,), name) for name in ("other", "perpcache_x y", "perpcache_x\n", 5, None)),
    *(((1,), kind) for kind in ("odd", 5, None)),
    *(((2,), text) for text in (5, None)),
    *(((3, 0, 1), labels) for labels in BAD_LABELS),
    *(((3, 0, 2), value) for value in (None, "x")),
    ((3, 0, 0), "other"),
    ((3,), None),
    ((3, 0), []),
]


@pytest.mark.parametrize(("path", "new"), IMPOSSIBLE)
def test_parts_that_no_page_may_have_are_told(path: tuple[int, ...], new: object) -> None:
    assert len(unpack(packed([RIGHT]))) == 1
    with pytest.raises(MalformedMetrics):
        unpack(packed([replaced(RIGHT, path, new)]))


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
