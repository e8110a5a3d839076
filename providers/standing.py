"""How each chain of providers stands: who is asked first, who is out, how often others answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from market.timeframes import MINUTE_MS
from providers.account import questions_key
from providers.breaker import BreakerState
from providers.client import Client
from providers.members import Member
from providers.registry import Registry
from providers.resources import Resource, State
from providers.usage import DEAD_AT, DEAD_SINCE
from stores.hot.read import Read
from stores.hot.replies import list_of, named_texts
from timing.clock import now_ms

# questions(hashes...): returns the fields of each.
_QUESTIONS: Final = """
local found = {}
for i, key in ipairs(KEYS) do
  local fields = redis.pcall('HGETALL', key)
  found[i] = fields.err and {} or fields
end
return found
"""
_LONGEST_COUNT: Final = 15  # digits
# A chain that nobody has asked since its last question failed is not told as dead for ever: its
# members may have recovered, and probes find that out.
_DEAD_FOR_MS: Final = 15 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class ChainMember:
    """A member that may be asked, were it not for what is known of it: `out` says why it is not
    asked now (open, half_open, or the class for which it is out), None if it is."""

    resource: str
    level: str
    score: int
    out: str | None
    until_ms: int
    last_error: str


@dataclass(frozen=True, slots=True)
class ChainStanding:
    """A chain: `members` by the order in which they are asked; `off` are switched off, `no_key`
    lack a key. Counts of questions since they began to be counted."""

    chain: str
    members: tuple[ChainMember, ...]
    off: int
    no_key: int
    asked: int = 0
    fallbacks: int = 0
    unanswered: int = 0
    dead_since_ms: int | None = None

    @property
    def serves(self) -> str | None:
        """Who is asked first; None while nobody can be."""
        return next((each.resource for each in self.members if each.out is None), None)

    @property
    def is_dead(self) -> bool:
        """Whether nobody answered the last question, in the last quarter of an hour, or all members
        that could be asked are out."""
        if self.dead_since_ms is not None:
            return True
        return bool(self.members) and all(each.out is not None for each in self.members)


class Standings:
    """Reads how all chains stand; one per process."""

    def __init__(self, registry: Registry, client: Client) -> None:
        self._client = client
        self._chains = registry.chains()
        self._resources = [each for chain in self._chains for each in registry.chain(chain)]
        self._accounts = [client.account(each) for each in self._resources]

    def read_of_members(self) -> Read[list[Member]]:
        return self._client.gate.read_of_look(self._accounts)

    def read_of_questions(self) -> Read[dict[str, dict[str, int]]]:
        """The counts of questions by chain."""
        keys = [questions_key(chain) for chain in self._chains]
        shape = list_of(named_texts, len(keys))
        return Read("questions", _QUESTIONS, keys, (), shape, partial(_counts, self._chains))

    def standings(
        self, members: Sequence[Member], questions: "dict[str, dict[str, int]]"
    ) -> list[ChainStanding]:
        """How each chain stands by what the two reads told."""
        of_chain: dict[str, list[tuple[Resource, Member]]] = {each: [] for each in self._chains}
        for resource, member in zip(self._resources, members, strict=True):
            of_chain[resource.chain].append((resource, member))
        return [
            self._standing(chain, found, questions.get(chain, {}))
            for chain, found in of_chain.items()
        ]

    def _standing(
        self, chain: str, found: Sequence[tuple[Resource, Member]], counts: "dict[str, int]"
    ) -> ChainStanding:
        off = no_key = 0
        members: list[tuple[int, ChainMember]] = []
        for resource, member in found:
            if member.switched is False or (
                member.switched is None and resource.state is State.OFF
            ):
                off += 1
            elif self._client.lacks_key(resource):
                no_key += 1
            else:
                members.append((resource.level, _member(resource, member)))
        members.sort(key=lambda pair: (pair[0], -pair[1].score))
        return ChainStanding(
            chain,
            tuple(member for _, member in members),
            off,
            no_key,
            counts.get("asked", 0),
            counts.get("fallbacks", 0),
            counts.get("unanswered", 0),
            counts.get(DEAD_SINCE) if now_ms() - counts.get(DEAD_AT, 0) < _DEAD_FOR_MS else None,
        )


def _member(resource: Resource, member: Member) -> ChainMember:
    out, until_ms = None, 0
    if member.out_until_ms:
        out, until_ms = member.out_class or "out", member.out_until_ms
    elif member.state is not BreakerState.CLOSED:
        out, until_ms = str(member.state), member.open_until_ms
    return ChainMember(
        resource.id, resource.level.name.lower(), member.score, out, until_ms, member.last_error
    )


def _counts(chains: Sequence[str], reply: Sequence[Sequence[bytes]]) -> dict[str, dict[str, int]]:
    return {
        chain: {
            name.decode(errors="replace"): int(count)
            for name, count in zip(flat[::2], flat[1::2], strict=True)
            if count.isdigit() and len(count) <= _LONGEST_COUNT
        }
        for chain, flat in zip(chains, reply, strict=True)
    }
