"""What the OpenAPI page says of the routes of providers: their responses and parameters."""

from typing import Any, Final

from api.openapi import responses

_UNANSWERED: Final = (
    "nobody has answered, and what is known is too old: `tried` names everyone, and why; or a store"
    " does not answer, or there are too many connections or unread answers"
)
Described = dict[str, tuple[str, dict[str, Any]]]
NAMES: Final[dict[str, Any]] = {
    "type": "string",
    "minLength": 1,
    "pattern": "^[A-Za-z0-9._:-]{1,100}$",
}


def asked_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that asks providers: these statuses and those of every route."""
    # Imported here: the tables are told of without what asks.
    from api.providers.models import Unanswered

    found = responses(404, *statuses)
    found[503] = {"description": _UNANSWERED, "model": Unanswered}
    return found


def parameters(lists: Described, single: Described) -> dict[str, Any]:
    """`openapi_extra` of a route: by name, what a parameter says, and the schema of its values."""
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "query",
            "description": f"{text}; repeatable or comma-separated",
            "required": False,
            "style": "form",
            "explode": True,
            "schema": {"type": "array", "minItems": 1, "maxItems": 50, "items": schema},
        }
        for name, (text, schema) in lists.items()
    ]
    found += [
        {"name": name, "in": "query", "description": text, "required": False, "schema": schema}
        for name, (text, schema) in single.items()
    ]
    return {"parameters": found}
