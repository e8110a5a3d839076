"""What a row of the registry says that cannot be, whichever file it is from."""

from collections.abc import Iterator

from providers.questions import Kind
from providers.readers.checks import mistakes_of_reading
from providers.requests import mistakes_of_request
from providers.resources import KeyPlace, Resource, State


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
