"""Records as bytes and back, exactly: Decimal as text, integers of any size."""

import json
from typing import Any, Final, cast

import msgspec

from providers import records
from providers.records import Record

_TYPES: Final[dict[str, type[Record]]] = {
    name: found
    for name, found in vars(records).items()
    if isinstance(found, type) and issubclass(found, Record)
}
_NAME: Final = "record"  # no record has such a field


class Unreadable(ValueError):
    """What is stored is no record of this release."""


def as_json(record: Record) -> dict[str, Any]:
    """The record as what `json` writes, with the name of its type."""
    return {_NAME: type(record).__name__, **cast(dict[str, Any], msgspec.to_builtins(record))}


def from_json(fields: Any) -> Record:
    """Raises Unreadable."""
    try:
        named = dict(fields)
        return msgspec.convert(named, _TYPES[named.pop(_NAME)])
    except (msgspec.ValidationError, KeyError, TypeError, ValueError) as error:
        raise Unreadable(str(error)) from None


def encode(record: Record) -> bytes:
    return json.dumps(as_json(record), separators=(",", ":")).encode()


def decode(text: bytes) -> Record:
    """Raises Unreadable."""
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise Unreadable(str(error)) from None
    return from_json(fields)
