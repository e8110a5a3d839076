"""JSON-RPC for clients: answers in its form, whatever comes in, and nothing asked beyond bounds."""

import json
import random
from decimal import Decimal
from typing import Any

import pytest

from providers.errors import InvalidQuestion, NoAnswer
from providers.rpc.nodes import Nodes
from providers.rpc.serving import LARGEST_BODY, MOST_CALLS, RpcReply, serve
from tests.providers.rpc.fakes import FakeCaller, FakeNode, failing

A, B = "rpc.ethereum/a", "rpc.ethereum/b"


async def served(caller: FakeCaller, told: Any) -> RpcReply:
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    nodes = Nodes(caller, caller.rows, chance=random.Random(1))  # noqa: S311 - a seed
    return await serve(nodes, "ethereum", body)


def call(method: str, *params: Any, id_: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": list(params)}


async def test_a_call_is_answered_under_its_own_id() -> None:
    caller = FakeCaller({A: FakeNode(eth_gasPrice="0x7")})
    reply = await served(caller, call("eth_gasPrice", id_="mine"))
    assert json.loads(reply.body) == {"jsonrpc": "2.0", "id": "mine", "result": "0x7"}
    assert [answer.resource for answer in reply.answers] == [A]


async def test_a_batch_is_read_at_one_block_that_all_nodes_have() -> None:
    asked: list[tuple[str, str]] = []

    def balance(address: str, block: str) -> str:
        asked.append((address, block))
        return "0x5"

    caller = FakeCaller(
        {A: FakeNode(101, eth_getBalance=balance), B: FakeNode(100, eth_getBalance=balance)}
    )
    calls = [
        call("eth_getBalance", "0x1", "latest", id_=1),
        call("eth_getBalance", "0x2", id_=2),
        call("eth_getBalance", "0x3", "0x9", id_=3),
        call("eth_blockNumber", id_=4),
        call("eth_sendTransaction", id_=5),
    ]
    reply = await served(caller, calls)
    documents = {each["id"]: each for each in json.loads(reply.body)}
    assert sorted(asked) == [("0x1", "0x64"), ("0x2", "0x64"), ("0x3", "0x9")]
    assert (documents[4]["result"], reply.block) == ("0x64", 100)
    assert documents[5]["error"]["code"] == -32601


async def test_which_chain_it_is_is_known_without_asking() -> None:
    caller = FakeCaller({A: FakeNode()})
    for method, result in (("eth_chainId", "0x1"), ("net_version", "1")):
        assert json.loads((await served(caller, call(method))).body)["result"] == result
    assert caller.nodes[A].asked == []


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[NaN]}',
        b"[" * 5_000,
        b" " * (LARGEST_BODY + 1),
        [call("eth_gasPrice", id_=n) for n in range(MOST_CALLS + 1)],
        {"id": 1, "method": "eth_gasPrice"},
        {"jsonrpc": "2.0", "method": "eth_gasPrice"},
        {"jsonrpc": "2.0", "id": [1], "method": "eth_gasPrice"},
    ],
)
async def test_what_is_no_call_is_an_error_and_asks_nobody(told: Any) -> None:
    caller = FakeCaller({A: FakeNode(eth_gasPrice="0x7")})
    assert json.loads((await served(caller, told)).body)["error"]["code"] == -32600
    assert caller.nodes[A].asked == []


async def test_numbers_are_written_as_the_node_told_them() -> None:
    result = {"supply": Decimal("1.10"), "lamports": 2**63}
    caller = FakeCaller({A: FakeNode(eth_gasPrice=result)})
    reply = await served(caller, call("eth_gasPrice"))
    assert b'{"supply":1.10,"lamports":9223372036854775808}' in reply.body


async def test_who_was_tried_is_named_where_nobody_answers() -> None:
    caller = FakeCaller({A: FakeNode(eth_gasPrice=failing())})
    with pytest.raises(NoAnswer) as caught:
        await served(caller, call("eth_gasPrice"))
    assert [tried.resource for tried in caught.value.tried] == [A]


async def test_a_batch_is_answered_in_part() -> None:
    caller = FakeCaller({A: FakeNode(eth_gasPrice=failing(), eth_blobBaseFee="0x1")})
    told = [call("eth_gasPrice", id_=1), call("eth_blobBaseFee", id_=2)]
    first, second = json.loads((await served(caller, told)).body)
    assert (first["error"]["code"], second["result"]) == (-32000, "0x1")


async def test_a_chain_without_nodes_is_no_question() -> None:
    caller = FakeCaller({A: FakeNode()})
    with pytest.raises(InvalidQuestion):
        await serve(Nodes(caller, caller.rows), "dogecoin", b"{}")
