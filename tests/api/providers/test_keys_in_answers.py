"""Keys of providers are in no answer: of no route, whatever providers say, nor in events."""

import asyncio
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from config import load_settings
from providers import registry
from providers.resources import Resource, State
from tests.api.providers.conftest import TOKEN, WITH_TOKEN
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.simulator import Simulator
from tests.providers.placeholder_keys import FAULTS, around, forms, placeholders

CALL: Final = {"jsonrpc": "2.0", "id": 7, "method": "eth_blockNumber", "params": []}
# What each route is asked, by its path in the OpenAPI document. `{id}` is asked for many resources.
QUESTIONS: Final[dict[str, tuple[str, ...]]] = {
    "/api/prices": ("?assets=btc,eth", "?assets=btc&kind=spot&quote=usdt", "?assets=nosuch"),
    "/api/prices/{asset}": ("/api/prices/doge", "/api/prices/nosuch"),
    "/api/news": ("?limit=500", "?source="),
    "/api/sentiment": ("", "?assets=btc,eth", "?metric=nosuch"),
    "/api/gas/{chain}": ("/api/gas/ethereum", "/api/gas/bsc", "/api/gas/bitcoin"),
    "/api/blockchain/{chain}": ("/api/blockchain/ethereum", "/api/blockchain/bitcoin"),
    "/api/whales": ("?chain=ethereum", "?chain=bitcoin", "?chain=tron"),
    "/api/balance/{chain}/{address}": (
        "/api/balance/ethereum/0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045",
        "/api/balance/bsc/0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045",
        "/api/balance/tron/T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb",
        "/api/balance/bitcoin/1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "/api/balance/bitcoin/nosuch",
    ),
    "/api/rpc/{chain}": ("/api/rpc/ethereum", "/api/rpc/solana"),
    "/api/historical/news": ("",),
    "/api/historical/sentiment": ("",),
    "/api/historical/prices/{symbol}": ("/api/historical/prices/btc?source=providers",),
    "/api/hierarchy/usage-stats": ("",),
    "/api/providers": ("",),
}
OF_ONE: Final = "/api/providers/{id}"


def keyed_rows() -> list[Resource]:
    rows = registry.load(load_settings()).resources
    return [row for row in rows if row.key is not None and row.state is not State.DEAD and row.url]


class Told:
    """All that the API has said: by request, status, headers and body."""

    def __init__(self, api: ServedApi) -> None:
        self.texts: dict[str, str] = {}
        self.statuses: set[int] = set()
        self._api = api

    async def ask(self, method: str, path: str, body: Any = None) -> None:
        asked = self._api.http.request(method, path, json=body, headers=WITH_TOKEN)
        async with asked as answer:
            text = f"{answer.status} {dict(answer.headers)} {await answer.text()}"
        self.statuses.add(answer.status)
        where = f"{method} {path}"
        self.texts[where] = self.texts.get(where, "") + text

    async def ask_all(self) -> None:
        for path, questions in QUESTIONS.items():
            for each in questions:
                asked = each if each.startswith("/") else path + each
                method, body = ("POST", CALL) if "/rpc/" in asked else ("GET", None)
                await self.ask(method, asked, body)
        for path in ("/metrics", "/openapi.json", "/status", "/"):
            await self.ask("GET", path)


@pytest.mark.timeout(300)
async def test_no_key_is_in_any_answer(
    redis_url: str,
    database_url: str,
    imitated: Simulator,
    start_api: StartApi,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = keyed_rows()
    keys = placeholders(rows)
    for name, key in keys.items():
        monkeypatch.setenv(name, key)
    api = await start_api(
        redis_url=redis_url,
        dsn=database_url,
        providers_base_url=imitated.base_url,
        api_token=TOKEN,
        max_provider_calls_per_client=100_000,
    )
    told = Told(api)
    async with api.http.get("/events?event=alert") as events:
        await events.content.readuntil(b"\n\n")  # it listens
        await told.ask_all()
        for number, row in enumerate(rows):
            imitated.delete("/sim/providers/faults")
            if (fault := FAULTS[number % len(FAULTS)]) is not None:
                host = urlsplit(row.url).hostname
                imitated.post("/sim/providers/faults", {"host": host, **fault})
            await told.ask("POST", f"/api/providers/{row.id}/probe")
            await told.ask("GET", f"/api/providers/{row.id}")
        imitated.delete("/sim/providers/faults")
        for verb in ("disable", "enable"):
            await told.ask("POST", f"/api/providers/{rows[0].id}/{verb}")
        # All refuse their keys, and nobody answers.
        imitated.post("/sim/providers/faults", {"class": "key_rejected", "echo": "request"})
        await told.ask_all()
        async with asyncio.timeout(10):
            told.texts["events"] = (await events.content.readuntil(b"key_refused")).decode()
            told.texts["events"] += (await events.content.readuntil(b"\n\n")).decode()

    asked = imitated.get("/sim/providers/requests")["requests"]
    sent = " ".join(each["path"] + each["query"] for each in asked)
    assert any(key in sent for key in keys.values())
    assert {200, 404, 422, 503} <= told.statuses
    document = await (await api.http.get("/openapi.json")).json()
    described = {
        path
        for path, methods in document["paths"].items()
        if any("providers" in each.get("tags", ()) for each in methods.values())
    }
    verbs = {f"{OF_ONE}/{verb}" for verb in ("enable", "disable", "probe")}
    assert len(described) >= 15
    assert described <= {*QUESTIONS, OF_ONE, *verbs}, "a route is not asked here"
    for variable, key in keys.items():
        for where, text in told.texts.items():
            for form in forms(key):
                assert form not in text, f"{variable} in {where}: {around(text, form)}"
