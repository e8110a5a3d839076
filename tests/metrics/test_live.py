"""The metrics of a live process: counts go on from feed to feed, and what is told fits a note."""

from metrics.collectors import MOST_SERIES
from metrics.exposition import LARGEST_PACKED, MetricsPage, pack, unpack
from metrics.live import FeedNumbers, LiveMetrics
from tests.fixtures.numbers import Numbers, numbers_of


def scraped(metrics: LiveMetrics) -> Numbers:
    page = MetricsPage()
    page.add(unpack(pack(metrics.registry).encode()), {"live": "host:1"})
    return numbers_of(page)


def told(metrics: LiveMetrics, name: str, **labels: str) -> float:
    return scraped(metrics).of(f"perpcache_live_{name}", **labels)


def test_without_the_lease_an_exchange_is_told_of_with_zeros() -> None:
    metrics = LiveMetrics()
    metrics.watch("binance", unproven=["starting", "silent"], reconnects=["cut", "age"])
    for name in ("lease_held", "connections", "streams", "markets", "silent_markets"):
        assert told(metrics, name, exchange="binance") == 0
    for name in ("messages_total", "log_restarts_total", "closing_lag_seconds_count"):
        assert told(metrics, name, exchange="binance") == 0
    assert told(metrics, "unproven_markets", reason="starting") == 0
    assert told(metrics, "reconnects_total", reason="age") == 0


def test_counts_go_on_in_the_next_feed_and_gauges_end_with_the_lease() -> None:
    metrics = LiveMetrics()
    metrics.watch("binance", unproven=["starting"], reconnects=["cut", "age"])
    first = FeedNumbers(*(2, 300, 299, {"starting": 7}, 3, 1000), reconnects={"cut": 2}, restarts=1)
    with metrics.feeding("binance", lambda: first):
        assert told(metrics, "lease_held") == 1
        assert told(metrics, "connections") == 2
        assert (told(metrics, "streams"), told(metrics, "markets")) == (300, 299)
        assert told(metrics, "unproven_markets", reason="starting") == 7
        assert told(metrics, "silent_markets") == 3
    assert told(metrics, "lease_held") == told(metrics, "connections") == 0
    assert told(metrics, "unproven_markets", reason="starting") == 0
    assert told(metrics, "messages_total") == 1000
    second = FeedNumbers(messages=20, reconnects={"cut": 1, "refused": 4}, restarts=2)
    with metrics.feeding("binance", lambda: second):
        assert told(metrics, "messages_total") == 1020
    assert told(metrics, "messages_total") == 1020
    assert told(metrics, "log_restarts_total") == 3
    by_reason = {"cut": 3, "age": 0, "refused": 4}
    for reason, count in by_reason.items():
        assert told(metrics, "reconnects_total", reason=reason) == count


def test_the_shares_of_lags_can_be_read_from_a_tenth_of_a_second_to_75_seconds() -> None:
    metrics = LiveMetrics()
    metrics.watch("bybit", unproven=(), reconnects=())
    observe = metrics.closing_lag("bybit")
    for lag_s in (-0.5, 0.09, 0.9, 1.9, 2.4, 59.0, 74.0, 80.0):
        observe(lag_s)
    below = {
        sample.labels["le"]: sample.value
        for sample in scraped(metrics).samples
        if sample.name == "perpcache_live_closing_lag_seconds_bucket"
    }
    counted = [below[le] for le in ("0.1", "1.0", "2.0", "2.5", "60.0", "75.0", "+Inf")]
    assert counted == [2, 3, 4, 5, 6, 7, 8]


def test_a_note_holds_the_feeds_and_as_many_series_of_collectors_as_there_may_be() -> None:
    metrics = LiveMetrics()
    reasons = [f"reason_{number}" for number in range(20)]
    for exchange in ("binance", "bybit", "okx"):
        metrics.watch(exchange, unproven=reasons, reconnects=reasons)
    for number in range(2 * MOST_SERIES):
        metrics.collectors.message("binance", f"COIN{number * 7919}USDT", "candle")
    assert 0 < len(pack(metrics.registry)) < LARGEST_PACKED
