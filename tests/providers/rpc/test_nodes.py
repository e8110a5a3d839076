"""Reads of a chain: over nodes that fail, lag, lie and hang, the right answer or none."""

import random
from typing import Any

import pytest

from providers.errors import ErrorClass, InvalidQuestion, NoAnswer, ProviderError
from providers.resources import Level
from providers.rpc.balancer import Node
from providers.rpc.calling import asked
from providers.rpc.nodes import Nodes
from tests.fixtures.virtual_time import VirtualClock, run_in_virtual_time
from tests.providers.rpc.fakes import NOW_MS, FakeCaller, FakeNode, failing, member, row

A, B, C, D = (f"rpc.ethereum/{name}" for name in "abcd")
GAS: dict[str, Any] = {"eth_gasPrice": "0x7"}


def nodes_of(caller: FakeCaller) -> Nodes:
    return Nodes(caller, caller.rows, chance=random.Random(1))  # noqa: S311 - a seed


async def gas_price(nodes: Nodes, within_s: float = 3.0) -> tuple[object, str]:
    answer = await nodes.read("ethereum", "eth_gasPrice", (), within_s=within_s)
    return answer.result, answer.resource


async def test_the_next_node_answers_where_one_fails() -> None:
    broken = FakeNode(eth_gasPrice=failing())
    rows = [row(A), row(B, Level.MEDIUM)]
    nodes = nodes_of(FakeCaller({A: broken, B: FakeNode(**GAS)}, rows))
    assert await gas_price(nodes) == ("0x7", B)
    assert nodes.balancer("ethereum").health_scores[A] == 80


async def test_who_was_tried_is_named_where_nobody_answers() -> None:
    caller = FakeCaller({A: FakeNode(eth_gasPrice=failing(ErrorClass.UNKNOWN)), B: FakeNode()})
    caller.nodes[B].results["eth_gasPrice"] = failing(ErrorClass.RATE_LIMITED)
    nodes = nodes_of(caller)
    with pytest.raises(NoAnswer) as caught:
        await gas_price(nodes)
    classes = {tried.resource: tried.error_class for tried in caught.value.tried}
    assert classes == {A: ErrorClass.UNKNOWN, B: ErrorClass.RATE_LIMITED}
    assert nodes.balancer("ethereum").health_scores == {A: 100, B: 100}


async def test_a_call_that_is_wrong_is_not_asked_twice() -> None:
    wrong = failing(ErrorClass.CALLER_FAULT)
    caller = FakeCaller({A: FakeNode(eth_gasPrice=wrong), B: FakeNode(eth_gasPrice=wrong)})
    with pytest.raises(ProviderError, match="caller_fault"):
        await gas_price(nodes_of(caller))
    calls = [method for node in caller.nodes.values() for method in node.asked]
    assert calls.count("eth_gasPrice") == 1


async def test_a_node_that_hangs_does_not_hold_the_answer_up() -> None:
    hanging = FakeNode()
    hanging.hangs = True
    rows = [row(A), row(B, Level.MEDIUM)]
    nodes = nodes_of(FakeCaller({A: hanging, B: FakeNode(**GAS)}, rows))
    assert await gas_price(nodes, within_s=60) == ("0x7", B)


async def test_there_is_no_answer_after_the_deadline() -> None:
    caller = FakeCaller({A: FakeNode(), B: FakeNode()})
    for node in caller.nodes.values():
        node.hangs = True
    with pytest.raises(NoAnswer):
        await gas_price(nodes_of(caller), within_s=0.05)


async def test_a_node_that_lags_is_not_asked() -> None:
    caller = FakeCaller({A: FakeNode(900, **GAS), B: FakeNode(1_000, **GAS), C: FakeNode(**GAS)})
    nodes = nodes_of(caller)
    answers = {(await gas_price(nodes))[1] for _ in range(20)}
    assert answers == {B, C}


async def test_a_node_whose_newest_block_is_old_is_not_asked_whatever_most_nodes_say() -> None:
    old_ms = NOW_MS - 60_000
    old = [FakeNode(900, old_ms, **GAS) for _ in range(2)]
    caller = FakeCaller({A: old[0], B: old[1], C: FakeNode(1_000, **GAS)})
    nodes = nodes_of(caller)
    assert {(await gas_price(nodes))[1] for _ in range(20)} == {C}
    assert await nodes.head("ethereum", within_s=3) == 1_000


async def test_nodes_are_asked_where_all_of_them_are_late() -> None:
    old_ms = NOW_MS - 600_000
    caller = FakeCaller({id_: FakeNode(900, old_ms, **GAS) for id_ in (A, B)})
    assert (await gas_price(nodes_of(caller)))[0] == "0x7"


async def test_an_answer_of_a_node_that_lags_says_since_when_it_is_stale() -> None:
    failed = FakeNode(1_000, eth_gasPrice=failing())
    caller = FakeCaller({A: FakeNode(990, **GAS), B: failed, C: failed})
    answer = await nodes_of(caller).read("ethereum", "eth_gasPrice", (), within_s=3)
    assert answer.resource == A
    assert answer.stale_since_ms == answer.fetched_at_ms - 10 * 12_000


def after_the_compared_ones(*others: FakeNode) -> FakeCaller:
    """Three nodes that are compared and then fail, and others, which nobody has compared."""
    dying = [FakeNode(1_000, eth_gasPrice=failing()) for _ in range(3)]
    ids = [f"rpc.ethereum/{letter}" for letter in "abcdefg"]
    nodes = dict(zip(ids, (*dying, *others), strict=False))
    levels = [Level.CRITICAL] * 3 + [Level.MEDIUM] * len(others)
    return FakeCaller(nodes, [row(*each) for each in zip(nodes, levels, strict=True)])


@pytest.mark.parametrize("behind", [3, 40, 200])
async def test_a_node_that_was_never_compared_is_asked_how_far_it_is_first(behind: int) -> None:
    lagging = FakeNode(1_000 - behind, **GAS)
    caller = after_the_compared_ones(lagging, FakeNode(1_001, eth_gasPrice="0x8"))
    for _ in range(5):
        nodes = nodes_of(caller)
        for node in caller.nodes.values():
            node.asked.clear()
        assert (await gas_price(nodes))[0] == "0x8"
        assert "eth_gasPrice" not in lagging.asked


async def test_what_a_node_tells_that_was_never_compared_and_is_old_by_the_clock_is_stale() -> None:
    nodes = nodes_of(after_the_compared_ones(FakeNode(1_000, NOW_MS - 60_000, **GAS)))
    answer = await nodes.read("ethereum", "eth_gasPrice", (), within_s=3)
    assert answer.stale_since_ms is not None


async def test_nobody_but_a_node_that_was_never_compared_and_lags_answers_as_stale() -> None:
    caller = after_the_compared_ones(FakeNode(990, **GAS))
    answer = await nodes_of(caller).read("ethereum", "eth_gasPrice", (), within_s=3)
    assert answer.stale_since_ms == answer.fetched_at_ms - 10 * 12_000
    with pytest.raises(NoAnswer, match="60 blocks behind"):
        await gas_price(nodes_of(after_the_compared_ones(FakeNode(940, **GAS))))


async def test_a_node_that_does_not_say_how_far_it_is_is_not_asked() -> None:
    mute = FakeNode(**GAS)
    mute.results["eth_chainId"] = failing()
    with pytest.raises(NoAnswer):
        await gas_price(nodes_of(after_the_compared_ones(mute)), within_s=0.5)
    assert "eth_gasPrice" not in mute.asked


async def test_money_is_not_told_by_a_node_that_was_never_compared_and_lags() -> None:
    dying = [FakeNode(1_000, eth_getBalance=failing()) for _ in range(3)]
    lagging = FakeNode(900, eth_getBalance="0x5")
    ids = (A, B, C, D, "rpc.ethereum/e")
    good = FakeNode(1_000, eth_getBalance="0x6")
    nodes = dict(zip(ids, (*dying, lagging, good), strict=True))
    levels = [Level.CRITICAL] * 3 + [Level.MEDIUM] * 2
    caller = FakeCaller(nodes, [row(*each) for each in zip(nodes, levels, strict=True)])
    assert await agreed_balance(caller) == "0x6"
    assert "eth_getBalance" not in lagging.asked


async def test_a_node_of_another_chain_is_asked_for_nothing_but_its_chain() -> None:
    stranger = FakeNode(eth_chainId="0x38", **GAS)
    caller = FakeCaller({A: stranger, B: FakeNode(**GAS)})
    nodes = nodes_of(caller)
    for _ in range(9):
        assert (await gas_price(nodes))[1] == B
        caller.clock.now += 20
    assert stranger.asked == ["eth_chainId"] * 3  # once a minute: it may be of ours again


async def test_a_node_that_is_of_our_chain_again_serves_within_90_s() -> None:
    stranger = FakeNode(eth_chainId="0x38", **GAS)
    caller = FakeCaller({A: stranger, B: FakeNode(**GAS)})
    nodes = nodes_of(caller)
    assert (await gas_price(nodes))[1] == B
    caller.nodes[A] = FakeNode(**GAS)
    caller.nodes[B] = FakeNode(eth_gasPrice=failing())
    caller.clock.now += 90
    assert (await gas_price(nodes))[1] == A


async def test_heads_are_compared_once_for_a_while() -> None:
    caller = FakeCaller({A: FakeNode(**GAS), B: FakeNode(**GAS)})
    nodes = nodes_of(caller)
    for _ in range(3):
        await gas_price(nodes)
    assert [node.asked.count("eth_getBlockByNumber") for node in caller.nodes.values()] == [1, 1]
    caller.clock.now += 31
    await gas_price(nodes)
    assert [node.asked.count("eth_getBlockByNumber") for node in caller.nodes.values()] == [2, 2]
    assert [node.asked.count("eth_chainId") for node in caller.nodes.values()] == [1, 1]


async def test_who_is_out_or_off_for_all_processes_is_not_asked_first() -> None:
    caller = FakeCaller({A: FakeNode(**GAS), B: FakeNode(**GAS), C: FakeNode(**GAS)})
    caller.members[A] = member(out_until_ms=caller.clock.wall_ms() + 60_000)
    caller.members[B] = member(switched=False)
    nodes = nodes_of(caller)
    assert {(await gas_price(nodes))[1] for _ in range(10)} == {C}
    assert caller.nodes[B].asked == []


async def test_the_block_of_several_reads_is_one_that_all_nodes_have() -> None:
    caller = FakeCaller({A: FakeNode(1_001), B: FakeNode(1_000), C: FakeNode(900)})
    nodes = nodes_of(caller)
    assert await nodes.head("ethereum", within_s=3) == 1_000
    assert await nodes.settled_block("ethereum", within_s=3) == 988


async def agreed_balance(caller: FakeCaller) -> object:
    async def ask(node: Node, left_s: float) -> object:
        return (await asked(caller, node, "eth_getBalance", ("0x1", "0x1"), left_s)).result

    return await nodes_of(caller).agreed(
        "ethereum", ask, lambda found: found, "a balance", within_s=3
    )


async def test_money_is_what_two_nodes_tell_alike() -> None:
    caller = FakeCaller({A: FakeNode(eth_getBalance="0x5"), B: FakeNode(eth_getBalance="0x5")})
    assert await agreed_balance(caller) == "0x5"
    assert [node.asked.count("eth_getBalance") for node in caller.nodes.values()] == [1, 1]


@pytest.mark.parametrize("liar", [A, B, C])
async def test_a_node_that_lies_about_money_is_outvoted(liar: str) -> None:
    caller = FakeCaller({id_: FakeNode(eth_getBalance="0x5") for id_ in (A, B, C)})
    caller.nodes[liar].results["eth_getBalance"] = "0x6"
    assert await agreed_balance(caller) == "0x5"


async def test_two_nodes_that_do_not_agree_about_money_are_not_believed() -> None:
    caller = FakeCaller({A: FakeNode(eth_getBalance="0x5"), B: FakeNode(eth_getBalance="0x6")})
    with pytest.raises(ProviderError, match="do not agree"):
        await agreed_balance(caller)


async def test_the_only_node_that_answers_is_believed() -> None:
    caller = FakeCaller({A: FakeNode(eth_getBalance="0x5"), B: FakeNode(eth_getBalance=failing())})
    assert await agreed_balance(caller) == "0x5"


async def test_a_chain_without_nodes_is_no_question() -> None:
    with pytest.raises(InvalidQuestion, match="'dogecoin' has no nodes here; there are ethereum"):
        nodes_of(FakeCaller({A: FakeNode()})).balancer("dogecoin")


@pytest.mark.parametrize("compared", [True, False])
@pytest.mark.parametrize("place", [3, 7, 11])
def test_one_that_lives_among_those_that_hang_answers_in_time(place: int, compared: bool) -> None:
    run_in_virtual_time(_ask_while_one_lives(place, compared))


async def _ask_while_one_lives(place: int, compared: bool) -> None:
    ids = [f"rpc.ethereum/{letter}" for letter in "abcdefghijkl"]
    fakes = {id_: FakeNode(**GAS) for id_ in ids}
    levels = [Level.CRITICAL] * 3 + [Level.HIGH] * 5 + [Level.LOW] * 4
    caller = FakeCaller(fakes, [row(*each) for each in zip(ids, levels, strict=True)])
    caller.clock = VirtualClock()
    nodes = nodes_of(caller)
    if compared:
        await gas_price(nodes, within_s=3)  # the first three of them are
    for id_ in ids:
        fakes[id_].hangs = id_ != ids[place]
    assert (await gas_price(nodes, within_s=3))[1] == ids[place]
