"""One call: within its time and size, to no private address, with the key for its host alone."""

import asyncio
import contextlib

import pytest
from aiohttp import web

from budgets.shared_budgets import SharedBudgets
from config import load_settings
from market.markets import Exchange
from providers.errors import ErrorClass, NoAnswer, ProviderError
from providers.gate import Skipped
from providers.http import Http, Times
from providers.requests import PreparedRequest
from providers.resources import KeyPlace, KeySlot, Level
from stores.hot.redis_client import NativeStore
from tests.providers.asking import Behaviour, FakeProviders, fails, hangs, prices, row
from tests.providers.conftest import OpenChains
from timing.clock import SystemClock
from venues import VENUES

KEY = "a-very-secret-key"
KEYED = row("a", key=KeySlot("A_API_KEY", KeyPlace.HEADER, "X-Key", False))
ONE = row("a")


def redirects(to: str, status: int = 302) -> Behaviour:
    async def behaviour(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": to})

    return behaviour


@pytest.mark.parametrize(
    ("does", "error_class", "told"),
    [
        (hangs, ErrorClass.TRANSIENT, "no answer within 0.2 s"),
        (fails(503), ErrorClass.TRANSIENT, "503"),
        (redirects("/a/price"), ErrorClass.TRANSIENT, "more than 3 redirects"),
        (redirects("ftp://a/price"), ErrorClass.TRANSIENT, "not a web address"),
        (redirects("http://[a/price"), ErrorClass.TRANSIENT, "an address or a header that cannot"),
    ],
)
async def test_what_is_no_answer(
    asking: OpenChains,
    providers: FakeProviders,
    does: Behaviour,
    error_class: ErrorClass,
    told: str,
) -> None:
    providers.does["a"] = does
    async with asking(ONE) as opened:
        with pytest.raises(ProviderError) as failed:
            await opened.chains.client.call(ONE, prices("btc"), within_s=0.2)
    assert failed.value.error_class is error_class
    assert told in str(failed.value)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
async def test_whatever_an_answer_does_to_its_readers_the_next_member_is_asked(
    asking: OpenChains, providers: FakeProviders, opening: str
) -> None:
    """Nested as deeply as can just be parsed, it cannot be shown in an error."""

    async def nested(request: web.Request) -> web.StreamResponse:
        closing = {"[": "]"}.get(opening, "}")
        deep = opening * 980 + "1" + closing * 980
        return web.json_response(text=f'{{"bitcoin":{{"usd":{deep}}}}}')

    providers.does["a"] = nested
    async with asking(ONE, row("b", level=Level.HIGH)) as opened:
        answer = await opened.chains.ask(prices("btc"), 30)
    assert answer.served_by == {"btc": "price.aggregate/b"}
    assert [each.error_class for each in answer.tried] == [ErrorClass.BAD_PAYLOAD]


async def test_a_reader_that_breaks_down_refuses_the_answer_and_frees_the_permit(
    asking: OpenChains, providers: FakeProviders
) -> None:
    broken = row("a", read={"id": "{coingecko}", "value": "{nothing_fills_it}.usd"})
    async with asking(broken, row("b", level=Level.HIGH)) as opened:
        answer = await opened.chains.ask(prices("btc"), 30)
        usage = await opened.chains.usage.read([broken.id])
    assert answer.served_by == {"btc": "price.aggregate/b"}
    assert dict(usage[broken.id].failed) == {"bad_payload": 1}


async def test_a_body_without_end_is_cut_off(asking: OpenChains, providers: FakeProviders) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b" " * 2**20)
        return answer

    providers.does["a"] = endless
    async with asking(ONE) as opened:
        with pytest.raises(ProviderError, match="more than 16 MB"):
            await opened.chains.client.call(ONE, prices("btc"), within_s=30)


async def test_a_redirect_to_another_host_takes_no_key_along(
    asking: OpenChains, providers: FakeProviders
) -> None:
    keys: list[str | None] = []

    async def seen(request: web.Request) -> web.StreamResponse:
        keys.append(request.headers.get("X-Key"))
        return await providers.tell()(request)

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        keys.append(request.headers.get("X-Key"))
        raise web.HTTPFound("https://b/price?of=bitcoin")

    providers.does |= {"a": elsewhere, "b": seen}
    async with asking(KEYED, environ={"A_API_KEY": KEY}) as opened:
        assert await opened.chains.client.call(KEYED, prices("btc"), within_s=2)
    assert keys == [KEY, None]


async def test_no_key_is_told(asking: OpenChains, providers: FakeProviders) -> None:
    in_path = row("a", url="https://a/{key}/price?of={ids}", key=_slot(KeyPlace.PATH))
    in_query = row("b", key=_slot(KeyPlace.QUERY), level=Level.HIGH)

    async def repeats(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": f"no such page: {request.path_qs}"}, status=500)

    providers.does |= {"a": repeats, "b": repeats}
    async with asking(in_path, in_query, environ={"A_API_KEY": KEY}) as opened:
        with pytest.raises(NoAnswer) as failed:
            await opened.chains.ask(prices("btc"), 1)
        usage = await opened.chains.usage.read([in_path.id, in_query.id])
    told = (failed.value, failed.value.tried, opened.attempts, usage)
    shown = [each.shown for each in opened.attempts]
    assert "***" in shown[0] and "***" in shown[1]
    assert KEY not in repr(told)


def _slot(place: KeyPlace) -> KeySlot:
    return KeySlot("A_API_KEY", place, "apikey", False)


def _get(url: str) -> PreparedRequest:
    return PreparedRequest("GET", url, {}, None, (), f"GET {url}")


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/price",
        "https://10.1.2.3/price",
        "https://[::1]/price",
        "https://169.254.169.254/latest",
        "https://localhost/price",
    ],
)
async def test_private_addresses_are_not_asked(url: str) -> None:
    request = _get(url)
    async with Http(load_settings(), SystemClock()) as http:
        with pytest.raises(ProviderError, match="private"):
            await http.exchange(request, Times(1, 1, 1), private=False, largest=1000)


async def test_an_operators_row_may_name_a_private_address(providers: FakeProviders) -> None:
    async with Http(load_settings(), SystemClock()) as http:
        request = _get(f"{providers.url}/a/price?of=bitcoin")
        answer = await http.exchange(request, Times(1, 1, 1), private=True, largest=1000)
    assert answer.status == 200


async def test_perpetuals_are_asked_within_the_collectors_budget(
    asking: OpenChains, providers: FakeProviders, redis_url: str
) -> None:
    bybit = row("bybit", url="https://api.bybit.com/price?of={ids}")
    limit = VENUES[Exchange.BYBIT].limits["requests"]
    store = NativeStore(redis_url, client_name="collector")
    collector = SharedBudgets(store, "default", SystemClock())
    async with asking(bybit) as opened:
        client = opened.chains.client
        assert await client.call(bybit, prices("btc"), within_s=2)
        taken = await collector.take(Exchange.BYBIT, "requests", limit, 600, 1, 600)
        assert taken.room == 599
        with pytest.raises(Skipped, match="collector"):
            await client.call(bybit, prices("btc"), within_s=2)
        await store.aclose()


async def test_a_limit_of_an_exchange_pauses_the_collector_too(
    asking: OpenChains, providers: FakeProviders, redis_url: str
) -> None:
    bybit = row("bybit", url="https://api.bybit.com/price?of={ids}")
    providers.does["api.bybit.com"] = fails(429, **{"Retry-After": "30"})
    store = NativeStore(redis_url, client_name="collector")
    collector = SharedBudgets(store, "default", SystemClock())
    async with asking(bybit) as opened:
        with pytest.raises(ProviderError):
            await opened.chains.client.call(bybit, prices("btc"), within_s=2)
        limit = VENUES[Exchange.BYBIT].limits["requests"]
        grant = await collector.take(Exchange.BYBIT, "requests", limit, 600, 1, 1)
        assert grant.room == 0 and 20 < grant.paused_s <= 30
        await store.aclose()


async def test_questions_are_answered_while_the_hot_store_is_away(
    asking: OpenChains, providers: FakeProviders
) -> None:
    async with asking(ONE, redis_url="redis://127.0.0.1:1") as opened:
        answer = await opened.chains.ask(prices("btc"), 3)
        assert answer.served_by == {"btc": ONE.id}
        providers.does["a"] = fails(429, **{"Retry-After": "600"})
        for _ in range(2):
            with pytest.raises(NoAnswer):
                await opened.chains.ask(prices("btc"), 3)
    assert providers.of("a") == 2  # this process knows of the pause


async def test_calls_that_are_cancelled_leave_nothing_behind(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["a"] = hangs
    async with asking(ONE) as opened:
        question = asyncio.create_task(opened.chains.ask(prices("btc"), 30))
        await asyncio.wait((question,), timeout=0.05)
    assert question.done()


@pytest.mark.parametrize("by", ["a question", "a probe"])
async def test_a_key_that_is_refused_is_told_once_whoever_was_asking(
    asking: OpenChains, providers: FakeProviders, by: str
) -> None:
    providers.does["a"] = fails(401)
    async with asking(KEYED, environ={"A_API_KEY": KEY}) as opened:
        for _ in range(2):
            with pytest.raises((NoAnswer, ProviderError)):
                if by == "a probe":
                    await opened.chains.probes.probe(KEYED)
                else:
                    await opened.chains.ask(prices("btc"), 3)
        told = [(each.kind, each.chain, each.resource) for each in opened.alerts]
    assert told.count(("key_refused", KEYED.chain, KEYED.id)) == 1
