"""GET /: links to the routes, as JSON or as a small page for browsers."""

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from api.models import Home
from api.openapi import responses

# Relative, so that they work below any path prefix of a proxy.
LINKS: Final = {
    "docs": ("docs", "The API, to read and to try"),
    "documents": ("cache", "The documents: version, age, and the POST that refreshes each"),
    "markets": ("coins", "The markets that are collected"),
    "jobs": ("jobs", "The jobs, and how they ended"),
    "ready": ("ready", "Whether the service can do its work"),
    "status": ("status", "All that is known of the service"),
    "metrics": ("metrics", "Numbers for Prometheus"),
    "openapi": ("openapi.json", "The API for programs"),
}
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Perpcache</title>
</head>
<body>
<h1>Perpcache {version}</h1>
<p>{summary}</p>
<ul>
{items}
</ul>
</body>
</html>
"""


def build_home(version: str, summary: str) -> APIRouter:
    """`summary`: one line about the service."""
    router = APIRouter(tags=["documents"])
    items = "\n".join(f'<li><a href="{path}">{what}</a></li>' for path, what in LINKS.values())
    page = _PAGE.format(version=version, summary=summary, items=items)
    links = {name: f"/{path}" for name, (path, _) in LINKS.items()}

    @router.get(
        "/",
        response_model=Home,
        responses={
            **responses(),
            200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        },
        summary="Links",
    )
    async def home(request: Request) -> Response:
        """The links as JSON, or as a page if the client accepts `text/html`."""
        vary = {"Vary": "Accept"}
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(page, headers=vary)
        home = {"name": "Perpcache", "version": version, "summary": summary, "links": links}
        return JSONResponse(home, headers=vary)

    return router
