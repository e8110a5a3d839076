"""The metrics of workers: counted over holdings, bounded, and as the dashboard asks for them."""

from prometheus_client import CollectorRegistry

from metrics.event_loop import process_registry
from metrics.exposition import pack
from metrics.workers import MOST_WORKERS, OTHER, StreamNumbers, WorkersMetrics
from stores.hot.beats import beat
from tests.fixtures.api import ServedApi
from tests.metrics.dashboards import check_expressions, expressions_of
from tests.metrics.test_scrape import scrape


def test_counts_go_on_where_the_holding_before_ended() -> None:
    registry = CollectorRegistry()
    metrics = WorkersMetrics(registry)
    metrics.watch((), ["trades"])

    def value(name: str) -> float | None:
        return registry.get_sample_value(f"perpcache_worker_stream_{name}", {"name": "trades"})

    assert (value("held"), value("messages_total")) == (0, 0)
    metrics.stream_taken("trades", lambda: StreamNumbers(5, 4, 1, 0.5, 3, 2000))
    assert (value("held"), value("messages_total"), value("waiting")) == (1, 5, 3)
    metrics.stream_left("trades")
    metrics.stream_taken("trades", lambda: StreamNumbers(2, 1))
    told = [value(name) for name in ("messages_total", "published_total", "restarts_total")]
    assert told == [7, 5, 1]
    assert (value("waiting"), value("last_message_timestamp_seconds")) == (0, 2)


def test_runs_are_counted_by_state_and_names_are_bounded() -> None:
    registry = CollectorRegistry()
    metrics = WorkersMetrics(registry)
    for number in range(MOST_WORKERS + 2):
        metrics.run_started(f"worker{number}")
        metrics.run_ended(f"worker{number}", "failed", 2.0)

    def failed(name: str) -> float | None:
        labels = {"name": name, "state": "failed"}
        return registry.get_sample_value("perpcache_worker_runs_total", labels)

    assert (failed("worker0"), failed(OTHER), failed(f"worker{MOST_WORKERS}")) == (1, 2, None)
    assert registry.get_sample_value("perpcache_worker_running", {"name": OTHER}) == 0


async def test_what_workers_tell_is_what_the_dashboard_asks_for(api: ServedApi) -> None:
    registry = process_registry()
    metrics = WorkersMetrics(registry)
    metrics.watch(["funds"], ["trades"])
    metrics.run_started("funds")
    metrics.run_ended("funds", "complete", 1.0)
    await beat(api.store, "a:1", pack(registry))
    expressions = [
        text
        for text in expressions_of("grafana-dashboard.json")
        if "perpcache_worker_" in text and "worker_info" not in text
    ]
    assert len(expressions) >= 10
    check_expressions(expressions, await scrape(api))
