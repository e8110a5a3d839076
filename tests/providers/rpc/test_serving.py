"""JSON-RPC for clients: answers in its form, whatever comes in, and nothing asked beyond bounds."""

import json
import random
from decimal import Decimal
from typing import Any

import pytest

from providers.errors import InvalidQuestion, NoAnswer
from providers.rpc.bodies import LARGEST_BODY, MOST_CALLS
from providers.rpc.nodes import Nodes
from providers.rpc.serving import RpcReply, serve
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
    ("told", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[NaN]}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[1e999]}', -32700),
        (b'{"jsonrpc":"2.0","id":"\\ud800","method":"eth_gasPrice","params":[]}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', -32700),
        (b"[" * 5_000, -32700),
        (b"[]", -32600),
        (b"7", -32600),
        (b"[" * 40 + b"]" * 40, -32600),
        (b" " * (LARGEST_BODY + 1), -32600),
        ([call("eth_gasPrice", id_=n) for n in range(MOST_CALLS + 1)], -32600),
        ({"id": 1, "method": "eth_gasPrice"}, -32600),
        ({"jsonrpc": "2.0", "method": "eth_gasPrice"}, -32600),
        ({"jsonrpc": "2.0", "id": [1], "method": "eth_gasPrice"}, -32600),
        ({"jsonrpc": "2.0", "id": True, "method": "eth_gasPrice"}, -32600),
        ({"jsonrpc": "2.0", "id": 2**80, "method": "eth_gasPrice"}, -32600),
    ],
)
async def test_what_is_no_call_is_an_error_and_asks_nobody(told: Any, code: int) -> None:
    caller = FakeCaller({A: FakeNode(eth_gasPrice="0x7")})
    assert json.loads((await served(caller, told)).body)["error"]["code"] == code
    assert caller.nodes[A].asked == []


class Forked(FakeNode):
    """On a side of a fork of its own, until it has told of it `turns` times."""

    def __init__(self, turns: int) -> None:
        super().__init__(100, eth_getBalance=self.balance)
        self.turns = turns
        self.results["eth_getBlockByNumber"] = self.block

    def balance(self, address: str, block: str) -> str:
        return "0x1" if self.turns else "0x5"

    def block(self, number: str, full: bool) -> dict[str, Any]:
        side, self.turns = ("0xa" if self.turns else "0xb"), max(0, self.turns - 1)
        return {"number": number, "hash": side}


def forked(turns: int) -> FakeCaller:
    """Two nodes that answer half of a batch each: where one is busy, the other is asked."""
    first, second = Forked(turns), Forked(0)

    def busy(*params: Any) -> Any:
        raise failing()

    first.results["eth_getCode"] = busy
    second.results["eth_getCode"] = "0x"
    second.results["eth_getBalance"] = busy
    return FakeCaller({A: first, B: second})


BATCH = [call("eth_getBalance", "0x1", "latest", id_=1), call("eth_getCode", "0x1", id_=2)]


async def test_a_batch_that_was_read_on_two_sides_of_a_fork_is_read_again() -> None:
    reply = await served(forked(1), BATCH)
    assert [each["result"] for each in json.loads(reply.body)] == ["0x5", "0x"]


async def test_nothing_is_told_of_a_batch_that_stays_forked() -> None:
    reply = await served(forked(10), BATCH)
    for number, each in enumerate(json.loads(reply.body), 1):
        assert (each["id"], each["error"]["code"]) == (number, -32000)
        assert "was taken back" in each["error"]["message"]


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
