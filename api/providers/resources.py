"""/api/providers and /api/hierarchy/usage-stats: resources of the registry, and how they do."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import Response
from starlette.convertors import Convertor, register_url_convertor

from api.cors import require_asked_page
from api.openapi import responses
from api.parts import Parts
from api.providers.answered import attribution_of
from api.providers.asking import Asking
from api.providers.described import NAMES, parameters
from api.providers.encoded import answered
from api.providers.reading import QuestionReader
from api.providers.request_asking import RequestAsking
from api.providers.resource_models import ProbedResources, Resources, UsageStats
from api.request_body import read_body
from api.state import RequestParts
from api.tokens import Tokens, api_token_of
from providers.budget import quantity_of
from providers.members import Member
from providers.probing import Probed, Prober
from providers.resources import Resource, State
from providers.usage import ResourceUsage
from texts.foreign import foreign_text
from texts.hidden_addresses import without_ips
from timing.clock import now_ms

PATH: Final = "/api/providers"
_BY: Final = "api"
_MOST_PROBED: Final = 10
Room = Mapping[int, int]  # by window in s, what is left of a limit
Id = Annotated[
    str,
    Path(
        description="of a resource, or of a provider or chain: all of its resources",
        examples=["price.aggregate/coingecko"],
    ),
]


class _ResourceId(Convertor[str]):
    """A path, such as price.aggregate/coingecko, that is none of an action's."""

    regex = "(?:(?!/(?:enable|disable|probe)$).)+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("resource", _ResourceId())


def build_resources(tokens: Tokens) -> APIRouter:
    router = APIRouter(tags=["providers"])
    changes = [Depends(api_token_of(tokens)), Depends(require_asked_page)]

    @router.get(
        "/api/hierarchy/usage-stats",
        response_model=UsageStats,
        responses=responses(404, 422),
        summary="How resources were used",
        name="get_usage_stats",
    )
    async def get_usage_stats(request: Request, asking: RequestAsking) -> Response:
        """Calls, successes and failures of each resource, and fallbacks of each chain."""
        QuestionReader(request.scope["query_string"], ()).check()
        return answered(await usage_stats(asking))

    @router.get(
        PATH,
        response_model=Resources,
        responses=responses(404, 422),
        summary="All resources",
        name="list_providers",
        openapi_extra=parameters(
            {
                "chain": ("of these chains, such as price.aggregate", NAMES),
                "state": ("in these states", {"type": "string", "enum": [*map(str, State)]}),
            },
            {},
        ),
    )
    async def list_providers(request: Request, asking: RequestAsking) -> Response:
        """Every row of the registry, in the order in which they are asked."""
        reader = QuestionReader(request.scope["query_string"], ("chain", "state"))
        chains, states = reader.listed("chain"), reader.chosen("state", [*map(str, State)])
        reader.check()
        found = [
            each
            for each in asking.parts.registry.resources
            if (chains is None or each.chain in chains) and (states is None or each.state in states)
        ]
        found.sort(key=lambda each: (each.chain, each.level))
        return answered({"resources": await _shown(asking, found)})

    @router.get(
        f"{PATH}/{{id:resource}}",
        response_model=Resources,
        responses=responses(404, 422),
        summary="One resource, provider or chain",
        name="get_provider",
    )
    async def get_provider(id: Id, request: Request, asking: RequestAsking) -> Response:
        """How each of its resources is now."""
        QuestionReader(request.scope["query_string"], ()).check()
        return answered({"resources": await _shown(asking, _named(asking, id))})

    def add_switch(action: str, on: bool, description: str) -> None:
        @router.post(
            f"{PATH}/{{id:path}}/{action}",
            response_model=Resources,
            dependencies=changes,
            responses=responses(401, 403, 404, 408, 409),
            name=f"{action}_provider",
            summary=f"{action.capitalize()} a resource",
            description=description,
        )
        async def switch(
            id: Id, request: Request, asking: RequestAsking, parts: RequestParts
        ) -> Response:
            await read_body(request)
            found = _named(asking, id)
            return await _switched(asking, parts, found, on)

    add_switch("enable", True, "It is asked from now on, in all processes, also if its row is off.")
    add_switch("disable", False, "It is asked no more, in all processes, until it is enabled.")

    @router.post(
        f"{PATH}/{{id:path}}/probe",
        response_model=ProbedResources,
        dependencies=changes,
        responses=responses(401, 403, 404, 408, 409),
        name="probe_provider",
        summary="Probe a resource",
    )
    async def probe_provider(
        id: Id, request: Request, asking: RequestAsking, parts: RequestParts
    ) -> Response:
        """Asks it a small question now, whatever is known of it but for its limits. If its row is
        off, and it answers, it is asked from then on."""
        await read_body(request)
        found = _named(asking, id)
        if len(found) > _MOST_PROBED:
            raise HTTPException(409, f"{len(found)} resources are too many: name one of them")
        chains, conduct = asking.parts.chains, parts.database.providers.conduct
        prober = Prober(chains.probes, chains.client, conduct, _BY)
        probed = await asyncio.gather(*(prober.probe(each, wait_s=0) for each in found))
        return answered({"probed": [_probed(each) for each in probed]})

    return router


async def usage_stats(asking: Asking) -> dict[str, Any]:
    resources = asking.parts.registry.resources
    usage = asking.parts.chains.usage
    chains = asking.parts.registry.chains()
    used, questions, members = await asyncio.gather(
        usage.read([each.id for each in resources]),
        usage.questions(chains),
        _members(asking, resources),
    )
    requests = sum(each.requests for each in used.values())
    fallbacks = sum(each.fallbacks for each in questions.values())
    return {
        "success": True,
        "total_requests": requests,
        "total_fallbacks": fallbacks,
        "fallback_rate": fallbacks / requests if requests else 0.0,
        "by_resource": {
            each.id: _usage(asking, each, used[each.id], member, room)
            for each, member, room in members
        },
        "by_chain": {chain: asdict(each) for chain, each in questions.items()},
    }


def _usage(
    asking: Asking, resource: Resource, used: ResourceUsage, member: Member, room: Room
) -> dict[str, Any]:
    return {
        "requests": used.requests,
        "success": used.success,
        "failed": used.failures,
        "success_rate": used.success / used.requests if used.requests else None,
        "avg_response_ms": used.sum_ms / used.success if used.success > 0 else None,
        "p50_ms": used.p50_ms,
        "p95_ms": used.p95_ms,
        "failed_by_class": used.failed,
        "skipped": used.skipped,
        "breaker": member.state,
        "breaker_trips": used.trips,
        "out_until_ms": member.out_until_ms or None,
        "health": member.score,
        "budget": _limits(asking, resource, room),
        "last_error": _error(used.last_error),
        "last_error_at_ms": used.last_error_at_ms,
    }


async def _shown(asking: Asking, resources: Sequence[Resource]) -> list[dict[str, Any]]:
    members = await _members(asking, resources)
    return [_state(asking, *each) for each in members]


async def _members(
    asking: Asking, resources: Sequence[Resource]
) -> list[tuple[Resource, Member, Room]]:
    client = asking.parts.chains.client
    accounts = [client.account(each) for each in resources]
    if not accounts:
        return []
    members, rooms = await asyncio.gather(client.gate.look(accounts), client.gate.rooms(accounts))
    return list(zip(resources, members, rooms, strict=True))


def _state(asking: Asking, resource: Resource, member: Member, room: Room) -> dict[str, Any]:
    client = asking.parts.chains.client
    on = resource.state is State.ALIVE if member.switched is None else member.switched
    lacks_key = client.lacks_key(resource)
    provider = resource.provider
    return {
        "id": resource.id,
        "provider": provider.id,
        "chain": resource.chain,
        "level": resource.level.name.lower(),
        "state": resource.state,
        "reason": resource.reason,
        "since": resource.since,
        "enabled": member.switched,
        "asked": on and resource.state is not State.DEAD and not lacks_key,
        "key": _key(asking, resource),
        "key_variable": None if resource.key is None else resource.key.variable,
        "breaker": member.state,
        "out_until_ms": member.out_until_ms or None,
        "out_class": member.out_class or None,
        "health": member.score,
        "p70_ms": member.p70_ms,
        "ttl_s": resource.ttl_s,
        "limits": _limits(asking, resource, room),
        "last_error": _error(member.last_error),
        "attribution": attribution_of(provider),
        "terms": provider.terms,
    }


def _key(asking: Asking, resource: Resource) -> str:
    if resource.key is None:
        return "none"
    if asking.parts.chains.client.account(resource).key is not None:
        return "set"
    return "optional" if resource.key.optional else "missing"


def _limits(asking: Asking, resource: Resource, room: Room) -> list[dict[str, int]]:
    found = []
    for limit in resource.provider.limits:
        quantity = quantity_of(limit, asking.settings.rate_fraction)
        left = room.get(limit.window_s, quantity)
        found.append({"window_s": limit.window_s, "quantity": quantity, "left": left})
    return found


def _error(text: str | None) -> str | None:
    return without_ips(text) if text else None


def _named(asking: Asking, name: str) -> list[Resource]:
    found = [
        each
        for each in asking.parts.registry.resources
        if name in (each.id, each.provider.id, each.chain)
    ]
    if not found:
        told = foreign_text(name, 100)
        raise HTTPException(404, f"{told!r} is no resource, provider or chain: see {PATH}")
    return sorted(found, key=lambda each: (each.chain, each.level))


async def _switched(
    asking: Asking, parts: Parts, resources: Sequence[Resource], on: bool
) -> Response:
    able = [each for each in resources if each.state is not State.DEAD]
    if not able:
        raise HTTPException(409, f"{resources[0].id} is dead: {resources[0].reason}")
    for each in able:
        # What is kept comes first: an empty hot store takes it over again.
        await parts.database.providers.conduct.switch(each.id, on, at_ms=now_ms(), by=_BY)
        await asking.parts.chains.client.gate.switch(each.id, on)
    return answered({"resources": await _shown(asking, able)})


def _probed(probed: Probed) -> dict[str, Any]:
    return {
        "id": probed.resource.id,
        "answered": probed.error is None,
        "error": _error(probed.error),
        "ms": probed.ms,
        "records": len(probed.records),
        "turned_on": probed.turned_on,
    }
