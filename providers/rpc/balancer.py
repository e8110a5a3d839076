"""The balancer of one chain's nodes: who is asked next, by level, health and how far each is.

It asks nobody. Scores are of this process; whether a node may be asked at all is decided by the
gate, in the hot store, for all processes.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from providers.choice import weighted
from providers.resources import Resource, State
from providers.rpc.facts import STALE_BLOCKS, facts_of
from timing.clock import Clock, SystemClock

BEST_SCORE: Final = 100.0
_FOR_SUCCESS: Final = 5.0
_FOR_FAILURE: Final = 20.0
_HALF_LIFE_S: Final = 300.0  # in which half of what was lost is forgiven
HEADS_FRESH_S: Final = 30.0  # for so long what was seen of the heads holds


@dataclass(slots=True)
class Node:
    """`head`: how far it was when nodes were last compared, None if it never was; `behind`: how
    many blocks behind the others then; `late`: its newest block was old by the clock. `verified`:
    it has said that it is of this chain; `stranger`: of which other one. `lacks`: until when a
    method, that it did not have, is asked of others first. `switched`: on or off by an operator,
    None where it is as its row says."""

    resource: Resource
    score: float = BEST_SCORE
    scored_at_s: float = 0.0
    barred_until_s: float = 0.0
    excluded_until_s: float = 0.0
    head: int | None = None
    behind: int = 0
    late: bool = False
    seen_at_s: float = 0.0
    verified: bool = False
    stranger: int | None = None
    lacks: dict[str, float] = field(default_factory=dict)
    switched: bool | None = None

    @property
    def may_be_asked(self) -> bool:
        """As its row says, or as it was switched for all processes."""
        alive = self.resource.state is State.ALIVE
        return alive if self.switched is None else self.switched


class RPCLoadBalancer:
    """Of the nodes of `chain`, such as ethereum. Reads are spread by chance over those of the best
    level whose health is within ten points of the best."""

    def __init__(
        self,
        chain: str,
        nodes: Sequence[Resource],
        *,
        clock: Clock | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.chain = chain
        self.most_behind = facts_of(chain).most_behind
        self._clock: Clock = clock or SystemClock()
        self._chance = chance or random.Random()  # noqa: S311 - it spreads load, and keeps no secret
        self._nodes = {each.id: Node(each) for each in nodes}

    @property
    def nodes(self) -> list[str]:
        """The ids of all nodes, in the registry's order."""
        return list(self._nodes)

    @property
    def health_scores(self) -> dict[str, int]:
        """From 0 to 100. A success gives 5 and a failure takes 20; half of what a node has lost
        comes back in five minutes, so that it is tried again."""
        now_s = self._clock.monotonic_s()
        return {id_: round(self._score(node, now_s)) for id_, node in self._nodes.items()}

    async def get_next_node(self) -> str:
        """The id of the node to ask. Raises LookupError if the chain has none."""
        order = self.order()
        if not order:
            raise LookupError(f"chain {self.chain} has no nodes")
        return order[0].resource.id

    async def update_health(self, node: str, success: bool) -> None:
        """Tells how a call of a node ended. Raises KeyError for one that the chain does not
        have."""
        self.told(node, success)

    def told(self, node_id: str, success: bool) -> None:
        node = self._nodes[node_id]
        now_s = self._clock.monotonic_s()
        change = _FOR_SUCCESS if success else -_FOR_FAILURE
        node.score = min(BEST_SCORE, max(0.0, self._score(node, now_s) + change))
        node.scored_at_s = now_s

    def bar(self, node_id: str, for_s: float) -> None:
        """Leaves a node to the end of the order for so long."""
        node = self._nodes[node_id]
        node.barred_until_s = max(node.barred_until_s, self._clock.monotonic_s() + for_s)

    def exclude(self, node_id: str, for_s: float) -> None:
        """Leaves a node out of the order for so long."""
        self._nodes[node_id].excluded_until_s = self._clock.monotonic_s() + for_s

    def node(self, node_id: str) -> Node:
        return self._nodes[node_id]

    def compared(self, heads: Mapping[str, int], late: Collection[str] = ()) -> None:
        """Tells how far nodes are that were asked at the same time. `late`: those whose newest
        block is old by the clock. The middle one of the others counts (of two, the further), so
        that a single one that lies changes nothing among three; and no chain goes back to before
        what other nodes had told a moment ago."""
        if not heads:
            return
        trusted = [head for id_, head in heads.items() if id_ not in late] or list(heads.values())
        known = {id_: head for id_, head in self.heads().items() if id_ not in heads}
        before = list(known.values())
        some_in_time = len(late) < len(heads) or not all(self._nodes[id_].late for id_ in known)
        middle = max(map(_middle, (each for each in (trusted, before) if each)))
        now_s = self._clock.monotonic_s()
        for id_, head in heads.items():
            node = self._nodes[id_]
            node.head, node.behind, node.seen_at_s = head, middle - head, now_s
            node.late = id_ in late
            if node.late and some_in_time:
                node.behind = max(node.behind, self.most_behind)

    def heads(self, seen_s: float = HEADS_FRESH_S) -> dict[str, int]:
        """The heads of the nodes that keep up, as they were compared so short a time ago; of those
        that are out by now, too."""
        now_s = self._clock.monotonic_s()
        return {
            node.resource.id: node.head
            for node in self._asked(now_s)
            if node.head is not None
            and now_s - node.seen_at_s <= seen_s
            and abs(node.behind) < self.most_behind
        }

    def is_placed(self, node: Node) -> bool:
        """Whether it was compared with others lately."""
        return self._is_fresh(node, self._clock.monotonic_s())

    def keeps_up(self, node: Node) -> bool:
        """Whether it is neither behind nor far ahead of the others, as far as is known."""
        return self._keeps_up(node, self._clock.monotonic_s())

    def is_behind(self, node_id: str) -> bool:
        """Whether what it tells is old, as far as is known."""
        node = self._nodes[node_id]
        return self._is_fresh(node, self._clock.monotonic_s()) and node.behind >= self.most_behind

    def order(self) -> list[Node]:
        """All nodes in the order of asking: those that keep up by level, then those some blocks
        behind, and those that are out last, the first to come back before the others."""
        now_s = self._clock.monotonic_s()
        out = [node for node in self._asked(now_s) if node.barred_until_s > now_s]
        return [*self.order_of_fit(), *sorted(out, key=lambda node: node.barred_until_s)]

    def order_of_fit(self) -> list[Node]:
        """Those of the order that are not out. Whose head was compared lately comes before others
        of its level: how far these are, nobody knows."""
        now_s = self._clock.monotonic_s()
        fit = [node for node in self._asked(now_s) if node.barred_until_s <= now_s]
        good = [node for node in fit if self._keeps_up(node, now_s)]
        late = [node for node in fit if node not in good and 0 < node.behind <= STALE_BLOCKS]
        return [*self._by_level(good, now_s), *sorted(late, key=lambda node: node.behind)]

    def _asked(self, now_s: float) -> list[Node]:
        return [
            node
            for node in self._nodes.values()
            if node.may_be_asked and node.excluded_until_s <= now_s
        ]

    def _by_level(self, nodes: list[Node], now_s: float) -> list[Node]:
        order: list[Node] = []
        for level in sorted({node.resource.level for node in nodes}):
            left = [node for node in nodes if node.resource.level == level]
            while left:
                known = [node for node in left if self._is_fresh(node, now_s)]
                scored = [(node, self._score(node, now_s)) for node in known or left]
                chosen = weighted(scored, self._chance)
                left.remove(chosen)
                order.append(chosen)
        return order

    def _keeps_up(self, node: Node, now_s: float) -> bool:
        """A node far ahead of the others tells of blocks that do not exist."""
        return not self._is_fresh(node, now_s) or abs(node.behind) < self.most_behind

    def _is_fresh(self, node: Node, now_s: float) -> bool:
        return node.head is not None and now_s - node.seen_at_s <= HEADS_FRESH_S

    def _score(self, node: Node, now_s: float) -> float:
        forgiven: float = 0.5 ** (max(0.0, now_s - node.scored_at_s) / _HALF_LIFE_S)
        return BEST_SCORE - (BEST_SCORE - node.score) * forgiven


def _middle(heads: Sequence[int]) -> int:
    return sorted(heads)[len(heads) // 2]
