"""GET /ui: the page for operators, from the files of dashboard/, read once at start."""

import hashlib
import re
import zlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from api.documents.content_coding import Coding, choose_coding
from api.documents.validators import entity_tag, etag_matches

FOLDER: Final = Path(__file__).resolve().parents[1] / "dashboard"
_PAGE: Final = "index.html"
# What is sent of the folder; its other files (vendor.toml) are for who works on it.
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_INLINE: Final = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _File:
    """A file in every coding. `policy`: its Content-Security-Policy."""

    media_type: str
    digest: bytes
    bodies: Mapping[Coding, bytes]
    policy: str


def build_dashboard(folder: Path = FOLDER) -> APIRouter:
    """The page at /ui/ and the files that it loads. Raises FileNotFoundError without the page."""
    router = APIRouter(include_in_schema=False)
    files = _read(folder)

    @router.get("/ui")
    async def ui() -> Response:
        # Relative, so that it works below any path prefix of a proxy.
        return RedirectResponse("ui/", 307, {"Cache-Control": "no-cache"})

    @router.get("/ui/{path:path}")
    async def ui_file(request: Request, path: str) -> Response:
        found = files.get(path or _PAGE)
        if found is None:
            raise HTTPException(404, "the page has no such file")
        return _answer(request, found)

    return router


def _answer(request: Request, file: _File) -> Response:
    """The file, or 304 where the client has it."""
    asked = request.headers
    accepts = asked.get("accept-encoding")
    coding = choose_coding(accepts.encode("latin-1") if accepts is not None else None)
    coding = coding or Coding.IDENTITY  # as RFC 9110, 12.5.3 allows
    headers = {
        "ETag": entity_tag(file.digest, coding).decode(),
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
        "Content-Security-Policy": file.policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    }
    if etag_matches(asked.get("if-none-match", "").encode("latin-1"), file.digest):
        return Response(status_code=304, headers=headers)
    if coding is not Coding.IDENTITY:
        headers["Content-Encoding"] = coding
    return Response(file.bodies[coding], media_type=file.media_type, headers=headers)


@cache
def _read(folder: Path) -> Mapping[str, _File]:
    """Every file that is sent, by its path below /ui/; read and packed once in a process."""
    page = (folder / _PAGE).read_text(encoding="utf-8")
    policy = policy_of(page)
    return {
        path.relative_to(folder).as_posix(): _file(path, policy)
        for path in sorted(folder.rglob("*"))
        if path.suffix in _TYPES and path.is_file()
    }


def _file(path: Path, policy: str) -> _File:
    body = path.read_bytes()
    packed = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)  # 16: as gzip
    bodies = {
        Coding.IDENTITY: body,
        Coding.DEFLATE: zlib.compress(body, 9),
        Coding.GZIP: packed.compress(body) + packed.flush(),
    }
    digest = hashlib.sha256(body).hexdigest()[:32].encode()
    return _File(_TYPES[path.suffix], digest, bodies, policy)


def policy_of(page: str) -> str:
    """The Content-Security-Policy of the page: files of this server alone, and the scripts that
    stand in it, by their hashes."""
    hashes = [
        f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in _INLINE.findall(page)
    ]
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *hashes)),
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
