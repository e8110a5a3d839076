"""Questions by functions, for users' own code: `await get_price_with_fallback("btc")`.

In a process of the service they use its chains. Elsewhere they open their own at the first
question, by the same settings: with the service's hot store they keep its budgets and breakers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakKeyDictionary

import structlog

from addresses.environment import environment_of
from config import load_settings
from database import Database, DatabaseUnavailable
from providers.accounts import normalised
from providers.answers import Answer
from providers.assets import MARKET
from providers.assets import load as load_assets
from providers.chain import Chains
from providers.collecting.keeper import Keeper
from providers.errors import InvalidQuestion, NoAnswer
from providers.networks import Family, network_of
from providers.opening import open_chains
from providers.questions import INTERACTIVE_S, Question
from providers.records import (
    Balance,
    GasPrice,
    NewsItem,
    Price,
    Record,
    SentimentReading,
)
from providers.registry import Registry, load
from providers.resources import Resource
from providers.rpc.balancer import RPCLoadBalancer as Balancer
from stores.hot.opening import open_hot_store

_FEAR_AND_GREED = "fear_greed"
_OF_THE_MARKET = "sentiment.market"
T = TypeVar("T", bound=Record)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """What questions are asked with; `keeper` is None where there is no database."""

    chains: Chains
    registry: Registry
    keeper: Keeper | None


_OPENED: "WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Access, AsyncExitStack | None]]" = (
    WeakKeyDictionary()
)


_OPENING: "WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]" = WeakKeyDictionary()


@asynccontextmanager
async def used_here(access: Access) -> AsyncIterator[None]:
    """While it is open, the functions of this event loop ask by `access`."""
    loop = asyncio.get_running_loop()
    before = _OPENED.get(loop)
    _OPENED[loop] = (access, None)
    try:
        yield
    finally:
        if before is None:
            _OPENED.pop(loop, None)
        else:  # API and worker are one process
            _OPENED[loop] = before


async def close_providers() -> None:
    """Closes what the functions have opened on this event loop; they open it again."""
    _, opened = _OPENED.pop(asyncio.get_running_loop(), (None, None))
    if opened is not None:
        await opened.aclose()


async def get_price_with_fallback(asset: str, within_s: float = INTERACTIVE_S) -> Price:
    """The price in US dollars of an asset, by its id or name (`btc`, `bitcoin`). Raises
    UnknownAsset, NoAnswer."""
    await _access()  # which reads the assets beside the event loop
    found = load_assets().find(asset).id
    return await _one(Question("price.aggregate", (found,), (("quote", "usd"),)), Price, within_s)


async def get_news_with_fallback(
    limit: int = 20, within_s: float = INTERACTIVE_S
) -> list[NewsItem]:
    """The newest stories of all feeds, `limit` at most. Raises NoAnswer."""
    answer = await _asked(Question("news", ("*",)), within_s)
    stories = [each for each in answer.records if isinstance(each, NewsItem)]
    return stories[: max(0, limit)]


async def get_sentiment_with_fallback(
    metric: str = _FEAR_AND_GREED, within_s: float = INTERACTIVE_S
) -> SentimentReading:
    """The fear and greed index of the market. Two indices of different vendors do not compare:
    `metric` in the reading says whose it is; name one (`fear_greed_altme`) to have no other. Raises
    InvalidQuestion for an unknown one, NoAnswer."""
    options: tuple[tuple[str, str], ...] = ()
    if metric != _FEAR_AND_GREED:
        access = await _access()
        rows = access.registry.chain(_OF_THE_MARKET)
        known = sorted({str(each.read["metric"]) for each in rows if "metric" in each.read})
        if metric not in known:
            raise InvalidQuestion(f"{metric} is told by nobody; there are {', '.join(known)}")
        options = (("metric", metric),)
    return await _one(Question(_OF_THE_MARKET, (MARKET,), options), SentimentReading, within_s)


async def get_gas_with_fallback(
    chain: str = "ethereum", within_s: float = INTERACTIVE_S
) -> GasPrice:
    """What a transaction costs on a chain, by its id or name. Raises UnknownNetwork,
    InvalidQuestion, NoAnswer."""
    network = network_of(chain)
    access = await _access()
    own = f"gas.{network.id}"
    if own in access.registry.chains():
        return await _one(Question(own, (network.id,)), GasPrice, within_s)
    if network.family is Family.EVM:
        return await _one(Question("gas.evm", (network.id,)), GasPrice, within_s)
    raise InvalidQuestion(f"nobody tells the fees of {network.name}")


async def get_balance_with_fallback(
    address: str, chain: str = "ethereum", within_s: float = INTERACTIVE_S
) -> Balance:
    """What an address has of the chain's own coin. It is kept nowhere. Raises UnknownNetwork,
    InvalidQuestion, NoAnswer."""
    network = network_of(chain)
    access = await _access()
    asked = f"balance.{network.id}"
    if asked not in access.registry.chains():
        raise InvalidQuestion(f"nobody tells the balances of {network.name}")
    subject = normalised(network.id, address)
    return await _one(Question(asked, (subject,)), Balance, within_s)


class RPCLoadBalancer(Balancer):
    """The nodes of a chain of the registry, such as ethereum: `nodes`, `health_scores`, `await
    get_next_node()`, `await update_health(node, success)`. Raises UnknownNetwork, InvalidQuestion.
    """

    def __init__(self, chain: str) -> None:
        network = network_of(chain)
        super().__init__(network.id, _rows_of(f"rpc.{network.id}"))


class HierarchicalConfig:
    """The resources of the registry, in the order in which they are asked (seed 001)."""

    def get_market_data_resources(self) -> list[Resource]:
        return _rows_of("price.aggregate")

    def get_news_resources(self) -> list[Resource]:
        return _rows_of("news")

    def get_explorer_resources(self, chain: str) -> list[Resource]:
        """Of balances. Raises UnknownNetwork, InvalidQuestion."""
        return _rows_of(f"balance.{network_of(chain).id}")


hierarchical_config = HierarchicalConfig()


def _registry() -> Registry:
    return load(load_settings())


def _rows_of(chain: str) -> list[Resource]:
    registry = _registry()
    if chain not in registry.chains():
        raise InvalidQuestion(
            f"there is no chain {chain}; there are {', '.join(registry.chains())}"
        )
    return list(registry.chain(chain))


async def _one(question: Question, kind: type[T], within_s: float) -> T:
    answer = await _asked(question, within_s)
    for each in answer.records:
        if isinstance(each, kind):
            return each
    raise NoAnswer(str(question), answer.tried)


async def _asked(question: Question, within_s: float) -> Answer:
    """Raises NoAnswer. What came is kept; if that fails, it is logged."""
    access = await _access()
    answer = await access.chains.ask(question, within_s)
    if access.keeper is not None and not answer.cached:
        try:
            await access.keeper.keep(answer.records)
        except DatabaseUnavailable as error:
            log.warning("provider_answer_not_kept", question=str(question), error=str(error))
    return answer


async def _access() -> Access:
    loop = asyncio.get_running_loop()
    if loop not in _OPENED:
        async with _OPENING.setdefault(loop, asyncio.Lock()):
            if loop not in _OPENED:  # another question has opened them meanwhile
                stack = AsyncExitStack()
                try:
                    _OPENED[loop] = (await _open(stack), stack)
                except BaseException:
                    await stack.aclose()
                    raise
    return _OPENED[loop][0]


async def _open(stack: AsyncExitStack) -> Access:
    settings = load_settings()
    store = open_hot_store(settings, client_name="providers")
    stack.push_async_callback(store.aclose)
    keeper = None
    if settings.database_url is not None:
        database = Database(settings.database_url.get_secret_value())
        stack.push_async_callback(database.aclose)
        keeper = Keeper(database.providers)
    registry = await asyncio.to_thread(load, settings)
    assets = await asyncio.to_thread(load_assets)
    chains = await stack.enter_async_context(
        open_chains(settings, store, registry, assets, environ=environment_of())
    )
    return Access(chains, registry, keeper)
