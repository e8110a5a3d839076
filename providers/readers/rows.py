"""Finds each subject's place in an answer by a row's `read`, and its fields there."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from providers.exact import (
    BadValue,
    block_of,
    decimal_of,
    divided,
    is_none,
    shown,
    time_ms,
    whole_of,
)
from providers.naming import Named, named
from providers.paths import NO_VALUES, as_text, filled, path_of
from providers.readers.asked import Asked
from providers.readers.fields import Field, field_of, root_of, telling
from providers.records import Record

Made = TypeVar("Made", bound=Record)


@dataclass(frozen=True, slots=True)
class Row:
    """One subject's place in an answer. What is missing there is None."""

    asked: Asked
    document: Any
    item: Any
    name: Named
    read: Mapping[str, Any]

    def at(self, field: Field) -> Any:
        for path in field.paths:
            start = self.document if path.whole else self.item
            value = path.find(start, self.name.values)
            if not is_none(value):
                return value
        return None

    def check_subject(self) -> None:
        """Raises BadValue where the answer says that it is of another subject (`same`)."""
        for path, template in self.read.get("same", {}).items():
            told = as_text(path_of(path).find(self.item, self.name.values))
            due = filled(template, self.name.values)
            if not is_none(told) and str(told).strip().lower() != due.lower():
                raise BadValue(f"{path} is {shown(told)}, and {due} was asked for")

    def raw(self, key: str) -> tuple[Any, str | None]:
        """The value of a field and its unit, (None, None) where the row does not have the field."""
        if key not in self.read:
            return None, None
        field = field_of(self.read[key])
        return self.at(field), field.unit

    def number(self, key: str) -> Decimal | None:
        value, _ = self.raw(key)
        return decimal_of(value)

    def whole(self, key: str) -> int | None:
        value, _ = self.raw(key)
        return whole_of(value)

    def block(self, key: str) -> int | None:
        value, _ = self.raw(key)
        return block_of(value)

    def text(self, key: str) -> str | None:
        value, _ = self.raw(key)
        if is_none(value):
            return None
        if value is True or (text := as_text(value)) is None:
            raise BadValue(f"{key} is {shown(value)}, not a text")
        return text.strip()

    def time(self, key: str) -> int | None:
        value, unit = self.raw(key)
        return None if value is None else time_ms(value, unit or "ms")

    def fraction(self, key: str) -> Decimal | None:
        """Of percent or fraction, by the field's unit."""
        value, unit = self.raw(key)
        found = decimal_of(value)
        return divided(found, 100) if found is not None and unit == "percent" else found


def rows_of(document: Any, asked: Asked) -> Iterator[Row]:
    """Each subject that the row answers for and the answer has a place for."""
    if document is None:
        return
    _check_form(document, asked)
    names = _names(asked)
    items = asked.read.get("items")
    if items is None:
        for name in names:
            yield Row(asked, document, document, name, asked.read)
        return
    by_id = {name.values["id"]: name for name in names}
    of_item = path_of(asked.read["item_id"])
    listed = list(path_of(items).each(document, NO_VALUES))
    objects = [item for item in listed if isinstance(item, dict)]
    if listed and not objects:
        raise asked.bad(f"{shown(listed[0])} is not an item that the answer should have")
    plain = of_item.plain  # exchanges list thousands of pairs
    for item in objects:
        value = of_item.find(item) if plain is None else item.get(plain)
        called = value if isinstance(value, str) else as_text(value) or ""
        if called in by_id:
            yield Row(asked, document, item, by_id.pop(called), asked.read)


def _names(asked: Asked) -> list[Named]:
    """What its provider calls each subject that the row answers for."""
    found = (named(asked.resource, asked.question, each, asked.assets) for each in asked.subjects)
    return [name for name in found if name is not None]


def _check_form(document: Any, asked: Asked) -> None:
    """Raises ProviderError where the answer is a list and should be an object, or the other way
    round: that is not a subject that is missing, it is another answer."""
    if not isinstance(document, root_of(asked.read)):
        raise asked.bad(f"{shown(document)} is not the form that the answer should have")


def records_of(document: Any, asked: Asked, make: Callable[[Row], Made | None]) -> list[Record]:
    """A record of each subject that has one. Those with a bad value are left out like those that
    the provider does not know: the next provider is asked for them. Where nothing remains it is
    raised why."""
    found: list[Record] = []
    bad: BadValue | None = None
    for row in rows_of(document, asked):
        try:
            record = make(row)
            if record is not None:
                row.check_subject()
        except BadValue as error:
            bad = error
            continue
        if record is not None:
            found.append(record)
    if found:
        return found
    if bad is not None:
        raise asked.bad(str(bad))
    paths = telling(asked.read)
    for name in _names(asked) if paths and document is not None else ():
        if all(path.misfits(document, name.values) for path in paths):
            raise asked.bad(f"{paths[0].text} leads nowhere in {shown(document)}")
    raise asked.nothing()
