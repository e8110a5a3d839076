"""The routes of /api/config: values that workers share, and those of one worker."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import JSONResponse

from api.cors import require_asked_page
from api.documents.query import only_parameters
from api.json_body import read_json
from api.openapi import content, responses
from api.request_body import read_body
from api.state import RequestWorkers
from api.tokens import Tokens, api_token_of
from api.workers.control import BY, WorkerControl
from api.workers.models import ConfiguredValue
from api.workers.setting_models import DeletedValue, SetValue, SharedValues
from api.workers.shown import value_json
from texts.foreign import cut
from workers.config_control import Explained

PATH: Final = "/api/config"
_LONGEST_TOLD: Final = 500

WorkerName = Annotated[str, Path(description="the worker's name", examples=["fund_values"])]
# Also one that no row can have: it is not there, so that nothing is deleted.
AnyKey = Annotated[str, Path(description="the key", examples=["url"])]
Key = Annotated[
    str,
    Path(
        description="the key",
        examples=["url"],
        # Told, not checked here: control says what is wrong with a key.
        json_schema_extra={"pattern": "^[A-Za-z_][A-Za-z0-9_.-]{0,99}$"},
    ),
]


def build_configuration(tokens: Tokens) -> APIRouter:
    router = APIRouter(tags=["workers"])
    token = Depends(api_token_of(tokens))

    @router.get(
        PATH,
        response_model=SharedValues,
        dependencies=[Depends(only_parameters())],
        responses=responses(422),
        summary="Configuration that workers share",
        name="list_config",
    )
    async def list_config(workers: RequestWorkers) -> JSONResponse:
        """The values that were set for all workers; `GET /api/workers/{name}` has those that count
        for one."""
        found = await workers.ask(workers.configuration.shared())
        return JSONResponse({"configuration": [value_json(each) for each in found]})

    @router.get(
        f"{PATH}/{{key}}",
        response_model=ConfiguredValue,
        dependencies=[Depends(only_parameters())],
        responses=responses(404, 422),
        summary="One shared value",
        name="get_config",
    )
    async def get_config(key: Key, workers: RequestWorkers) -> JSONResponse:
        """As it was set for all workers."""
        return await _one(workers, None, key)

    @router.get(
        f"{PATH}/{{worker}}/{{key}}",
        response_model=ConfiguredValue,
        dependencies=[Depends(only_parameters())],
        responses=responses(404, 422),
        summary="One value of a worker",
        name="get_own_config",
    )
    async def get_own_config(worker: WorkerName, key: Key, workers: RequestWorkers) -> JSONResponse:
        """The value that counts for the worker, and which level gave it: its own, a shared one, the
        environment or the declared default."""
        return await _one(workers, worker, key)

    for path, name, summary in (
        (f"{PATH}/{{key}}", "put_config", "Set a value for all workers"),
        (f"{PATH}/{{worker}}/{{key}}", "put_own_config", "Set a value of a worker"),
    ):
        router.add_api_route(
            path,
            _put if "{worker}" in path else _put_shared,
            methods=["PUT"],
            response_model=ConfiguredValue,
            dependencies=[token],
            responses=responses(401, 404, 408, 422),
            summary=summary,
            name=name,
            openapi_extra={"requestBody": {"required": True, "content": content("SetValue")}},
        )
        router.add_api_route(
            path,
            _delete if "{worker}" in path else _delete_shared,
            methods=["DELETE"],
            response_model=DeletedValue,
            dependencies=[token, Depends(require_asked_page)],
            responses=responses(401, 403, 404, 408),
            summary=f"Delete {summary[4:]}".replace("for all workers", "of all workers"),
            name=name.replace("put", "delete"),
        )
    return router


async def _put(
    worker: WorkerName, key: Key, request: Request, workers: RequestWorkers
) -> JSONResponse:
    """It counts for runs that begin within a second or later, on every host. A value that the
    worker's declaration does not allow is refused with what is allowed."""
    return await _set(workers, worker, key, request)


async def _put_shared(key: Key, request: Request, workers: RequestWorkers) -> JSONResponse:
    """It counts for every worker that has no value of its own. A value that the declaration of one
    of them does not allow is refused with what is allowed."""
    return await _set(workers, None, key, request)


async def _delete(
    worker: WorkerName, key: AnyKey, request: Request, workers: RequestWorkers
) -> JSONResponse:
    """What is shared, in the environment or declared counts again."""
    await read_body(request)
    deleted = await workers.ask(workers.configuration.delete(worker, key))
    return JSONResponse({"worker": worker, "key": key, "deleted": deleted})


async def _delete_shared(key: AnyKey, request: Request, workers: RequestWorkers) -> JSONResponse:
    """What is in the environment or declared counts again, where a worker has no value of its
    own."""
    await read_body(request)
    deleted = await workers.ask(workers.configuration.delete(None, key))
    return JSONResponse({"worker": None, "key": key, "deleted": deleted})


async def _set(
    workers: WorkerControl, worker: str | None, key: str, request: Request
) -> JSONResponse:
    asked = await read_json(request, SetValue)
    return JSONResponse(
        value_json(await workers.ask(workers.configuration.put(worker, key, asked.value, BY)))
    )


async def _one(workers: WorkerControl, worker: str | None, key: str) -> JSONResponse:
    asking = workers.configuration
    found = await workers.ask(asking.shared() if worker is None else asking.explained(worker))
    by_key = {each.key: each for each in found}
    if key not in by_key:
        raise HTTPException(404, _unknown(worker, list(by_key.values())))
    return JSONResponse(value_json(by_key[key]))


def _unknown(worker: str | None, found: list[Explained]) -> str:
    keys = cut(", ".join(each.key for each in found), _LONGEST_TOLD) or "none"
    if worker is None:
        return f"no value of this key is shared; set are {keys}"
    return f"the worker has no such key; it has {keys}"
