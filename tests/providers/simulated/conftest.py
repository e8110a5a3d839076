"""The registry's own rows, asked of simulated providers, as a service asks them."""

from collections.abc import AsyncIterator, Iterator

import pytest

from config import load_settings
from providers import assets, registry
from providers.attempts import Alert
from providers.chain import Chains
from providers.opening import open_chains
from stores.hot.redis_client import NativeStore
from tests.fixtures.simulator import Simulator


@pytest.fixture(scope="module")
def _shared() -> Iterator[Simulator]:
    simulator = Simulator({"providers": True, "binance": 3, "bybit": 3})
    yield simulator
    simulator.stop()


@pytest.fixture
def simulated(_shared: Simulator) -> Iterator[Simulator]:
    """At the machine's time, without faults and requests of earlier tests."""
    yield _shared
    _shared.delete("/sim/providers/faults")
    _shared.delete("/sim/providers/requests")


@pytest.fixture
def alerts() -> list[Alert]:
    """What the chains told."""
    return []


@pytest.fixture
async def chains(
    redis_url: str, simulated: Simulator, alerts: list[Alert]
) -> AsyncIterator[Chains]:
    settings = load_settings(redis_url=redis_url, providers_base_url=simulated.base_url)
    store = NativeStore(redis_url, client_name="test")
    rows = registry.load(settings)
    async with open_chains(
        settings, store, rows, assets.load(), environ={}, on_alert=alerts.append
    ) as opened:
        yield opened
    await store.aclose()
