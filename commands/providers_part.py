"""The part of a process that asks providers, keeps what they told, and says what was saved."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from addresses.environment import environment_of
from api.parts import Parts, ProviderParts
from commands.composition import holder_name, open_parts
from commands.providers_registry import read_registry
from config import Settings
from database import Database, DatabaseUnavailable
from logging_setup import OutageLog
from providers import assets
from providers.access import Access, used_here
from providers.alert_log import AlertLog
from providers.chain import Chains
from providers.collecting.agent_assets import AgentAssets
from providers.collecting.attempt_log import AttemptLog
from providers.collecting.keep_log import KeepLog
from providers.collecting.keeper import Keeper
from providers.collecting.service import DataCollectorService
from providers.collecting.usage_log import UsageLog
from providers.collecting.whale_rounds import WhaleRounds
from providers.opening import open_chains
from stores.hot.store import HotStore, StoreUnavailable

_END_S: Final = 2.0  # for what was noted, when the process ends

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenProviders:
    """What `open_providers` has opened. `switched` is set once the switches of operators are in the
    hot store, too."""

    parts: ProviderParts
    service: DataCollectorService
    switched: asyncio.Event


@contextlib.asynccontextmanager
async def open_providers(
    settings: Settings,
    store: HotStore,
    database: Database,
    *,
    switches_again_s: float = 60.0,
) -> AsyncIterator[OpenProviders]:
    """Unless PROVIDERS=off. What the settings name is checked before (check_providers).
    `switches_again_s`: between two looks at what operators have switched."""
    registry = await asyncio.to_thread(read_registry, settings)
    known = await asyncio.to_thread(assets.load)
    alerts = AlertLog(store)
    attempts = AttemptLog(database.providers.conduct, holder_name())

    async with open_chains(
        *(settings, store, registry, known),
        environ=environment_of(),
        on_attempt=attempts.note,
        on_alert=alerts.note,
    ) as chains:
        conduct = database.providers.conduct
        client = chains.client
        attempts.usage = UsageLog(client, client.gate, conduct, settings.rate_fraction)
        keeper = Keeper(database.providers)
        kept = KeepLog(keeper)
        whales = WhaleRounds(chains.whales, database.providers.whales, settings.whale_min_usd)
        markets = partial(
            database.get_all_unique_coins,
            exchanges=settings.exchanges,
            quote=settings.quote,
            markets_limit=settings.markets_limit,
        )
        agent_assets = AgentAssets(settings.agent_assets, known, registry, markets)
        service = DataCollectorService(
            *(chains, keeper, registry, known),
            agent_assets=agent_assets.ids,
            agent_chains=settings.agent_chains,
            whales=whales.collect,
        )
        stop, switched = asyncio.Event(), asyncio.Event()
        works = (attempts.run, kept.run, alerts.run, chains.probes.run)
        running = [asyncio.create_task(each(stop)) for each in works]
        switching = asyncio.create_task(_switch_again(chains, database, switched, switches_again_s))
        try:
            async with used_here(Access(chains, registry, keeper)):
                told = ProviderParts(registry, known, chains, kept, agent_assets)
                yield OpenProviders(told, service, switched)
        finally:
            stop.set()
            switching.cancel()
            _, late = await asyncio.wait((*running, switching), timeout=_END_S)
            for each in late:  # a store hangs
                each.cancel()
            await asyncio.gather(*late, return_exceptions=True)


async def _switch_again(
    chains: Chains, database: Database, done: asyncio.Event, every_s: float
) -> None:
    """What operators have switched holds, whenever the hot store is emptied. `done` is set after
    the first time."""
    outage = OutageLog(log, "provider_switches_not_read", "provider_switches_read_again")
    while True:
        try:
            for resource, on in (await database.providers.conduct.switches()).items():
                await chains.client.gate.switch(resource, on)
        except (DatabaseUnavailable, StoreUnavailable) as error:
            outage.failed(error)
        else:
            outage.recovered()
            done.set()
        await asyncio.sleep(every_s)


@contextlib.asynccontextmanager
async def open_api_parts(settings: Settings) -> AsyncIterator[Parts]:
    """The parts of an API process, unless PROVIDERS=off."""
    async with (
        open_parts(settings, "api") as parts,
        open_providers(settings, parts.store, parts.database) as providers,
    ):
        yield parts.with_providers(providers.parts)
