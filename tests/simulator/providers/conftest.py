"""Simulators of providers for the tests of a module: one that is only read, one that is reset."""

from collections.abc import Iterator

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator


@pytest.fixture(scope="module")
def world() -> Iterator[Simulator]:
    """All providers at NOW_MS, without limits. Not to be changed by tests."""
    simulator = Simulator(
        {"providers": True, "binance": 5, "bybit": 5, "now": NOW_MS, "frozen": True,
         "no_limits": True}
    )  # fmt: skip
    yield simulator
    simulator.stop()


@pytest.fixture(scope="module")
def _shared() -> Iterator[Simulator]:
    simulator = Simulator({"providers": True, "binance": 3, "bybit": 3, "now": NOW_MS})
    yield simulator
    simulator.stop()


@pytest.fixture
def sim(_shared: Simulator) -> Iterator[Simulator]:
    """All providers with their limits, without faults and requests of earlier tests."""
    yield _shared
    _shared.delete("/sim/providers/faults")
    _shared.delete("/sim/providers/requests")
    _shared.post("/sim/limits/reset")
