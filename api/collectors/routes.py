"""The routes of collectors: GET tells of them, POST and DELETE change what is wanted of them."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import JSONResponse

from api.collectors.models import Collectors, Desired, OneCollector
from api.collectors.shown import actual_json, desired_json, whole_json
from api.cors import require_asked_page
from api.openapi import responses
from api.parts import Parts
from api.request_body import read_body
from api.state import RequestParts
from api.tokens import Tokens, api_token_of
from database import CollectorWish, DatabaseUnavailable
from live.configured.actual import collector_states
from live.configured.desired import DesiredCollector, desired_of, with_symbol, without_symbol
from texts.foreign import cut

PATH: Final = "/api/collectors"
_READ_DEADLINE_S: Final = 5.0
_POST_DEADLINE_S: Final = 2.7  # a POST answers within 3 s, even if the database does not
_MOST_NAMES: Final = 50  # in a message

Change = Callable[[DesiredCollector], CollectorWish]
Name = Annotated[str, Path(description="the collector's name", examples=["majors"])]
Symbol = Annotated[
    str,
    Path(
        description="a market as the file may write it, such as BTC-USDT, BTCUSDT or BTC/USDT:USDT,"
        " as it is or percent-encoded",
        examples=["BTC-USDT"],
    ),
]
# What each POST makes of a wish, its summary, and what it means.
_ACTIONS: Final[Mapping[str, tuple[Change, str, str]]] = {
    "start": (
        lambda found: replace(_if_enabled(found), running=True),
        "Start a collector",
        "It runs from now on, also after a restart of the service. A disabled one is not started:"
        " 409.",
    ),
    "stop": (
        lambda found: replace(found.wish, running=False),
        "Stop a collector",
        "It is stopped now and stays so, also after a restart of the service, until `start` or"
        " `restart`.",
    ),
    "restart": (
        lambda found: replace(_if_enabled(found), running=True, restarts=found.wish.restarts + 1),
        "Restart a collector",
        "It is stopped and started again; a stopped one is started. A disabled one is not: 409.",
    ),
    "enable": (
        lambda found: _enabled(found, True),
        "Enable a collector",
        "It is started with the others, unless it was stopped by `stop`.",
    ),
    "disable": (
        lambda found: _enabled(found, False),
        "Disable a collector",
        "It is stopped, and not started with the others nor by `start`, until `enable`.",
    ),
}


def build_collectors(tokens: Tokens) -> APIRouter:
    router = APIRouter(tags=["collectors"])
    changes = [Depends(api_token_of(tokens)), Depends(require_asked_page)]

    @router.get(
        PATH,
        response_model=Collectors,
        responses=responses(),
        summary="All collectors",
        name="list_collectors",
    )
    async def list_collectors(parts: RequestParts) -> JSONResponse:
        """The collectors that a file of COLLECTORS names, on any host: what is wanted of each, and
        what it does."""
        collectors = await _read(parts)
        states = await collector_states(parts.store, collectors)
        entries = [
            {
                "name": name,
                "desired": desired_json(found),
                "actual": actual_json(states.get(name)),
            }
            for name, found in collectors.items()
        ]
        return JSONResponse({"collectors": entries})

    @router.get(
        f"{PATH}/{{name}}",
        response_model=OneCollector,
        responses=responses(404),
        summary="One collector",
        name="get_collector",
    )
    async def get_collector(name: Name, parts: RequestParts) -> JSONResponse:
        """What is wanted of it, and its whole status."""
        found = _known(await _read(parts), name)
        state = (await collector_states(parts.store, [name])).get(name)
        return JSONResponse(
            {"name": name, "desired": desired_json(found), "actual": whole_json(state)}
        )

    def add_action(action: str, change: Change, summary: str, description: str) -> None:
        @router.post(
            f"{PATH}/{{name}}/{action}",
            status_code=202,
            response_model=Desired,
            dependencies=changes,
            responses=responses(401, 403, 404, 408, 409),
            name=f"{action}_collector",
            summary=summary,
            description=description,
        )
        async def act(name: Name, request: Request, parts: RequestParts) -> JSONResponse:
            await read_body(request)
            async with asyncio.timeout(_POST_DEADLINE_S):
                found = _known(desired_of(await parts.database.collectors.read()), name)
                return await _changed(parts, found, change)

    for action, (change, summary, description) in _ACTIONS.items():
        add_action(action, change, summary, description)

    @router.post(
        f"{PATH}/{{name}}/symbols/{{symbol:path}}",
        status_code=202,
        response_model=Desired,
        dependencies=changes,
        responses=responses(401, 403, 404, 408),
        name="add_symbol",
        summary="Add a symbol",
    )
    async def add_symbol(
        name: Name, symbol: Symbol, request: Request, parts: RequestParts
    ) -> JSONResponse:
        """The collector follows this market, too, without a restart; nothing changes if it does so
        already, in whichever writing."""
        await read_body(request)
        async with asyncio.timeout(_POST_DEADLINE_S):
            found = _known(desired_of(await parts.database.collectors.read()), name)
        native = await _native(found, symbol)

        def add(now: DesiredCollector) -> CollectorWish:
            wish = with_symbol(now.definition, now.wish, symbol, native)
            _check_number(replace(now, wish=wish))
            return wish

        async with asyncio.timeout(_POST_DEADLINE_S):
            return await _changed(parts, found, add)

    @router.delete(
        f"{PATH}/{{name}}/symbols/{{symbol:path}}",
        status_code=202,
        response_model=Desired,
        dependencies=changes,
        responses=responses(401, 403, 404, 408),
        name="remove_symbol",
        summary="Remove a symbol",
    )
    async def remove_symbol(
        name: Name, symbol: Symbol, request: Request, parts: RequestParts
    ) -> JSONResponse:
        """The collector follows this market no more, in whichever writing it is given; nothing
        changes if it does not."""
        await read_body(request)
        async with asyncio.timeout(_POST_DEADLINE_S):
            found = _known(desired_of(await parts.database.collectors.read()), name)
        # One that was added before its file named another exchange is removed as it was written.
        native = found.wish.added.get(symbol) or await _native(found, symbol)
        async with asyncio.timeout(_POST_DEADLINE_S):
            return await _changed(
                parts, found, lambda now: without_symbol(now.definition, now.wish, native)
            )

    return router


async def _read(parts: Parts) -> dict[str, DesiredCollector]:
    try:
        async with asyncio.timeout(_READ_DEADLINE_S):
            return desired_of(await parts.database.collectors.read())
    except TimeoutError:
        raise DatabaseUnavailable(
            f"the database did not answer within {_READ_DEADLINE_S:g} s"
        ) from None


def _known(collectors: Mapping[str, DesiredCollector], name: str) -> DesiredCollector:
    if name in collectors:
        return collectors[name]
    if not collectors:
        raise HTTPException(404, "there are no collectors: COLLECTORS names a file of them")
    names = cut(", ".join(list(collectors)[:_MOST_NAMES]), 1000)
    more = "" if len(collectors) <= _MOST_NAMES else f" and {len(collectors) - _MOST_NAMES} more"
    raise HTTPException(404, f"unknown collector; there are {names}{more}")


async def _changed(parts: Parts, found: DesiredCollector, change: Change) -> JSONResponse:
    """Stores the change of what is wanted then, which others may have changed meanwhile."""
    name = found.definition.name
    wish = await parts.database.collectors.change(
        name, lambda wish: change(replace(found, wish=wish))
    )
    body: dict[str, Any] = desired_json(replace(found, wish=wish))
    return JSONResponse(body, status_code=202, headers={"Location": f"{PATH}/{name}"})


def _enabled(found: DesiredCollector, enabled: bool) -> CollectorWish:
    """What the file says anyway is no wish: a later file may say something else."""
    return replace(found.wish, enabled=None if found.definition.enabled is enabled else enabled)


def _if_enabled(found: DesiredCollector) -> CollectorWish:
    if not found.enabled:
        name = found.definition.name
        raise HTTPException(409, f"it is disabled: POST {PATH}/{name}/enable first")
    return found.wish


async def _native(found: DesiredCollector, symbol: str) -> str:
    """The exchange's name of the market, by the rule of the file."""

    def read() -> str:
        # Imported here, in a thread: what reads streams takes memory and time that an API process
        # seldom needs.
        from live.configured.rules import native_symbol

        return native_symbol(found.definition.exchange, symbol)

    try:
        return await asyncio.to_thread(read)
    except ValueError as error:
        raise HTTPException(400, f"{found.definition.exchange}: {error}") from None


def _check_number(found: DesiredCollector) -> None:
    from live.configured.rules import too_many  # _native has loaded it

    if (why := too_many(found.definition.data_types, len(found.symbols))) is not None:
        raise HTTPException(400, f"symbols: {why}")
