"""What a row of the registry says that cannot be, whichever file it is from."""

from collections.abc import Iterator
from typing import Final

from providers.networks import networks
from providers.questions import Kind
from providers.readers.checks import OWN, mistakes_of_reading
from providers.readers.rpc_calls import BODIES
from providers.registry_rows import checked_url
from providers.registry_subjects import mistakes_of_subjects
from providers.requests import mistakes_of_request
from providers.resources import KeyPlace, Limit, Resource, State

_DAY_S: Final = 86_400


def kind_of(chain: str) -> Kind | None:
    name = chain.partition(".")[0]
    return Kind(name) if name in set(Kind) else None


def mistakes_of(resource: Resource, chains: frozenset[str]) -> Iterator[tuple[str, str]]:
    """What a row says that cannot be, as the key and the reason. `chains`: those there are."""
    kind = kind_of(resource.chain)
    if kind is None or (resource.chain not in chains and kind is not Kind.RPC):
        yield "id", f"there is no chain {resource.chain}; there are {', '.join(sorted(chains))}"
    if resource.state is not State.ALIVE and not resource.reason:
        yield "state", f"{resource.state} needs a reason"
    if resource.state is State.DEAD:
        if resource.since is None:
            yield "state", "dead needs a date (since)"
        return
    if (resource.url == "") == (resource.via is None):
        yield "url", "give either a url or a via, the chain that is asked in its place"
    if resource.url.startswith("http:") and not resource.private:
        yield "url", "must begin with https:"
    yield from _of_sending(resource, chains)
    key = resource.key
    if key is None:
        if "{key}" in f"{resource.url}{resource.query}{resource.headers}{resource.body}":
            yield "url", "has {key}, and its provider has no key"
    elif key.place is KeyPlace.PATH and "{key}" not in resource.url:
        yield "key", "is carried in the path: put {key} into the url"
    elif key.place in (KeyPlace.HEADER, KeyPlace.QUERY) and not key.name:
        yield "key", f"needs the name of the {key.place} that carries it"
    if kind is not None:
        yield from mistakes_of_reading(resource)
        yield from mistakes_of_request(resource)
        yield from mistakes_of_subjects(resource)


def _is_quota(limit: Limit) -> bool:
    return limit.window_s >= _DAY_S


def _of_sending(resource: Resource, chains: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Of the request as a whole: its method, its weight, and the addresses beside the first."""
    if resource.via is not None:
        name = resource.via.partition(".")[2]
        if resource.via != "rpc.{chain}" and not (resource.via in chains and name in networks()):
            yield "via", f"{resource.via} is no chain of nodes: rpc.{{chain}}, or such as rpc.bsc"
        elif resource.reader not in (*BODIES, OWN):
            yield "via", f"nodes are asked for what {resource.reader} does not read"
    elif resource.method == "GET" and (resource.body is not None or resource.reader in BODIES):
        yield "method", "must be POST, for there is a body to send"
    if resource.hedge and (
        resource.key or any(_is_quota(each) for each in resource.provider.limits)
    ):
        yield "hedge", "must be false: its calls are counted by a key, or by the day or month"
    most = min((limit.quantity for limit in resource.provider.limits), default=None)
    if most is not None and resource.weight > most:
        yield "weight", f"{resource.weight} is more than its provider's limit of {most}"
    parts = resource.read.get("also", ())
    for number, part in enumerate(parts if isinstance(parts, list) else ()):
        url = part.get("url") if isinstance(part, dict) else None
        if not isinstance(url, str):
            continue
        try:
            checked_url(url)
        except ValueError as error:
            yield f"read.also[{number}].url", str(error)
        if url.startswith("http:") and not resource.private:
            yield f"read.also[{number}].url", "must begin with https:"
