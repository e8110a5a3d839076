"""The metrics of providers: their names, their numbers, and the panels of the dashboard."""

from prometheus_client.metrics_core import Metric

from metrics.providers import ProviderCounts, provider_families
from tests.metrics.dashboards import expressions_of


def families() -> list[Metric]:
    asked = ProviderCounts("news/a", 4, 3, {"transient": 1}, 0.6, 2)
    failing = ProviderCounts("news/b", 2, 0, {"rate_limited": 2}, 0.0, 0)
    return provider_families([asked, failing, ProviderCounts("c", 0, 0, {}, 0, 0)], {"news": 5})


def test_the_numbers_are_those_of_the_store() -> None:
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families()
        for sample in family.samples
    }
    name = "perpcache_provider_"
    assert told == {
        (f"{name}success_rate", "news/a"): 0.75,
        (f"{name}success_rate", "news/b"): 0.0,
        (f"{name}avg_response_time_seconds", "news/a"): 0.6 / 3,
        (f"{name}requests_total", "news/a"): 4,
        (f"{name}requests_total", "news/b"): 2,
        (f"{name}failure_count_total", "news/a", "transient"): 1,
        (f"{name}failure_count_total", "news/b", "rate_limited"): 2,
        (f"{name}circuit_breaker_trips_total", "news/a"): 2,
        (f"{name}circuit_breaker_trips_total", "news/b"): 0,
        (f"{name}fallback_count_total", "news"): 5,
    }


def test_every_number_is_on_the_dashboard() -> None:
    shown = " ".join(expressions_of("grafana-dashboard.json"))
    assert all(family.name in shown for family in families())
