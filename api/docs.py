"""The pages about the API: /openapi.json, and /docs from files on this machine, no CDN asked."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, HTMLResponse, Response
from pydantic.json_schema import models_json_schema

from api.documents.query import LONGEST_WAIT_S
from api.models import Document, GetMarketData, InvalidRequest, Problem
from documents.names import DOCUMENTS
from market.markets import Exchange

# The package that brings Swagger UI's files; nothing of its code is run.
_PACKAGE: Final = "fastapi_offline"
_FILES: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Perpcache</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""


def build_docs() -> APIRouter:
    """/docs and the files it loads."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})

    @router.get("/docs/start.js")
    async def start() -> Response:
        return Response(_START, media_type="text/javascript")

    def file(name: str) -> None:
        @router.get(f"/docs/{name}")
        async def send() -> FileResponse:
            headers = {"Cache-Control": "max-age=86400"}
            return FileResponse(_folder() / name, media_type=_FILES[name], headers=headers)

    for name in _FILES:
        file(name)
    return router


@cache
def _folder() -> Path:
    package = find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise RuntimeError(f"the package {_PACKAGE}, which brings the files of /docs, is missing")
    return Path(package.submodule_search_locations[0]) / "static"


def openapi(app: FastAPI) -> dict[str, Any]:
    """The whole surface, /cache/{name} included, which FastAPI does not route itself."""
    page = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
    )
    _, schemas = models_json_schema(
        [
            (GetMarketData, "validation"),
            (Document, "serialization"),
            (InvalidRequest, "serialization"),
            (Problem, "serialization"),
        ],
        ref_template="#/components/schemas/{model}",
    )
    components = page.setdefault("components", {}).setdefault("schemas", {})
    components.update(schemas["$defs"])
    # FastAPI adds a 422 of its own form to what has parameters; ours are declared.
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    for operation in (o for item in page["paths"].values() for o in item.values()):
        if "HTTPValidationError" in str(operation["responses"].get("422")):
            del operation["responses"]["422"]
    get = _operation()
    page["paths"]["/cache/{name}"] = {"get": get, "head": _head(get)}
    return page


def _operation() -> dict[str, Any]:
    return {
        "tags": ["documents"],
        "summary": "Read a document",
        "operationId": "read_document",
        "description": "One timeframe with all its markets, or the funding of all markets "
        "(`global_fr`). Poll it with `If-None-Match` and the last `ETag`: as long as there is "
        "nothing new the answer is an empty 304. Ask for `deflate` to get the stored bytes as "
        "they are. Filters are applied in the order in which they are listed here.",
        "parameters": [
            _parameter("name", "path", "which document", {"enum": list(DOCUMENTS)}, "4h"),
            _list_parameter("exchange", "only these exchanges", {"enum": [*map(str, Exchange)]}),
            _list_parameter("symbol", "only these symbols; one that is not there is left out", {}),
            _parameter(
                "since",
                "query",
                "only rows that opened (or settled) at or after this: UTC milliseconds",
                {"type": "integer", "minimum": 0, "maximum": 10**16 - 1},
            ),
            _parameter("closed", "query", "no row that is still forming", {"type": "boolean"}),
            _parameter(
                "limit",
                "query",
                "only the last n rows of each market",
                {"type": "integer", "minimum": 1, "maximum": 10**16 - 1},
            ),
            _parameter(
                "wait",
                "query",
                "seconds to hold the request until there is a version other than the one in "
                "If-None-Match, or a first one",
                {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT_S, "multipleOf": 0.001},
            ),
            _parameter("If-None-Match", "header", "the ETag of what you have", {"type": "string"}),
            _parameter(
                "Accept-Encoding", "header", "deflate, gzip or identity", {"type": "string"}
            ),
        ],
        "responses": {
            "200": {
                "description": "the document",
                "headers": _HEADERS | {"Content-Encoding": _header("none, gzip or deflate")},
                "content": content("Document"),
            },
            "304": {"description": "you have the newest version", "headers": _HEADERS},
            **{str(status): _problem(status) for status in sorted(ANYWHERE | {404, 406, 422, 429})},
        },
    }


def _head(get: dict[str, Any]) -> dict[str, Any]:
    responses = {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in get["responses"].items()
    }
    return get | {
        "summary": "The headers of a document",
        "operationId": "head_document",
        "responses": responses,
    }


PROBLEMS: Final = {
    400: "this is no request in HTTP/1.1, or its body broke off",
    401: "the token is missing or wrong",
    403: "closed until the service is started with CRON_SECRET set",
    404: "there is none (yet); the detail says what to do",
    405: "another method is meant",
    406: "no coding that we have is acceptable to the client",
    408: "the body did not come in time",
    409: "the worker is busy, and you asked not to wait for it",
    413: "the body is larger than 64 KB",
    414: "the path and query are longer than 16 KB",
    422: "a parameter or the body is wrong; the detail names what is allowed",
    429: "as many requests of yours are held as one client may have; try again later",
    431: "the headers are larger than 32 KB, or more than 100",
    500: "a mistake of ours",
    503: "a store does not answer, or there are too many connections; try again later",
    505: "HTTP/1.1 and HTTP/1.0 are spoken here",
}
# What every route may answer.
ANYWHERE: Final = frozenset((400, 405, 413, 414, 431, 500, 503, 505))


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What FastAPI's routes declare as `responses`; those that every route may give included."""
    return {
        status: {
            "description": PROBLEMS[status],
            "model": InvalidRequest if status == 422 else Problem,
        }
        for status in sorted(ANYWHERE.union(statuses))
    }


def _problem(status: int) -> dict[str, Any]:
    model = "InvalidRequest" if status == 422 else "Problem"
    return {"description": PROBLEMS[status], "content": content(model)}


def content(model: str) -> dict[str, Any]:
    """A JSON body of this model."""
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model}"}}}


def _parameter(
    name: str, place: str, description: str, schema: dict[str, Any], example: str | None = None
) -> dict[str, Any]:
    parameter = {
        "name": name,
        "in": place,
        "description": description,
        "required": place == "path",
        "schema": {"type": "string"} | schema,
    }
    return parameter | ({"example": example} if example else {})


def _list_parameter(name: str, description: str, items: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "array", "items": {"type": "string"} | items}
    words = f"{description}; repeatable or comma-separated"
    return _parameter(name, "query", words, schema) | {"style": "form", "explode": True}


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


_HEADERS: Final = {
    "ETag": _header('"<version>-<content hash>[-<query hash>]-<coding>"'),
    "Last-Modified": _header("when this version was made"),
    "Age": _header("seconds since this version was made"),
    "Cache-Control": _header("no-cache"),
    "Vary": _header("Accept-Encoding"),
}
