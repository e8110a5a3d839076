"""The REST requests of collectors: their pace, pauses, and answers that are of no use."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from live.exchange_rest import LARGEST_BODY, ExchangeRest, RestFailed
from live.pacing import SharedPace
from live.stream_address import ExchangeAddress
from tests.live.hand_clock import HandClock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def asking(handler: Handler) -> AsyncIterator[tuple[ExchangeRest, HandClock]]:
    app = web.Application()
    app.router.add_get("/{tail:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    clock = HandClock()
    address = ExchangeAddress(f"http://127.0.0.1:{runner.addresses[0][1]}/base")
    try:
        async with ExchangeRest("okx", address, SharedPace(100, 60), clock, request_s=5) as rest:
            yield rest, clock
    finally:
        await runner.cleanup()


async def test_a_body() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=request.path_qs)

    async with asking(handler) as (rest, _):
        assert await rest.get("/depth?symbol=X") == b"/base/depth?symbol=X"


@pytest.mark.parametrize(
    ("status", "headers", "pause_s"),
    [
        (429, {"Retry-After": "7"}, 7),
        (418, {"Retry-After": "120"}, 120),
        (418, {"Retry-After": "99999"}, 600),
        (429, {}, 60),
        (403, {"Retry-After": "soon"}, 60),
        (500, {"Retry-After": "7"}, 0),
    ],
)
async def test_a_refusal_pauses_all_requests(
    status: int, headers: dict[str, str], pause_s: float
) -> None:
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(clock.now)
        if len(asked) == 1:
            return web.Response(status=status, headers=headers)
        return web.Response(text="ok")

    async with asking(handler) as (rest, clock):
        with pytest.raises(RestFailed, match=f"okx:X: HTTP {status}"):
            await rest.get("/depth", "X")
        clock.sleep = _passing(clock)  # type: ignore[method-assign, assignment]
        assert await rest.get("/depth") == b"ok"
        assert asked[1] - asked[0] == pause_s


def _passing(clock: HandClock) -> Callable[[float], Awaitable[None]]:
    async def sleep(delay_s: float) -> None:
        clock.now += max(0.0, delay_s)

    return sleep


async def test_answers_of_no_use() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("large"):
            return web.Response(body=b"x" * (LARGEST_BODY + 1))
        if request.path.endswith("elsewhere"):
            return web.Response(status=302, headers={"Location": "/base/large"})
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with asking(handler) as (rest, _):
        with pytest.raises(RestFailed, match="more than 4194304 bytes"):
            await rest.get("/large")
        with pytest.raises(RestFailed, match="HTTP 302"):
            await rest.get("/elsewhere")
        with pytest.raises(RestFailed, match="ServerDisconnectedError"):
            await rest.get("/cut")
    with pytest.raises(RestFailed, match="the client is closed"):
        await rest.get("/later")
