"""Shadow probes: a cheap question for every row, in rounds, and none while a limit lasts."""

import pytest

from config import load_settings
from providers.assets import load as load_assets
from providers.breaker import BreakerState
from providers.errors import ErrorClass, NoAnswer, ProviderError
from providers.probes import cheapest
from providers.questions import Kind
from providers.registry import load
from providers.requests import requests_of
from providers.resources import State
from tests.providers.asking import ASSETS, FakeProviders, SetClock, fails, prices, row
from tests.providers.conftest import OpenChains

ROW = row("a", ttl_s=0.0)
FAILED = ProviderError(ErrorClass.TRANSIENT, "503")


def test_every_row_that_is_asked_by_a_url_has_a_question_that_costs_little() -> None:
    assets = load_assets()
    for resource in load(load_settings()).resources:
        if resource.state is State.DEAD or not resource.url or resource.reader == "own":
            continue
        question = cheapest(resource, assets)
        assert question.chain == resource.chain
        requests = requests_of(resource, question, assets, "key")
        assert 1 <= len(requests) <= 4, resource.id


async def test_a_round_probes_what_is_open_once_and_brings_it_back(
    asking: OpenChains, providers: FakeProviders
) -> None:
    clock = SetClock()
    providers.does["a"] = fails(500)
    async with asking(ROW, clock=clock) as opened:
        client = opened.chains.client
        await opened.chains.probes.round()
        assert providers.asked == []  # it is closed: nothing to find out
        for _ in range(5):
            right = await client.gate.admit(client.account(ROW))
            await client.gate.settle(client.account(ROW), right, ms=1, error=FAILED)
        await opened.chains.probes.round()
        await opened.chains.probes.round()  # too soon after the last one
        assert providers.of("a") == 1
        clock.now_ms += 46_000
        providers.does["a"] = providers.tell()
        await opened.chains.probes.round()
        assert providers.of("a") == 3
        [member] = await client.look([ROW])
        assert member.state is BreakerState.CLOSED
        assert [each.purpose for each in opened.attempts] == ["probe"] * 3


async def test_a_limit_is_not_probed(asking: OpenChains, providers: FakeProviders) -> None:
    clock = SetClock()
    providers.does["a"] = fails(429, **{"Retry-After": "3600"})
    async with asking(ROW, clock=clock) as opened:
        with pytest.raises(NoAnswer):
            await opened.chains.ask(prices("btc"), 3)
        clock.now_ms += 600_000
        await opened.chains.probes.round()
    assert providers.of("a") == 1


def test_prices_are_probed_by_what_the_row_answers_for() -> None:
    only_eth = row("a", read={**ROW.read, "assets": ["eth"], "quotes": ["USDT"]})
    question = cheapest(only_eth, ASSETS)
    assert (question.kind, question.subjects) == (Kind.PRICE, ("eth",))
    assert question.option("quote") == "USDT"
