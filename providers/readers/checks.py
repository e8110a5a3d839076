"""What a row's `reader` and `read` say that cannot be: unknown keys, units, paths, placeholders."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from providers.exact import TIMES
from providers.naming import OF_SUBJECTS
from providers.paths import placeholders
from providers.questions import Kind
from providers.readers.fields import BITCOIN_FIELDS, EVM_FIELDS, field_of
from providers.readers.settings import mistakes_of_value
from providers.readers.table import READERS
from providers.resources import Resource

OWN: Final = "own"  # read by providers.whales, not by a reader here
_NONE: Final = (None,)
_TIMES: Final = tuple(TIMES)
_PARTS: Final = ("percent", "fraction")
# Of each kind: its fields, and the units that each may have. None: without one.
_FIELDS: Final[Mapping[Kind, Mapping[str, tuple[str | None, ...]]]] = {
    Kind.PRICE: {
        "value": _NONE,
        "volume_24h_quote": _NONE,
        "change_24h": _PARTS,
        "market_cap": _NONE,
        "confidence": _NONE,
        "as_of": _TIMES,
    },
    Kind.SENTIMENT: {"value": _NONE, "label": _NONE, "as_of": _TIMES},
    Kind.GAS: {
        **dict.fromkeys(EVM_FIELDS, ("wei", "gwei")),
        **dict.fromkeys(BITCOIN_FIELDS, ("sat_per_vb", "sat_per_kvb")),
        "block": _NONE,
        "as_of": _TIMES,
    },
    Kind.STATS: {"height": _NONE, "head_time": _TIMES, "as_of": _TIMES},
    Kind.BALANCE: {"raw": (None, "coin"), "minus": _NONE, "block": _NONE},
    Kind.NEWS: {
        "url": _NONE,
        "title": _NONE,
        "summary": _NONE,
        "published": _TIMES,
        "updated": _TIMES,
        "source": _NONE,
        "authors": _NONE,
        "codes": _NONE,
        "language": _NONE,
    },
}
# Of each kind: the fields of which one must be there.
_NEEDED: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.PRICE: ("value",),
    Kind.SENTIMENT: ("value",),
    Kind.GAS: (*EVM_FIELDS, *BITCOIN_FIELDS),
    Kind.STATS: ("height", "head_time", "metrics"),
    Kind.BALANCE: ("raw",),
    Kind.NEWS: ("url",),
}
_TEXTS: Final = (str,)
_LISTS: Final = (list, tuple)
_NUMBERS: Final = (int, float)
# What is no path: the types that it may have.
_SETTINGS: Final[Mapping[str, tuple[type[Any], ...]]] = {
    "id": _TEXTS,
    "join": _TEXTS,
    "quotes": _LISTS,
    "assets": _LISTS,
    "chains": _LISTS,
    "success": (dict,),
    "same": (dict,),
    "also": _LISTS,
    "items": _TEXTS,
    "item_id": _TEXTS,
    "kind": _TEXTS,
    "min_confidence": _NUMBERS,
    "metric": _TEXTS,
    "scale": _LISTS,
    "period_s": _NUMBERS,
    "earlier": (dict,),
    "metrics": (dict,),
    "confirmed_only": (bool,),
    "source_name": _TEXTS,
}
_ANY: Final = (
    *("id", "join", "quotes", "assets", "chains", "success", "same"),
    *("items", "item_id"),
)
_OF_KIND: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.PRICE: ("kind", "min_confidence"),
    Kind.SENTIMENT: ("metric", "scale", "period_s", "earlier"),
    Kind.STATS: ("metrics", "also"),
    Kind.BALANCE: ("confirmed_only",),
    Kind.NEWS: ("source_name",),
}
# Readers that read by the row's paths. Others know their places themselves.
_BY_PATHS: Final = ("json", "etherscan")
_ONLY: Final[Mapping[str, tuple[str, ...]]] = {
    "rss": ("source_name",),
    "cryptopanic_votes": ("metric",),
}
# Of readers that know their places: what they read.
_OF_KINDS: Final[Mapping[str, Kind]] = {
    "rss": Kind.NEWS,
    "tron": Kind.BALANCE,
    "rpc_balance": Kind.BALANCE,
    "rpc_gas": Kind.GAS,
    "rpc_head": Kind.STATS,
    "jsonrpc": Kind.RPC,
    "cryptopanic_votes": Kind.SENTIMENT,
    **dict.fromkeys(
        (OWN, "etherscan_tokentx", "tronscan_whales", "bitquery_whales", "whale_alert"),
        Kind.WHALES,
    ),
}
_LEFT: Final = ("id", "assets", "chains", "quotes")


def mistakes_of_reading(resource: Resource) -> Iterator[tuple[str, str]]:
    """Each as the key and the reason."""
    reader, read = resource.reader, resource.read
    if reader not in READERS and reader != OWN:
        yield "reader", f"{reader} is unknown; there are {', '.join(sorted((*READERS, OWN)))}"
    elif reader in _OF_KINDS and resource.kind is not _OF_KINDS[reader]:
        yield "reader", f"{reader} reads {_OF_KINDS[reader]}, not {resource.kind}"
    elif reader in _BY_PATHS:
        yield from _of_paths(resource, read, "read")
        yield from _of_mode(resource)
    else:
        if resource.batch > 1:
            yield "batch", f"{reader} reads one subject in an answer"
        known = (*_LEFT, *_ONLY.get(reader, ()))
        for key in read:
            if key not in known:
                yield f"read.{key}", f"is unknown to {reader}; it knows {', '.join(known)}"
        if resource.kind is Kind.SENTIMENT and "metric" not in read:
            yield "read", "needs metric"


def _of_paths(
    resource: Resource, read: Mapping[str, Any], at: str, *, also: bool = False
) -> Iterator[tuple[str, str]]:
    kind = resource.kind
    fields = _FIELDS.get(kind)
    if fields is None:
        yield "reader", f"{resource.reader} does not read {kind}"
        return
    settings = (*_ANY, *_OF_KIND.get(kind, ()), *(("url",) if also else ()))
    for key, value in read.items():
        place = f"{at}.{key}"
        if also and key == "url":
            yield from _of_text(place, value)
        elif key in fields:
            yield from _of_field(place, value, fields[key])
        elif key in settings:
            yield from _of_setting(resource, key, place, value)
        else:
            yield place, f"is unknown; there are {', '.join((*fields, *settings))}"
    if not any(key in read for key in _NEEDED[kind]):
        yield at, f"needs one of {', '.join(_NEEDED[kind])}"


def _of_text(place: str, value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, str) or not value:
        yield place, "must be a text"


def _of_field(place: str, value: Any, units: tuple[str | None, ...]) -> Iterator[tuple[str, str]]:
    if not isinstance(value, str):
        yield place, "must be a path"
        return
    try:
        field = field_of(value)
    except ValueError as error:
        yield place, str(error)
        return
    for name in placeholders(value):
        if name not in OF_SUBJECTS and name != "id":
            yield place, f"nothing fills {{{name}}}"
    if units and field.unit not in units:
        named = ", ".join(unit for unit in units if unit) or "none"
        yield place, f"{field.unit or 'no unit'} is not its unit; there are: {named}"


def _of_setting(resource: Resource, key: str, place: str, value: Any) -> Iterator[tuple[str, str]]:
    types = _SETTINGS[key]
    right = isinstance(value, types) and (not isinstance(value, bool) or bool in types)
    if not right:
        yield place, f"must be {' or '.join(each.__name__ for each in types)}"
    elif key in ("items", "item_id"):
        yield from _of_field(place, value, _NONE)
    elif key == "metrics":
        for name, path in value.items():
            yield from _of_field(f"{place}.{name}", path, ())
    elif key in ("success", "same"):
        yield from _of_comparisons(key, place, value)
    elif key == "earlier":
        yield from _of_earlier(place, value)
    elif key == "also":
        yield from _of_parts(resource, place, value)
    else:
        for why in mistakes_of_value(key, value):
            yield place, why


def _of_parts(resource: Resource, place: str, parts: Any) -> Iterator[tuple[str, str]]:
    for number, part in enumerate(parts):
        at = f"{place}[{number}]"
        if not isinstance(part, dict):
            yield at, "must be a table"
            continue
        if "url" not in part:
            yield at, "needs a url"
        yield from _of_paths(resource, part, at, also=True)


def _of_earlier(place: str, read: dict[str, Any]) -> Iterator[tuple[str, str]]:
    units = {"items": _NONE, "value": _NONE, "label": _NONE, "as_of": _TIMES}
    for key, path in read.items():
        if key in units:
            yield from _of_field(f"{place}.{key}", path, units[key])
        else:
            yield f"{place}.{key}", f"is unknown; there are {', '.join(units)}"
    if not {"items", "value", "as_of"} <= read.keys():
        yield place, "needs items, value and as_of"


def _of_comparisons(key: str, place: str, value: Any) -> Iterator[tuple[str, str]]:
    for path, wanted in value.items():
        at = f"{place}.{path}"
        yield from _of_field(at, path, _NONE)
        if not isinstance(wanted, str):
            yield at, "must be a text, also where it is a number"
        elif key == "success" and placeholders(path):
            yield at, "an envelope has no placeholders"
        elif key == "same":
            yield from _of_field(at, wanted, ())


def _of_mode(resource: Resource) -> Iterator[tuple[str, str]]:
    """Whether each subject has a place of its own in the answer."""
    read, kind = resource.read, resource.kind
    if kind is Kind.SENTIMENT and not {"metric", "scale"} <= read.keys():
        yield "read", "needs metric and scale"
    if kind is Kind.NEWS:
        if not str(read.get("items", "")).endswith("[*]"):
            yield "read.items", "must be the path of a list, ending with [*]"
        if "title" not in read:
            yield "read", "needs title"
        return
    if "items" in read and not {"item_id", "id"} <= read.keys():
        yield "read", "items needs item_id, and id: how its provider names a subject"
    if resource.batch > 1 and "items" not in read and "{id}" not in str(read.get("value", "")):
        yield "batch", "is of several subjects, and read has neither items nor {id} in value"
