"""Which free WebSocket workers a host takes, and which it gives to an emptier one: pure rules."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Host:
    """A process that may hold WebSocket workers: how many it holds, and the names that it may."""

    held: int
    may: frozenset[str]


def to_take(
    me: str,
    hosts: Mapping[str, Host],
    free: Collection[str],
    waited: Mapping[str, int],
    patience: int,
) -> list[str]:
    """The free workers that the host `me` asks for now.

    It takes one at once unless it then held more than its share of what the hosts that may run that
    one hold and could take; the fuller host asks later, once the worker has been free for more than
    `patience` of its looks (`waited`: by name), because the emptier host may be unable to. Hosts
    ask in orders of their own, so that they seldom ask for the same.
    """
    mine = hosts[me]
    held = mine.held
    found = []
    for name in sorted(free, key=lambda name: _own_order(me, name)):
        if name not in mine.may:
            continue
        if held < _share(name, hosts, free) or waited.get(name, 0) > patience:
            found.append(name)
            held += 1
    return found


def to_give(
    me: str, hosts: Mapping[str, Host], held: Sequence[str], free: Collection[str]
) -> str | None:
    """The worker that the host `me` gives up because another host holds at least two fewer and may
    run it; None if all is fair, or something is free already."""
    if free:
        return None
    mine = hosts[me].held
    for name in sorted(held, key=lambda name: _own_order(me, name)):
        others = [host for host_id, host in hosts.items() if host_id != me and name in host.may]
        if others and min(host.held for host in others) <= mine - 2:
            return name
    return None


def _share(name: str, hosts: Mapping[str, Host], free: Collection[str]) -> int:
    """How many workers each host that may run this one would hold, evenly and rounded up."""
    able = [host for host in hosts.values() if name in host.may]
    could = frozenset[str]().union(*(host.may for host in able)).intersection(free)
    return -(-(sum(host.held for host in able) + len(could)) // len(able))


def _own_order(me: str, name: str) -> bytes:
    return hashlib.blake2b(f"{me} {name}".encode(), digest_size=8).digest()
