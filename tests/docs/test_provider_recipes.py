"""The recipes of docs/recipes.md that add providers: read as a file of PROVIDERS, and asked.

By the rows, and by clients of a service that has them.
"""

import time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from config import load_settings
from providers import assets
from providers.opening import open_chains
from providers.questions import Question
from providers.records import Price, RpcAnswer
from providers.registry import Registry, load
from providers.resources import Level, State
from stores.hot.redis_client import NativeStore
from tests.docs.blocks import Block, claim
from tests.fixtures.service import ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import StartSimulator
from tests.providers.asking import FakeProviders

SOURCE: Final = claim("docs/recipes.md", 'id = "price.spot/gate"')
CHANGES: Final = claim("docs/recipes.md", 'id = "price.aggregate/coinlore"')
NODE: Final = claim("docs/recipes.md", "[rpc]")


def loaded(block: Block, tmp_path: Path) -> Registry:
    path = tmp_path / "providers.toml"
    path.write_text(block.text)
    return load(load_settings(providers=str(path)))


async def ticker(request: web.Request) -> web.StreamResponse:
    assert request.path == "/api.gateio.ws/api/v4/spot/tickers"
    pair = {"last": "60123.4", "quote_volume": "1000000.5", "change_percentage": "-1.25"}
    return web.json_response(
        [{"currency_pair": "BTC_USDT", **pair}, {"currency_pair": "BTC_USD", "last": "1"}]
    )


async def block_number(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    assert asked["method"] == "eth_blockNumber"
    return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": "0x10"})


async def asked(
    registry: Registry, resource: str, question: Question, redis_url: str, fake: FakeProviders
) -> list[Price | RpcAnswer]:
    settings = load_settings(redis_url=redis_url, providers_base_url=fake.url)
    store = NativeStore(redis_url, client_name="test")
    async with open_chains(settings, store, registry, assets.load(), environ={}) as chains:
        found = await chains.client.call(registry.resource(resource), question, within_s=5)
    await store.aclose()
    return [each for each in found if isinstance(each, Price | RpcAnswer)]


async def test_a_source_of_prices(tmp_path: Path, redis_url: str) -> None:
    registry = loaded(SOURCE, tmp_path)
    [row] = [each for each in registry.chain("price.spot") if each.provider.id == "gate"]
    assert (row.level, row.state) == (Level.MEDIUM, State.ALIVE)
    question = Question("price.spot", ("btc", "eth"), (("quote", "USDT"),))
    async with FakeProviders().serve() as fake:
        fake.does["api.gateio.ws"] = ticker
        [price] = await asked(registry, row.id, question, redis_url, fake)
    assert isinstance(price, Price)
    assert (price.asset, price.quote, price.value) == ("btc", "USDT", Decimal("60123.4"))
    assert (price.change_24h, price.resource) == (Decimal("-0.0125"), "price.spot/gate")


def test_changes_of_rows(tmp_path: Path) -> None:
    ours, registry = load(load_settings()), loaded(CHANGES, tmp_path)
    assert registry.resource("price.aggregate/coinlore").state is State.OFF
    before, now = (each.resource("price.aggregate/coingecko") for each in (ours, registry))
    assert (now.ttl_s, now.url, now.read) == (120, before.url, before.read)
    assert before.ttl_s != 120


async def test_a_node(tmp_path: Path, redis_url: str) -> None:
    registry = loaded(NODE, tmp_path)
    [node] = [each for each in registry.chain("rpc.ethereum") if each.private]
    assert node.level is Level.CRITICAL
    options = (("method", "eth_blockNumber"), ("params", "[]"))
    async with FakeProviders().serve() as fake:
        fake.does["127.0.0.1:8545"] = block_number
        question = Question("rpc.ethereum", ("ethereum",), options)
        [answer] = await asked(registry, node.id, question, redis_url, fake)
    assert isinstance(answer, RpcAnswer)
    assert answer.result == "0x10"


async def of_ethereum(request: web.Request) -> web.StreamResponse:
    """A node that has block 16, a second old."""
    asked = await request.json()
    results: dict[str, Any] = {
        "eth_chainId": "0x1",
        "eth_blockNumber": "0x10",
        "eth_getBlockByNumber": {"number": "0x10", "timestamp": hex(int(time.time()) - 1)},
        "eth_getBalance": "0x2a",
    }
    answer = {"jsonrpc": "2.0", "id": asked["id"], "result": results[asked["method"]]}
    return web.json_response(answer)


async def test_a_service_asks_them(
    tmp_path: Path,
    start_service: StartService,
    service_settings: ServiceSettings,
    start_simulator: StartSimulator,
) -> None:
    """Nobody else answers: what clients get is of the recipe's source and of its node."""
    path = tmp_path / "providers.toml"
    path.write_text(SOURCE.text + NODE.text)
    async with FakeProviders().serve() as fake:
        fake.does["api.gateio.ws"] = ticker
        fake.does["127.0.0.1:8545"] = of_ethereum
        exchanges = start_simulator(binance=1, bybit=1)
        settings = service_settings(exchanges, PROVIDERS=str(path), PROVIDERS_BASE_URL=fake.url)
        service = await start_service(**settings)
        of = ["0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045", "latest"]
        call = {"jsonrpc": "2.0", "id": 7, "method": "eth_getBalance", "params": of}
        async with aiohttp.ClientSession(service.address) as client:

            async def told(method: str, path: str, body: object = None) -> Any:
                """None while nobody has answered within the deadline of a client."""
                async with client.request(method, path, json=body) as reply:
                    return await reply.json() if reply.status == 200 else None

            price = await until(lambda: told("GET", "/api/prices/btc?kind=spot&quote=usdt"), 30)
            answer = await until(lambda: told("POST", "/api/rpc/ethereum", call), 30)
        assert (price["resource"], price["price"]) == ("price.spot/gate", 60123.4)
        assert answer == {"jsonrpc": "2.0", "id": 7, "result": "0x2a"}
