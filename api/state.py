"""What the application's lifespan holds, and how a request finds its parts there."""

from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request

from api.documents.endpoint import CacheEndpoint
from api.parts import Parts


class ApiState(TypedDict):
    """The lifespan's state, as every request carries it."""

    parts: Parts
    documents: CacheEndpoint


def _parts(request: Request) -> Parts:
    return cast(ApiState, request.scope["state"])["parts"]


RequestParts = Annotated[Parts, Depends(_parts)]
