"""Shadow probes: one cheap call a minute of members that are out, so that who lives serves again.

No question of a user is spent on them. What a provider has stated is waited out: its pause, a spent
quota, a refused key. A pause that it has not stated is tried by one of its rows. Who lives again is
known after 45 s (60 s for a pause) since the last refusal, one round, and two small calls.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import structlog

from providers.assets import MARKET, Assets
from providers.breaker import BreakerState
from providers.client import Client
from providers.errors import InvalidQuestion, ProviderError
from providers.gate import How, Skipped
from providers.members import Member
from providers.naming import named
from providers.questions import Kind, Question
from providers.records import Record
from providers.resources import Resource, Rows, State
from stores.hot.store import StoreUnavailable
from timing.backoff import stop_or

ROUND_S: Final = 15.0
WITHIN_S: Final = 10.0  # a probe, and the wait for its budget
AT_ONCE: Final = 64  # all members may hang at one time
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
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._running: dict[str, asyncio.Task[None]] = {}  # by resource

    async def run(self, stop: asyncio.Event) -> None:
        """Probes in rounds until stopped, also where nobody asks. Who hangs delays no round."""
        while True:
            try:
                self._start(await self._look(self._registry.resources))
            except StoreUnavailable as error:
                log.warning("providers_not_probed", cause=str(error))
            if await stop_or(stop, ROUND_S, self._client.clock):
                return

    async def round(self) -> None:
        """Probes once all that are due, in any process, and waits for them. Raises
        StoreUnavailable."""
        self._start(await self._look(self._registry.resources))
        while self._running:
            await asyncio.wait(self._running.values())

    def nudge(self, members: Sequence[tuple[Resource, Member]]) -> None:
        """Probes those that are out, beside the question that has found them so."""
        self._start(members)

    async def probe(self, resource: Resource) -> list[Record]:
        """Asks a resource whatever is known of it, but for its limits; one that answers is out no
        more. Raises ProviderError, Skipped."""
        return await self._ask(resource, "demand")

    async def aclose(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, resource: Resource, how: How) -> list[Record]:
        question = cheapest(resource, self._assets)
        return await self._client.call(
            resource, question, within_s=WITHIN_S, how=how, purpose="probe"
        )

    async def _look(self, resources: Iterable[Resource]) -> list[tuple[Resource, Member]]:
        probed = [each for each in resources if self._is_probed(each)]
        return list(zip(probed, await self._client.look(probed), strict=True))

    def _start(self, members: Iterable[tuple[Resource, Member]]) -> None:
        for resource, member in self._due(members):
            if resource.id not in self._running:
                task = asyncio.create_task(self._back(resource, paused=member.guessed))
                self._running[resource.id] = task
                task.add_done_callback(partial(self._ended, resource.id))

    def _ended(self, id_: str, task: "asyncio.Task[None]") -> None:
        self._running.pop(id_, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("provider_probe_failed", resource=id_, exc_info=error)

    def _due(self, members: Iterable[tuple[Resource, Member]]) -> list[tuple[Resource, Member]]:
        """Those that are open, and of each account whose pause is a guess one, rather a closed
        one: its answer says that all of them may be asked."""
        due: list[tuple[Resource, Member]] = []
        paused: dict[str, tuple[Resource, Member]] = {}
        for resource, member in members:
            if not self._is_probed(resource) or not _is_on(resource, member):
                continue
            if member.guessed:
                account = self._client.account(resource).account_key
                known = paused.get(account)
                if known is None or _is_open(known[1]) > _is_open(member):
                    paused[account] = (resource, member)
            elif _is_open(member) and not member.out_until_ms:
                due.append((resource, member))
        return [*due, *paused.values()]

    async def _back(self, resource: Resource, *, paused: bool) -> None:
        """Probes until it has failed, or is back: one success asks for a second, unless it took
        several requests, or a pause alone kept it out. The other rows of a pause that has ended so
        are looked at at once."""
        async with self._slots:
            try:
                await self._once_there_is_room(resource)
                if paused:
                    account = self._client.account(resource).account_key
                    self._start(await self._look(self._rows_of(account, but=resource)))
                [(_, member)] = await self._look([resource])
                if not _is_open(member):
                    return
                await self._once_there_is_room(resource)
            except (ProviderError, Skipped, InvalidQuestion, StoreUnavailable) as error:
                log.debug("provider_probed", resource=resource.id, cause=str(error))

    async def _once_there_is_room(self, resource: Resource) -> None:
        """Probes it, if its budget is short after a short wait."""
        try:
            await self._ask(resource, "probe")
        except Skipped as skipped:
            left_s = ((skipped.until_ms or 0) - self._client.clock.wall_ms()) / 1000
            if skipped.reason != "no_budget" or not 0 < left_s <= WITHIN_S:
                raise
            await self._client.clock.sleep(left_s)
            await self._ask(resource, "probe")

    def _rows_of(self, account: str, *, but: Resource) -> list[Resource]:
        return [
            each
            for each in self._registry.resources
            if each is not but and self._client.account(each).account_key == account
        ]

    def _is_probed(self, resource: Resource) -> bool:
        return (
            resource.probe
            and resource.state is not State.DEAD
            and not self._client.lacks_key(resource)
        )


def _is_on(resource: Resource, member: Member) -> bool:
    return resource.state is State.ALIVE if member.switched is None else member.switched


def _is_open(member: Member) -> bool:
    return member.state is not BreakerState.CLOSED
