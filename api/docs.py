"""GET /docs: Swagger UI over /openapi.json, from installed files, without a CDN."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

# The package with Swagger UI's files; none of its code is run.
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
<style>
#token { max-width: 30rem; margin: 3rem auto; padding: 0 1rem; font: 1rem system-ui, sans-serif; }
#token input, #token button { font: inherit; padding: 0.3rem 0.6rem; }
#wrong { color: #ab221b; }
</style>
</head>
<body>
<form id="token" hidden>
<h1>Perpcache</h1>
<p>This service describes itself only with its READ_TOKEN (or API_TOKEN).</p>
<p id="wrong" role="alert"></p>
<label>READ_TOKEN <input type="password" autocomplete="off" required></label>
<button>Go on</button>
<p>It is kept in this page's memory only.</p>
</form>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# The description is asked for here: where READ_TOKEN guards it, with the token that its user types.
_START: Final = """const form = document.getElementById("token");
let token = null;
const guarded = (headers) =>
  token === null ? headers : { Authorization: `Bearer ${token}`, ...headers };

async function start() {
  const answer = await fetch("openapi.json", { headers: guarded({}) });
  if (answer.status === 401) return ask();
  form.hidden = true;
  SwaggerUIBundle({
    ...(answer.ok ? { spec: await answer.json() } : { url: "openapi.json" }),
    dom_id: "#swagger-ui",
    deepLinking: true,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
    requestInterceptor: (request) => {
      const isOurs = new URL(request.url, location.href).origin === location.origin;
      return isOurs ? { ...request, headers: guarded(request.headers) } : request;
    },
  });
}

function ask() {
  document.getElementById("wrong").textContent =
    token === null ? "" : "The service did not take the last one.";
  form.hidden = false;
  form.querySelector("input").focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  token = form.querySelector("input").value.trim();
  start();
});
start();
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
        raise RuntimeError(f"the package {_PACKAGE} (files of /docs) is not installed")
    return Path(package.submodule_search_locations[0]) / "static"
