"""What an operator sees and sets of workers' configuration: by rows, without workers' code.

Values that are set are checked by the JSON schema that the worker's row has of its declaration; and
by the model itself where this process knows it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from logging_setup import hide_secrets
from stores.cold.workers.config import HIDDEN_VALUE, ConfigRow, WorkerConfig
from workers.config_schema import Schema, config_schema, is_secret, properties_of, refusal
from workers.config_values import GivenValue, Level, Values, parsed, texts_in
from workers.definition import WorkerDefinition
from workers.environment import names_of

LONGEST_VALUE: Final = 32_768  # characters as JSON
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_MOST_NEAR: Final = 3


class UnknownConfigWorker(Exception):
    """There is no such worker. `near`: names that resemble it."""

    def __init__(self, name: str, near: list[str]) -> None:
        super().__init__(f"no worker is called {name[:80]!r}")
        self.near = near


class UnknownConfigKey(Exception):
    """The worker declares no such key. `near`: keys that resemble it."""

    def __init__(self, worker: str, key: str, keys: Iterable[str]) -> None:
        known = sorted(keys)
        told = f"it declares {', '.join(known)}" if known else "it declares none"
        super().__init__(f"worker {worker} declares no configuration key {key[:80]!r}: {told}")
        self.near = get_close_matches(key, known, _MOST_NEAR)


class WrongConfigValue(Exception):
    """A value that cannot be set; the message says what is allowed, and does not repeat it."""


@dataclass(frozen=True, slots=True)
class Explained:
    """What counts for a key, and which level gave it; a secret value is HIDDEN_VALUE.

    `declared`: its JSON schema; empty where the worker declares no model. `problem`: why the value
    is not allowed, such as one that was set before the declaration changed. `environment`: the
    variables that are read, the first that is set counts. They, and with them level and value, are
    those of this host. `changed_ms` and `changed_by`: of the row, where one gave the value.
    """

    key: str
    value: Any
    level: Level
    secret: bool
    required: bool = False
    declared: Schema = field(default_factory=dict)
    problem: str | None = None
    environment: tuple[str, ...] = ()
    changed_ms: int | None = None
    changed_by: str | None = None


class ConfigControl:
    """Reads and changes rows. All methods raise DatabaseUnavailable.

    `definitions`: of the workers whose code this process has; none of them has to be there.
    """

    def __init__(
        self,
        table: WorkerConfig,
        environment: Mapping[str, str],
        definitions: Mapping[str, WorkerDefinition] | None = None,
    ) -> None:
        self._table = table
        self._environment = environment
        self._definitions = definitions or {}

    async def explained(self, worker: str) -> list[Explained]:
        """Every key that the worker declares, or has a row of. Raises UnknownConfigWorker."""
        schema = _schema_of(worker, await self._schemas())
        values = Values(worker, await self._table.rows(), self._environment)
        names = [*properties_of(schema)]
        if schema is None:
            names = values.keys()
        return [_explained(worker, key, schema, values.of(key)) for key in names]

    async def shared(self) -> list[Explained]:
        """The shared rows."""
        schemas = await self._schemas()
        rows = [row for row in await self._table.rows() if row.worker is None]
        return [_explained_row(row, schemas) for row in rows]

    async def put(self, worker: str | None, key: str, value: Any, by: str) -> Explained:
        """Sets a key of a worker, or of all where it is None, and tells what counts now.

        `by`: who asks. Raises UnknownConfigWorker, UnknownConfigKey and WrongConfigValue.
        """
        schemas = await self._schemas()
        concerned = _concerned(worker, key, schemas)
        secret = any(is_secret(schema, key) for schema in concerned.values())
        if secret:
            hide_secrets(texts_in(value))
        _check_value(value)
        rows = await self._table.rows()
        for name, schema in concerned.items():
            why = refusal(schema, key, value) if schema is not None else None
            if why is None:
                why = self._refused_by_model(name, worker, key, value, rows)
            if why is not None:
                told = "" if worker is not None else f"for worker {name} "
                raise WrongConfigValue(f"{key}: {told}{why}")
        await self._table.put(worker, key, value, secret=secret, by=by)
        if worker is None:
            return next(one for one in await self.shared() if one.key == key)
        return next(one for one in await self.explained(worker) if one.key == key)

    async def delete(self, worker: str | None, key: str) -> bool:
        """Deletes a row; whether there was one. Raises UnknownConfigWorker."""
        if worker is not None:
            _schema_of(worker, await self._schemas())
        if not _KEY.fullmatch(key):
            return False  # none was ever put; a character may be one that no database holds
        return await self._table.delete(worker, key)

    async def _schemas(self) -> Mapping[str, Schema | None]:
        """What each worker declares; what this process knows itself is the newer."""
        own = {name: config_schema(one.config) for name, one in self._definitions.items()}
        return {**await self._table.schemas(), **own}

    def _refused_by_model(
        self, name: str, worker: str | None, key: str, value: Any, rows: list[ConfigRow]
    ) -> str | None:
        """Why the model of worker `name` does not take the value beside all others that count."""
        definition = self._definitions.get(name)
        if definition is None or definition.config is None:
            return None
        given = Values(name, rows, self._environment).given(definition.config.model_fields)
        if worker is None and key in given and given[key].level == "own":
            return None  # its own row counts
        given[key] = GivenValue(value, "own", "")
        return _told_by_model(definition.config, given, key)


def _told_by_model(model: type[BaseModel], given: Mapping[str, GivenValue], key: str) -> str | None:
    try:
        parsed(model, given)
    except ValidationError as error:
        for detail in error.errors(include_input=False, include_url=False, include_context=False):
            if not detail["loc"] or detail["loc"][0] == key:
                return str(detail["msg"]).removeprefix("Value error, ")
    return None


def _schema_of(worker: str, schemas: Mapping[str, Schema | None]) -> Schema | None:
    if worker not in schemas:
        raise UnknownConfigWorker(worker, get_close_matches(worker, schemas, _MOST_NEAR))
    return schemas[worker]


def _concerned(
    worker: str | None, key: str, schemas: Mapping[str, Schema | None]
) -> Mapping[str, Schema | None]:
    """The workers whose declaration decides of a value."""
    if not _KEY.fullmatch(key):
        raise WrongConfigValue(
            "the key must be 1 to 100 letters, digits and . _ -, and begin with a letter or _"
        )
    if worker is None:
        return {name: one for name, one in schemas.items() if key in properties_of(one)}
    schema = _schema_of(worker, schemas)
    if schema is not None and key not in properties_of(schema):
        raise UnknownConfigKey(worker, key, properties_of(schema))
    return {worker: schema}


def _check_value(value: Any) -> None:
    try:
        text = json.dumps(value, allow_nan=False)
        json.dumps(value, ensure_ascii=False).encode()
    except (TypeError, ValueError):  # a lone surrogate, NaN
        raise WrongConfigValue(
            "the value must be JSON, with finite numbers and whole characters"
        ) from None
    if len(text) > LONGEST_VALUE:
        raise WrongConfigValue(f"the value may have {LONGEST_VALUE} characters as JSON")


def _explained(worker: str, key: str, schema: Schema | None, found: GivenValue | None) -> Explained:
    declared = properties_of(schema).get(key, {})
    row = found.row if found else None
    secret = is_secret(schema, key) or (row is not None and row.secret)
    required = schema is not None and key in schema.get("required", ())
    level: Level = found.level if found else "missing" if required else "default"
    value = found.value if found else declared.get("default")
    problem = "has no value" if level == "missing" else None
    if found is not None and found.level in ("own", "shared") and schema is not None:
        problem = refusal(schema, key, found.value)
    if secret and level != "missing":
        value = HIDDEN_VALUE
    return Explained(
        *(key, value, level, secret, required, declared, problem),
        environment=tuple(names_of(worker, key)) if schema is not None else (),
        changed_ms=row.changed_ms if row else None,
        changed_by=row.changed_by if row else None,
    )


def _explained_row(row: ConfigRow, schemas: Mapping[str, Schema | None]) -> Explained:
    secret = row.secret or any(is_secret(schema, row.key) for schema in schemas.values())
    return Explained(
        *(row.key, HIDDEN_VALUE if secret else row.value, "shared", secret),
        changed_ms=row.changed_ms,
        changed_by=row.changed_by,
    )
