"""GET /api/workers/{name}/published: what a WebSocket worker has published, from the hot store."""

import asyncio
import json
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.documents.query import InvalidQuery, QueryReader
from api.openapi import responses
from api.state import RequestParts, RequestWorkers
from api.workers.control import STORE_DEADLINE_S
from api.workers.models import PublishedValues
from api.workers.routes import PATH, WorkerName
from stores.hot.store import StoreUnavailable
from workers.streams.published import (
    READ_AT_ONCE,
    PublishedValue,
    is_entry_id,
    read_published,
)

_USUAL_LIMIT: Final = 100
_PARAMETERS: Final[list[dict[str, Any]]] = [
    {
        "name": "after",
        "in": "query",
        "description": "values after the one with this id, the oldest first: `next` of an answer;"
        " else the last ones",
        "required": False,
        "schema": {"type": "string", "pattern": "^[0-9]{1,18}-[0-9]{1,18}$"},
    },
    {
        "name": "limit",
        "in": "query",
        "description": f"at most n values, and at most {READ_AT_ONCE}",
        "required": False,
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": READ_AT_ONCE,
            "default": _USUAL_LIMIT,
        },
    },
]


def build_published() -> APIRouter:
    router = APIRouter(tags=["workers"])

    @router.get(
        f"{PATH}/{{name}}/published",
        response_model=PublishedValues,
        responses=responses(404, 422),
        summary="What a WebSocket worker has published",
        name="list_published",
        openapi_extra={"parameters": _PARAMETERS},
    )
    async def list_published(
        name: WorkerName, request: Request, parts: RequestParts, workers: RequestWorkers
    ) -> Response:
        """The latest value, and the last ones as far back as its `keep` goes, or those after
        `after`; at most 1 MiB of them. Values are kept for a day after the last one."""
        after, limit = _which(request.scope["query_string"])
        await workers.ask(workers.control.worker(name))
        try:
            async with asyncio.timeout(STORE_DEADLINE_S):
                found = await read_published(parts.store, name, after=after, count=limit)
        except TimeoutError:
            error = f"the hot store did not answer within {STORE_DEADLINE_S:g} s"
            raise StoreUnavailable(error) from None

        def shown(value: PublishedValue) -> dict[str, Any]:
            return {
                "id": value.id,
                "token": value.token,
                "number": value.number,
                "at": value.at_ms,
                "age_s": max(0, found.now_ms - value.at_ms) / 1000,
                "value": value.value,
            }

        body = {
            "worker": name,
            "latest": None if found.latest is None else shown(found.latest),
            "values": [shown(value) for value in found.values],
            "next": found.next,
        }
        # Halves of surrogate pairs, which a worker may publish and no UTF-8 can hold, become ?.
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        return Response(text.encode("utf-8", "replace"), media_type="application/json")

    return router


def _which(query_string: bytes) -> tuple[str | None, int]:
    """`after` and `limit`. Raises InvalidQuery."""
    reader = QueryReader(query_string, ("after", "limit"))
    after, limit = reader.single("after"), reader.integer("limit", least=1)
    if after is not None and not is_entry_id(after):
        reader.refuse("after", "id", "must be the id of a value, such as `next` of an answer")
    if limit is not None and limit > READ_AT_ONCE:
        message = f"must be at most {READ_AT_ONCE}; `next`, as `after`, leads to what follows"
        reader.refuse("limit", "integer", message)
    if reader.errors:
        raise InvalidQuery(reader.errors)
    return after, limit or _USUAL_LIMIT
