"""GET /cache: the list of documents, each with version, age and the POST that refreshes it."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.documents.endpoint import PREFIX
from api.documents.models import DocumentList
from api.documents.nothing_yet import refresh_request
from api.openapi import responses
from api.state import RequestParts
from cache_manager import DocumentMeta
from documents.names import SERVED
from timing.clock import now_ms

_DEADLINE_S: Final = 2.0


def build_listing() -> APIRouter:
    router = APIRouter(tags=["documents"])

    @router.get(
        "/cache", response_model=DocumentList, responses=responses(), summary="The documents"
    )
    async def list_documents(parts: RequestParts) -> JSONResponse:
        """Every document with its version and age, null if nothing was collected yet, and the
        POST that refreshes it."""
        async with asyncio.timeout(_DEADLINE_S):
            metas = await parts.cache.read_metas(SERVED)
        asked_ms = now_ms()
        return JSONResponse({"documents": [_entry(n, metas[n], asked_ms) for n in SERVED]})

    return router


def document_state(meta: DocumentMeta, asked_ms: int) -> dict[str, int | float]:
    """A document's version and age in the form of `CacheState`."""
    return {
        "version": meta.version,
        "as_of": meta.as_of_ms,
        "updated_at": meta.updated_at_ms,
        "age_s": max(0, asked_ms - meta.updated_at_ms) / 1000,
        "bytes": meta.stored_bytes,
    }


def _entry(name: str, meta: DocumentMeta | None, asked_ms: int) -> dict[str, Any]:
    post, body = refresh_request(name)
    return {
        "name": name,
        "path": PREFIX + name,
        "document": meta and document_state(meta, asked_ms),
        "refresh": {"post": post, "body": body},
    }
