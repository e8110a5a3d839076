"""One simulator for the tests of a module: one that is only read, and one that is reset."""

from collections.abc import Iterator

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator


@pytest.fixture(scope="module")
def frozen() -> Iterator[Simulator]:
    """Twenty markets on each exchange at NOW_MS, without limits. Not to be changed by tests."""
    simulator = Simulator(
        {"binance": 20, "bybit": 20, "now": NOW_MS, "frozen": True, "no_limits": True}
    )
    yield simulator
    simulator.stop()


@pytest.fixture(scope="module")
def _shared() -> Iterator[Simulator]:
    simulator = Simulator({"binance": 3, "bybit": 3, "now": NOW_MS, "frozen": True})
    yield simulator
    simulator.stop()


@pytest.fixture
def sim(_shared: Simulator) -> Iterator[Simulator]:
    """Three markets on each exchange, without faults, bans and counts of earlier tests."""
    yield _shared
    _shared.delete("/sim/faults")
    _shared.post("/sim/limits/reset")
    _shared.post("/sim/stats/reset")
