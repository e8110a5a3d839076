"""The client over real HTTP: what goes out, what comes back, and what happens when it does not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from budgets import exchange_client
from budgets.exchange_client import ExchangeClient
from budgets.rate_limits import RateLimits
from budgets.request_counts import RequestCounts
from config import Settings, load_settings
from data_collector.retries import fetch_simple
from data_collector.run import CollectionRun
from data_collector.url_builder import history_request, listing_request
from market.markets import DEFAULT_EXCHANGES, Exchange, Market
from market.timeframes import Timeframe
from tests.fixtures.asking import server_time_ms
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from venues.errors import BadPayload, Banned, RateLimited, SourceDown
from venues.venue import Endpoint

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
TIME = listing_request(BYBIT, Endpoint.TIME)


def _settings(base_url: str) -> Settings:
    return load_settings(binance_base_url=base_url, bybit_base_url=base_url)


@contextlib.asynccontextmanager
async def _server(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """An HTTP server of one function, for what the simulator does not do."""
    runner = web.ServerRunner(web.Server(answer))  # type: ignore[arg-type]
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_the_clocks_of_both_exchanges(simulator: Simulator) -> None:
    async with ExchangeClient(_settings(simulator.base_url)) as client:
        assert await server_time_ms(client, BINANCE) == NOW_MS
        assert await server_time_ms(client, BYBIT) == NOW_MS
        assert (client.requests, client.retries) == (2, 0)


async def test_a_get_carries_no_body_and_symbols_arrive_whole() -> None:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        seen.append((request.method, request.path, dict(request.query), body))
        assert "Content-Length" not in request.headers
        assert "Content-Type" not in request.headers
        assert "Cookie" not in request.headers
        return web.Response(text="[]", headers={"Set-Cookie": "a=b"})

    market = Market(BINANCE, "龙虾&USDT", "龙虾", "USDT")
    request = history_request(
        market, Endpoint.KLINES, start_ms=1, end_ms=2, limit=5, period=Timeframe.H4
    )
    async with _server(answer) as url, ExchangeClient(_settings(url)) as client:
        for _ in range(2):
            assert await client.send(request, RequestCounts()) == b"[]"
    assert seen[1] == (
        "GET",
        "/fapi/v1/klines",
        {"symbol": "龙虾&USDT", "interval": "4h", "startTime": "1", "endTime": "2", "limit": "5"},
        b"",
    )


async def test_a_bybit_cursor_is_followed_over_all_pages(start_simulator: StartSimulator) -> None:
    from data_collector.listings import fetch_instruments

    simulator = start_simulator(binance=1, bybit=1100, now=NOW_MS, frozen=True)
    async with ExchangeClient(_settings(simulator.base_url)) as client:
        run = CollectionRun(client)
        found = await fetch_instruments(run, BYBIT, quote="USDT")
    listed = simulator.get("/sim/markets", exchange="bybit")
    assert len(found) == 1100
    assert run.requests >= 2
    assert {row.market.symbol for row in found} == {
        row["symbol"] for row in listed["markets"] if row["collected"]
    }


@pytest.mark.parametrize(
    ("fault", "kind", "cause"),
    [
        ({"kind": "reset"}, SourceDown, "Disconnected"),
        ({"kind": "status", "status": 502}, SourceDown, "502"),
        ({"kind": "html_200"}, BadPayload, "not JSON: <html>"),
        ({"kind": "truncated_json"}, BadPayload, "not JSON"),
        ({"kind": "empty_body"}, SourceDown, "an empty answer"),
        ({"kind": "hang"}, SourceDown, "no answer within 0.3 s"),
    ],
)
@pytest.mark.parametrize("exchange", DEFAULT_EXCHANGES)
async def test_a_bad_moment_is_survived_and_a_bad_day_is_named(
    simulator: Simulator,
    exchange: Exchange,
    fault: dict[str, object],
    kind: type[Exception],
    cause: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)
    settings = _settings(simulator.base_url)
    async with ExchangeClient(settings, request_s=0.3) as client:
        simulator.post("/sim/faults", {**fault, "count": 1})
        assert await server_time_ms(client, exchange) == NOW_MS
        assert (client.requests, client.retries) == (2, 1)
        simulator.post("/sim/faults", fault)
        with pytest.raises(kind, match=cause) as caught:
            await server_time_ms(client, exchange)
        assert str(exchange) in str(caught.value)


async def test_a_request_whose_connection_breaks_is_sent_once() -> None:
    """By itself aiohttp would send it again, past the budget."""
    received = 0

    async def cut(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal received
        received += 1
        assert request.transport is not None
        request.transport.abort()
        return web.StreamResponse()

    async with _server(cut) as url, ExchangeClient(_settings(url)) as client:
        with pytest.raises(SourceDown, match=r"bybit time: (ServerDisconnected|ClientOS)Error: \S"):
            await client.send(TIME, RequestCounts())
        assert (received, client.requests) == (1, 1)


async def test_nobody_listens() -> None:
    async with ExchangeClient(_settings("http://127.0.0.1:9")) as client:
        with pytest.raises(SourceDown, match="binance time: ClientConnectorError") as refused:
            await client.send(listing_request(BINANCE, Endpoint.TIME), RequestCounts())
    assert str(refused.value).endswith(": cannot connect: Connection refused")
    with pytest.raises(RuntimeError, match="async with"):
        await client.send(TIME, RequestCounts())


async def test_an_answer_too_large_to_be_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_client, "LARGEST_BODY", 100_000)
    pieces = 0

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal pieces
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while pieces < 10_000:
                pieces += 1
                await response.write(b"[" * 10_000)
        return response

    async with _server(endless) as url, ExchangeClient(_settings(url)) as client:
        with pytest.raises(BadPayload, match="more than 100000 bytes"):
            await client.send(TIME, RequestCounts())
    assert pieces < 10_000


async def test_a_pause_holds_everybody_and_a_long_one_is_told(simulator: Simulator) -> None:
    settings = _settings(simulator.base_url)
    limits = RateLimits(settings.rate_fraction)
    simulator.post(
        "/sim/faults", {"kind": "status", "status": 429, "exchange": "binance", "count": 1}
    )
    async with (
        ExchangeClient(settings, limits=limits) as client,
        ExchangeClient(settings, limits=limits) as other,
    ):
        with pytest.raises(RateLimited) as caught:
            await client.send(listing_request(BINANCE, Endpoint.TIME), RequestCounts())
        pause_s = limits.for_exchange(BINANCE).pause_left_s()
        assert 0 < pause_s <= 60
        assert abs(caught.value.until_ms / 1000 - client.clock.wall_ms() / 1000 - pause_s) < 1
        # The other exchange goes on; the paused one sends nothing more.
        await server_time_ms(other, BYBIT)
        sent = simulator.stats()["clients"]["binance"]
        waiting = asyncio.create_task(server_time_ms(other, BINANCE))
        for _ in range(3):  # time enough for what would be sent to be answered
            await server_time_ms(other, BYBIT)
        assert not waiting.done()
        assert simulator.stats()["clients"]["binance"] == sent
        waiting.cancel()
        await limits.for_exchange(BINANCE).pause(600, "banned")
        asked = simulator.stats()["total"]
        with pytest.raises(Banned, match="banned"):
            await server_time_ms(other, BINANCE)
        assert simulator.stats()["total"] == asked
    assert simulator.stats()["requests_while_banned"] == 0


async def test_bybit_says_too_frequent(simulator: Simulator) -> None:
    simulator.post("/sim/faults", {"kind": "status", "status": 403, "exchange": "bybit"})
    async with ExchangeClient(_settings(simulator.base_url)) as client:
        run = CollectionRun(client)
        with pytest.raises(Banned, match="access too frequent"):
            await fetch_simple(run, TIME, bytes.decode)
        assert run.reason_to_skip(BYBIT, Endpoint.KLINES)
        assert 590 < client.limits.for_exchange(BYBIT).pause_left_s() <= 600


async def test_a_cancelled_request_gives_its_room_back(simulator: Simulator) -> None:
    simulator.post("/sim/faults", {"kind": "hold"})
    async with ExchangeClient(_settings(simulator.base_url)) as client:
        task = asyncio.create_task(client.send(TIME, RequestCounts()))
        assert (await asyncio.to_thread(simulator.get, "/sim/held"))["held"] == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        budget = client.limits.for_exchange(BYBIT).budgets["requests"]
        now = client.clock.monotonic_s()
        assert budget.used(now) == 1
        assert budget.used(now + 5.1) == 0
