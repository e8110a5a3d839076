"""The JSON schema of a worker's configuration: made of its model, and values checked by it.

Processes that do not import the code of users know this schema from the worker's row.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
from pydantic_core import PydanticSerializationError, to_jsonable_python

Schema = Mapping[str, Any]
_SECRETS: Final = (SecretStr, SecretBytes, Secret)
_DEEPEST: Final = 20  # references that refer to references


def config_schema(model: type[BaseModel] | None) -> dict[str, Any] | None:
    """The JSON schema of a model, with `"writeOnly": true` for each key that is declared secret;
    None without a model. What JSON schema cannot say of a key is left open."""
    if model is None:
        return None
    try:
        schema = model.model_json_schema(by_alias=False)
    except (PydanticInvalidForJsonSchema, PydanticUserError):
        schema = {"type": "object", "properties": {name: {} for name in model.model_fields}}
    properties = schema.setdefault("properties", {})
    for name, field in model.model_fields.items():
        if name in secret_keys(model):
            properties[name] = {"writeOnly": True, **_without_default(properties[name])}
        elif not field.is_required() and "default" not in properties[name]:
            default = field.get_default(call_default_factory=True, validated_data={})
            try:
                properties[name]["default"] = to_jsonable_python(default)
            except (PydanticSerializationError, ValueError):
                properties[name]["default"] = None
    schema["required"] = [n for n, field in model.model_fields.items() if field.is_required()]
    return schema


def secret_keys(model: type[BaseModel] | None) -> frozenset[str]:
    """The keys whose values are secret: declared as SecretStr or its like, also within others."""
    if model is None:
        return frozenset()
    fields = model.model_fields.items()
    return frozenset(name for name, field in fields if _is_secret(field.annotation, set()))


def is_secret(schema: Schema | None, key: str) -> bool:
    return bool(properties_of(schema).get(key, {}).get("writeOnly"))


def properties_of(schema: Schema | None) -> Mapping[str, Any]:
    """The schemas of the keys, by key."""
    found = schema.get("properties") if schema else None
    return found if isinstance(found, Mapping) else {}


def refusal(schema: Schema, key: str, value: Any) -> str | None:
    """Why the schema does not take `value` for a key, without the value; None where it does."""
    return next(_refusals(schema, properties_of(schema).get(key, {}), value, 0), None)


def _without_default(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "default"}


def _is_secret(annotation: Any, seen: set[Any]) -> bool:
    kind = get_origin(annotation) or annotation
    if isinstance(kind, type) and issubclass(kind, _SECRETS):
        return True
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in seen:
        seen.add(kind)
        return any(_is_secret(field.annotation, seen) for field in kind.model_fields.values())
    return any(_is_secret(part, seen) for part in get_args(annotation))


def _refusals(root: Schema, schema: Any, value: Any, depth: int) -> Iterator[str]:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return
    if "$ref" in schema:
        named = root.get("$defs", {}).get(str(schema["$ref"]).rpartition("/")[2])
        yield from _refusals(root, named, value, depth + 1)
    for wanted in schema.get("allOf", ()):
        yield from _refusals(root, wanted, value, depth + 1)
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        told = [next(_refusals(root, choice, value, depth + 1), None) for choice in choices]
        if None not in told:
            yield ", or ".join(dict.fromkeys(str(text) for text in told))
    kinds = schema.get("type")
    if kinds and not any(_KINDS.get(kind, _any)(value) for kind in _listed(kinds)):
        yield f"must be {' or '.join(_NAMES.get(kind, str(kind)) for kind in _listed(kinds))}"
        return
    for name, (applies, holds, wanted) in _BOUNDS.items():
        if name in schema and applies(value) and not holds(value, schema[name]):
            yield f"{wanted} {_told(schema[name])}"
    yield from _refusals_within(root, schema, value, depth)


def _refusals_within(root: Schema, schema: Schema, value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            for text in _refusals(root, schema.get("items"), item, depth + 1):
                yield f"each item {text}"
    if isinstance(value, Mapping):
        known = properties_of(schema)
        for name in schema.get("required", ()):
            if name not in value:
                yield f"must have {name}"
        for name, item in value.items():
            inner = known.get(name, schema.get("additionalProperties"))
            for text in _refusals(root, inner, item, depth + 1):
                yield f"{str(name)[:80]} {text}"


def _listed(kinds: Any) -> list[str]:
    return kinds if isinstance(kinds, list) else [kinds]


def _told(limit: Any) -> str:
    return ", ".join(map(str, limit)) if isinstance(limit, list) else str(limit)


def _any(_: Any) -> bool:
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and float(value).is_integer()


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": _is_text,
    "integer": _is_whole,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": _is_list,
    "object": lambda value: isinstance(value, Mapping),
}
_NAMES: Final[Mapping[str, str]] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
_Bound = tuple[Callable[[Any], bool], Callable[[Any, Any], bool], str]
_BOUNDS: Final[Mapping[str, _Bound]] = {
    "enum": (_any, lambda value, limit: value in limit, "must be one of"),
    "const": (_any, lambda value, limit: value == limit, "must be"),
    "minimum": (_is_number, lambda value, limit: value >= limit, "must be at least"),
    "maximum": (_is_number, lambda value, limit: value <= limit, "must be at most"),
    "exclusiveMinimum": (_is_number, lambda value, limit: value > limit, "must be more than"),
    "exclusiveMaximum": (_is_number, lambda value, limit: value < limit, "must be less than"),
    "minLength": (_is_text, lambda value, limit: len(value) >= limit, "needs a length of at least"),
    "maxLength": (_is_text, lambda value, limit: len(value) <= limit, "may have a length of"),
    "pattern": (
        _is_text,
        lambda value, limit: _matches(limit, value),
        "must match",
    ),
    "minItems": (_is_list, lambda value, limit: len(value) >= limit, "needs items, at least"),
    "maxItems": (_is_list, lambda value, limit: len(value) <= limit, "may have items, at most"),
}


def _matches(pattern: str, value: str) -> bool:
    """Whether the value has the pattern; one that only pydantic's engine knows is left to it."""
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True
