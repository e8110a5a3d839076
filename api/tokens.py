"""Checks the bearer tokens API_TOKEN and CRON_SECRET."""

import hashlib
import hmac

from fastapi import HTTPException, Request
from pydantic import SecretStr


def require_api_token(request: Request, token: SecretStr | None) -> None:
    """Raises 401 unless the request carries API_TOKEN, or none is configured."""
    secret = _secret(token)
    if secret and not _carries(request, secret):
        raise _unauthorized("send the header Authorization: Bearer <API_TOKEN>")


def require_cron_secret(request: Request, token: SecretStr | None) -> None:
    """Raises 401 unless the request carries CRON_SECRET, 403 if none is configured."""
    secret = _secret(token)
    if not secret:
        raise HTTPException(403, "disabled: start the service with CRON_SECRET set")
    if not _carries(request, secret):
        raise _unauthorized("send the header Authorization: Bearer <CRON_SECRET>")


def _unauthorized(message: str) -> HTTPException:
    return HTTPException(401, message, {"WWW-Authenticate": "Bearer"})


def _secret(token: SecretStr | None) -> bytes:
    return token.get_secret_value().encode() if token is not None else b""


def _carries(request: Request, secret: bytes) -> bool:
    given = [value for name, value in request.headers.raw if name == b"authorization"]
    if len(given) != 1:
        return False
    scheme, _, value = given[0].partition(b" ")
    # Digests have one length, so the time of the comparison does not reveal the secret's.
    theirs, ours = (hashlib.sha256(text).digest() for text in (value.strip(), secret))
    return hmac.compare_digest(theirs, ours) and scheme.lower() == b"bearer"
