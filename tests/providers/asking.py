"""What tests of asking use: rows made by hand, and a time that they set."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Self

from aiohttp import web

from providers.account import Account
from providers.assets import Asset, Assets
from providers.questions import Question
from providers.resources import Level, LevelTimes, Limit, Provider, Resource, State

_COINS = {"btc": "bitcoin", "eth": "ethereum", "sol": "solana", "usdt": "tether"}
_PEGS = {"usdt": "USD"}
ASSETS = Assets(
    [
        Asset(
            id_, name, id_.upper(), names={"coingecko": name}, peg="USD" if id_ == "usdt" else None
        )
        for id_, name in _COINS.items()
    ]
)
LEVELS = {level: LevelTimes(1.0, 1.0, 2.0, 3) for level in Level}


class SetClock:
    """A clock that shows what it is set to, in ms; a sleep advances it at once."""

    def __init__(self, now_ms: int = 1_795_185_441_250) -> None:
        self.now_ms = now_ms

    def monotonic_s(self) -> float:
        return self.now_ms / 1000

    def wall_ms(self) -> int:
        return self.now_ms

    async def sleep(self, delay_s: float) -> None:
        self.now_ms += round(delay_s * 1000)


class Rows:
    """A registry of these rows."""

    def __init__(self, *rows: Resource, levels: Mapping[Level, LevelTimes] = LEVELS) -> None:
        self.levels = levels
        self.resources: Sequence[Resource] = rows

    def chain(self, id_: str) -> Sequence[Resource]:
        found = [each for each in self.resources if each.chain == id_]
        if not found:
            raise KeyError(id_)
        return sorted(found, key=lambda each: each.level)


def provider(name: str, *limits: Limit) -> Provider:
    return Provider(name, name, limits, None, None, None, ())


def row(name: str, chain: str = "price.aggregate", *limits: Limit, **fields: Any) -> Resource:
    """A row of JSON like DefiLlama's, whose host is its provider's name."""
    given: dict[str, Any] = {
        "level": Level.CRITICAL,
        "state": State.ALIVE,
        "reason": None,
        "since": None,
        "method": "GET",
        "url": f"https://{name}/price?of={{ids}}",
        "batch": 50,
        "read": {"id": "{coingecko}", "value": "{id}.usd", "as_of": "{id}.at | ms"},
        "provider": provider(name, *limits),
    }
    return Resource(id=f"{chain}/{name}", chain=chain, **(given | fields))


def account(resource: Resource, egress_id: str = "here") -> Account:
    return Account(resource, egress_id, None)


Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeProviders:
    """Providers on one port, each by its host; what they do is set by `does`. A host that was not
    set answers with `prices`, in the form of `row`."""

    def __init__(self) -> None:
        self.prices: dict[str, float] = {
            "bitcoin": 60_000.0,
            "ethereum": 3_000.0,
            "solana": 150.0,
            "tether": 1.0,
        }
        self.asked: list[str] = []
        self.does: dict[str, Behaviour] = {}
        self.url = ""

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[Self]:
        application = web.Application()
        application.router.add_route("*", "/{host}/{rest:.*}", self._handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    def of(self, host: str) -> int:
        """How often the host was asked."""
        return self.asked.count(host)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        host = request.match_info["host"]
        self.asked.append(host)
        return await self.does.get(host, self.tell())(request)

    def tell(self, factor: float = 1.0, delay_s: float = 0.0, **fields: Any) -> Behaviour:
        """Answers with the prices that it knows, times `factor`."""

        async def behaviour(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(delay_s)
            asked = request.query.get("of", "").split(",")
            found = {
                name: {"usd": self.prices[name] * factor, **fields}
                for name in asked
                if name in self.prices
            }
            return web.json_response(found)

        return behaviour


def fails(status: int, **headers: str) -> Behaviour:
    async def behaviour(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "no"}, status=status, headers=headers)

    return behaviour


async def hangs(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


def prices(*assets: str) -> Question:
    return Question("price.aggregate", assets, (("quote", "USD"),))
