"""CORS: the headers that let pages of CORS_ORIGINS call the API, with tokens, never cookies."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from fastapi import HTTPException, Request

from api.answers import Answer, Body, Header, Scope, problem

_METHODS: Final = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE")
_HEADERS: Final = (
    *(b"Authorization", b"Content-Type", b"If-None-Match", b"If-Range", b"Last-Event-ID"),
    b"Range",
)
_EXPOSED: Final[Header] = (
    b"access-control-expose-headers",
    b"Accept-Ranges, Age, Content-Location, Content-Range, ETag, Last-Modified, Link, Location,"
    b" Retry-After, X-As-Of, X-Forming-Rows, X-Next-Cursor, X-Rows, X-Unknown-Symbols,"
    b" X-Unrecorded-Rows",
)
_SAFELISTED: Final = (b"Accept", b"Accept-Language", b"Content-Language", b"Content-Type")
_ALLOWED_HEADERS: Final = sorted({*_SAFELISTED, *_HEADERS})
_ALLOWED_NAMES: Final = frozenset(name.lower() for name in _ALLOWED_HEADERS)
_PREFLIGHT: Final[tuple[Header, ...]] = (
    (b"access-control-allow-methods", b", ".join(_METHODS)),
    (b"access-control-allow-headers", b", ".join(_ALLOWED_HEADERS)),
    (b"access-control-max-age", b"600"),
    (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
)


class Cors:
    """The CORS rules for a list of origins; `*` allows all. An empty list sends no CORS headers."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origin.encode("latin-1") for origin in origins)
        self._allows_all = b"*" in self._origins

    @property
    def is_on(self) -> bool:
        return bool(self._origins)

    def is_preflight(self, scope: Scope) -> bool:
        """Whether the request is a CORS preflight."""
        if not self._origins or scope["method"] != "OPTIONS":
            return False
        names = {name for name, _ in scope["headers"]}
        return b"origin" in names and b"access-control-request-method" in names

    def preflight(self, scope: Scope) -> Answer:
        """A 200 if origin, method and headers are allowed, else a 400 that names the others."""
        request_headers = dict(scope["headers"])
        headers = list(_PREFLIGHT)
        requested = request_headers.get(b"access-control-request-headers", b"").lower().split(b",")
        refused = {
            "origin": self._allowed(request_headers[b"origin"]) is None,
            "method": request_headers[b"access-control-request-method"] not in _METHODS,
            "headers": any(name.strip() not in {*_ALLOWED_NAMES, b""} for name in requested),
            "private-network": b"access-control-request-private-network" in request_headers,
        }
        if not refused["origin"]:
            allowed = self._allowed(request_headers[b"origin"]) or b""
            headers.append((b"access-control-allow-origin", allowed))
        if any(refused.values()):
            named = ", ".join(name for name, is_refused in refused.items() if is_refused)
            return problem(400, f"the CORS rules do not allow: {named}", *headers)
        return Answer(200, [*headers, (b"content-length", b"0")], Body((), 0))

    def applied(self, answer: Answer, origin: bytes | None) -> Answer:
        """The answer with the CORS headers for this origin."""
        if not self._origins:
            return answer
        return Answer(answer.status, self.add_headers(answer.headers, origin), answer.body)

    def add_headers(self, headers: list[Header], origin: bytes | None) -> list[Header]:
        """The headers with the CORS headers for this origin; the original list is not changed."""
        if not self._origins:
            return headers
        added: list[Header] = []
        if origin is not None:
            added.append(_EXPOSED)
            allowed = self._allowed(origin)
            if allowed is not None:
                added.append((b"access-control-allow-origin", allowed))
        if self._allows_all:
            return headers + added
        # One Vary header with all names.
        vary = [value for name, value in headers if name == b"vary"]
        others = [header for header in headers if header[0] != b"vary"]
        return [*others, (b"vary", b", ".join((*vary, b"Origin"))), *added]

    def _allowed(self, origin: bytes) -> bytes | None:
        """The value of access-control-allow-origin for this origin; None: not allowed."""
        if self._allows_all:
            return b"*"
        return origin if origin in self._origins else None


def origin_of(scope: Scope) -> bytes | None:
    """The origin of the page that asks; None where it is no page that does."""
    for name, value in scope["headers"]:
        if name == b"origin":
            found: bytes = value
            return found
    return None


def require_asked_page(request: Request) -> None:
    """A dependency of POSTs without a body: raises 403 for one that a page of another site can make
    a browser send without a CORS preflight, which only such a request's content type demands."""
    origin = origin_of(request.scope)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if origin is None or content_type == "application/json":
        return
    try:
        is_own = urlsplit(origin.decode("latin-1")).netloc == request.headers.get("host")
    except ValueError:
        is_own = False
    if not is_own:
        raise HTTPException(403, "from pages, send the header Content-Type: application/json")
