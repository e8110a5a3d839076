"""The state that the lifespan gives to every request, and the dependency that reads it."""

from typing import TYPE_CHECKING, Annotated, TypedDict, cast

from fastapi import Depends, Request
from starlette.types import ASGIApp

from api.assets.reading import AssetReader
from api.documents.endpoint import CacheEndpoint
from api.events.endpoint import EventsEndpoint
from api.history.answering import HistoryAnswers
from api.parts import Parts
from api.workers.console import Console
from api.workers.control import WorkerControl

if TYPE_CHECKING:
    from api.facade import FacadeEndpoint
    from api.providers.asking import Asking


class ApiState(TypedDict):
    """The lifespan's state, in the scope of every request."""

    parts: Parts
    documents: CacheEndpoint
    assets: AssetReader
    events: EventsEndpoint
    history: HistoryAnswers
    workers: WorkerControl
    console: Console
    asking: "Asking | None"  # None where PROVIDERS=off
    facade: "FacadeEndpoint | None"  # None where FACADE=off
    status: ASGIApp  # api.overview.endpoint.StatusEndpoint


def _parts(request: Request) -> Parts:
    return cast(ApiState, request.scope["state"])["parts"]


RequestParts = Annotated[Parts, Depends(_parts)]


def _workers(request: Request) -> WorkerControl:
    return cast(ApiState, request.scope["state"])["workers"].of_one_request()


RequestWorkers = Annotated[WorkerControl, Depends(_workers)]
