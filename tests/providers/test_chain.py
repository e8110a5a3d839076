"""A chain answers as long as one member lives, asks nobody who is out, and says who was tried."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from providers.answers import Answer
from providers.breaker import BreakerState
from providers.chain import Chains
from providers.errors import ErrorClass, InvalidQuestion, NoAnswer, ProviderError
from providers.questions import Question
from providers.records import Price
from providers.resources import ErrorRule, KeyPlace, KeySlot, Level, Limit, Resource, State
from stores.hot.redis_client import NativeStore
from stores.hot.store import Word
from tests.fixtures.signals import until_true
from tests.fixtures.upstash import OwnValkey
from tests.providers.asking import Behaviour, FakeProviders, SetClock, fails, hangs, prices, row
from tests.providers.conftest import OpenChains

ONE, TWO, THREE = (row(name, level=level) for name, level in zip("abc", Level, strict=False))


def value(answer: Answer, asset: str = "btc") -> Decimal:
    [found] = [each for each in answer.records if isinstance(each, Price) and each.asset == asset]
    return found.value


async def _state(chains: Chains, resource: Resource) -> BreakerState:
    [member] = await chains.client.gate.look([chains.client.account(resource)])
    return member.state


async def test_the_first_member_answers_and_the_answer_is_kept_for_all(
    asking: OpenChains, providers: FakeProviders
) -> None:
    async with asking(ONE) as first, asking(ONE) as second:
        answer = await first.chains.ask(prices("btc", "eth"), 3)
        assert value(answer) == 60_000 and value(answer, "eth") == 3_000
        assert answer.served_by == {"btc": ONE.id, "eth": ONE.id}
        assert (answer.tried, answer.level, answer.cached) == ((), Level.CRITICAL, False)
        again = await second.chains.ask(prices("btc", "eth"), 3)
        assert again.cached and again.records == answer.records
    assert providers.asked == ["a"]


async def test_a_failing_member_is_followed_by_the_next(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["a"] = fails(503)
    async with asking(ONE, TWO) as opened:
        answer = await opened.chains.ask(prices("btc"), 3)
        assert answer.served_by == {"btc": TWO.id}
        assert answer.level is Level.HIGH
        [tried] = answer.tried
        assert (tried.resource, tried.error_class) == (ONE.id, ErrorClass.TRANSIENT)
        usage = await opened.chains.usage.read([ONE.id, TWO.id])
        assert dict(usage[ONE.id].failed) == {"transient": 1}
        assert (usage[TWO.id].requests, usage[TWO.id].success) == (1, 1)
        [counts] = (await opened.chains.usage.questions(["price.aggregate"])).values()
        assert (counts.asked, counts.answered, counts.fallbacks) == (1, 1, 1)
        outcomes = [(each.resource.id, each.error_class) for each in opened.attempts]
        assert outcomes == [(ONE.id, ErrorClass.TRANSIENT), (TWO.id, None)]


@pytest.mark.parametrize(
    ("first", "fails_with", "fallbacks"),
    [
        ({"quotes": ["EUR"]}, None, [0, 0]),
        ({"assets": ["nosuch"]}, None, [0, 0]),
        ({}, fails(503), [1, 2]),
        ({}, fails(429, **{"Retry-After": "600"}), [1, 2]),  # then it is out
        ({}, None, [0, 0]),
    ],
)
async def test_a_fallback_is_of_a_member_that_could_have_answered(
    asking: OpenChains,
    providers: FakeProviders,
    first: dict[str, Any],
    fails_with: Behaviour | None,
    fallbacks: list[int],
) -> None:
    if fails_with is not None:
        providers.does["a"] = fails_with
    found = []
    async with asking(row("a", read={**ONE.read, **first}), TWO) as opened:
        for asset in ("btc", "eth"):
            await opened.chains.ask(prices(asset), 3)
            [counts] = (await opened.chains.usage.questions(["price.aggregate"])).values()
            found.append(counts.fallbacks)
    assert found == fallbacks


async def test_one_that_is_out_behind_who_answers_makes_no_fallback(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["b"] = fails(429, **{"Retry-After": "600"})
    async with asking(ONE, TWO) as opened:
        with pytest.raises(ProviderError):
            await opened.chains.client.call(TWO, prices("btc"), within_s=3)
        answer = await opened.chains.ask(prices("btc"), 3)
        [counts] = (await opened.chains.usage.questions(["price.aggregate"])).values()
    assert [(each.resource, each.skipped) for each in answer.tried] == [(TWO.id, "out")]
    assert (counts.answered, counts.fallbacks) == (1, 0)


async def test_who_was_asked_twice_is_named_once_with_what_it_said_last(
    asking: OpenChains, providers: FakeProviders
) -> None:
    statuses = iter((500, 429))

    async def fails_differently(request: web.Request) -> web.StreamResponse:
        return await fails(next(statuses))(request)

    providers.does["a"] = fails_differently
    keyed = row("b", level=Level.HIGH, key=KeySlot("B_API_KEY", KeyPlace.HEADER, "X-Key", False))
    async with asking(ONE, keyed) as opened:
        with pytest.raises(NoAnswer) as failed:
            await opened.chains.ask(prices("btc"), 3)
    assert [
        (each.resource, each.error_class, each.skipped, each.times) for each in failed.value.tried
    ] == [
        (ONE.id, ErrorClass.RATE_LIMITED, None, 2),
        (keyed.id, None, "no_key", 0),
    ]


async def test_missing_subjects_alone_go_on_to_the_next(
    asking: OpenChains, providers: FakeProviders
) -> None:
    narrow = row("a", read={**ONE.read, "assets": ["btc"]})
    async with asking(narrow, TWO) as opened:
        answer = await opened.chains.ask(prices("btc", "eth"), 3)
    assert answer.served_by == {"btc": narrow.id, "eth": TWO.id}


async def test_nobody_answers_and_all_who_were_tried_are_named(
    asking: OpenChains, providers: FakeProviders
) -> None:
    keyed = row("k", key=KeySlot("K_API_KEY", KeyPlace.QUERY, "key", False))
    off = row("o", state=State.OFF, reason="not seen to answer")
    for host in "ab":
        providers.does[host] = fails(500)
    async with asking(ONE, TWO, keyed, off) as opened:
        with pytest.raises(NoAnswer) as failed:
            await opened.chains.ask(prices("btc"), 3)
        assert {each.kind for each in opened.alerts} == {"no_living_member"}
    tried = {each.resource: each.skipped for each in failed.value.tried}
    assert tried == {ONE.id: None, TWO.id: None, keyed.id: "no_key", off.id: "off"}
    assert "K_API_KEY is not set" in str(failed.value)


async def test_the_last_value_is_given_with_its_age_until_it_is_too_old(
    asking: OpenChains, providers: FakeProviders
) -> None:
    clock = SetClock()
    async with asking(ONE, clock=clock) as opened:
        answer = await opened.chains.ask(prices("btc"), 3)
        providers.does["a"] = fails(500)
        clock.now_ms += 200_000
        stale = await opened.chains.ask(prices("btc"), 3)
        [record], [before] = stale.records, answer.records
        assert record.stale_since_ms == before.fetched_at_ms + 60_000
        assert stale.served_by == {"btc": ONE.id}
        assert {each.error_class for each in stale.tried} == {ErrorClass.TRANSIENT}
        clock.now_ms += 101_000
        with pytest.raises(NoAnswer):
            await opened.chains.ask(prices("btc"), 3)


async def test_equal_questions_at_one_time_are_asked_once(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["a"] = providers.tell(delay_s=0.05)
    async with asking(ONE) as opened:
        answers = await asyncio.gather(*(opened.chains.ask(prices("btc"), 3) for _ in range(20)))
    assert len({id(each) for each in answers}) == 1
    assert providers.of("a") == 1


async def test_who_has_less_time_does_not_wait_for_who_has_more(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["a"] = hangs
    async with asking(ONE) as opened:
        slow = asyncio.create_task(opened.chains.ask(prices("btc"), 60))
        await until_true(lambda: providers.of("a") == 1)
        with pytest.raises(NoAnswer):
            await opened.chains.ask(prices("btc"), 0.2)
        assert not slow.done()


async def test_who_gives_up_does_not_take_the_answer_from_others(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["a"] = providers.tell(delay_s=0.1)
    async with asking(ONE) as opened:
        impatient = asyncio.create_task(opened.chains.ask(prices("btc"), 3))
        patient = asyncio.create_task(opened.chains.ask(prices("btc"), 3))
        await asyncio.sleep(0)
        impatient.cancel()
        assert value(await patient) == 60_000
    assert providers.of("a") == 1


async def test_one_living_member_answers_in_time_whoever_is_slow(
    asking: OpenChains, providers: FakeProviders
) -> None:
    rows = [row(f"m{number}", level=Level(number % 5 + 1)) for number in range(20)]
    for each in rows:
        providers.does[each.provider.id] = hangs
    living = sorted(rows, key=lambda each: each.level)[-1]
    providers.does[living.provider.id] = providers.tell()
    async with asking(*rows) as opened:
        began = asyncio.get_running_loop().time()
        answer = await opened.chains.ask(prices("btc"), 1.5)
        assert asyncio.get_running_loop().time() - began < 1.5
        assert answer.served_by == {"btc": living.id}


async def test_no_time_is_wasted_on_hosts_that_are_out(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["a"] = fails(429, **{"Retry-After": "600"})
    async with asking(ONE, TWO) as opened:
        for asset in ("btc", "eth"):
            await opened.chains.ask(prices(asset), 3)
        answer = await opened.chains.ask(prices("sol"), 3)
    assert providers.of("a") == 1
    assert [(each.resource, each.skipped) for each in answer.tried] == [(ONE.id, "out")]


async def test_a_breaker_opens_and_a_probe_brings_the_member_back(
    asking: OpenChains, providers: FakeProviders
) -> None:
    clock = SetClock()
    providers.does["a"] = fails(500)
    first, second = row("a", ttl_s=0.0), row("b", ttl_s=0.0, level=Level.HIGH)
    async with asking(first, second, clock=clock) as opened:
        for _ in range(7):
            answer = await opened.chains.ask(prices("btc"), 3)
        assert [each.skipped for each in answer.tried] == ["out"]
        assert await _state(opened.chains, first) is BreakerState.OPEN
        await until_true(lambda: providers.of("a") == 6)  # five questions and the first probe
        providers.does["a"] = providers.tell()
        clock.now_ms += 46_000
        await opened.chains.ask(prices("btc"), 3)  # the probe is beside it
        await until_true(lambda: [each.purpose for each in opened.attempts][-2:] == ["probe"] * 2)
        assert await _state(opened.chains, first) is BreakerState.CLOSED
        answer = await opened.chains.ask(prices("btc"), 3)
        assert answer.served_by == {"btc": first.id}


async def test_a_question_that_is_wrong_goes_to_nobody_else(
    asking: OpenChains, providers: FakeProviders
) -> None:
    wrong = row("a", errors=(ErrorRule("caller_fault", (400,)),))
    providers.does["a"] = fails(400)
    async with asking(wrong, TWO) as opened:
        with pytest.raises(InvalidQuestion):
            await opened.chains.ask(prices("btc"), 3)
    assert providers.asked == ["a"]


async def test_a_chain_of_one_is_asked_again_and_a_longer_one_is_not(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["a"] = fails(500)
    async with asking(ONE) as opened:
        with pytest.raises(NoAnswer):
            await opened.chains.ask(prices("btc"), 3)
        assert [each.purpose for each in opened.attempts] == ["question", "retry"]


async def test_budgets_are_kept_and_the_next_is_asked(
    asking: OpenChains, providers: FakeProviders
) -> None:
    limited = row("a", "price.aggregate", Limit(1, 60))
    async with asking(limited, TWO) as opened:
        await opened.chains.ask(prices("btc"), 3)
        answer = await opened.chains.ask(prices("eth"), 3)
        usage = await opened.chains.usage.read([limited.id])
        assert dict(usage[limited.id].skipped) == {"no_budget": 1}
    assert answer.served_by == {"eth": TWO.id}
    assert [(each.resource, each.skipped) for each in answer.tried] == [(limited.id, "no_budget")]


async def test_a_budget_that_is_free_again_in_time_is_waited_for_if_nobody_else_lives(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["b"] = fails(500)
    limited = row("a", "price.aggregate", Limit(1, 1))
    async with asking(limited, TWO, clock=SetClock()) as opened:
        await opened.chains.ask(prices("btc"), 3)
        answer = await opened.chains.ask(prices("eth"), 3)
    assert answer.served_by == {"eth": limited.id}
    assert {each.resource for each in answer.tried} == {TWO.id}


async def test_a_budget_that_is_free_after_the_deadline_is_not_waited_for(
    asking: OpenChains, providers: FakeProviders
) -> None:
    limited = row("a", "price.aggregate", Limit(1, 60))
    clock = SetClock()
    async with asking(limited, clock=clock) as opened:
        await opened.chains.ask(prices("btc"), 3)
        began_s = clock.monotonic_s()
        with pytest.raises(NoAnswer):
            await opened.chains.ask(prices("eth"), 3)
        assert clock.monotonic_s() == began_s


async def test_a_success_is_told_before_others_are_waited_for(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["b"] = hangs
    narrow = row("a", read={**ONE.read, "assets": ["btc"]})
    async with asking(narrow, TWO) as opened:
        question = asyncio.create_task(opened.chains.ask(prices("btc", "eth"), 30))
        await until_true(lambda: providers.of("b") == 1)
        usage = await opened.chains.usage.read([narrow.id])
        assert (usage[narrow.id].requests, usage[narrow.id].success) == (1, 1)
        assert not question.done()


async def test_a_success_is_told_although_the_question_was_wrong_for_another(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["b"] = fails(400)
    narrow = row("a", read={**ONE.read, "assets": ["btc"]})
    wrong = row("b", level=Level.HIGH, errors=(ErrorRule("caller_fault", (400,)),))
    async with asking(narrow, wrong) as opened:
        with pytest.raises(InvalidQuestion):
            await opened.chains.ask(prices("btc", "eth"), 3)
        usage = await opened.chains.usage.read([narrow.id, wrong.id])
        assert (usage[narrow.id].success, usage[wrong.id].requests) == (1, 1)


async def test_the_hot_store_is_asked_three_times_for_an_answer_and_once_for_a_fresh_one(
    asking: OpenChains, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Word] = []
    execute = NativeStore.execute

    async def counted(store: NativeStore, *command: Word, **options: Any) -> Any:
        sent.append(command[0])
        return await execute(store, *command, **options)

    monkeypatch.setattr("providers.usage.WRITE_AFTER_S", 60.0)  # its counts are written later
    async with asking(row("a", ttl_s=0.0), row("b", "price.spot")) as opened:
        for chain, commands in (("price.aggregate", 3), ("price.spot", 1)):
            question = Question(chain, ("btc",), (("quote", "USD"),))
            for _ in range(2):  # scripts are sent whole at first, and a first value is compared
                await opened.chains.ask(question, 3)
            monkeypatch.setattr(NativeStore, "execute", counted)
            sent.clear()
            await opened.chains.ask(question, 3)
            assert sent == ["EVALSHA"] * commands
            monkeypatch.setattr(NativeStore, "execute", execute)


async def test_an_answer_is_given_although_the_hot_store_has_gone_meanwhile(
    asking: OpenChains, providers: FakeProviders, own_valkey: Callable[..., OwnValkey]
) -> None:
    server = own_valkey()
    tells = providers.tell()

    async def goes_down(request: web.Request) -> web.StreamResponse:
        server.kill()
        return await tells(request)

    providers.does["a"] = goes_down
    async with asking(ONE, redis_url=server.url) as opened:
        assert value(await opened.chains.ask(prices("btc"), 3)) == 60_000
        server.start()
        providers.does["a"] = tells
        assert not (await opened.chains.ask(prices("btc"), 3)).cached  # it was not kept
        assert (await opened.chains.ask(prices("btc"), 3)).cached
        usage = await opened.chains.usage.read([ONE.id])
        assert (usage[ONE.id].requests, usage[ONE.id].success) == (1, 1)
