"""The metrics of collectors' outputs."""

from metrics.exposition import MetricsPage, pack, unpack
from metrics.live import LiveMetrics
from tests.fixtures.numbers import Numbers, numbers_of


def scraped(metrics: LiveMetrics) -> Numbers:
    """As a scrape tells them that reads them from the store."""
    page = MetricsPage()
    page.add(unpack(pack(metrics.registry).encode()), {"live": "host:1"})
    return numbers_of(page)


def test_points_are_counted_by_output_from_zero_on() -> None:
    metrics = LiveMetrics()
    metrics.outputs.watch("redis")
    metrics.outputs.watch("postgres")
    metrics.outputs.sent("postgres", 250)
    metrics.outputs.sent("postgres", 50)
    metrics.outputs.dropped("postgres", 7)
    metrics.outputs.error("redis", 2)
    told = scraped(metrics)
    for name, output, count in (
        ("sent", "postgres", 300),
        ("dropped", "postgres", 7),
        ("errors", "postgres", 0),
        ("sent", "redis", 0),
        ("dropped", "redis", 0),
        ("errors", "redis", 2),
    ):
        assert told.of(f"perpcache_live_output_{name}_total", output=output) == count
