"""Reads the query of a question or a list of records: names, times, limits and the cursor."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import orjson

from api.documents.query import InvalidQuery, QueryReader
from providers.assets import Assets, UnknownAsset
from texts.foreign import foreign_text

MOST_NAMES: Final = 50
LONGEST_NAME: Final = 100
_LONGEST_CURSOR: Final = 400
_LARGEST: Final = 2**62

Place = tuple[int | str, ...]  # of a row in its list: a time in UTC ms, and names


class QuestionReader(QueryReader):
    def listed(self, name: str) -> tuple[str, ...] | None:
        """The values of a parameter that takes names; None if it is absent."""
        found = self.names(name)
        if found is None:
            return None
        if not 1 <= len(found) <= MOST_NAMES:
            self.refuse(name, "empty", f"must be 1 to {MOST_NAMES} names")
        if not all(map(_is_name, found)):
            self.refuse(name, "name", f"must be printable, of at most {LONGEST_NAME} letters")
        return tuple(sorted(found))

    def named(self, name: str) -> str | None:
        """The value of a parameter that takes one name."""
        found = self.single(name)
        if found is not None and not _is_name(found):
            self.refuse(name, "name", f"must be printable, of at most {LONGEST_NAME} letters")
        return found

    def one_among(self, name: str, among: Sequence[str], usual: str) -> str:
        found = self.single(name)
        if found is not None and found not in among:
            self.refuse(name, "enum", "must be one of " + ", ".join(among))
        return usual if found is None else found

    def assets(self, name: str, known: Assets) -> tuple[str, ...] | None:
        """The ids of the assets that are named, sorted."""
        found = set()
        for each in self.listed(name) or ():
            try:
                found.add(known.find(each).id)
            except UnknownAsset as error:
                self.refuse(name, "asset", str(error))
        return tuple(sorted(found)) if self.has(name) else None

    def limit(self, usual: int, most: int) -> int:
        found = self.integer("limit", least=1)
        if found is not None and found > most:
            self.refuse("limit", "integer", f"must be at most {most}")
        return found or usual

    def span(self) -> tuple[int | None, int | None]:
        """`from` and `to`."""
        from_ms, to_ms = self.moment("from"), self.moment("to")
        if from_ms is not None and to_ms is not None and to_ms < from_ms:
            self.refuse("to", "combination", "must not be before from")
        return from_ms, to_ms

    def place(self, kinds: Sequence[type], which: object) -> Place | None:
        """Where the page begins that `cursor` leads to: values of these kinds. `which`: what must
        be the same on each page."""
        text = self.single("cursor")
        if not text or self.errors:
            return None
        try:
            return _decoded(text, kinds, which)
        except ValueError as error:
            self.refuse("cursor", "cursor", str(error))
            return None

    def check(self) -> None:
        """Raises InvalidQuery, with all that is wrong and what is allowed."""
        if self.errors:
            raise InvalidQuery(self.errors)


def cursor_of(place: Place, which: object) -> str:
    return urlsafe_b64encode(orjson.dumps([_digest(which), *place])).rstrip(b"=").decode()


def _decoded(text: str, kinds: Sequence[type], which: object) -> Place:
    try:
        if len(text) > _LONGEST_CURSOR:
            raise ValueError
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        of, *place = orjson.loads(urlsafe_b64decode(padded))
        if [type(each) for each in place] != [*kinds]:
            raise ValueError
        if not all(0 <= each < _LARGEST for each in place if isinstance(each, int)):
            raise ValueError
    except (ValueError, TypeError):
        raise ValueError("must be `next` of an answer, as it was") from None
    if of != _digest(which):
        raise ValueError("is of another request: only limit may differ")
    return tuple(place)


def _digest(which: object) -> str:
    return blake2b(repr(which).encode(), digest_size=8).hexdigest()


def _is_name(text: str) -> bool:
    return bool(text) and len(text) <= LONGEST_NAME and foreign_text(text) == text
