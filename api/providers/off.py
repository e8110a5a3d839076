"""The routes of providers where PROVIDERS=off: each says so, and nothing of providers is loaded."""

from typing import Final, NoReturn

from fastapi import APIRouter, HTTPException

OFF: Final = "providers are off: start the service with PROVIDERS=on"
_PATHS: Final = (
    *("prices", "news", "sentiment", "gas", "blockchain", "whales", "balance", "rpc"),
    *("providers", "hierarchy"),
)


def build_off() -> APIRouter:
    router = APIRouter(include_in_schema=False)
    for name in _PATHS:
        for path in (f"/api/{name}", f"/api/{name}/{{rest:path}}"):
            router.add_api_route(path, _say, methods=["GET", "POST"], response_model=None)
    return router


async def _say() -> NoReturn:
    raise HTTPException(404, OFF)
