"""Pages of rows in time: limits, filters by time, and the cursor that leads to the next page."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, TypeVar

import orjson

from api.documents.query import InvalidQuery, QueryReader
from api.moments import AS_OF_SCHEMA
from texts.foreign import foreign_text

USUAL_LIMIT: Final = 100
MOST: Final = 1000  # rows on a page
LONGEST_NAME: Final = 200
_MOST_NAMES: Final = 20
_LONGEST_CURSOR: Final = 200
_LARGEST: Final = 2**62

T = TypeVar("T")
Place = tuple[int, int]  # time in UTC ms, and id


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list. `from_ms` inclusive, `to_ms` exclusive; None: from the start, to the end.
    `after`: the last row of the page before."""

    limit: int
    after: Place | None
    from_ms: int | None
    to_ms: int | None
    digest: str

    def next(self, found: Sequence[T], place: Callable[[T], Place]) -> str | None:
        """The cursor of the page after these rows, of which one more than `limit` was asked for;
        None if there is none."""
        if len(found) <= self.limit:
            return None
        fields = [self.digest, *place(found[self.limit - 1])]
        return urlsafe_b64encode(orjson.dumps(fields)).rstrip(b"=").decode()


class PageReader(QueryReader):
    """Reads the query of a list whose rows lie in time; see `page`."""

    def __init__(self, query_string: bytes, filters: Sequence[str]) -> None:
        super().__init__(query_string, (*filters, "from", "to", "limit", "cursor"))

    def any_of(self, name: str) -> tuple[str, ...] | None:
        """The values of a filter that takes any names; None if it is absent."""
        names = self.names(name)
        if names is None:
            return None
        if not names or len(names) > _MOST_NAMES:
            self.refuse(name, "empty", f"must be 1 to {_MOST_NAMES} names")
        for each in names:
            self._check_name(name, each)
        return tuple(sorted(names))

    def one_name(self, name: str) -> str | None:
        """The value of a filter that takes one name; None if it is absent."""
        found = self.single(name)
        if found is not None:
            self._check_name(name, found)
        return found

    def _check_name(self, name: str, value: str) -> None:
        if not value or len(value) > LONGEST_NAME or foreign_text(value) != value:
            self.refuse(name, "name", f"must be printable, of at most {LONGEST_NAME} letters")

    def one_of(self, name: str, among: Sequence[str]) -> tuple[str, ...] | None:
        names = self.chosen(name, among)
        return None if names is None else tuple(sorted(names))

    def page(self, *which: object) -> Page:
        """The page that is asked for. `which`: what must be the same on each page, beside the
        times. Raises InvalidQuery, with all that is wrong and what is allowed."""
        from_ms, to_ms = self.moment("from"), self.moment("to")
        if from_ms is not None and to_ms is not None and to_ms < from_ms:
            self.refuse("to", "combination", "must not be before from")
        limit = self.integer("limit", least=1)
        if limit is not None and limit > MOST:
            message = f"must be at most {MOST}; `next` leads to the next page"
            self.refuse("limit", "integer", message)
        digest = blake2b(repr((which, from_ms, to_ms)).encode(), digest_size=8).hexdigest()
        cursor = self.single("cursor")
        after = None
        if cursor and not self.errors:
            try:
                after = _decoded(cursor, digest)
            except ValueError as error:
                self.refuse("cursor", "cursor", str(error))
        if self.errors:
            raise InvalidQuery(self.errors)
        return Page(limit or USUAL_LIMIT, after, from_ms, to_ms, digest)


def described_page(filters: dict[str, tuple[str, dict[str, Any] | None]]) -> dict[str, Any]:
    """`openapi_extra` of such a list. `filters`: the text of each, and the schema of its values;
    None: any names."""
    names = {"type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9._:-]{1,100}$"}
    lists = [
        {
            "name": name,
            "in": "query",
            "description": f"{text}; repeatable or comma-separated",
            "required": False,
            "style": "form",
            "explode": True,
            "schema": {"type": "array", "minItems": 1, "maxItems": 20, "items": schema or names},
        }
        for name, (text, schema) in filters.items()
    ]
    moment = {"type": "string", **AS_OF_SCHEMA}
    limit = {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL_LIMIT}
    single = (
        ("from", "inclusive; UTC milliseconds or ISO 8601", moment),
        ("to", "exclusive; UTC milliseconds or ISO 8601", moment),
        ("limit", f"at most n rows on a page, and at most {MOST}", limit),
        ("cursor", "`next` of the page before", {"type": "string"}),
    )
    others = [
        {"name": name, "in": "query", "description": text, "required": False, "schema": schema}
        for name, text, schema in single
    ]
    return {"parameters": [*lists, *others]}


def _decoded(text: str, digest: str) -> Place:
    """Raises ValueError, whose text says what is wrong."""
    try:
        if len(text) > _LONGEST_CURSOR:
            raise ValueError
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        of, time_ms, number = orjson.loads(urlsafe_b64decode(padded))
        if not all(type(each) is int and 0 <= each < _LARGEST for each in (time_ms, number)):
            raise ValueError
    except (ValueError, TypeError):
        raise ValueError("must be `next` of an answer, as it was") from None
    if of != digest:
        raise ValueError("is of another request: only limit may differ")
    return time_ms, number
