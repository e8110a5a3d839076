"""Parses the query of GET /api/history/holes, and the cursor that leads to its next page."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, get_args

import orjson

from api.documents.query import InvalidQuery, QueryReader
from database import HOLE_STATES, HoleFilter, HolePlace
from market.markets import Exchange
from market.timeframes import Timeframe
from stores.cold.history.series import Kind

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
PARAMETERS: Final = ("exchange", "symbol", "timeframe", "kind", "state", "limit", "cursor")
USUAL_LIMIT: Final = 1000
MOST: Final = 10_000  # holes on a page
_LONGEST_CURSOR: Final = 1000
_BAD_CURSOR: Final = "must be `next` of an answer, as it was"
_OTHER_CURSOR: Final = "is of another request: only limit may differ"
# What the OpenAPI page says of each.
_TEXTS: Final = {
    "exchange": "holes of these exchanges alone; repeatable or comma-separated",
    "symbol": "of these symbols; repeatable or comma-separated",
    "timeframe": "of candles of these timeframes; repeatable or comma-separated",
    "kind": "of these kinds of data; repeatable or comma-separated",
    "state": "in these states; repeatable or comma-separated",
    "limit": f"at most n holes on a page, and at most {MOST}",
    "cursor": "`next` of the page before",
}


@dataclass(frozen=True, slots=True)
class HoleQuery:
    """A parsed query string. `after`: the last hole of the page before."""

    which: HoleFilter
    limit: int
    after: HolePlace | None

    def cursor(self, last: HolePlace) -> str:
        """The cursor of the page after a hole."""
        fields = [_digest(self.which), *last]
        return urlsafe_b64encode(orjson.dumps(fields)).rstrip(b"=").decode()


def read_hole_query(query_string: bytes) -> HoleQuery:
    """Raises InvalidQuery, with all that is wrong and what is allowed."""
    reader = QueryReader(query_string, PARAMETERS)
    timeframes = reader.chosen("timeframe", list(Timeframe))
    kinds = reader.chosen("kind", KINDS)
    if timeframes is not None and kinds is not None and "candles" not in kinds:
        reader.refuse("timeframe", "kind", "candles alone have one: leave it out, or kind")
    limit = reader.integer("limit", least=1)
    if limit is not None and limit > MOST:
        reader.refuse("limit", "integer", f"must be at most {MOST}; `next` leads to the next page")
    which = HoleFilter(
        _sorted(reader.chosen("exchange", list(Exchange))),
        _sorted(reader.symbols()),
        _sorted(kinds),
        None
        if timeframes is None
        else sorted(each.interval_ms for each in Timeframe if each in timeframes),
        _sorted(reader.chosen("state", HOLE_STATES)),
    )
    cursor = reader.single("cursor")
    after = None
    if cursor and not reader.errors:
        try:
            after = _decoded(cursor, which)
        except ValueError as error:
            reader.refuse("cursor", "cursor", str(error))
    if reader.errors:
        raise InvalidQuery(reader.errors)
    return HoleQuery(which, limit or USUAL_LIMIT, after)


def described_parameters() -> list[dict[str, Any]]:
    """The query parameters, for the OpenAPI page."""
    lists: dict[str, dict[str, Any]] = {
        "exchange": {"enum": [*map(str, Exchange)]},
        "symbol": {"minLength": 1, "pattern": r"^[A-Z0-9]{2,30}$"},
        "timeframe": {"enum": [*map(str, Timeframe)]},
        "kind": {"enum": [*KINDS]},
        "state": {"enum": [*HOLE_STATES]},
    }
    schemas: dict[str, dict[str, Any]] = {
        "limit": {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL_LIMIT},
        "cursor": {"type": "string"},
    }
    return [
        {
            "name": name,
            "in": "query",
            "description": _TEXTS[name],
            "required": False,
            "style": "form",
            "explode": True,
            "schema": schemas.get(name)
            or {"type": "array", "minItems": 1, "items": {"type": "string"} | lists[name]},
        }
        for name in PARAMETERS
    ]


def _sorted(names: Collection[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def _decoded(text: str, which: HoleFilter) -> HolePlace:
    """Raises ValueError, whose text says what is wrong."""
    try:
        if len(text) > _LONGEST_CURSOR:
            raise ValueError
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        digest, *place = orjson.loads(urlsafe_b64decode(padded))
        found = HolePlace(*place)
        whole = [isinstance(each, int) and 0 <= each < 2**62 for each in place[3:]]
        if not all([*whole, isinstance(found.exchange, str), isinstance(found.symbol, str)]):
            raise ValueError
        if found.kind not in KINDS or "\0" in found.exchange + found.symbol:
            raise ValueError
    except (ValueError, TypeError):
        raise ValueError(_BAD_CURSOR) from None
    if digest != _digest(which):
        raise ValueError(_OTHER_CURSOR)
    return found


def _digest(which: HoleFilter) -> str:
    return blake2b(orjson.dumps(which), digest_size=8).hexdigest()
