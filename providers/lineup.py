"""The lineup of a chain: who may be asked now, in which order, and who may not, with why."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from logging_setup import OutageLog
from providers.breaker import BreakerState
from providers.choice import Choice
from providers.client import Client
from providers.errors import Tried
from providers.gate import How
from providers.members import Member
from providers.resources import Resource, Rows, State
from stores.hot.store import StoreUnavailable

log = structlog.get_logger(__name__)


Members = tuple[tuple[Resource, Member], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A member in line. `how`: `forced` for one that is out, while nobody else is left.
    `trusts_memory`: it is not asked for what it lacked a while ago."""

    resource: Resource
    member: Member
    how: How = ""
    trusts_memory: bool = True


@dataclass(frozen=True, slots=True)
class Lineup:
    """`members`: all that are not dead. `last_resort`: who is asked when nobody of `line` is left:
    those that are half open, and the one whose breaker opened first."""

    members: Members
    line: tuple[Place, ...]
    last_resort: tuple[Place, ...]
    skipped: tuple[Tried, ...]


class Lineups:
    """One per process, for it keeps who is asked first."""

    def __init__(self, registry: Rows, client: Client) -> None:
        self._registry = registry
        self._client = client
        self._choice = Choice()
        self._outage = OutageLog(log, "providers_not_shared", "providers_shared_again")

    async def look(self, chain: str) -> Lineup:
        """The chain's members as the hot store knows them; without it, as if none had failed.
        Raises KeyError for an unknown chain."""
        members, _ = await self.look_and_read(chain, (), ())
        return self.lined_up(members)

    async def look_and_read(
        self, chain: str, subjects: Sequence[str], texts: Sequence[str], *, metric: str = ""
    ) -> tuple[Members, Sequence[bytes | None]]:
        """The chain's members as in `look`, and in the same command what the hot store has under
        these keys. `subjects`: by Question.name_of; `metric`: only those that tell it."""
        resources = [
            each
            for each in self._registry.chain(chain)
            if each.state is not State.DEAD and metric in ("", each.read.get("metric"))
        ]
        accounts = [self._client.account(each) for each in resources]
        try:
            found, told = await self._client.gate.look_and_read(accounts, subjects, texts)
        except StoreUnavailable as error:
            self._outage.failed(error)
            found, told = [Member.unseen() for _ in resources], [None for _ in texts]
        else:
            self._outage.recovered()
        return tuple(zip(resources, found, strict=True)), told

    def lined_up(self, members: Members) -> Lineup:
        """Who is asked in which order."""
        able: list[tuple[Resource, Member]] = []
        halves: list[Place] = []
        tripped: list[Place] = []
        skipped: list[Tried] = []
        for resource, member in members:
            reason = self._why_not(resource, member)
            if reason is None and member.state is BreakerState.CLOSED:
                able.append((resource, member))
                continue
            if reason is None:
                reason = ("out", f"its breaker is {member.state}")
                if member.state is BreakerState.HALF_OPEN:
                    halves.append(Place(resource, member))
                else:
                    tripped.append(Place(resource, member, "forced"))
            skipped.append(Tried(resource.id, resource.level.name, None, *reason))
        tripped.sort(key=lambda each: each.member.opened_at_ms)
        ordered = self._choice.ordered(able, self._client.clock.monotonic_s())
        return Lineup(
            members=members,
            line=tuple(Place(*each) for each in ordered),
            last_resort=(*halves, *tripped[:1]),
            skipped=tuple(skipped),
        )

    def _why_not(self, resource: Resource, member: Member) -> tuple[str, str] | None:
        """Why a member is not asked, whatever its breaker says: in one word, and in words."""
        on = member.switched
        if on is False or (on is None and resource.state is State.OFF):
            return "off", resource.reason or "it is switched off"
        if resource.key is not None and self._client.lacks_key(resource):
            return "no_key", f"{resource.key.variable} is not set"
        if member.out_until_ms:
            return "out", f"it is out: {member.out_class}"
        return None
