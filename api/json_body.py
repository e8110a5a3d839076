"""Reads the JSON body of a POST as a model; what is wrong with it is told by a 422."""

from typing import TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from api.request_body import read_body

Model = TypeVar("Model", bound=BaseModel)


async def read_json(request: Request, model: type[Model]) -> Model:
    """The body as `model`. Raises RequestValidationError, and what `read_body` raises."""
    body = await read_body(request)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        # Browsers send a CORS preflight before a request of this type to another origin.
        message = "must be application/json"
        error = {"type": "content_type", "loc": ("header", "content-type"), "msg": message}
        raise RequestValidationError([error])
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(
            [
                {**detail, "loc": ("body", *detail["loc"]), "allowed": _fields(model)}
                for detail in error.errors()
            ]
        ) from None


def _fields(model: type[BaseModel]) -> str:
    """The fields that the model has, in words."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    if len(names) == 1:
        return f"the only one is {names[0]}"
    return f"there are {', '.join(names)}"
