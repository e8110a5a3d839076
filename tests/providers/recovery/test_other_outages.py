"""Living again after what no breaker knows: dead processes, unknown subjects, nodes that lag."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from config import load_settings
from providers import assets
from providers.chain import Chains
from providers.errors import NoAnswer, ProviderError
from providers.gate import Gate, Skipped
from providers.keys import Keys
from providers.probes import cheapest
from providers.resources import Resource
from tests.providers.recovery.driving import World
from tests.providers.recovery.outages import BOUND_S, SMALL, living, put_out, served_after


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.slow), 2])
async def test_a_process_that_died_in_the_middle_of_all_its_probes(
    world: World, processes: int
) -> None:
    await world.start()
    rows = await living(world, SMALL)
    await world.fault(**{"class": "reset"})
    await put_out(world, rows)
    await world.stop()
    await world.pass_time(70)
    gate = Gate(world.store, fraction=1.0, clock=world.clock)
    keys = Keys(rows, {}, load_settings())
    for each in rows:  # it has begun a probe of each, whose end nobody will tell
        with contextlib.suppress(Skipped):
            await gate.admit(keys.account(each), how="probe")
    await world.revive()
    await world.start(processes)
    served = await served_after(world, rows)
    assert {each.id for each in rows} - served.keys() == set()


async def _until(world: World, ask: Callable[[], Awaitable[bool]]) -> int:
    """After how many seconds, asked every 5 s, an answer comes."""
    for second in range(0, BOUND_S + 1, 5):
        if await ask():
            return second
        await world.pass_time(5)
    raise AssertionError(f"no answer within {BOUND_S} s")


async def _answers(chains: Chains, row: Resource) -> bool:
    try:
        answer = await chains.ask(cheapest(row, assets.load()), 3)
    except NoAnswer:
        return False
    return not answer.missing


@pytest.mark.parametrize("chain", ["price.spot", "price.perp", "price.aggregate"])
async def test_who_knows_a_subject_again_answers_for_it(world: World, chain: str) -> None:
    await world.start()
    row = world.registry.chain(chain)[0]
    await world.fault(**{"class": "unknown"})
    for _ in range(20):
        assert not await _answers(world.chains, row)
        await world.pass_time(30)
    await world.revive()
    assert await _until(world, lambda: _answers(world.chains, row)) <= BOUND_S


async def _reads(world: World, chain: str) -> bool:
    method = "getSlot" if chain == "solana" else "eth_blockNumber"
    try:
        answer = await world.chains.nodes.read(chain, method, [], within_s=3)
    except (NoAnswer, ProviderError):
        return False
    return answer.stale_since_ms is None


@pytest.mark.parametrize("minutes", [1, 20])
async def test_nodes_that_are_of_the_chain_again_answer(world: World, minutes: int) -> None:
    await world.start()
    await world.fault(**{"class": "wrong_chain"})
    for _ in range(minutes * 4):
        assert not await _reads(world, "ethereum")
        await world.pass_time(15)
    await world.revive()
    assert await _until(world, lambda: _reads(world, "ethereum")) <= BOUND_S


@pytest.mark.parametrize("chain", ["ethereum", "bsc", "polygon"])
async def test_nodes_that_keep_up_again_answer_when_the_one_that_did_is_down(
    world: World, chain: str
) -> None:
    await world.start()
    hosts = sorted(
        {each.url.split("/")[2] for each in world.keyless() if each.chain == f"rpc.{chain}"}
    )
    one, *others = hosts
    lagging: dict[str, Any] = {"host": others, "class": "lagging", "blocks": 5000}
    await world.fault(**lagging)
    for _ in range(8):
        await _reads(world, chain)
        await world.pass_time(15)
    assert await _reads(world, chain)
    await world.revive()
    await world.fault(**{"host": one, "class": "reset"})
    assert await _until(world, lambda: _reads(world, chain)) <= BOUND_S


async def test_a_node_stands_in_its_place_again_although_its_breaker_was_open_for_long(
    world: World,
) -> None:
    await world.start()
    rows = [each for each in world.keyless() if each.chain == "rpc.ethereum"]
    host = rows[0].url.split("/")[2]
    await world.fault(**{"host": host, "class": "reset"})
    balancer = world.chains.nodes.balancer("ethereum")
    await asyncio.gather(*(world.ask(rows[0]) for _ in range(5)))
    for _ in range(60):
        await _reads(world, "ethereum")
        await world.pass_time(15)
    await world.revive()

    async def stands() -> bool:
        await _reads(world, "ethereum")
        return rows[0].id in {each.resource.id for each in balancer.order_of_fit()}

    for _ in range(18):
        await world.pass_time(5)
        await _reads(world, "ethereum")
    assert await stands()
    assert await world.out(rows[:1]) == []
