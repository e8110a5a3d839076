"""One simulator for the tests of a module that only read from it."""

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
