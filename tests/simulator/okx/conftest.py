"""OKX alone: one simulator for the tests that only read."""

from collections.abc import Iterator

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator


@pytest.fixture(scope="package")
def okx() -> Iterator[Simulator]:
    """Twenty swaps and their spot markets at NOW_MS, without limits. Not to be changed by tests."""
    simulator = Simulator(
        {"binance": 0, "bybit": 0, "okx": 20, "now": NOW_MS, "frozen": True, "no_limits": True}
    )
    yield simulator
    simulator.stop()
