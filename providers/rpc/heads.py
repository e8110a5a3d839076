"""Heads: how far the nodes of a chain are, asked of several at once, and that they are of it."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import aclosing
from itertools import chain as chained
from itertools import repeat
from typing import Final

import structlog

from providers.errors import ErrorClass, ProviderError
from providers.gate import Skipped
from providers.networks import Family, networks
from providers.rpc.balancer import HEADS_FRESH_S, Node, RPCLoadBalancer
from providers.rpc.calling import Caller, asked_by_us, head_of, number_of
from providers.rpc.facts import HeadCall, facts_of, head_call
from providers.rpc.racing import end_sooner, in_turn
from providers.rpc.verdicts import LONGEST_BARRED_S, Overtaken
from stores.hot.store import StoreUnavailable

_COMPARED: Final = 3  # nodes, where that many answer
_COMPARING_S: Final = 1.5
_SHARE: Final = 0.25  # of the time, where there is much: nodes may be slow
_PATIENCE: Final = (0.3, 0.06)  # of that time, before a fourth node is asked, and each further one
_AGAIN_S: Final = 5.0  # after which it is tried again to find a second one
_SILENT_S: Final = 5.0  # for so long who has not answered is asked last
_GRACE_S: Final = 0.25  # for the third, once two are known to be close
_OTHER_CHAIN_S: Final = 60.0  # until a node of another chain is asked again of which it is

_Head = tuple[int, int | None]  # how far a node is, and when its newest block was made (UTC ms)

log = structlog.get_logger(__name__)


class Heads:
    """One per process; it tells the balancers what it has found."""

    def __init__(self, caller: Caller, overtaken: Overtaken) -> None:
        self._caller = caller
        self._overtaken = overtaken
        self._comparing: dict[str, asyncio.Lock] = {}
        self._asking: dict[str, asyncio.Task[_Head]] = {}  # nodes that are asked now, by id

    async def compare(
        self, balancer: RPCLoadBalancer, *, within_s: float, seen_s: float = HEADS_FRESH_S
    ) -> None:
        """Asks the best nodes how far they are, unless that is known from `seen_s` ago. Who does
        not answer in time stays as it was."""
        call = head_call(balancer.chain)
        if call is None:
            return
        async with self._comparing.setdefault(balancer.chain, asyncio.Lock()):
            if self._are_known(balancer, seen_s):
                return
            await self._look(balancer)
            order = [node.resource.id for node in balancer.order_of_fit()]
            limit_s = min(max(_COMPARING_S, _SHARE * within_s), within_s)
            await self._ask(balancer, call, order, limit_s)

    async def place(self, balancer: RPCLoadBalancer, node: Node, within_s: float) -> None:
        """Asks a node how far it is, and some others of which that is not known either, unless it
        was compared lately: what it tells may be old. A node that lives does not wait here for
        those before it in line, which may hang. Raises ProviderError if it does not say."""
        call = head_call(balancer.chain)
        if call is None or balancer.is_placed(node):
            return
        id_ = node.resource.id
        fit = balancer.order_of_fit()
        others = [e.resource.id for e in fit if e is not node and not balancer.is_placed(e)]
        limit_s = min(_COMPARING_S, within_s / 2)
        failed = await self._ask(balancer, call, [id_, *others][:_COMPARED], limit_s)
        if not balancer.is_placed(node):
            raise failed.get(id_) or ProviderError(
                ErrorClass.TRANSIENT, f"{id_}: it has not told how far it is in {limit_s:.1f} s"
            )

    async def _ask(
        self, balancer: RPCLoadBalancer, call: HeadCall, order: Sequence[str], limit_s: float
    ) -> dict[str, ProviderError | Skipped]:
        """Compares the heads of the first nodes of the order that tell them; why others did not."""
        deadline_s = self._caller.clock.monotonic_s() + limit_s
        heads: dict[str, int] = {}
        late: set[str] = set()
        known = {id_: head for id_, head in balancer.heads().items() if id_ not in order}
        silent: set[str] = set()
        failed: dict[str, ProviderError | Skipped] = {}

        async def ask(node_id: str) -> _Head:
            silent.add(node_id)
            left_s = deadline_s - self._caller.clock.monotonic_s()
            asking = self._head_of(balancer, balancer.node(node_id), call, left_s)
            return await asyncio.shield(asking)

        try:
            async with asyncio.timeout(limit_s) as limit:
                asking = in_turn(
                    order,
                    ask,
                    at_once=_COMPARED,
                    waits=chained((_PATIENCE[0] * limit_s,), repeat(_PATIENCE[1] * limit_s)),
                )
                async with aclosing(asking) as ends:
                    async for node_id, ended in ends:
                        silent.discard(node_id)
                        if isinstance(ended, ProviderError | Skipped):
                            failed[node_id] = ended
                            continue
                        heads[node_id] = ended[0]
                        if self._is_late(balancer.chain, ended[1]):
                            late.add(node_id)
                        if len(heads) - len(late) == _COMPARED:
                            break
                        in_time = [heads[id_] for id_ in heads if id_ not in late]
                        if _is_enough(in_time, [*known.values()], balancer):
                            end_sooner(limit, _GRACE_S)
        except TimeoutError:
            if len(heads) - len(late) < 2:
                for node_id in silent:
                    balancer.bar(node_id, _SILENT_S)
        balancer.compared(heads, late)
        return failed

    def _head_of(
        self, balancer: RPCLoadBalancer, node: Node, call: HeadCall, within_s: float
    ) -> "asyncio.Task[_Head]":
        """How far a node is: one call at a time, for all who want to know. It may end after those
        who wait for it; how it ends is told to the balancer."""
        id_ = node.resource.id
        asking = self._asking.get(id_)
        if asking is None:
            head = self._head(balancer, node, call, max(_COMPARING_S, within_s))
            asking = self._asking[id_] = asyncio.create_task(head)
            asking.add_done_callback(lambda done: self._asking.pop(id_))
            self._overtaken.keep(balancer)(id_, asking)
        return asking

    async def _head(
        self, balancer: RPCLoadBalancer, node: Node, call: HeadCall, within_s: float
    ) -> _Head:
        deadline_s = self._caller.clock.monotonic_s() + within_s
        await self.verify(balancer, node, within_s)
        left_s = max(0.05, deadline_s - self._caller.clock.monotonic_s())
        answer = await asked_by_us(self._caller, node, call.method, call.params, left_s)
        return head_of(answer, node)

    def _are_known(self, balancer: RPCLoadBalancer, seen_s: float) -> bool:
        """Whether two heads are, or one whose like was looked for a moment ago."""
        known = len(balancer.heads(seen_s))
        if known == 1 and len(balancer.heads(min(seen_s, _AGAIN_S))) == 1:
            return True
        return known >= min(2, len(balancer.nodes))

    async def verify(self, balancer: RPCLoadBalancer, node: Node, within_s: float) -> None:
        """Asks a node once of which chain it is. Raises ProviderError for one of another, which is
        left out for a while."""
        network = networks().get(balancer.chain)
        if node.verified or network is None or network.family is not Family.EVM:
            return
        told = number_of(await asked_by_us(self._caller, node, "eth_chainId", (), within_s), node)
        if told != network.chain_id:
            balancer.exclude(node.resource.id, _OTHER_CHAIN_S)
            if told != node.stranger:
                log.warning("node_of_another_chain", node=node.resource.id, chain_id=told)
            node.stranger = told
            raise ProviderError(
                ErrorClass.BAD_PAYLOAD,
                f"{node.resource.id} is a node of chain {told}, not of {balancer.chain}",
            )
        node.verified = True

    def _is_late(self, chain: str, made_ms: int | None) -> bool:
        """Whether the newest block is older than a node has that keeps up, or not yet made."""
        if made_ms is None:
            return False
        age_s = (self._caller.clock.wall_ms() - made_ms) / 1000
        return abs(age_s) > facts_of(chain).oldest_s

    async def _look(self, balancer: RPCLoadBalancer) -> None:
        """Takes over who is out and who is turned off, for all processes."""
        nodes = [balancer.node(id_) for id_ in balancer.nodes]
        try:
            members = await self._caller.look([node.resource for node in nodes])
        except StoreUnavailable:
            return  # each call finds out by itself
        now_ms = self._caller.clock.wall_ms()
        for node, member in zip(nodes, members, strict=True):
            node.switched = member.switched
            out_until_ms = max(member.out_until_ms, member.open_until_ms)
            if out_until_ms > now_ms:
                left_s = (out_until_ms - now_ms) / 1000
                balancer.bar(node.resource.id, min(left_s, LONGEST_BARRED_S))


def _is_enough(heads: Sequence[int], known: Sequence[int], balancer: RPCLoadBalancer) -> bool:
    """Whether two tell about the same, or one tells no less than others have a moment ago."""
    if len(heads) == 1 and known:
        return heads[0] > max(known) - balancer.most_behind
    return len(heads) == 2 and _are_close(heads, balancer)


def _are_close(heads: Collection[int], balancer: RPCLoadBalancer) -> bool:
    return max(heads) - min(heads) < balancer.most_behind
