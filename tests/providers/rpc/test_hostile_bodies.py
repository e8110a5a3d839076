"""JSON-RPC of whoever means harm: answers in form, and nothing asked beyond the bounds."""

import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.rpc.nodes import Nodes
from providers.rpc.serving import serve
from tests.providers.rpc.fakes import FakeCaller, FakeNode

HEAD = 5_000
READS = (
    *("eth_call", "eth_getLogs", "eth_getBalance", "eth_blockNumber", "eth_feeHistory"),
    *("eth_getBlockByNumber", "eth_chainId", "eth_gasPrice"),
)
OTHERS = (
    *("eth_sendRawTransaction", "debug_traceTransaction", "admin_peers", "eth_newFilter"),
    *("ETH_CALL", "eth_getlogs", " eth_call", "eth_call\u0000", "personal_sign", "txpool_content"),
)
words = st.text(max_size=8) | st.sampled_from(["latest", "pending", "earliest", "0x", "\ud800"])
numbers = st.integers() | st.floats() | st.booleans() | st.none()
hexes = st.integers(-5, 2**70).map(hex)
anything = st.recursive(
    words | numbers | hexes,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
ends = st.sampled_from(["latest", "earliest", "safe", "0x0", "0x1388", None, "0X1", "0x_1"]) | hexes
filters = st.dictionaries(
    st.sampled_from(
        ["fromBlock", "toBlock", "fromblock", "TOBLOCK", "blockHash", "BlockHash", "address"]
    ),
    ends | st.just("0x" + "a" * 64) | st.lists(words, max_size=60) | anything,
)
parameters = st.lists(filters | anything | ends, max_size=3) | anything
calls = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0", 2.0]),
        "id": st.integers(-(2**70), 2**70) | words | anything,
        "method": st.sampled_from([*READS, *OTHERS]) | anything,
        "params": parameters,
    },
)
good = st.fixed_dictionaries(
    {
        "jsonrpc": st.just("2.0"),
        "id": st.integers(0, 9) | st.text("abc", max_size=2),
        "method": st.sampled_from([*READS, *OTHERS]),
        "params": st.lists(filters | ends, max_size=3),
    }
)
logs = st.builds(
    lambda wanted: {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [wanted]},
    st.dictionaries(
        st.sampled_from(["fromBlock", "toBlock", "fromblock", "TOBLOCK", "blockHash", "BlockHash"]),
        ends | st.just("0x" + "a" * 64),
        max_size=3,
    ),
)
documents = (
    logs
    | st.lists(logs, min_size=1, max_size=3)
    | st.lists(good | calls | anything, max_size=22)
    | good
    | calls
    | anything
)
bodies = (
    documents.map(lambda told: json.dumps(told).encode())
    | documents.map(lambda told: json.dumps(told).encode("utf-16"))
    | st.binary(max_size=60)
    | st.integers(1, 100_000).map(lambda deep: b"[" * deep + b"]" * deep)
    | good.map(lambda told: json.dumps(told).replace("method", "m\\u0065thod").encode())
    | good.map(lambda told: (json.dumps(told)[:-1] + ', "method": "eth_sendTransaction"}').encode())
)


async def ask(body: bytes) -> tuple[Any, list[tuple[str, list[Any]]]]:
    sent: list[tuple[str, list[Any]]] = []

    def node() -> FakeNode:
        found = FakeNode(HEAD)
        for method in READS:
            found.results[method] = recorded(method)
        return found

    def recorded(method: str) -> Any:
        def answer(*params: Any) -> Any:
            checks = method == "eth_chainId" or list(params[1:]) == [False]
            if not checks:  # what is asked on its own account: which chain, and which block
                sent.append((method, list(params)))
            return "0x1" if method == "eth_chainId" else {"hash": "0xaa"}

        return answer

    caller = FakeCaller({"rpc.ethereum/a": node(), "rpc.ethereum/b": node()})
    nodes = Nodes(caller, caller.rows, chance=random.Random(1))  # noqa: S311 - a seed
    reply = await serve(nodes, "ethereum", body)
    return json.loads(reply.body), sent


def check(document: Any, id_: Any) -> None:
    assert document["jsonrpc"] == "2.0"
    assert document["id"] == id_
    assert type(document["id"]) is type(id_)
    assert ("result" in document) != ("error" in document)
    if "error" in document:
        assert type(document["error"]["code"]) is int
        assert isinstance(document["error"]["message"], str)


def echoed(request: Any) -> Any:
    """The id under which a call is answered: null for one that has none, or none of its form."""
    id_ = request.get("id") if isinstance(request, dict) else None
    if isinstance(id_, str) or (type(id_) is int and -(2**63) < id_ < 2**63):
        return id_
    return None


def blocks_of(wanted: dict[str, Any]) -> int:
    """As nodes read a filter: names in any case, the newest block where an end is missing."""
    told = {name.lower(): value for name, value in wanted.items() if value is not None}
    if "blockhash" in told:
        assert "fromblock" not in told
        assert "toblock" not in told
        return 1
    first, last = (
        HEAD if told.get(end, "latest") == "latest" else int(told[end], 16)
        for end in ("fromblock", "toblock")
    )
    return last - first + 1


@settings(max_examples=150, deadline=None)
@given(bodies)
def test_all_bodies_are_answered_in_form_and_within_bounds(body: bytes) -> None:
    _is_answered(body)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(bodies)
def test_many_bodies_are_answered_in_form_and_within_bounds(body: bytes) -> None:
    _is_answered(body)


def _is_answered(body: bytes) -> None:
    answer, sent = asyncio.run(ask(body))
    assert len(sent) <= 20
    for method, params in sent:
        assert method in READS
        json.dumps(params, allow_nan=False).encode()
        if method == "eth_getLogs":
            assert blocks_of(params[0]) <= 1_000
            addresses = params[0].get("address")
            assert not isinstance(addresses, list) or len(addresses) <= 50
        if method == "eth_feeHistory":
            count = params[0]
            assert (count if type(count) is int else int(count, 16)) <= 1_024
    if isinstance(answer, list):
        requests = json.loads(body)
        assert len(answer) == len(requests) <= 20
        for document, request in zip(answer, requests, strict=True):
            check(document, echoed(request))
        return
    if answer.get("error", {}).get("code") in (-32700, -32600):
        assert not sent
        check(answer, answer["id"])
    else:
        check(answer, echoed(json.loads(body)))
