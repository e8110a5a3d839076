"""One node that lives answers in time, whatever the others do, and however many ask at once."""

import asyncio
import random
from typing import Any

import pytest

from providers.errors import ErrorClass, NoAnswer, ProviderError
from providers.questions import INTERACTIVE_S, Question
from providers.records import RpcAnswer
from providers.resources import Level, Resource
from providers.rpc.nodes import Nodes
from tests.fixtures.virtual_time import VirtualClock, run_in_virtual_time
from tests.providers.rpc.fakes import FakeCaller, FakeNode, row

IDS = [f"rpc.ethereum/{letter}" for letter in "abcdefghi"]
LEVELS = [Level.CRITICAL] * 3 + [Level.MEDIUM] * 6
ROUNDS = 6
ROUND_TRIP_S = 0.25  # a third of what is left at 60 % of the time: each may take three


class _Node(FakeNode):
    """It takes a round trip for an answer; with `hangs_s` it fails after so long instead."""

    hangs_s = 0.0
    at_once = 0
    most_at_once = 0

    async def answer(self, method: str, params: list[Any]) -> Any:
        if self.hangs_s:
            await asyncio.sleep(self.hangs_s)
            raise ProviderError(ErrorClass.TRANSIENT, "it hung up")
        told = method == "eth_getBlockByNumber"
        self.at_once += told
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(ROUND_TRIP_S)
        self.at_once -= told
        return await super().answer(method, params)


class _Caller(FakeCaller):
    """Calls end at their deadline, as those of providers.client do."""

    async def call(
        self, resource: Resource, question: Question, *, within_s: float, node: Any = None
    ) -> list[RpcAnswer]:
        try:
            async with asyncio.timeout(within_s):
                return await super().call(resource, question, within_s=within_s, node=node)
        except TimeoutError:
            raise ProviderError(ErrorClass.TRANSIENT, "no answer in time") from None


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("pause_s", [5.0, 40.0], ids=["heads known", "heads old"])
@pytest.mark.parametrize("seed", range(8))
def test_one_that_lives_among_those_that_hang_answers_all_who_ask(
    seed: int, pause_s: float, at_once: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable
    run_in_virtual_time(_ask_while_one_lives(chance, pause_s, at_once))


async def _ask_while_one_lives(chance: random.Random, pause_s: float, at_once: int) -> None:
    now_ms = VirtualClock().wall_ms
    fakes = {id_: _Node(eth_gasPrice="0x5") for id_ in IDS}
    caller = _Caller({**fakes}, [row(*each) for each in zip(IDS, LEVELS, strict=True)])
    caller.clock = VirtualClock()
    nodes = Nodes(caller, caller.rows, chance=chance)

    async def ask() -> None:
        for fake in fakes.values():
            fake.made_ms = now_ms()
        try:
            await nodes.read("ethereum", "eth_gasPrice", [], within_s=INTERACTIVE_S)
        except NoAnswer as error:
            raise AssertionError(f"{living} lives, and yet: {error}") from None

    for living in chance.choices(IDS, k=ROUNDS):
        for id_, fake in fakes.items():
            fake.hangs_s = 0.0 if id_ == living else chance.choice((1.0, 2.0, 5.0))
        await asyncio.gather(*(ask() for _ in range(at_once)))
        await asyncio.sleep(pause_s)
    await nodes.aclose()
    # Many who want to know how far it is do not ask it more often than one does.
    assert max(fake.most_at_once for fake in fakes.values()) == 1
