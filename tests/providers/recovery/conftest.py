"""A world of simulated providers whose time stands still until a test moves it."""

from collections.abc import AsyncIterator

import pytest

from tests.fixtures.simulator import StartSimulator
from tests.providers.recovery.driving import World, open_world


@pytest.fixture
async def world(
    redis_url: str, start_simulator: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    simulator = start_simulator(providers=True, binance=3, bybit=3, frozen=True)
    async with open_world(redis_url, simulator.base_url, monkeypatch) as opened:
        yield opened
