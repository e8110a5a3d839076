"""DataCollectorService: asks the providers, stores what they tell, and says what was saved.

The name and its methods are those of seed 000; the agent's rounds call the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol

from providers.answers import Answer
from providers.assets import MARKET, Assets
from providers.collecting.collected import Collected
from providers.collecting.keeper import Keeper
from providers.errors import NoAnswer, Tried
from providers.networks import Family, network_of
from providers.questions import AGENT_S, Question
from providers.registry import Registry

_QUOTE: Final = (("quote", "usd"),)


class Asking(Protocol):
    """What the service asks with: providers.chain.Chains."""

    async def ask(self, question: Question, within_s: float) -> Answer: ...


class DataCollectorService:
    """All methods raise DatabaseUnavailable and StoreUnavailable; what providers do not answer
    stands in `missing`."""

    def __init__(
        self,
        chains: Asking,
        keeper: Keeper,
        registry: Registry,
        assets: Assets,
        *,
        agent_assets: Callable[[], Awaitable[Sequence[str]]],
        agent_chains: Sequence[str],
        whales: Callable[[Sequence[str]], Awaitable[Collected]] | None = None,
    ) -> None:
        """Raises UnknownNetwork. `agent_assets`: tells the ids of AGENT_ASSETS. `whales`: reads new
        blocks of chains for great transfers (providers.collecting.whale_rounds)."""
        self._chains = chains
        self._keeper = keeper
        self._known = frozenset(registry.chains())
        self._known_assets = assets
        self._agent_assets = agent_assets
        self._agent_chains = _chains_of(agent_chains)
        self._whales = whales

    async def collect_market_data(self, assets: Sequence[str] | None = None) -> Collected:
        """Prices in US dollars, of AGENT_ASSETS unless `assets` are given. Raises UnknownAsset."""
        wanted = tuple(await self._agent_assets()) if assets is None else self._ids_of(assets)
        question = Question("price.aggregate", wanted, _QUOTE)
        return await self._asked("prices", [question] if wanted else [])

    async def collect_news(self) -> Collected:
        """The stories of all feeds that are due."""
        return await self._asked("news", [Question("news", ("*",))])

    async def collect_sentiment(self) -> Collected:
        """The indices of the whole market."""
        return await self._asked("sentiment", [Question("sentiment.market", (MARKET,))])

    async def collect_gas_prices(self, chains: Sequence[str] | None = None) -> Collected:
        """What transactions cost, on AGENT_CHAINS unless `chains` are given. Raises
        UnknownNetwork."""
        return await self._asked("gas", self._of_chains("gas", chains))

    async def collect_chain_stats(self, chains: Sequence[str] | None = None) -> Collected:
        """How chains are, AGENT_CHAINS unless `chains` are given. Raises UnknownNetwork."""
        return await self._asked("stats", self._of_chains("stats", chains))

    async def collect_whales(self, chains: Sequence[str] | None = None) -> Collected:
        """Transfers of at least WHALE_MIN_USD in the blocks since the last look. Raises
        UnknownNetwork."""
        wanted = self._agent_chains if chains is None else _chains_of(chains)
        if self._whales is None or not wanted:
            return Collected("whales", 0, 0, {}, {})
        return await self._whales(wanted)

    async def collect_quick(self) -> list[Collected]:
        """What changes within minutes: prices, fees and sentiment."""
        return await self._together(
            self.collect_market_data(), self.collect_gas_prices(), self.collect_sentiment()
        )

    async def collect_all(self) -> list[Collected]:
        """Everything, whales last: they are priced by the prices that came before."""
        found = await self._together(
            self.collect_market_data(),
            self.collect_gas_prices(),
            self.collect_sentiment(),
            self.collect_news(),
            self.collect_chain_stats(),
        )
        return [*found, await self.collect_whales()]

    def _ids_of(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._known_assets.find(name).id for name in names))

    async def _together(self, *works: Awaitable[Collected]) -> list[Collected]:
        # All of them end before an outage of one of them is told.
        found = await asyncio.gather(*works, return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return [each for each in found if isinstance(each, Collected)]

    def _of_chains(self, kind: str, chains: Sequence[str] | None) -> list[Question]:
        wanted = self._agent_chains if chains is None else _chains_of(chains)
        found = []
        for chain in wanted:
            own, shared = f"{kind}.{chain}", f"{kind}.evm"
            if own in self._known:
                found.append(Question(own, (chain,)))
            elif network_of(chain).family is Family.EVM and shared in self._known:
                found.append(Question(shared, (chain,)))
        return found

    async def _asked(self, kind: str, questions: Sequence[Question]) -> Collected:
        answers = await asyncio.gather(*(_answer(self._chains.ask, each) for each in questions))
        records = [record for each in answers for record in each.records]
        rows = await self._keeper.keep(records)
        served = {subject: by for each in answers for subject, by in each.served_by.items()}
        missing = {subject: _why(each.tried) for each in answers for subject in each.missing}
        return Collected(kind, len(records), rows, served, missing)


def _chains_of(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(network_of(name).id for name in names))


async def _answer(
    ask: Callable[[Question, float], Awaitable[Answer]], question: Question
) -> Answer:
    """The answer, or one that says of all subjects that nobody answered."""
    try:
        return await ask(question, AGENT_S)
    except NoAnswer as error:
        return Answer(question, (), error.tried, {}, {}, missing=question.subjects)


def _why(tried: Iterable[Tried]) -> str:
    return "; ".join(f"{each.resource}: {each.message}" for each in tried) or "nobody to ask"
