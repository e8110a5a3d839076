"""The configuration of workers: own row, shared row, environment, declared default; read and set.

Rows are read at most twice a second in a process, and again when a change is told, so that a change
counts within a second on every host. While the database is away the rows read last count.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import structlog
from pydantic import BaseModel, ValidationError

from database import DatabaseUnavailable
from logging_setup import OutageLog, cleaned_lines, hide_secrets
from stores.cold.workers.config import ConfigRow, WorkerConfig
from texts.foreign import cut, foreign_text
from workers.config_schema import secret_keys
from workers.config_values import Values, parsed, texts_in
from workers.definition import WorkerDefinition
from workers.environment import names_of

FRESH_S: Final = 0.5
_AGAIN_S: Final = 5.0  # after the database gave no answer
_LONGEST_TOLD: Final = 300

_log = structlog.get_logger(__name__)


class WrongConfiguration(Exception):
    """A worker cannot run with the values of its configuration; the message names worker and keys.

    `keys`: those that are missing or wrong.
    """

    def __init__(self, worker: str, problems: Mapping[str, str]) -> None:
        told = "; ".join(f"{key}: {text}" if key else text for key, text in problems.items())
        super().__init__(f"configuration of worker {worker}: {told}")
        self.keys = tuple(problems)


class ReadConfig(Mapping[str, Any]):
    """The configuration of one run. With a model its validated fields, of which secret ones stay
    SecretStr; without one any key that a row or the environment has, as a text or what JSON says.

    `model`: the validated object, None without a model.
    """

    def __init__(self, worker: str, values: Values, model: BaseModel | None) -> None:
        self.model = model
        self._worker = worker
        self._values = values
        self._keys = (
            tuple(values.keys())
            if model is None
            else (*type(model).model_fields, *(model.model_extra or ()))
        )

    def __getitem__(self, key: str) -> Any:
        if self.model is not None:
            if key in self._keys:
                return getattr(self.model, key)
            raise KeyError(f"worker {self._worker} declares no key {key!r}: {_told(self._keys)}")
        found = self._values.of(key)
        if found is None:
            raise KeyError(
                f"worker {self._worker} has no value of {key!r}: {how_to_set(self._worker, key)}"
            )
        return found.value

    def __contains__(self, key: object) -> bool:
        if self.model is not None:
            return key in self._keys
        return isinstance(key, str) and self._values.of(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<configuration of {self._worker}: {', '.join(self._keys)}>"


class Configuration:
    """Reads what counts for workers. `environment`: as of addresses.environment.environment_of."""

    def __init__(
        self,
        rows: WorkerConfig,
        environment: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = rows
        self._environment = environment
        self._clock = clock
        self._rows: list[ConfigRow] | None = None
        self._fresh_until_s = 0.0
        self._reading = asyncio.Lock()
        self._outage = OutageLog(_log, "worker_config_not_read", "worker_config_read", clock=clock)

    def forget(self) -> None:
        """Has the next `read` ask the database again: rows were changed."""
        self._fresh_until_s = 0.0

    async def read(self, definition: WorkerDefinition) -> ReadConfig:
        """What counts for a run that begins now.

        Raises WrongConfiguration; DatabaseUnavailable only before rows were ever read.
        """
        values = Values(definition.name, await self._known_rows(), self._environment)
        if definition.config is None:
            return ReadConfig(definition.name, values, None)
        return ReadConfig(
            definition.name, values, _validated(definition, definition.config, values)
        )

    async def given(self, definition: WorkerDefinition) -> dict[str, Any]:
        """What rows and the environment give a worker now, unchecked: where it differs from before,
        its configuration has changed. Raises as `read` does, but no WrongConfiguration."""
        values = Values(definition.name, await self._known_rows(), self._environment)
        model = definition.config
        keys = values.keys() if model is None else model.model_fields
        return {key: found.value for key, found in values.given(keys).items()}

    async def wrong_at_start(self, definitions: Iterable[WorkerDefinition]) -> list[str]:
        """One line, with file and line of the declaration, for each worker whose required keys have
        no value, or whose environment has a wrong one; and what is secret is hidden from now on.

        A wrong row stops no start: it fails the worker's runs. Raises DatabaseUnavailable.
        """
        declared = [one for one in definitions if one.config is not None]
        await self._table.hide({one.name: sorted(secret_keys(one.config)) for one in declared})
        self.forget()
        lines = []
        for definition in declared:
            try:
                await self.read(definition)
            except WrongConfiguration as error:
                values = Values(definition.name, self._rows or [], self._environment)
                if not all(values.level_of(key) in ("own", "shared") for key in error.keys):
                    lines.append(f"{definition.place}: {error}")
        return lines

    async def _known_rows(self) -> list[ConfigRow]:
        async with self._reading:
            if self._rows is not None and self._clock() < self._fresh_until_s:
                return self._rows
            self._fresh_until_s = self._clock() + FRESH_S  # from before the read
            try:
                self._rows = await self._table.rows()
            except DatabaseUnavailable as error:
                if self._rows is None:
                    raise
                self._fresh_until_s = self._clock() + _AGAIN_S
                self._outage.failed(error)
            else:
                self._outage.recovered()
                hide_secrets(
                    text for row in self._rows if row.secret for text in texts_in(row.value)
                )
            return self._rows


def how_to_set(worker: str | None, key: str) -> str:
    """In words where a value of a key can be given."""
    return f"set {' or '.join(names_of(worker, key))}, or its row (PUT /api/config)"


def _validated(definition: WorkerDefinition, model: type[BaseModel], values: Values) -> BaseModel:
    given = values.given(model.model_fields)
    secret = secret_keys(model)
    hide_secrets(text for key in secret & given.keys() for text in texts_in(given[key].value))
    try:
        found = parsed(model, given)
    except ValidationError as error:
        raise WrongConfiguration(
            definition.name, _problems(definition.name, given, error)
        ) from None
    # Declared defaults, too, and what validators have made of values.
    hide_secrets(text for key in secret for text in texts_in(getattr(found, key)))
    return found


def _problems(worker: str, given: Mapping[str, Any], error: ValidationError) -> Mapping[str, str]:
    """What is wrong, by key, without values."""
    found: dict[str, str] = {}
    for detail in error.errors(include_input=False, include_url=False, include_context=False):
        key = str(detail["loc"][0]) if detail["loc"] else ""
        message = str(detail["msg"]).removeprefix("Value error, ")
        if detail["type"] == "missing" and key not in given:
            text = f"has no value: {how_to_set(worker, key)}"
        else:
            text = foreign_text(cleaned_lines(cut(message, _LONGEST_TOLD)))
            if key in given:
                text = f"{text} (in {given[key].place})"
        found.setdefault(key, text)
    return found


def _told(keys: Iterable[str]) -> str:
    return f"it declares {', '.join(keys) or 'none'}"
