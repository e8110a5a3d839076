"""The balancer: who is asked first, and that nobody is lost for good."""

import random
from collections import Counter

import pytest

from providers.resources import Level, State
from providers.rpc.balancer import RPCLoadBalancer
from tests.fixtures.clock import ManualClock
from tests.providers.rpc.fakes import row

A, B, C = "rpc.ethereum/a", "rpc.ethereum/b", "rpc.ethereum/c"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def balancer(clock: ManualClock) -> RPCLoadBalancer:
    return RPCLoadBalancer(
        "ethereum",
        [row(A), row(B), row(C)],
        clock=clock,
        chance=random.Random(7),  # noqa: S311 - a seed
    )


def order(balancer: RPCLoadBalancer) -> list[str]:
    return [node.resource.id for node in balancer.order()]


async def shares(balancer: RPCLoadBalancer, times: int = 300) -> Counter[str]:
    return Counter([await balancer.get_next_node() for _ in range(times)])


async def test_equal_nodes_share_the_reads(balancer: RPCLoadBalancer) -> None:
    found = await shares(balancer)
    assert set(found) == {A, B, C}
    assert min(found.values()) > 60


async def test_scores_are_those_of_the_seed(balancer: RPCLoadBalancer) -> None:
    assert balancer.nodes == [A, B, C]
    assert balancer.health_scores == {A: 100, B: 100, C: 100}
    for _ in range(2):
        await balancer.update_health(A, success=False)
    await balancer.update_health(B, success=True)
    assert balancer.health_scores == {A: 60, B: 100, C: 100}
    await balancer.update_health(A, success=True)
    assert balancer.health_scores[A] == 65
    for _ in range(9):
        await balancer.update_health(A, success=False)
    assert balancer.health_scores[A] == 0


async def test_a_failing_node_comes_back_by_itself(
    balancer: RPCLoadBalancer, clock: ManualClock
) -> None:
    for _ in range(9):
        await balancer.update_health(A, success=False)
    assert A not in await shares(balancer)
    clock.now += 300
    assert balancer.health_scores[A] == 50
    clock.now += 900
    assert A in await shares(balancer)


async def test_levels_come_before_health(clock: ManualClock) -> None:
    balancer = RPCLoadBalancer("ethereum", [row(B, Level.MEDIUM), row(A)], clock=clock)
    for _ in range(4):
        await balancer.update_health(A, success=False)
    assert order(balancer) == [A, B]


def test_a_node_that_lags_comes_last_and_one_far_behind_not_at_all(
    balancer: RPCLoadBalancer,
) -> None:
    balancer.compared({A: 1_000, B: 990, C: 999})
    assert order(balancer)[-1] == B
    assert balancer.is_behind(B)
    assert set(balancer.heads()) == {A, C}
    balancer.compared({A: 1_000, B: 900, C: 999})
    assert B not in order(balancer)


async def test_a_node_whose_head_is_not_known_comes_after_those_that_keep_up(
    balancer: RPCLoadBalancer, clock: ManualClock
) -> None:
    balancer.compared({A: 1_000, C: 999})
    assert {order(balancer)[-1] for _ in range(20)} == {B}
    await clock.sleep(31)
    assert {order(balancer)[-1] for _ in range(20)} == {A, B, C}


def test_three_blocks_of_ethereum_are_too_many_and_fifteen_of_arbitrum_are_not(
    balancer: RPCLoadBalancer, clock: ManualClock
) -> None:
    balancer.compared({A: 1_000, B: 998, C: 997})
    assert not balancer.is_behind(B)
    balancer.compared({A: 1_000, B: 1_000, C: 997})
    assert balancer.is_behind(C)
    fast = RPCLoadBalancer("arbitrum", [row(A), row(B), row(C)], clock=clock)
    fast.compared({A: 1_000, B: 1_000, C: 985})
    assert not fast.is_behind(C)
    fast.compared({A: 1_000, B: 1_000, C: 984})
    assert fast.is_behind(C)


def test_one_of_three_that_tells_of_blocks_to_come_is_left_out_alone(
    balancer: RPCLoadBalancer,
) -> None:
    balancer.compared({A: 1_000, B: 9_999, C: 1_001})
    assert set(order(balancer)) == {A, C}
    assert balancer.heads() == {A: 1_000, C: 1_001}


def test_what_was_seen_of_a_node_is_forgotten(
    balancer: RPCLoadBalancer, clock: ManualClock
) -> None:
    balancer.compared({A: 1_000, B: 900, C: 1_000})
    clock.now += 31
    assert set(order(balancer)) == {A, B, C}
    assert balancer.heads() == {}


def test_nodes_that_are_out_are_asked_last_the_first_to_come_back_first(
    balancer: RPCLoadBalancer, clock: ManualClock
) -> None:
    balancer.bar(A, 60)
    balancer.bar(B, 30)
    assert order(balancer) == [C, B, A]
    clock.now += 30
    assert order(balancer)[-1] == A


async def test_a_node_that_is_off_is_asked_when_it_is_turned_on(clock: ManualClock) -> None:
    balancer = RPCLoadBalancer("ethereum", [row(A, state=State.OFF), row(B)], clock=clock)
    assert order(balancer) == [B]
    balancer.node(A).switched, balancer.node(B).switched = True, False
    assert order(balancer) == [A]


async def test_a_chain_without_nodes_says_so() -> None:
    with pytest.raises(LookupError, match="chain ethereum has no nodes"):
        await RPCLoadBalancer("ethereum", []).get_next_node()
    with pytest.raises(KeyError):
        await RPCLoadBalancer("ethereum", []).update_health("none", success=True)


def test_what_was_seen_of_a_node_that_is_out_by_now_still_counts(
    balancer: RPCLoadBalancer,
) -> None:
    balancer.compared({A: 1_000, B: 999})
    balancer.bar(A, 60)
    balancer.bar(B, 60)
    assert balancer.heads() == {A: 1_000, B: 999}
