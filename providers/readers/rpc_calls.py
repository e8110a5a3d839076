"""The JSON-RPC calls that readers of nodes ask: their bodies, in one place with what reads them."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from providers.questions import Question
from providers.resources import Resource

Body = Callable[[Resource, Question, Mapping[str, str]], Any]
# Fees of the last five blocks, at these percentiles of what was paid: slow, standard, fast.
BLOCKS: Final = "0x5"
PERCENTILES: Final = (10, 50, 90)


def call(method: str, params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def _asked(resource: Resource, question: Question, values: Mapping[str, str]) -> Any:
    """What the question asks: its options `method` and `params` (JSON)."""
    return call(question.option("method"), json.loads(question.option("params", "[]")))


def _fees(resource: Resource, question: Question, values: Mapping[str, str]) -> Any:
    return call("eth_feeHistory", [BLOCKS, "latest", list(PERCENTILES)])


def _head(resource: Resource, question: Question, values: Mapping[str, str]) -> Any:
    return call("eth_getBlockByNumber", ["latest", False])


def _balance(resource: Resource, question: Question, values: Mapping[str, str]) -> Any:
    """`block`: the option that pins several reads to one block (hexadecimal)."""
    address = values.get("address_0x", values["address"])
    return call("eth_getBalance", [address, question.option("block", "latest")])


# By the name of the reader that reads the answer.
BODIES: Final[Mapping[str, Body]] = {
    "jsonrpc": _asked,
    "rpc_gas": _fees,
    "rpc_head": _head,
    "rpc_balance": _balance,
}
