"""Fixtures of asking: providers on a port of this machine, and chains over an empty hot store."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from config import load_settings
from providers.attempts import Alert, Attempt
from providers.chain import Chains
from providers.opening import open_chains
from providers.resources import Resource
from stores.hot.redis_client import NativeStore
from tests.fixtures.steady_time import steady_time
from tests.providers.asking import ASSETS, FakeProviders, Rows


class Opened:
    """What was told while chains were asked."""

    def __init__(self, chains: Chains, attempts: list[Attempt], alerts: list[Alert]) -> None:
        self.chains = chains
        self.attempts = attempts
        self.alerts = alerts


OpenChains = Callable[..., contextlib.AbstractAsyncContextManager[Opened]]


@pytest.fixture
async def providers() -> AsyncIterator[FakeProviders]:
    async with FakeProviders().serve() as fake:
        yield fake


@pytest.fixture
def asking(redis_url: str, providers: FakeProviders, monkeypatch: pytest.MonkeyPatch) -> OpenChains:
    """Opens the chains of one process over these rows."""

    @contextlib.asynccontextmanager
    async def opened(*rows: Resource, **options: Any) -> AsyncIterator[Opened]:
        settings = load_settings(
            redis_url=redis_url, providers_base_url=providers.url, rate_fraction=1.0
        )
        attempts: list[Attempt] = []
        alerts: list[Alert] = []
        kind: type[NativeStore] = options.pop("store", NativeStore)
        store = kind(options.pop("redis_url", redis_url), client_name="test")
        registry = options.pop("registry", None) or Rows(*rows)
        environ = options.pop("environ", {})
        try:
            async with (
                steady_time(monkeypatch),
                open_chains(
                    *(settings, store, registry, ASSETS),
                    environ=environ,
                    on_attempt=attempts.append,
                    on_alert=alerts.append,
                    **options,
                ) as chains,
            ):
                yield Opened(chains, attempts, alerts)
        finally:
            await store.aclose()

    return opened
