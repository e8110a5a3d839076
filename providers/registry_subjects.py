"""What a row says of its subjects that cannot be: names that nothing fills, answers that fit all.

A row that neither asks for its subject nor finds it in the answer would tell one asset's price as
every asset's.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from providers.assets import UnknownAsset
from providers.assets import load as load_assets
from providers.naming import texts_in
from providers.networks import Family, networks
from providers.paths import placeholders
from providers.questions import Kind
from providers.readers.rpc_calls import BODIES
from providers.resources import Resource

_IDS: Final = frozenset({"id", "ids", "ids_json", "ids_pipe"})
_QUOTES: Final = frozenset({"quote", "quote_lower"})
_ADDRESSES: Final = frozenset({"address", "address_lower", "address_0x"})
_CHAINS: Final = frozenset({"chain", "chain_id"})
_OF_ASSETS: Final = (Kind.PRICE, Kind.SENTIMENT)
_MARKET: Final = "sentiment.market"
# Of readers of nodes: whose they are.
_FAMILIES: Final = {
    "rpc_balance": (Family.EVM, Family.TRON),
    "rpc_gas": (Family.EVM,),
    "rpc_head": (Family.EVM,),
    "tron": (Family.TRON,),
}
# Settings of a reading that name its subjects, and hold no path.
_NAMING: Final = ("id", "quotes", "assets", "chains")


@cache
def _namespaces() -> frozenset[str]:
    return frozenset(name for asset in load_assets() for name in asset.names)


def mistakes_of_subjects(resource: Resource) -> Iterator[tuple[str, str]]:
    """Each as the key and the reason."""
    used = {name for text in _templates(resource) for name in placeholders(text)}
    yield from _unfilled(resource, used)
    network = networks().get(resource.chain.partition(".")[2])
    families = _FAMILIES.get(resource.reader)
    if network is not None and families is not None and network.family not in families:
        yield "reader", f"{resource.reader} does not read {network.name}"
    yield from _of_lists(resource)
    yield from _of_id(resource)
    quotes = resource.read.get("quotes", ())
    of_id = set(placeholders(str(resource.read.get("id", ""))))
    if isinstance(quotes, list) and len(quotes) > 1 and not (used | of_id) & _QUOTES:
        yield "read.quotes", "are several, and neither request nor reading has {quote}"
    if not _is_of_one(resource) and not _asks_for_subject(resource, used):
        what = " or ".join(f"{{{name}}}" for name in sorted(_subjects_of(resource)))
        yield "url", f"it would answer alike for all: neither request nor reading has {what}"


def _templates(resource: Resource) -> list[str]:
    """All texts in which a placeholder counts."""
    reading = {key: each for key, each in resource.read.items() if key not in _NAMING}
    keys = [key for name in ("success", "same") for key in _keys(reading.get(name))]
    request = [resource.url, resource.via or "", resource.headers, resource.query, resource.body]
    return [*keys, *(text for each in (*request, reading) for text in texts_in(each))]


def _keys(table: Any) -> list[str]:
    return list(table) if isinstance(table, dict) else []


def _fillable(resource: Resource) -> frozenset[str]:
    """What a question of the row's chain fills."""
    network = networks().get(resource.chain.partition(".")[2])
    known = {"key", *_QUOTES}
    if "id" in resource.read:
        known |= _IDS
    if resource.kind not in (*_OF_ASSETS, Kind.NEWS):
        known |= {"chain", *(() if network and network.chain_id is None else ("chain_id",))}
    if resource.kind is Kind.BALANCE:
        known |= _ADDRESSES if network and network.id == "tron" else _ADDRESSES - {"address_0x"}
    return frozenset(known)


def _unfilled(resource: Resource, used: set[str]) -> Iterator[tuple[str, str]]:
    known = _fillable(resource)
    for name in sorted((used & (_IDS | _ADDRESSES | _CHAINS)) - known):
        if name not in _IDS:  # of those, mistakes_of_request tells
            yield "url", f"nothing fills {{{name}}} in {resource.chain}"


def _of_id(resource: Resource) -> Iterator[tuple[str, str]]:
    template = resource.read.get("id")
    if not isinstance(template, str):
        return
    known = _fillable(resource) - _IDS - {"key"}
    if resource.kind in _OF_ASSETS:
        known |= _namespaces()
    for name in placeholders(template):
        if name not in known:
            yield "read.id", f"nothing fills {{{name}}}; there are {', '.join(sorted(known))}"


def _of_lists(resource: Resource) -> Iterator[tuple[str, str]]:
    """`quotes`, `assets` and `chains`: what is asked about is written in one way."""
    for key in ("quotes", "assets", "chains"):
        if key not in resource.read or (key == "assets" and resource.kind is Kind.NEWS):
            continue
        listed = resource.read[key]
        if not isinstance(listed, list) or not listed:
            yield f"read.{key}", "must be a list that is not empty"
            continue
        for each in listed:
            if (why := _not_so(key, each)) is not None:
                yield f"read.{key}", why


def _not_so(key: str, name: Any) -> str | None:
    if not isinstance(name, str) or not name:
        return f"{name!r} is not a text"
    if key == "quotes":
        return None if name == name.upper() else f"{name} must be in capitals: {name.upper()}"
    if key == "chains":
        return None if name in networks() else f"{name} is none of {', '.join(networks())}"
    try:
        known = load_assets().find(name).id
    except UnknownAsset as error:
        return str(error)
    return None if known == name else f"{name} is called {known} here"


def _is_of_one(resource: Resource) -> bool:
    """Whether there is but one subject that the row answers for."""
    if resource.kind in (Kind.NEWS, Kind.RPC) or resource.chain == _MARKET:
        return True
    if resource.kind is Kind.BALANCE:
        return False
    if resource.kind in _OF_ASSETS:
        return len(resource.read.get("assets", ())) == 1
    of_one_chain = resource.chain.partition(".")[2] in networks()
    return of_one_chain or len(resource.read.get("chains", ())) == 1


def _asks_for_subject(resource: Resource, used: set[str]) -> bool:
    if resource.kind is Kind.BALANCE and (resource.reader in BODIES or used & _ADDRESSES):
        return True
    of_subjects = _subjects_of(resource)
    named = set(placeholders(str(resource.read.get("id", ""))))
    by_id = named - _QUOTES if resource.kind in _OF_ASSETS else named & of_subjects
    if by_id and ("items" in resource.read or used & _IDS):
        return True
    return resource.kind not in _OF_ASSETS and bool(used & of_subjects)


def _subjects_of(resource: Resource) -> frozenset[str]:
    """The placeholders that stand for a subject."""
    if resource.kind in _OF_ASSETS:
        return frozenset({"id", "ids"})
    return _ADDRESSES if resource.kind is Kind.BALANCE else _CHAINS
