"""`providers`: lists the resources of the registry as they are now, and probes them."""

import argparse
import asyncio
import difflib
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from addresses.environment import environment_of
from api.parts import Parts
from commands.composition import open_parts
from commands.errors import EXIT_COMPLETE, EXIT_FAILED, CommandError
from commands.providers_registry import read_registry
from commands.runtime import cancelled_by
from commands.terminal import say
from config import Settings
from providers import assets
from providers.client import Client
from providers.members import Member
from providers.opening import open_chains
from providers.probes import Probes
from providers.probing import Probed, Prober
from providers.records import Price
from providers.registry import Registry
from providers.resources import Resource, State

_BY: Final = "providers probe"
_LONGEST_WAIT_S: Final = 15.0  # for a provider's budget
_OWN: Final = "own"  # detection of transfers (providers/whales)


class ProvidersError(CommandError):
    """A `providers` command was refused."""


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Runs the action and prints its result. Raises ProvidersError."""
    registry = read_registry(settings)
    return await cancelled_by(stop, _run(settings, registry, arguments))


async def _run(settings: Settings, registry: Registry, arguments: argparse.Namespace) -> int:
    named = chosen(registry, arguments.id)
    async with _asking(settings, registry) as (parts, client):
        if arguments.action == "list":
            found = sorted(named or registry.resources, key=lambda each: (each.chain, each.level))
            members = await client.gate.look([client.account(each) for each in found])
            rows = [
                _state(client, each, member) for each, member in zip(found, members, strict=True)
            ]
            say(json.dumps(rows, indent=2) if arguments.json else as_table(rows))
            return EXIT_COMPLETE
        wanted = named or [each for each in registry.resources if _is_probed(client, each)]
        failed = 0
        for done in asyncio.as_completed(_probes(parts, registry, client, wanted)):
            for probed in await done:
                failed += probed.error is not None
                say(json.dumps(_told(probed)) if arguments.json else _line(probed))
        if not arguments.json:
            say(f"{len(wanted) - failed} of {len(wanted)} answered")
    return EXIT_FAILED if named and failed else EXIT_COMPLETE


@asynccontextmanager
async def _asking(settings: Settings, registry: Registry) -> AsyncIterator[tuple[Parts, Client]]:
    async with AsyncExitStack() as opened:
        parts = await opened.enter_async_context(open_parts(settings, "providers"))
        chains = await opened.enter_async_context(
            open_chains(*(settings, parts.store, registry, assets.load()), environ=environment_of())
        )
        yield parts, chains.client


def chosen(registry: Registry, names: Iterable[str]) -> list[Resource]:
    """The resources that are named, or all of a chain or provider. Raises ProvidersError."""
    found: dict[str, Resource] = {}
    known = {name for each in registry.resources for name in _names(each)}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f": did you mean {near[0]}?" if near else "; `providers list` shows them"
            raise ProvidersError(f"{name} is no resource, chain or provider{hint}")
        found |= {each.id: each for each in registry.resources if name in _names(each)}
    return list(found.values())


def _names(resource: Resource) -> tuple[str, str, str]:
    return resource.id, resource.chain, resource.provider.id


def _state(client: Client, resource: Resource, member: Member) -> dict[str, Any]:
    return {
        "id": resource.id,
        "level": resource.level.name.lower(),
        "state": resource.state.value,
        "asked": _is_asked(client, resource, member),
        "key": _key(client, resource),
        "variable": None if resource.key is None else resource.key.variable,
        "breaker": member.state.value,
        "out_until_ms": member.out_until_ms or None,
        "health": member.score,
        "p70_ms": member.p70_ms,
        "note": resource.reason or member.last_error or None,
    }


def _is_asked(client: Client, resource: Resource, member: Member) -> bool:
    on = resource.state is State.ALIVE if member.switched is None else member.switched
    return on and resource.state is not State.DEAD and not client.lacks_key(resource)


def _key(client: Client, resource: Resource) -> str:
    if resource.key is None:
        return "none"
    if client.account(resource).key is not None:
        return "set"
    return "optional" if resource.key.optional else "missing"


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"{'resource':<38} {'level':<9} {'state':<5} {'asked':<5} {'key':<8} {'health':>6}"
        f" {'ms':>6}  note"
    ]
    for row in rows:
        notes = [row["note"]] if row["note"] else []
        if row["out_until_ms"]:
            notes.insert(0, f"out until {_moment(row['out_until_ms'])}")
        if row["key"] == "missing":
            notes.insert(0, f"needs {row['variable']}")
        health = "-" if row["state"] == State.DEAD else row["health"]
        lines.append(
            f"{row['id']:<38} {row['level']:<9} {row['state']:<5}"
            f" {'yes' if row['asked'] else 'no':<5} {row['key']:<8} {health:>6}"
            f" {row['p70_ms'] or '-':>6}  {'; '.join(notes)}".rstrip()
        )
    asked = sum(row["asked"] for row in rows)
    lines.append(f"{len(rows)} resources, {asked} of them are asked")
    return "\n".join(lines)


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _is_probed(client: Client, resource: Resource) -> bool:
    """Whether it is probed where none is named."""
    return (
        resource.state is not State.DEAD
        and resource.reader != _OWN
        and not client.lacks_key(resource)
    )


def _probes(
    parts: Parts, registry: Registry, client: Client, wanted: Sequence[Resource]
) -> list[asyncio.Task[list[Probed]]]:
    """All providers at once, and the resources of one of them one after another."""
    prober = Prober(
        Probes(registry, client, assets.load()), client, parts.database.providers.conduct, _BY
    )
    by_provider: dict[str, list[Resource]] = {}
    for each in wanted:
        by_provider.setdefault(each.provider.id, []).append(each)

    async def of_provider(resources: Sequence[Resource]) -> list[Probed]:
        return [await prober.probe(each, wait_s=_LONGEST_WAIT_S) for each in resources]

    return [asyncio.create_task(of_provider(each)) for each in by_provider.values()]


def _told(probed: Probed) -> dict[str, Any]:
    return {
        "id": probed.resource.id,
        "answered": probed.error is None,
        "error": probed.error,
        "ms": probed.ms,
        "records": len(probed.records),
        "turned_on": probed.turned_on,
    }


def _line(probed: Probed) -> str:
    name = f"{probed.resource.id:<38}"
    if probed.error is not None:
        return f"{name} failed    {probed.ms:>6} ms  {probed.error}"
    told = "1 record" if len(probed.records) == 1 else f"{len(probed.records)} records"
    if probed.records and isinstance(first := probed.records[0], Price):
        told = f"{first.asset} {first.value} {first.quote}"
    on = "; it is asked from now on" if probed.turned_on else ""
    return f"{name} answered  {probed.ms:>6} ms  {told}{on}"
