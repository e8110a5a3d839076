"""The metrics of providers: what all processes have counted in the hot store, for one scrape."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric


@dataclass(frozen=True, slots=True)
class ProviderCounts:
    """Of one resource. `failed` by class of error; `sum_s`: of the successes."""

    resource: str
    requests: int
    success: int
    failed: Mapping[str, int]
    sum_s: float
    trips: int


def provider_families(
    resources: Iterable[ProviderCounts], fallbacks: Mapping[str, int]
) -> list[Metric]:
    """`fallbacks`: by chain. Resources that nobody has asked yet have no numbers."""
    rate = GaugeMetricFamily(
        "perpcache_provider_success_rate",
        "Successes by requests, a fraction of 1.",
        labels=("resource",),
    )
    time = GaugeMetricFamily(
        "perpcache_provider_avg_response_time_seconds",
        "How long successes took on average.",
        labels=("resource",),
    )
    requests = CounterMetricFamily(
        "perpcache_provider_requests", "Requests to a resource.", labels=("resource",)
    )
    failures = CounterMetricFamily(
        "perpcache_provider_failure_count",
        "Requests that failed, by class of error.",
        labels=("resource", "error"),
    )
    trips = CounterMetricFamily(
        "perpcache_provider_circuit_breaker_trips",
        "How often the breaker of a resource has opened.",
        labels=("resource",),
    )
    for each in resources:
        if not each.requests:
            continue
        name = (each.resource,)
        requests.add_metric(name, each.requests)
        rate.add_metric(name, each.success / each.requests)
        trips.add_metric(name, each.trips)
        if each.success > 0:
            time.add_metric(name, each.sum_s / each.success)
        for error, count in sorted(each.failed.items()):
            failures.add_metric((each.resource, error), count)
    fallen = CounterMetricFamily(
        "perpcache_provider_fallback_count",
        "Questions that others than the first that could be asked have answered.",
        labels=("chain",),
    )
    for chain, count in fallbacks.items():
        fallen.add_metric((chain,), count)
    return [rate, time, requests, failures, trips, fallen]
