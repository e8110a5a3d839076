"""Bearer tokens, and the limits of a request's body: its size and its time."""

import asyncio
import hashlib
import hmac
from typing import Final

from fastapi import HTTPException, Request
from pydantic import SecretStr
from starlette.requests import ClientDisconnect

LARGEST_BODY: Final = 64 * 1024
TOO_LARGE: Final = f"the body is larger than {LARGEST_BODY} bytes"
BODY_DEADLINE_S: Final = 10.0


def require_api_token(request: Request, token: SecretStr | None) -> None:
    """Raises 401 unless the request carries API_TOKEN, or none is configured."""
    secret = _secret(token)
    if secret and not _carries(request, secret):
        raise _unauthorized("this needs the header Authorization: Bearer <API_TOKEN>")


def require_cron_secret(request: Request, token: SecretStr | None) -> None:
    """Raises 401 unless the request carries CRON_SECRET, 403 if none is configured."""
    secret = _secret(token)
    if not secret:
        raise HTTPException(403, "this is closed until the service is started with CRON_SECRET set")
    if not _carries(request, secret):
        raise _unauthorized("this needs the header Authorization: Bearer <CRON_SECRET>")


async def read_body(request: Request) -> bytes:
    """The whole body. Raises 413 over 64 KB, 408 if it takes too long, 400 if the client hangs up
    before its end: nobody reads that answer, but it counts as the client's error, not as ours."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            async for piece in request.stream():
                body += piece
                if len(body) > LARGEST_BODY:
                    # The rest is not read, so the connection cannot serve another request.
                    raise HTTPException(413, TOO_LARGE, {"Connection": "close"})
    except TimeoutError:
        raise HTTPException(
            408, f"the body did not come within {BODY_DEADLINE_S:g} s", {"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise HTTPException(400, "the request body ended early") from None
    return bytes(body)


def _unauthorized(message: str) -> HTTPException:
    return HTTPException(401, message, {"WWW-Authenticate": "Bearer"})


def _secret(token: SecretStr | None) -> bytes:
    return token.get_secret_value().encode() if token is not None else b""


def _carries(request: Request, secret: bytes) -> bool:
    given = [value for name, value in request.headers.raw if name == b"authorization"]
    if len(given) != 1:
        return False
    scheme, _, value = given[0].partition(b" ")
    # Digests have one length, so the time of the comparison does not depend on the secret's.
    theirs, ours = (hashlib.sha256(text).digest() for text in (value.strip(), secret))
    return hmac.compare_digest(theirs, ours) and scheme.lower() == b"bearer"
