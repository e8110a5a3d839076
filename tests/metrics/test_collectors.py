"""The metrics of live collectors: bounded, packed as those of other processes, on the dashboard."""

from metrics.collectors import MOST_EXCHANGES, MOST_SERIES, CollectorMetrics, ErrorType
from metrics.exposition import LARGEST_PACKED, MetricsPage, pack, unpack
from tests.fixtures.numbers import Numbers, numbers_of
from tests.metrics.dashboards import check_expressions, expressions_of


def scraped(metrics: CollectorMetrics) -> Numbers:
    """As a scrape tells them that reads them from the store."""
    page = MetricsPage()
    page.add(unpack(pack(metrics.registry).encode()), {"live": "host:1"})
    return numbers_of(page)


def test_messages_errors_and_uptimes_are_told() -> None:
    metrics = CollectorMetrics()
    metrics.watch("okx")
    assert scraped(metrics).of("collector_errors_total", error_type="connection") == 0
    assert scraped(metrics).of("collector_uptime_seconds", exchange="okx") == 0
    for _ in range(3):
        metrics.message("okx", "BTC-USDT", "trade")
    metrics.message("okx", "BTC-USDT", "ticker")
    metrics.error("okx", ErrorType.CONNECTION)
    first, second = object(), object()
    metrics.connected("okx", first, lambda: 5.5)
    metrics.connected("okx", second, lambda: 70.25)
    told = scraped(metrics)
    labels = {"exchange": "okx", "symbol": "BTC-USDT"}
    assert told.of("collector_messages_total", **labels, type="trade") == 3
    assert told.of("collector_messages_total", **labels, type="ticker") == 1
    assert told.of("collector_errors_total", exchange="okx", error_type="connection") == 1
    assert told.of("collector_uptime_seconds", exchange="okx") == 70.25
    metrics.disconnected("okx", second)
    assert scraped(metrics).of("collector_uptime_seconds", exchange="okx") == 5.5


def test_names_of_others_make_no_series_without_end() -> None:
    metrics = CollectorMetrics()
    for number in range(3 * MOST_SERIES):
        metrics.message("binance", f"COIN{number * 7919}USDT", "candle")
    for number in range(3 * MOST_EXCHANGES):
        metrics.error(f"exchange {number}", ErrorType.MESSAGE)
    packed = pack(metrics.registry)
    assert 0 < len(packed) < LARGEST_PACKED
    told = scraped(metrics)
    assert told.of("collector_messages_total") == 3 * MOST_SERIES
    assert told.of("collector_messages_total", symbol="other") == 2 * MOST_SERIES
    assert told.of("collector_errors_total") == 3 * MOST_EXCHANGES
    assert len([s for s in told.samples if s.name == "collector_messages_total"]) <= MOST_SERIES + 1
    exchanges = {s.labels["exchange"] for s in told.samples if s.name == "collector_errors_total"}
    assert len(exchanges) <= MOST_EXCHANGES + 1


def test_the_dashboard_shows_them() -> None:
    metrics = CollectorMetrics()
    metrics.watch("okx")
    metrics.message("okx", "BTC-USDT", "trade")
    shown = [text for text in expressions_of("grafana-dashboard.json") if "collector_" in text]
    assert len(shown) == 3
    check_expressions(shown, scraped(metrics))
