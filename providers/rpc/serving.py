"""JSON-RPC 2.0 for clients: requests checked and bounded, and a batch read at one block."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from providers.errors import NoAnswer, ProviderError, Tried
from providers.networks import networks
from providers.questions import INTERACTIVE_S
from providers.records import RpcAnswer
from providers.rpc.bodies import INVALID, Calls, is_id, read_calls
from providers.rpc.methods import Refused, RpcCall, checked, needs_head
from providers.rpc.nodes import Nodes
from providers.scattering import each

_AT_ONCE: Final = 4
_PINNED_S: Final = 3.0  # how old the block of a batch may be
_NOBODY: Final = -32000
_PARAMS: Final = -32602
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class RpcReply:
    """`body`: the document for the client. `answers`: who answered; `block`: at which all of a
    batch was read."""

    body: bytes
    answers: tuple[RpcAnswer, ...] = ()
    block: int | None = None


@dataclass(frozen=True, slots=True)
class _Ended:
    document: dict[str, Any]
    answer: RpcAnswer | None = None
    tried: tuple[Tried, ...] | None = None
    reads_state: bool = False  # at the block of the batch


async def serve(
    nodes: Nodes, chain: str, body: bytes, *, within_s: float = INTERACTIVE_S
) -> RpcReply:
    """Raises InvalidQuestion for a chain without nodes, and NoAnswer if nobody answered any of the
    calls that may be asked."""
    nodes.balancer(chain)
    try:
        calls = read_calls(body)
    except Refused as error:
        return RpcReply(_encoded(_error(None, error.code, str(error))))
    deadline_s = asyncio.get_running_loop().time() + within_s
    head = await _head(nodes, chain, calls, within_s)
    ended = await _all(nodes, chain, calls, head, deadline_s)
    if head is not None and await _is_torn(nodes, chain, head, ended, deadline_s):
        ended = await _all(nodes, chain, calls, head, deadline_s)
        if await _is_torn(nodes, chain, head, ended, deadline_s):
            ended = [_torn(one, head) if one.reads_state else one for one in ended]
    answers = tuple(one.answer for one in ended if one.answer is not None)
    tried = tuple(told for one in ended for told in one.tried or ())
    if not answers and any(one.tried is not None for one in ended):
        raise NoAnswer(f"a call of {chain}", tried)
    documents = [one.document for one in ended]
    if calls.single:
        return RpcReply(_encoded(documents[0]), answers)
    return RpcReply(_encoded(documents), answers, head)


async def _all(
    nodes: Nodes, chain: str, calls: Calls, head: int | None, deadline_s: float
) -> list[_Ended]:
    return await each(
        calls.calls,
        lambda request: _call(nodes, chain, request, head, not calls.single, deadline_s),
        _AT_ONCE,
    )


async def _is_torn(
    nodes: Nodes, chain: str, block: int, ended: Sequence[_Ended], deadline_s: float
) -> bool:
    """Whether calls at one number were answered of two blocks: the nodes that answered tell by
    their hashes, as far as they can."""
    read = [one.answer.resource for one in ended if one.reads_state and one.answer]
    if len(read) < 2:
        return False
    left_s = deadline_s - asyncio.get_running_loop().time()
    told = await nodes.each_of(
        *(chain, dict.fromkeys(read), "eth_getBlockByNumber", (hex(block), False)),
        within_s=max(0.0, left_s),
    )
    found = {one.result.get("hash") for one in told if isinstance(one.result, dict)}
    return len(found) > 1 or any(one.result is None for one in told)


def _torn(ended: _Ended, block: int) -> _Ended:
    error = f"block {block} was taken back while it was read: ask again"
    return _Ended(_error(ended.document["id"], _NOBODY, error), ended.answer)


async def _head(nodes: Nodes, chain: str, calls: Calls, within_s: float) -> int | None:
    """The block at which a batch is read, and at which a range of logs ends."""
    told = [one for one in calls.calls if isinstance(one, dict)]
    if calls.single and not any(needs_head(e.get("method"), e.get("params")) for e in told):
        return None
    try:
        return await nodes.head(chain, within_s=within_s / 2, seen_s=_PINNED_S)
    except NoAnswer:
        return None


async def _call(
    nodes: Nodes, chain: str, request: Any, head: int | None, pinned: bool, deadline_s: float
) -> _Ended:
    id_ = request.get("id") if isinstance(request, dict) else None
    if not is_id(id_):
        id_ = None
    within_s = max(0.0, deadline_s - asyncio.get_running_loop().time())
    reads_state = False
    try:
        call = _checked(chain, request, head)
        if pinned and head is not None:
            reads_state = call.reads_latest or call.method == "eth_getLogs"
            call = call.at(head)
        known = _known(chain, call, head if pinned else None)
        if known is not None:
            return _Ended(_result(id_, known))
        answer = await nodes.read(chain, call.method, call.params, within_s=within_s)
    except Refused as error:
        return _Ended(_error(id_, error.code, str(error)))
    except ProviderError as error:
        return _Ended(_error(id_, _PARAMS, str(error)))
    except NoAnswer as error:
        return _Ended(_error(id_, _NOBODY, str(error)), tried=error.tried)
    if answer.error is not None:
        document = {"jsonrpc": "2.0", "id": id_, "error": answer.error}
        return _Ended(document, answer, reads_state=reads_state)
    return _Ended(_result(id_, answer.result), answer, reads_state=reads_state)


def _checked(chain: str, request: Any, head: int | None) -> RpcCall:
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0":
        raise Refused(INVALID, "it is no call of JSON-RPC 2.0")
    if "id" not in request or not is_id(request["id"]):
        raise Refused(INVALID, "id is missing, or neither text nor a number")
    return checked(chain, request.get("method"), request.get("params"), head)


def _known(chain: str, call: RpcCall, block: int | None) -> Any:
    """What is known without asking."""
    network = networks().get(chain)
    if network is not None and network.chain_id is not None:
        if call.method == "eth_chainId":
            return hex(network.chain_id)
        if call.method == "net_version":
            return str(network.chain_id)
    return hex(block) if call.method == "eth_blockNumber" and block is not None else None


def _result(id_: Any, result: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "result": result}


def _error(id_: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": message}}


def _encoded(document: Any) -> bytes:
    return _encoder.encode(document)
