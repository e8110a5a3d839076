"""GET /: links to the routes as JSON; browsers are led to the page."""

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from api.answers import Scope
from api.models import Home
from api.openapi import responses

# What each link leads to, below any path prefix of a proxy.
LINKS: Final = {
    "page": "ui/",
    "docs": "docs",
    "documents": "cache",
    "markets": "coins",
    "jobs": "jobs",
    "ready": "ready",
    "status": "status",
    "metrics": "metrics",
    "openapi": "openapi.json",
}


def leads_to_page(scope: Scope) -> bool:
    """Whether a request for `/` is a browser's, which is led to the page."""
    accepted = [value for name, value in scope["headers"] if name == b"accept"]
    return b"text/html" in b",".join(accepted)


def build_home(version: str, summary: str) -> APIRouter:
    """`summary`: one line about the service."""
    router = APIRouter(tags=["documents"])
    links = {name: f"/{path}" for name, path in LINKS.items()}

    @router.get(
        "/",
        response_model=Home,
        responses={**responses(), 307: {"description": "to the page, for browsers"}},
        summary="Links",
    )
    async def home(request: Request) -> Response:
        """The links as JSON; clients that accept `text/html` are sent to the page at `/ui/`."""
        vary = {"Vary": "Accept"}
        if leads_to_page(request.scope):
            return RedirectResponse(LINKS["page"], 307, vary)
        home = {"name": "Perpcache", "version": version, "summary": summary, "links": links}
        return JSONResponse(home, headers=vary)

    return router
