"""Paths into JSON documents, as the rows of the registry write them; docs/providers.md has them.

`coins.{id}.price`, `data[0].value`, `quote[symbol=USD].price`, `"a key.with dots".value`, and `[*]`
for every element. A {placeholder} stands for one key or one value, whatever characters it has.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

_STEP: Final = re.compile(
    r"""\[(?P<every>\*)\]
    |\[(?P<index>-?[0-9]{1,6})\]
    |\[(?P<name>[^\]=\[]+)=(?P<wanted>[^\]]+)\]
    |"(?P<quoted>[^"]+)"
    |(?P<key>(?:[^.\[\]"{}\s]|\{[a-z_0-9]+\})+)""",
    re.VERBOSE,
)
_PLACEHOLDER: Final = re.compile(r"\{([a-z_0-9]+)\}")
_NOTHING: Final[tuple[Any, ...]] = (None, False, "", [], {})
NO_VALUES: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class _Key:
    """`filled`: whether a placeholder is in it; `name`: of the one that is all of it."""

    text: str
    filled: bool
    name: str | None


@dataclass(frozen=True, slots=True)
class _Index:
    at: int


@dataclass(frozen=True, slots=True)
class _Where:
    """The first element of a list that has this text under this key."""

    name: str
    wanted: str


@dataclass(frozen=True, slots=True)
class _Every:
    pass


_Step = _Key | _Index | _Where | _Every


@dataclass(frozen=True, slots=True)
class Path:
    """`whole`: it begins at the whole answer even where there is an item ($.)."""

    text: str
    steps: tuple[_Step, ...]
    whole: bool

    @property
    def names(self) -> frozenset[str]:
        """The placeholders in it."""
        return frozenset(_PLACEHOLDER.findall(self.text))

    @property
    def plain(self) -> str | None:
        """The key, where the path is nothing but one key."""
        first = self.steps[0] if len(self.steps) == 1 else None
        return first.text if isinstance(first, _Key) and not first.filled else None

    @property
    def root(self) -> tuple[type[Any], ...]:
        """What a document must be for the path to lead anywhere."""
        if not self.steps:
            return (object,)
        if isinstance(self.steps[0], _Every):
            return (dict, list)
        return (dict,) if isinstance(self.steps[0], _Key) else (list,)

    def find(self, document: Any, values: Mapping[str, str] = NO_VALUES) -> Any:
        """What is there, None where nothing is. With [*], the first."""
        for number, step in enumerate(self.steps):
            if isinstance(step, _Every):
                return next(_walk(document, self.steps[number:], values), None)
            document = _next(document, step, values)
            if document is None:
                return None
        return document

    def misfits(self, document: Any, values: Mapping[str, str] = NO_VALUES) -> bool:
        """Whether something stands on the way that the path cannot lead through: a list where an
        object is due, or the other way round. What is empty is nothing."""
        for step in self.steps:
            if isinstance(step, _Every):
                return not isinstance(document, dict | list)
            due = dict if isinstance(step, _Key) else list
            if not isinstance(document, due):
                return document not in _NOTHING
            document = _next(document, step, values)
            if document is None:
                return False
        return False

    def each(self, document: Any, values: Mapping[str, str] = NO_VALUES) -> Iterator[Any]:
        """All that is there: with [*] that of every element, else one value or none."""
        if self.steps and isinstance(self.steps[-1], _Every):
            for found in _walk(document, self.steps[:-1], values):
                yield from _elements(found)
        else:
            yield from _walk(document, self.steps, values)


@lru_cache(maxsize=4096)
def path_of(text: str) -> Path:
    """Raises ValueError with the place where it is not a path."""
    rest, whole = text.strip(), False
    if rest == "$" or rest.startswith(("$.", "$[")):
        rest, whole = rest[1:].removeprefix("."), True
    steps: list[_Step] = []
    at = 0
    while at < len(rest):
        found = _STEP.match(rest, at)
        if found is None:
            raise ValueError(f"{text!r} is not a path: see {rest[at:]!r}")
        steps.append(_step(found))
        at = found.end()
        if rest[at : at + 1] == ".":
            at += 1
            if at == len(rest) or rest[at] in ".[":
                raise ValueError(f"{text!r} is not a path: a key must follow each dot")
        elif at < len(rest) and rest[at] != "[":
            raise ValueError(f"{text!r} is not a path: see {rest[at:]!r}")
    return Path(text, tuple(steps), whole)


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its {placeholders} replaced. Raises KeyError for one without a value."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def placeholders(text: str) -> list[str]:
    return _PLACEHOLDER.findall(text)


def _step(found: re.Match[str]) -> _Step:
    if found["every"]:
        return _Every()
    if found["index"]:
        return _Index(int(found["index"]))
    if found["name"]:
        return _Where(found["name"], found["wanted"])
    text = found["quoted"] or found["key"]
    whole = _PLACEHOLDER.fullmatch(text)
    return _Key(text, bool(placeholders(text)), whole[1] if whole else None)


def _walk(document: Any, steps: tuple[_Step, ...], values: Mapping[str, str]) -> Iterator[Any]:
    for number, step in enumerate(steps):
        if isinstance(step, _Every):
            for element in _elements(document):
                yield from _walk(element, steps[number + 1 :], values)
            return
        document = _next(document, step, values)
        if document is None:
            return
    yield document


def _elements(document: Any) -> list[Any]:
    if isinstance(document, dict):
        return list(document.values())
    return document if isinstance(document, list) else []


def _next(document: Any, step: _Step, values: Mapping[str, str]) -> Any:
    if isinstance(step, _Key):
        if not isinstance(document, dict):
            return None
        if not step.filled:
            return document.get(step.text)
        return document.get(values[step.name] if step.name else filled(step.text, values))
    if not isinstance(document, list):
        return None
    if isinstance(step, _Index):
        return document[step.at] if -len(document) <= step.at < len(document) else None
    if not isinstance(step, _Where):
        return None
    name, wanted = filled(step.name, values), filled(step.wanted, values)
    return next(
        (each for each in document if isinstance(each, dict) and as_text(each.get(name)) == wanted),
        None,
    )


def as_text(value: Any) -> str | None:
    """A value as the text that rows compare with: numbers as they are written, true and false."""
    if value is None or isinstance(value, dict | list):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)
