"""Shadow probes: one cheap call a minute of members whose breaker is open, so that they come back.

No question of a user is spent on them. Pauses, spent quotas and refused keys are waited out: a
probe would break the limit again.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from providers.assets import Assets
from providers.breaker import BreakerState
from providers.client import Client
from providers.errors import ProviderError
from providers.gate import Skipped
from providers.members import Member
from providers.naming import named
from providers.questions import Kind, Question
from providers.records import MARKET, Record
from providers.resources import Resource, Rows, State
from stores.hot.store import StoreUnavailable
from timing.backoff import stop_or

ROUND_S: Final = 20.0
WITHIN_S: Final = 10.0
AT_ONCE: Final = 8
_ASSETS: Final = ("btc", "eth", "usdt")  # the last one has a contract, too
# Accounts that always exist: genesis of Bitcoin, the zero address, Tron's black hole.
_ADDRESSES: Final = {
    "bitcoin": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "tron": "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb",
}
_ZERO: Final = "0x0000000000000000000000000000000000000000"

log = structlog.get_logger(__name__)


def cheapest(resource: Resource, assets: Assets) -> Question:
    """A question that the resource can answer with one small request."""
    kind, _, chain = resource.chain.partition(".")
    read = resource.read
    match Kind(kind):
        case Kind.PRICE:
            options = (("quote", str(next(iter(read.get("quotes", ("USD",)))))),)
            asked = [Question(resource.chain, (name,), options) for name in _ASSETS]
            able = (each for each in asked if named(resource, each, each.subjects[0], assets))
            return next(able, asked[0])
        case Kind.SENTIMENT:
            return Question(resource.chain, (MARKET if chain == "market" else "btc",))
        case Kind.BALANCE:
            return Question(resource.chain, (_ADDRESSES.get(chain, _ZERO),))
        case Kind.RPC:
            method = "getSlot" if chain == "solana" else "eth_blockNumber"
            return Question(resource.chain, (chain,), (("method", method), ("params", "[]")))
        case Kind.NEWS:
            return Question(resource.chain, (MARKET,))
        case _:
            first = str(next(iter(read.get("chains", ("ethereum",)))))
            return Question(resource.chain, (first if chain == "evm" else chain,))


class Probes:
    def __init__(self, registry: Rows, client: Client, assets: Assets) -> None:
        self._registry = registry
        self._assets = assets
        self._client = client
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Probes in rounds until stopped, also where nobody asks."""
        while not await stop_or(stop, ROUND_S, self._client.clock):
            try:
                await self.round()
            except StoreUnavailable as error:
                log.warning("providers_not_probed", cause=str(error))

    async def round(self) -> None:
        """Probes once all that are due, in any process. Raises StoreUnavailable."""
        resources = [each for each in self._registry.resources if self._is_probed(each)]
        accounts = [self._client.account(each) for each in resources]
        members = await self._client.gate.look(accounts)
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(resource: Resource) -> None:
            async with slots:
                await self._back(resource)

        due = _due(zip(resources, members, strict=True))
        await asyncio.gather(*(one(each) for each in due))

    def nudge(self, members: Sequence[tuple[Resource, Member]]) -> None:
        """Probes those that are out, beside the question that has found them so."""
        for resource in _due(members):
            if len(self._tasks) < AT_ONCE and self._is_probed(resource):
                task = asyncio.create_task(self._back(resource))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def probe(self, resource: Resource) -> list[Record]:
        """Asks a resource whatever is known of it, but for its limits. Raises ProviderError,
        Skipped."""
        return await self._client.call(
            resource,
            cheapest(resource, self._assets),
            within_s=WITHIN_S,
            how="probe",
            purpose="probe",
        )

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _back(self, resource: Resource) -> None:
        """Probes until it has failed, or is back: one success asks for a second."""
        try:
            await self.probe(resource)
            await self.probe(resource)
        except (ProviderError, Skipped) as error:
            log.debug("provider_probed", resource=resource.id, cause=str(error))

    def _is_probed(self, resource: Resource) -> bool:
        return (
            resource.probe
            and resource.state is not State.DEAD
            and not self._client.lacks_key(resource)
        )


def _due(members: Iterable[tuple[Resource, Member]]) -> list[Resource]:
    return [
        resource
        for resource, member in members
        if member.state is not BreakerState.CLOSED
        and not member.out_until_ms
        and member.switched is not False
    ]
