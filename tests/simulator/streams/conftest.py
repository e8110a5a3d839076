"""One simulator for all tests of streams: each begins at NOW_MS, without faults and settings."""

from collections.abc import Iterator

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator


@pytest.fixture(scope="package")
def _shared() -> Iterator[Simulator]:
    simulator = Simulator(
        {"binance": 20, "bybit": 20, "now": NOW_MS, "frozen": True, "no_limits": True}
    )
    yield simulator
    simulator.stop()


@pytest.fixture
def sim(_shared: Simulator) -> Iterator[Simulator]:
    """Twenty markets on each exchange, without limits, the time frozen at NOW_MS."""
    _shared.post("/sim/clock", {"now_ms": NOW_MS, "frozen": True, "speed": 1})
    _shared.post("/sim/stats/reset")
    yield _shared
    _shared.delete("/sim/faults")
    _shared.post(
        "/sim/streams",
        {
            "silent_closings": {"binance": True, "bybit": True},
            "life_s": {"binance": 86_400, "bybit": None},
            "closing_delay_s": {"binance": None, "bybit": None},
            "storm_per_s": 0,
            "buffer_bytes": 4_000_000,
        },
    )
