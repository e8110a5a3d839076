"""docs/http.md: every request that the API answers, made from its OpenAPI description."""

from collections.abc import Iterator
from typing import Any, Final

from api.openapi import ANYWHERE, PROBLEMS
from api_routes import create_app
from config import Settings

_BEGIN: Final = """# Requests

Every request that the API answers. This page is made from the service's own OpenAPI description
by `python -m tests.docs.generated`; a running service shows the same, with all fields of each
answer and a button to try it, at `/docs`, and as JSON at `/openapi.json`. [Reading](reading.md)
tells which of them a bot needs.

Times are UTC milliseconds, durations seconds. Errors are JSON: `{"detail": …}`, a sentence, and
where a parameter is wrong a list that names it. A GET of documents and events can be asked with
HEAD, too.
"""
_DEEPEST: Final = 8


def page() -> str:
    """The whole page."""
    # The defaults alone, whatever the environment says.
    described = create_app(Settings.model_construct(), _never).openapi()
    return "\n".join([_BEGIN, *_errors(), *_sections(described)])


def _never() -> Any:
    raise RuntimeError("the application is described, not started")


def _errors() -> Iterator[str]:
    yield "## Errors of every request\n"
    yield "| status | when |\n|---|---|"
    yield from (f"| {status} | {PROBLEMS[status]} |" for status in sorted(ANYWHERE))
    yield "\nThose of single requests stand with them.\n"


def _sections(described: dict[str, Any]) -> Iterator[str]:
    for tag in described["tags"]:
        yield f"## {tag['description']}\n"
        for path, item in described["paths"].items():
            for method, operation in item.items():
                if operation["tags"] == [tag["name"]] and method != "head":
                    yield from _operation(described, method, path, operation)


def _operation(
    described: dict[str, Any], method: str, path: str, operation: dict[str, Any]
) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`\n"
    told = " ".join(operation.get("description", "").split())
    yield f"{operation['summary']}. {told}".rstrip() + "\n"
    rows = [_parameter(described, each) for each in operation.get("parameters", ())]
    rows += _body(described, operation)
    if rows:
        yield "| parameter | values | meaning |\n|---|---|---|"
        yield from rows
        yield ""
    yield _answers(described, operation) + "\n"


def _parameter(described: dict[str, Any], parameter: dict[str, Any]) -> str:
    needed = ", needed" if parameter.get("required") and parameter["in"] != "path" else ""
    where = "" if parameter["in"] == "query" else f" ({parameter['in']})"
    values = _values(described, parameter["schema"])
    meaning = parameter.get("description", "")
    return _row(f"`{parameter['name']}`{where}", values + needed, meaning)


def _body(described: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    if "requestBody" not in operation:
        return []
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    fields = _named(described, schema)
    needed = fields.get("required", ())
    return [
        _row(
            f"`{name}` (body)",
            _values(described, field) + (", needed" if name in needed else ""),
            field.get("description", ""),
        )
        for name, field in fields.get("properties", {}).items()
    ]


def _row(*cells: str) -> str:
    shown = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return ("| " + " | ".join(shown) + " |").replace("|  |", "| |")


def _answers(described: dict[str, Any], operation: dict[str, Any]) -> str:
    told = []
    for status, answer in sorted(operation["responses"].items()):
        if int(status) in ANYWHERE:
            continue
        if int(status) >= 400:
            told.append(f"**{status}** {PROBLEMS[int(status)]}")
            continue
        schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
        fields = ", ".join(f"`{name}`" for name in _named(described, schema).get("properties", ()))
        said = answer.get("description", "").replace("Successful Response", "")
        told.append(f"**{status}** " + (f"{said}: {fields}" if said and fields else said or fields))
    return "Answers: " + "; ".join(each.strip() for each in told) + "."


def _named(described: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema itself where this one refers to it."""
    while "$ref" in schema:
        found: dict[str, Any] = described["components"]["schemas"][_name(schema)]
        schema = found
    return schema


def _name(schema: dict[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _values(described: dict[str, Any], schema: dict[str, Any], depth: int = 0) -> str:
    """What a schema takes, in a few words."""
    schema = _named(described, schema)
    if depth > _DEEPEST:
        return str(schema.get("type", "any"))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if some := schema.get("anyOf") or schema.get("oneOf"):
        each = [one for one in some if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(_values(described, one, depth + 1) for one in each))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"some of {_values(described, schema.get('items', {}), depth + 1)}"
    return kind + _limits(schema) if kind in ("integer", "number") else kind


def _limits(schema: dict[str, Any]) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high = schema.get("maximum")
    words = (
        f" from {low:,}" if low is not None else f" above {above:,}" if above is not None else ""
    )
    # Larger ones are limits of integers, not of the parameter.
    return words + (f" to {high:,}" if high is not None and high < 10**12 else "")
