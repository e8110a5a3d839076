"""JSON of what providers told: Decimals as numbers with all their digits."""

from typing import Any, Final

import msgspec
from fastapi.responses import Response

NO_STORE: Final = "no-store"
# Whole smallest units are text (beyond 2^53).
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def encoded(document: Any) -> bytes:
    return _encoder.encode(document)


def answered(document: Any, cache_control: str = "no-cache") -> Response:
    headers = {"Cache-Control": cache_control}
    return Response(encoded(document), media_type="application/json", headers=headers)
