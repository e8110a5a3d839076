"""The composition of asking: everything that one process needs, opened and closed."""

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping

from config import Settings
from providers.alerts import Alerts
from providers.answers import Answers
from providers.assets import Assets
from providers.attempts import OnAlert, OnAttempt
from providers.chain import Chains
from providers.client import Client
from providers.news.told import ToldStories
from providers.own import OwnRows
from providers.plausible import Plausible
from providers.probes import Probes
from providers.resources import Rows
from providers.rpc.nodes import Nodes
from providers.usage import Usage
from providers.whales.detector import Whales
from providers.whales.memory import Memory
from providers.whales.pricing import usd_prices
from providers.whales.scanning import Priced
from stores.hot.store import HotStore
from timing.clock import Clock, SystemClock


@contextlib.asynccontextmanager
async def open_chains(
    settings: Settings,
    store: HotStore,
    registry: Rows,
    assets: Assets,
    *,
    environ: Mapping[str, str],
    clock: Clock | None = None,
    on_attempt: OnAttempt | None = None,
    on_alert: OnAlert | None = None,
) -> AsyncIterator[Chains]:
    """The chains of this process. `environ` has the providers' keys."""
    clock = clock or SystemClock()
    alerts = Alerts(clock, on_alert)
    client = Client(
        *(settings, registry, assets, store, alerts),
        environ=environ,
        clock=clock,
        on_attempt=on_attempt,
    )
    async with client:
        nodes = Nodes(client, registry.resources)

        async def prices(asset_ids: Collection[str]) -> dict[str, Priced]:
            return await usd_prices(chains, assets, asset_ids)

        whales = Whales(client, nodes, registry.resources, assets, prices, Memory(store))
        client.own = OwnRows(client, nodes, whales).ask
        probes = Probes(registry, client, assets)
        chains = Chains(
            *(registry, client, Answers(store), Usage(store), ToldStories(store)),
            *(Plausible(assets), probes, alerts),
            assets=assets,
            nodes=nodes,
            whales=whales,
        )
        try:
            yield chains
        finally:
            await chains.aclose()
            await whales.aclose()
            await probes.aclose()
            await nodes.aclose()
