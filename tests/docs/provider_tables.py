"""The tables of docs/providers.md that the registry makes: chains with their order, and keys."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

from providers.registry import FOLDER, Registry, build
from providers.resources import Resource, State

_SHOWN_NODES = 3


def chain_rows() -> str:
    """Each chain with its members, in the order in which they are asked."""
    registry = _registry()
    lines = ["| chain | members | without a key | order |", "|---|---|---|---|"]
    for chain in registry.chains():
        members = [each for each in registry.chain(chain) if each.state is State.ALIVE]
        keyless = sum(not each.needs_key for each in members)
        lines.append(f"| `{chain}` | {len(members)} | {keyless} | {_order(chain, members)} |")
    return "\n".join(lines)


def key_rows() -> str:
    """Each variable of a key, and what it opens."""
    opened: dict[str, dict[str, list[Resource]]] = defaultdict(lambda: defaultdict(list))
    for each in _registry().resources:
        if each.key is not None and each.state is not State.DEAD:
            opened[each.provider.id][each.key.variable].append(each)
    lines = ["| variable | provider | opens |", "|---|---|---|"]
    for variables in opened.values():
        names = list(variables)
        resources = [each for some in variables.values() for each in some]
        lines.append(f"| {_named(names)} | {resources[0].provider.name} | {_opens(resources)} |")
    return "\n".join([*lines[:2], *sorted(lines[2:])])


def counts() -> tuple[int, int, int]:
    """Resources that are not dead, chains, and those that are asked without a key."""
    registry = _registry()
    living = [each for each in registry.resources if each.state is not State.DEAD]
    keyless = [each for each in living if each.state is State.ALIVE and not each.needs_key]
    return len(living), len(registry.chains()), len(keyless)


def _registry() -> Registry:
    return build(sorted(FOLDER.glob("*.toml")), None)


def _order(chain: str, members: Sequence[Resource]) -> str:
    if chain == "news":
        return "all are asked, each at its own pace"
    if chain.startswith("rpc."):
        first = [each for each in members if not each.needs_key][:_SHOWN_NODES]
        return ", ".join(_name(each) for each in first) + ", ..."
    levels = groupby(members, key=lambda each: each.level)
    return "; ".join(", ".join(_name(each) for each in level) for _, level in levels)


def _name(resource: Resource) -> str:
    name = resource.id.partition("/")[2]
    return f"*{name}*" if resource.needs_key else name


def _named(variables: Sequence[str]) -> str:
    """Many that differ in one word are shown with what they have in common."""
    if len(variables) <= 2:
        return ", ".join(f"`{each}`" for each in variables)
    begin, end = variables[0].partition("_")[0], "_API_KEY"
    assert all(each.startswith(begin) and each.endswith(end) for each in variables)
    return f"`{begin}_<CHAIN>{end}`"


def _opens(resources: Sequence[Resource]) -> str:
    chains = list(dict.fromkeys(each.chain for each in resources))
    nodes = [each for each in chains if each.startswith("rpc.")]
    told = [f"`{each}`" for each in chains if each not in nodes]
    if nodes:
        told.append(f"nodes of {len(nodes)} chains" if len(nodes) > 1 else f"`{nodes[0]}`")
    if all(each.key is not None and each.key.optional for each in resources):
        return ", ".join(told) + " (asked without one, too)"
    if all(each.state is State.OFF for each in resources):
        return ", ".join(told) + " (off until a probe has seen it answer)"
    return ", ".join(told)
