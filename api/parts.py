"""The parts of every process: hot store, published documents, job queue and database."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cache_manager import CacheManager
from database import Database
from job_queue.queue import JobQueue
from stores.hot.store import HotStore

if TYPE_CHECKING:
    from budgets.exchange_client import ExchangeClient
    from providers.assets import Assets
    from providers.chain import Chains
    from providers.collecting.agent_assets import AgentAssets
    from providers.collecting.keep_log import KeepLog
    from providers.registry import Registry


@dataclass(frozen=True, slots=True)
class ProviderParts:
    """What providers are asked with; commands/providers_part.py opens and closes it."""

    registry: "Registry"
    assets: "Assets"
    chains: "Chains"
    kept: "KeepLog"
    agent_assets: "AgentAssets"


@dataclass(frozen=True, slots=True)
class FacadeParts:
    """What the facade asks exchanges with; commands/facade_part.py opens and closes it."""

    client: "ExchangeClient"


@dataclass(frozen=True, slots=True)
class Parts:
    """The stores and their users; commands/composition.py opens and closes them. `providers`: of an
    API process, unless PROVIDERS=off; `facade`: of one with FACADE=on."""

    store: HotStore
    cache: CacheManager
    queue: JobQueue
    database: Database
    providers: ProviderParts | None = None
    facade: FacadeParts | None = None

    def with_providers(self, providers: ProviderParts) -> "Parts":
        return replace(self, providers=providers)

    def with_facade(self, facade: FacadeParts | None) -> "Parts":
        return replace(self, facade=facade)
