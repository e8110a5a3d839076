"""Which level gives a key its value: the worker's own row, the shared one, the environment."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import BaseModel, Secret, SecretBytes, SecretStr, ValidationError

from stores.cold.workers.config import ConfigRow
from workers.environment import names_of

Level = Literal["own", "shared", "environment", "default", "missing"]


@dataclass(frozen=True, slots=True)
class GivenValue:
    """A value, the level that gave it, and in words the place. `row`: where it is one."""

    value: Any = field(repr=False)
    level: Level
    place: str
    row: ConfigRow | None = None


class Values:
    """What rows and environment say for one worker; for all workers where it is None."""

    def __init__(
        self, worker: str | None, rows: Iterable[ConfigRow], environment: Mapping[str, str]
    ) -> None:
        self._worker = worker
        self._environment = environment
        ours = [row for row in rows if row.worker in (worker, None)]
        self._shared = {row.key: row for row in ours if row.worker is None}
        self._own = {row.key: row for row in ours if row.worker is not None}

    def keys(self) -> list[str]:
        """The keys that rows have. What the environment has for others is told by `of` alone."""
        return sorted(self._shared.keys() | self._own.keys())

    def of(self, key: str) -> GivenValue | None:
        """The value that counts before the declared default; None: there is none."""
        if (own := self._own.get(key)) is not None:
            return GivenValue(own.value, "own", "its own row", own)
        if (shared := self._shared.get(key)) is not None:
            return GivenValue(shared.value, "shared", "the shared row", shared)
        for name in names_of(self._worker, key):
            if name in self._environment:
                return GivenValue(self._environment[name], "environment", name)
        return None

    def given(self, keys: Iterable[str]) -> dict[str, GivenValue]:
        found = {key: self.of(key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def level_of(self, key: str) -> Level:
        found = self.of(key)
        return "missing" if found is None else found.level


def texts_in(value: Any) -> Iterator[str]:
    """Every text and number in a value of JSON or of a model, as what a log might repeat of it."""
    if isinstance(value, SecretStr | SecretBytes | Secret):
        yield from texts_in(value.get_secret_value())
    elif isinstance(value, BaseModel):
        yield from texts_in(dict(value))
    elif isinstance(value, bytes):
        yield value.decode(errors="surrogateescape")
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from texts_in(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


_Fields = Mapping[str, GivenValue]


def parsed(model: type[BaseModel], given: _Fields) -> BaseModel:
    """The validated model. Raises ValidationError.

    A text of the environment is taken as it is, and as JSON where the model refuses it: a list is
    written ["a","b"] there.
    """
    values = {key: value.value for key, value in given.items()}
    try:
        return _validate(model, values)
    except ValidationError as error:
        again = dict(values)
        for detail in error.errors(include_input=False, include_url=False, include_context=False):
            key = detail["loc"][0] if detail["loc"] else None
            if isinstance(key, str) and key in given and given[key].level == "environment":
                again[key] = _read_json(given[key].value)
        if again == values:
            raise
        return _validate(model, again)


def _validate(model: type[BaseModel], values: Mapping[str, Any]) -> BaseModel:
    return model.model_validate(values, by_alias=False, by_name=True)


def _read_json(text: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, _JSON) else text


_JSON: Final = (dict, list, int, float, type(None))
