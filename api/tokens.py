"""Checks the bearer tokens API_TOKEN, READ_TOKEN and CRON_SECRET, and logs wrong ones."""

import binascii
import hashlib
import hmac
from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import structlog
from fastapi import HTTPException, Request, Security
from fastapi.security import HTTPBearer
from pydantic import SecretStr

from api.answers import Answer, Scope, answer_to
from api.client_address import client_of
from api.home import leads_to_page
from config import Settings
from logging_setup import ThrottledLog
from metrics.api import OTHER, ApiMetrics

_LOGGED_EVERY_S: Final = 1.0
_ALWAYS_READABLE: Final = frozenset(("/health", "/ready", "/ui", "/docs", "/console"))
# The page and /docs are the same everywhere, and ask for the token before they show any data. The
# console asks for API_TOKEN itself, in the form that browsers ask their users for.
_READABLE_FILES: Final = ("/ui/", "/docs/", "/console/")
_BASIC: Final = 'Basic realm="Perpcache console: any user, API_TOKEN as the password"'
# The first segments of paths, for the log: a path is input and may be anything.
_KNOWN: Final = frozenset(
    (
        *("", "api", "cache", "coins", "console", "docs", "events", "get-market-data", "jobs"),
        *("metrics", "openapi.json", "status"),
    )
)

_API_SCHEME: Final = HTTPBearer(
    scheme_name="API_TOKEN", description="Needed if API_TOKEN is set.", auto_error=False
)


class Tokens:
    """The tokens of the settings; an empty one counts as not set."""

    def __init__(self, settings: Settings, metrics: ApiMetrics) -> None:
        self._api = _digest(settings.api_token)
        self._cron = _digest(settings.cron_secret)
        self._read = _digest(settings.read_token)
        self._proxies = settings.trusted_proxies
        self._metrics = metrics
        self._log = ThrottledLog(structlog.get_logger(__name__), every_s=_LOGGED_EVERY_S)

    def require_api(self, request: Request) -> None:
        """Raises 401 unless the request carries API_TOKEN, or none is configured."""
        if self._api and not self._carries(request.scope, "API_TOKEN", self._api):
            raise _unauthorized("API_TOKEN")

    def require_cron(self, request: Request) -> None:
        """Raises 401 unless the request carries CRON_SECRET, 403 if none is configured."""
        if not self._cron:
            raise HTTPException(403, "disabled: start the service with CRON_SECRET set")
        if not self._carries(request.scope, "CRON_SECRET", self._cron):
            raise _unauthorized("CRON_SECRET")

    @property
    def guard_reading(self) -> bool:
        """Whether READ_TOKEN is configured."""
        return bool(self._read)

    def may_read(self, scope: Scope) -> bool:
        """Whether READ_TOKEN is not configured, or the request carries it or API_TOKEN."""
        return not self._read or self._carries(scope, "READ_TOKEN", self._read, self._api)

    def refuse_read(self, scope: Scope, path: str) -> Answer | None:
        """A 401 for a GET or HEAD that needs READ_TOKEN and lacks it."""
        if not self._read or path in _ALWAYS_READABLE or path.startswith(_READABLE_FILES):
            return None
        if path == "/" and leads_to_page(scope):
            return None
        return None if self.may_read(scope) else answer_to(_unauthorized("READ_TOKEN"), path)

    def require_console(self, scope: Scope) -> None:
        """Raises 401 unless the request carries API_TOKEN as the password of Basic authentication,
        of any user; 404 if none is configured."""
        if not self._api:
            raise HTTPException(404, "the console is off: start the service with API_TOKEN set")
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        theirs = hashlib.sha256(_password(given[0]) if len(given) == 1 else b"").digest()
        if hmac.compare_digest(theirs, self._api):
            return
        if given:
            self._tell_wrong(scope, "API_TOKEN")
        message = "log in with any user, and API_TOKEN as the password"
        raise HTTPException(401, message, {"WWW-Authenticate": _BASIC})

    def _carries(self, scope: Scope, setting: str, *digests: bytes) -> bool:
        """Whether the request has one of these tokens; a wrong one is counted and logged."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if not given:
            return False
        scheme, _, value = given[0].partition(b" ")
        # Digests have one length, so the time of the comparison does not reveal the secret's.
        theirs = hashlib.sha256(value.strip()).digest()
        matches = [hmac.compare_digest(theirs, ours) for ours in digests if ours]
        if any(matches) and scheme.lower() == b"bearer" and len(given) == 1:
            return True
        self._tell_wrong(scope, setting)
        return False

    def _tell_wrong(self, scope: Scope, setting: str) -> None:
        self._metrics.wrong_token(setting)
        segment = str(scope["path"]).removeprefix("/").partition("/")[0]
        self._log.warning(
            "wrong_token",
            setting=setting,
            client=client_of(scope, self._proxies),
            method=scope["method"],
            route=f"/{segment}" if segment in _KNOWN else OTHER,
        )


def api_token_of(tokens: Tokens) -> Callable[..., Awaitable[None]]:
    """The dependency of a route that needs API_TOKEN."""

    async def api_token(request: Request, _: Annotated[object, Security(_API_SCHEME)]) -> None:
        tokens.require_api(request)

    return api_token


def read_token_of(tokens: Tokens) -> Callable[..., Awaitable[None]]:
    """The dependency of a POST that only reads: it needs READ_TOKEN as GETs do."""

    async def read_token(request: Request) -> None:
        if not tokens.may_read(request.scope):
            raise _unauthorized("READ_TOKEN")

    return read_token


def _unauthorized(setting: str) -> HTTPException:
    message = f"send the header Authorization: Bearer <{setting}>"
    return HTTPException(401, message, {"WWW-Authenticate": "Bearer"})


def _password(header: bytes) -> bytes:
    """The password of Basic authentication (RFC 7617); empty where there is none."""
    scheme, _, value = header.partition(b" ")
    try:
        decoded = b64decode(value.strip(), validate=True) if scheme.lower() == b"basic" else b""
    except (binascii.Error, ValueError):
        return b""
    return decoded.partition(b":")[2]


def _digest(token: SecretStr | None) -> bytes:
    """The token's digest; empty if it is not set."""
    secret = token.get_secret_value().encode() if token is not None else b""
    return hashlib.sha256(secret).digest() if secret else b""
