"""Shadow probes: a cheap question for every row, in rounds, and none while a limit lasts."""

import asyncio
from dataclasses import replace

import pytest

from config import load_settings
from providers.assets import load as load_assets
from providers.breaker import BreakerState
from providers.errors import ErrorClass, NoAnswer, ProviderError
from providers.probes import cheapest
from providers.questions import Kind
from providers.registry import load
from providers.requests import requests_of
from providers.resources import Resource, State
from tests.fixtures.clock import ManualClock
from tests.fixtures.signals import until_true
from tests.providers.asking import ASSETS, FakeProviders, SetClock, fails, hangs, prices, row
from tests.providers.conftest import OpenChains, Opened

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


async def _put_out(opened: Opened, *rows: Resource) -> None:
    client = opened.chains.client
    for each in rows:
        for _ in range(5):
            right = await client.gate.admit(client.account(each))
            await client.gate.settle(client.account(each), right, ms=1, error=FAILED)


async def test_those_that_hang_keep_nobody_waiting(
    asking: OpenChains, providers: FakeProviders
) -> None:
    silent = [row(f"silent{number}") for number in range(30)]
    providers.does |= {each.provider.id: hangs for each in silent}
    clock, stop = ManualClock(hold=True), asyncio.Event()
    async with asking(*silent, ROW, clock=clock) as opened:
        await _put_out(opened, *silent, ROW)
        running = asyncio.create_task(opened.chains.probes.run(stop))
        await until_true(lambda: len(opened.attempts) == 2)  # before the first of those has ended
        assert {each.resource.id for each in opened.attempts} == {ROW.id}
        [member] = await opened.chains.client.look([ROW])
        assert member.state is BreakerState.CLOSED
        stop.set()
        await running


async def test_a_row_that_cannot_be_asked_ends_no_round(
    asking: OpenChains, providers: FakeProviders
) -> None:
    nonsense = row("nonsense", read={**ROW.read, "id": "{nothing}"})
    async with asking(nonsense, ROW) as opened:
        await _put_out(opened, nonsense, ROW)
        await opened.chains.probes.round()
        [member] = await opened.chains.client.look([ROW])
        assert member.state is BreakerState.CLOSED


@pytest.mark.parametrize("demanded", [True, False])
async def test_a_row_of_several_requests_is_brought_back_by_one_probe(
    asking: OpenChains, providers: FakeProviders, demanded: bool
) -> None:
    also = [{"url": "https://a/more?of={ids}", "value": "{id}.usd"}]
    several = row("a", read={**ROW.read, "also": also})
    async with asking(several) as opened:
        await _put_out(opened, several)
        if demanded:
            await opened.chains.probes.probe(several)
        else:
            await opened.chains.probes.round()
        [member] = await opened.chains.client.look([several])
        assert (member.state, providers.of("a")) == (BreakerState.CLOSED, 2)


async def test_what_is_off_is_not_probed(asking: OpenChains, providers: FakeProviders) -> None:
    off = row("off", state=State.OFF)
    async with asking(off) as opened:
        await _put_out(opened, off)
        await opened.chains.probes.round()
        assert providers.asked == []
        await opened.chains.client.gate.switch(off.id, True)
        await opened.chains.probes.round()
        assert providers.of("off") == 2


async def test_a_pause_that_is_not_stated_is_tried_by_one_row_and_ends_for_all(
    asking: OpenChains, providers: FakeProviders
) -> None:
    clock = SetClock()
    other = replace(ROW, id="price.aggregate/a:2")
    providers.does["a"] = fails(429)
    async with asking(ROW, other, clock=clock) as opened:
        await _put_out(opened, other)  # and open, too
        for _ in range(5):
            with pytest.raises(NoAnswer):
                await opened.chains.ask(prices("btc"), 3)
            [member, _] = await opened.chains.client.look([ROW, other])
            clock.now_ms = member.out_until_ms
        with pytest.raises(NoAnswer):
            await opened.chains.ask(prices("btc"), 3)
        providers.does["a"] = providers.tell()
        before = providers.of("a")
        clock.now_ms += 59_000
        await opened.chains.probes.round()
        assert providers.of("a") == before
        clock.now_ms += 1_000
        await opened.chains.probes.round()
        found = await opened.chains.client.look([ROW, other])
        assert [(each.state, each.out_until_ms) for each in found] == [(BreakerState.CLOSED, 0)] * 2
        assert providers.of("a") == before + 3


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
