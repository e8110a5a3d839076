"""POST /api/rpc/{chain}: reads of a blockchain's nodes, as JSON-RPC."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import Response

from api.cors import require_asked_page
from api.providers.asking import Asking, network_or_404
from api.providers.described import asked_responses
from api.providers.encoded import NO_STORE
from api.providers.models import RpcResponse
from api.providers.request_asking import RequestAsking
from api.request_body import read_body
from api.tokens import Tokens, read_token_of
from providers.networks import Network
from providers.rpc.bodies import MOST_CALLS, calls_in
from providers.rpc.methods import methods_of
from providers.rpc.serving import serve

_PATH: Final = "/api/rpc/{chain}"
_CALL: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["jsonrpc", "id", "method"],
    "properties": {
        "jsonrpc": {"const": "2.0"},
        "id": {"type": ["integer", "string", "null"]},
        "method": {"type": "string"},
        "params": {"type": "array"},
    },
    "example": {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []},
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [_CALL, {"type": "array", "items": _CALL, "maxItems": MOST_CALLS}]
                }
            }
        },
    }
}


def build_rpc(tokens: Tokens) -> APIRouter:
    router = APIRouter(tags=["providers"])

    @router.post(
        _PATH,
        response_model=RpcResponse | list[RpcResponse],
        responses=asked_responses(403, 408),
        dependencies=[Depends(read_token_of(tokens)), Depends(require_asked_page)],
        summary="Read from a chain's nodes",
        name="call_node",
        openapi_extra=_BODY,
    )
    async def call_node(
        chain: Annotated[str, Path(description="its id or name", examples=["ethereum"])],
        request: Request,
        asking: RequestAsking,
    ) -> Response:
        """JSON-RPC 2.0: methods that only read, one call or a batch, which is read at one block.
        What is wrong with a call is told as JSON-RPC tells it. It needs READ_TOKEN if that is
        set."""
        body = await read_body(request)
        network = _with_nodes(asking, chain)
        calls = max(1, calls_in(body))
        if not asking.calls.take(request.scope, calls):
            raise asking.calls.refusal(request.scope)
        reply = await serve(asking.parts.chains.nodes, network.id, body)
        return Response(
            reply.body, media_type="application/json", headers={"Cache-Control": NO_STORE}
        )

    return router


def _with_nodes(asking: Asking, chain: str) -> Network:
    network = network_or_404(chain)
    if f"rpc.{network.id}" not in asking.parts.registry.chains() or not methods_of(network.id):
        there = ", ".join(asking.networks("rpc"))
        raise HTTPException(404, f"there are no nodes of {network.id}: there are {there}")
    return network
