"""Reads a request's body, up to 64 KB and 10 s."""

import asyncio
from typing import Final

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

LARGEST_BODY: Final = 64 * 1024
TOO_LARGE: Final = f"the body is larger than {LARGEST_BODY} bytes"
BODY_DEADLINE_S: Final = 10.0


async def read_body(request: Request) -> bytes:
    """The complete body. Raises HTTPException: 413 over 64 KB, 408 after 10 s, 400 if the client
    disconnects before its end, which nobody reads but the metrics count."""
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
            408, f"the body did not arrive within {BODY_DEADLINE_S:g} s", {"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise HTTPException(400, "the request body ended early") from None
    return bytes(body)
