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

    Each goes to the host that then holds the fewest of those that may run it; hosts that have seen
    the same agree. The fuller host asks later, once the worker has been free for more than
    `patience` of its looks (`waited`: by name), because the emptier one may be unable to take it.
    """
    counts = {host_id: host.held for host_id, host in hosts.items()}
    found = []
    for name in sorted(free):
        able = [host_id for host_id, host in hosts.items() if name in host.may]
        if me not in able:
            continue
        taker = min(able, key=lambda host_id: (counts[host_id], _order(host_id, name)))
        if taker != me and waited.get(name, 0) > patience:
            taker = me
        if taker == me:
            found.append(name)
        counts[taker] += 1
    return found


def to_give(me: str, hosts: Mapping[str, Host], held: Sequence[str]) -> str | None:
    """The worker that the host `me` gives up because another host holds at least two fewer and may
    run it; None if all is fair."""
    mine = hosts[me].held
    for name in sorted(held, key=lambda name: _order(me, name)):
        others = [host for host_id, host in hosts.items() if host_id != me and name in host.may]
        if others and min(host.held for host in others) <= mine - 2:
            return name
    return None


def _order(host_id: str, name: str) -> bytes:
    return hashlib.blake2b(f"{host_id} {name}".encode(), digest_size=8).digest()
