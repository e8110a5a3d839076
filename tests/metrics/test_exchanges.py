"""What is counted of an exchange's answers."""

import pytest
from prometheus_client import CollectorRegistry

from budgets.exchange_client import ExchangeClient
from config import load_settings
from market.markets import Exchange
from metrics.exchanges import ExchangeMetrics
from metrics.exposition import MetricsPage
from tests.fixtures.asking import server_time_ms
from tests.fixtures.numbers import Numbers, numbers_of
from tests.fixtures.simulator import NOW_MS, StartSimulator
from venues.errors import ERROR_KINDS, RateLimited


async def test_failures_retries_and_pauses(
    start_simulator: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)
    simulator = start_simulator(binance=1, bybit=1, now=NOW_MS, frozen=True)
    settings = load_settings(binance_base_url=simulator.base_url, bybit_base_url=simulator.base_url)
    simulator.post("/sim/faults", {"kind": "status", "status": 502, "count": 2})
    registry = CollectorRegistry()
    metrics = ExchangeMetrics(registry)

    def told() -> Numbers:
        page = MetricsPage()
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

        await client.limits.for_exchange(Exchange.BYBIT).pause(50, "test")
        assert 45 < told().of("perpcache_exchange_pause_left_seconds", exchange="bybit") <= 50
        simulator.post("/sim/faults", {"kind": "status", "status": 418, "exchange": "binance"})
        with pytest.raises(Exception) as stopped:
            await server_time_ms(client, Exchange.BINANCE)
        assert not isinstance(stopped.value, RateLimited)
        now = told()
        assert now.of(name, exchange="binance", status="418") == 1
        assert now.of("perpcache_exchange_pauses_total", exchange="binance") == 1
        assert now.of("perpcache_exchange_errors_total", kind="Banned") == 1


def test_every_error_of_a_request_that_was_sent_is_counted() -> None:
    assert (
        *("SourceDown", "BadPayload", "RateLimited", "Banned", "TooFast"),
        *("Restricted", "TurnedAway", "Blocked"),
        *("ClockWrong", "SymbolGone", "WindowRefused", "BadRequest", "InternalError"),
    ) == ERROR_KINDS
