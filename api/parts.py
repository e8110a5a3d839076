"""What the API works with, and how a request finds it."""

from dataclasses import dataclass
from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request

from api.connections.polls import Polls
from api.documents.endpoint import CacheEndpoint
from cache_manager import CacheManager
from database import Database
from job_queue.queue import JobQueue
from stores.hot.store import HotStore


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API works with; built and closed by whoever composes the process."""

    store: HotStore
    cache: CacheManager
    queue: JobQueue
    database: Database


class ApiState(TypedDict):
    """The lifespan's state, as every request carries it."""

    parts: ApiParts
    documents: CacheEndpoint
    at_hand: Polls | None


def _parts(request: Request) -> ApiParts:
    return cast(ApiState, request.scope["state"])["parts"]


Parts = Annotated[ApiParts, Depends(_parts)]
