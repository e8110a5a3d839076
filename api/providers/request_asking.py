"""RequestAsking: the dependency by which a route has what it asks with."""

from typing import Annotated, cast

from fastapi import Depends, HTTPException, Request

from api.providers.asking import Asking
from api.providers.off import OFF
from api.state import ApiState


def _asking(request: Request) -> Asking:
    found = cast(ApiState, request.scope["state"])["asking"]
    if found is None:
        raise HTTPException(404, OFF)
    return found


RequestAsking = Annotated[Asking, Depends(_asking)]
