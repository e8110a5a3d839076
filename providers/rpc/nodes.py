"""Reads of blockchains from their nodes: the next where one fails, two that agree about money.

No node is asked that lags, or that is of another chain.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, TypeVar

import structlog

from providers.errors import ErrorClass, InvalidQuestion, NoAnswer, ProviderError, Tried
from providers.exact import BadValue
from providers.gate import Skipped
from providers.questions import Kind
from providers.records import RpcAnswer
from providers.resources import Resource, State
from providers.rpc.balancer import HEADS_FRESH_S, Node, RPCLoadBalancer
from providers.rpc.calling import Caller, asked, asked_by_us
from providers.rpc.facts import STALE_BLOCKS, facts_of
from providers.rpc.heads import Heads
from providers.rpc.racing import Line, end_sooner, in_turn, waits_within
from providers.rpc.verdicts import Overtaken, judged
from providers.scattering import each
from timing.clock import Clock

T = TypeVar("T")
_LACKING_S: Final = 600.0
_SECOND_SHARE: Final = 0.3  # of the time, for which a second word on money is waited
log = structlog.get_logger(__name__)


class Nodes:
    """One per process: all chains of nodes, with what is known of each node. Deadlines are in
    seconds; a question of several calls is asked of one block (settled_block)."""

    def __init__(
        self,
        caller: Caller,
        resources: Iterable[Resource],
        *,
        chance: random.Random | None = None,
    ) -> None:
        self._caller = caller
        self._clock = caller.clock
        self._overtaken = Overtaken(caller.clock)
        self._heads = Heads(caller, self._overtaken)
        rows: dict[str, list[Resource]] = {}
        for row in resources:
            kind, _, chain = row.chain.partition(".")
            if kind == Kind.RPC and row.state is not State.DEAD and not caller.lacks_key(row):
                rows.setdefault(chain, []).append(row)
        self._balancers = {
            chain: RPCLoadBalancer(chain, nodes, clock=caller.clock, chance=chance)
            for chain, nodes in rows.items()
        }

    async def aclose(self) -> None:
        """Ends the calls that still go on."""
        await self._overtaken.aclose()

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def chains(self) -> list[str]:
        return list(self._balancers)

    def balancer(self, chain: str) -> RPCLoadBalancer:
        """Raises InvalidQuestion for a chain without nodes."""
        found = self._balancers.get(chain)
        if found is None:
            known = ", ".join(self._balancers)
            raise InvalidQuestion(f"chain {chain[:80]!r} has no nodes here; there are {known}")
        return found

    async def read(
        self, chain: str, method: str, params: Sequence[Any], *, within_s: float
    ) -> RpcAnswer:
        """The answer of the first node that gives one; a call that was reverted is answered, too.
        Where only nodes answer that lag, it says since when it is stale.

        Raises NoAnswer, and ProviderError (CALLER_FAULT) where the call itself is wrong."""
        answer, node = await self._asked(chain, method, params, _as_it_is, within_s)
        if not self.balancer(chain).is_behind(node.resource.id):
            return answer
        late_ms = round(node.behind * facts_of(chain).block_s * 1000)
        return replace(answer, stale_since_ms=answer.fetched_at_ms - late_ms)

    async def parsed(
        self,
        chain: str,
        method: str,
        params: Sequence[Any],
        parse: Callable[[RpcAnswer], T],
        *,
        within_s: float,
    ) -> T:
        """What `parse` makes of the first answer that it can read, to a call of ours; one that it
        cannot (BadValue), or that blames the call, is the node's fault. Raises NoAnswer."""
        return (await self._asked(chain, method, params, parse, within_s, ours=True))[0]

    async def _asked(
        self,
        chain: str,
        method: str,
        params: Sequence[Any],
        parse: Callable[[RpcAnswer], T],
        within_s: float,
        *,
        ours: bool = False,
    ) -> tuple[T, Node]:
        call = asked_by_us if ours else asked

        async def ask(node: Node, left_s: float) -> T:
            try:
                return parse(await call(self._caller, node, method, params, left_s))
            except BadValue as error:
                raise ProviderError(
                    ErrorClass.BAD_PAYLOAD, f"{node.resource.id}: {method}: {error}"
                ) from None
            except ProviderError as error:
                if error.error_class is ErrorClass.UNKNOWN:
                    node.lacks[method] = self._clock.monotonic_s() + _LACKING_S
                raise

        told = f"{method} of {chain}"
        return await self.first(chain, ask, told, within_s=within_s, method=method)

    async def first(
        self,
        chain: str,
        ask: Callable[[Node, float], Awaitable[T]],
        told: str,
        *,
        within_s: float,
        method: str | None = None,
    ) -> tuple[T, Node]:
        """What the first node answers that does, and which. `ask`: of a node, within seconds; those
        that lacked the `method` are asked last. Raises NoAnswer for the question `told`, and
        ProviderError (CALLER_FAULT)."""
        balancer = self.balancer(chain)
        tried: dict[str, Tried] = {}
        try:
            async with asyncio.timeout(within_s):
                members, one, waits = await self._turn(balancer, ask, within_s, method)
                keep = self._overtaken.keep(balancer)

                def left(node_id: str, task: "asyncio.Task[Any]") -> None:
                    tried[node_id] = _slow(balancer.node(node_id), within_s)
                    keep(node_id, task)

                async with aclosing(in_turn(members, one, waits=waits, left=left)) as ends:
                    async for node_id, ended in ends:
                        node = balancer.node(node_id)
                        if not isinstance(ended, ProviderError | Skipped):
                            balancer.told(node_id, True)
                            return ended, node
                        tried[node_id] = self._judged(balancer, node, ended)
        except TimeoutError:
            pass
        raise NoAnswer(told, tuple(tried.values()))

    async def agreed(
        self,
        chain: str,
        ask: Callable[[Node, float], Awaitable[T]],
        value: Callable[[T], object],
        told: str,
        *,
        within_s: float,
    ) -> T:
        """What two nodes answer whose `value` is the same; where two differ, further ones decide.
        Where only one answers at all, its answer. Raises NoAnswer, and ProviderError
        (BAD_PAYLOAD) where no two agree."""
        balancer = self.balancer(chain)
        tried: list[Tried] = []
        votes: dict[object, list[tuple[str, T]]] = {}
        try:
            async with asyncio.timeout(within_s) as limit:
                members, one, waits = await self._turn(balancer, ask, within_s)
                left = self._overtaken.keep(balancer)
                asking = in_turn(members, one, at_once=2, waits=waits, left=left)
                async with aclosing(asking) as ends:
                    async for node_id, ended in ends:
                        if isinstance(ended, ProviderError | Skipped):
                            tried.append(self._judged(balancer, balancer.node(node_id), ended))
                            continue
                        alike = votes.setdefault(value(ended), [])
                        alike.append((node_id, ended))
                        end_sooner(limit, _SECOND_SHARE * within_s)
                        if len(alike) == 2:
                            _told_of_votes(balancer, votes, alike)
                            return alike[0][1]
        except TimeoutError:
            pass
        if len(votes) == 1:
            ((_, only),) = next(iter(votes.values()))
            return only
        if votes:
            raise ProviderError(ErrorClass.BAD_PAYLOAD, f"{told}: its nodes do not agree")
        raise NoAnswer(told, tuple(tried))

    async def each_of(
        self,
        chain: str,
        node_ids: Iterable[str],
        method: str,
        params: Sequence[Any],
        *,
        within_s: float,
    ) -> list[RpcAnswer]:
        """What each of these nodes answers; those that do not in time are left out."""
        balancer = self.balancer(chain)

        async def ask(node_id: str) -> RpcAnswer | None:
            node = balancer.node(node_id)
            try:
                async with asyncio.timeout(within_s):
                    return await asked(self._caller, node, method, params, within_s)
            except (ProviderError, Skipped) as error:
                judged(balancer, node, error, self._clock)
            except TimeoutError:
                pass
            return None

        told = await each(node_ids, ask)
        return [answer for answer in told if answer is not None]

    async def head(self, chain: str, *, within_s: float, seen_s: float = HEADS_FRESH_S) -> int:
        """The last block that all nodes have that are asked, as seen `seen_s` ago at most. Raises
        NoAnswer."""
        balancer = self.balancer(chain)
        await self._heads.compare(balancer, within_s=within_s, seen_s=seen_s)
        heads = balancer.heads(seen_s)
        if not heads:
            raise NoAnswer(f"the head of {chain}", ())
        return min(heads.values())

    async def settled_block(self, chain: str, *, within_s: float) -> int:
        """The last block that stands, whatever is reorganised. Raises NoAnswer."""
        head = await self.head(chain, within_s=within_s)
        return max(0, head - facts_of(chain).confirmations)

    async def _turn(
        self,
        balancer: RPCLoadBalancer,
        ask: Callable[[Node, float], Awaitable[T]],
        within_s: float,
        method: str | None = None,
    ) -> tuple[Line, Callable[[str], Awaitable[T]], Iterator[float]]:
        """Whom to ask in which order, how, and how long each is waited for. A node whose head was
        not compared is asked for it first; one that lags comes after all others, and one that lags
        far is not asked."""
        deadline_s = self._clock.monotonic_s() + within_s
        await self._heads.compare(balancer, within_s=within_s / 3)
        now_s = self._clock.monotonic_s()
        order = balancer.order()
        order.sort(key=lambda node: node.lacks.get(method or "", 0.0) > now_s)
        line = Line(node.resource.id for node in order)
        last = {node.resource.id for node in order if not balancer.keeps_up(node)}

        async def one(node_id: str) -> T:
            node = balancer.node(node_id)
            left_s = max(0.05, deadline_s - self._clock.monotonic_s())
            await self._heads.verify(balancer, node, left_s)
            await self._heads.place(balancer, node, left_s)
            if not balancer.keeps_up(node) and node_id not in last:
                if 0 < node.behind <= STALE_BLOCKS:
                    last.add(node_id)
                    line.last(node_id)
                raise ProviderError(
                    ErrorClass.BAD_PAYLOAD, f"{node_id} is {node.behind} blocks behind the others"
                )
            left_s = max(0.05, deadline_s - self._clock.monotonic_s())
            return await ask(node, left_s)

        left_s = max(0.0, deadline_s - now_s)
        return line, one, waits_within(left_s, len(order))

    def _judged(
        self, balancer: RPCLoadBalancer, node: Node, error: ProviderError | Skipped
    ) -> Tried:
        """Raises what is the caller's own fault."""
        told = judged(balancer, node, error, self._clock)
        if told.error_class is ErrorClass.CALLER_FAULT:
            raise error
        return told


def _slow(node: Node, within_s: float) -> Tried:
    told = f"it has not answered in {within_s:.1f} s"
    level = node.resource.level.name.lower()
    return Tried(node.resource.id, level, ErrorClass.TRANSIENT, None, told, 1)


def _as_it_is(answer: RpcAnswer) -> RpcAnswer:
    return answer


def _told_of_votes(
    balancer: RPCLoadBalancer,
    votes: dict[object, list[tuple[str, T]]],
    alike: list[tuple[str, T]],
) -> None:
    for others in votes.values():
        for node_id, _ in others:
            balancer.told(node_id, others is alike)
            if others is not alike:
                log.warning("node_outvoted", node=node_id, chain=balancer.chain)
