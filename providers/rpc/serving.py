"""JSON-RPC 2.0 for clients: requests checked and bounded, and a batch read at one block."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from providers.errors import NoAnswer, ProviderError, Tried
from providers.networks import networks
from providers.questions import INTERACTIVE_S
from providers.records import RpcAnswer
from providers.rpc.methods import Refused, RpcCall, checked, needs_head
from providers.rpc.nodes import Nodes

LARGEST_BODY: Final = 128 * 1024
MOST_CALLS: Final = 20  # of one batch
_AT_ONCE: Final = 4
_PINNED_S: Final = 3.0  # how old the block of a batch may be
_NOBODY: Final = -32000
_INVALID: Final = -32600
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


async def serve(
    nodes: Nodes, chain: str, body: bytes, *, within_s: float = INTERACTIVE_S
) -> RpcReply:
    """Raises InvalidQuestion for a chain without nodes, and NoAnswer if nobody answered any of the
    calls that may be asked."""
    nodes.balancer(chain)
    requests, single = _requests(body)
    if not requests:
        return RpcReply(_encoded(_error(None, _INVALID, "no call, too many, or not JSON")))
    clock = asyncio.get_running_loop().time
    deadline_s = clock() + within_s
    head = await _head(nodes, chain, requests, single, within_s)
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(request: Any) -> _Ended:
        async with slots:
            left_s = max(0.0, deadline_s - clock())
            return await _call(nodes, chain, request, head, not single, left_s)

    ended = await asyncio.gather(*map(one, requests))
    answers = tuple(each.answer for each in ended if each.answer is not None)
    tried = tuple(told for each in ended for told in each.tried or ())
    if not answers and any(each.tried is not None for each in ended):
        raise NoAnswer(f"a call of {chain}", tried)
    documents = [each.document for each in ended]
    return RpcReply(
        _encoded(documents[0] if single else documents), answers, None if single else head
    )


def calls_in(body: bytes) -> int:
    """How many calls `serve` would answer."""
    requests, _ = _requests(body)
    return len(requests)


def _requests(body: bytes) -> tuple[list[Any], bool]:
    """The calls of a body, and whether it is one alone. None where there are none, or too many."""
    if len(body) > LARGEST_BODY:
        return [], True
    try:
        told = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return [], True
    if not isinstance(told, list):
        return [told], True
    return (told, False) if len(told) <= MOST_CALLS else ([], True)


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


async def _head(
    nodes: Nodes, chain: str, requests: Sequence[Any], single: bool, within_s: float
) -> int | None:
    """The block at which a batch is read, and at which a range of logs ends."""
    calls = [each for each in requests if isinstance(each, dict)]
    if single and not any(needs_head(each.get("method"), each.get("params")) for each in calls):
        return None
    try:
        return await nodes.head(chain, within_s=within_s / 2, seen_s=_PINNED_S)
    except NoAnswer:
        return None


async def _call(
    nodes: Nodes, chain: str, request: Any, head: int | None, pinned: bool, within_s: float
) -> _Ended:
    id_ = request.get("id") if isinstance(request, dict) else None
    if not _is_id(id_):
        id_ = None
    try:
        call = _checked(chain, request, head)
        if pinned and head is not None:
            call = call.at(head)
        known = _known(chain, call, head if pinned else None)
        if known is not None:
            return _Ended(_result(id_, known))
        answer = await nodes.read(chain, call.method, call.params, within_s=within_s)
    except Refused as error:
        return _Ended(_error(id_, error.code, str(error)))
    except ProviderError as error:
        return _Ended(_error(id_, -32602, str(error)))
    except NoAnswer as error:
        return _Ended(_error(id_, _NOBODY, str(error)), tried=error.tried)
    if answer.error is not None:
        return _Ended({"jsonrpc": "2.0", "id": id_, "error": answer.error}, answer)
    return _Ended(_result(id_, answer.result), answer)


def _checked(chain: str, request: Any, head: int | None) -> RpcCall:
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0":
        raise Refused(_INVALID, "it is no call of JSON-RPC 2.0")
    if "id" not in request or not _is_id(request["id"]):
        raise Refused(_INVALID, "id is missing, or neither text nor a number")
    return checked(chain, request.get("method"), request.get("params"), head)


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int | None) and not isinstance(value, bool)


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
