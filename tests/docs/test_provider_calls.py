"""docs/providers.md: every call of the page against the real service and simulated providers."""

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any, Final

from tests.docs.blocks import ROOT, claim
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import StartSimulator

CALLS: Final = claim("docs/providers.md", "curl http://127.0.0.1:8000/api/sentiment")
PRICES: Final = claim("docs/providers.md", '"prices": [')
BEFORE: Final = claim("docs/providers.md", "api/historical/news?limit=50")
RULED: Final = claim("docs/providers.md", "curl http://127.0.0.1:8000/api/hierarchy/usage-stats")
SIMULATE: Final = claim("docs/providers.md", "main.py simulate")
SERVE: Final = claim("docs/providers.md", "DATA_DIR=simdata make run")
FAIL: Final = claim("docs/providers.md", "/sim/providers/faults")
NOBODY: Final = claim("docs/providers.md", '"detail": "nobody')
# What an answer has that tells whose it is and how old.
TOKEN: Final = "t0ken"
WHOSE: Final = ("provider", "resource", "level", "as_of_ms", "age_s", "stale_since", "attribution")


async def answered(service: Service, line: str) -> Any:
    own = line.replace("http://127.0.0.1:8000", service.address).replace("$API_TOKEN", TOKEN)
    words = shlex.split(own)
    process = await asyncio.create_subprocess_exec(
        *(words[0], "-sS", *words[1:]), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(printed)


async def told(service: Service, line: str) -> Any:
    """The answer, as soon as the machine is fast enough for one within the deadline of a client."""

    async def look() -> Any:
        answer = await answered(service, line)
        return None if "detail" in answer else answer

    return await until(look, 30)


def form(value: Any) -> Any:
    """The names and types of a document; of a list, those of its first element."""
    match value:
        case dict():
            return {name: form(each) for name, each in value.items()}
        case list():
            return [form(value[0])] if value else []
        case float():
            return int  # numbers may be whole by chance
        case _:
            return type(value)


def facts(answer: Any) -> list[Any]:
    """Each of what was told."""
    lists = [answer[name] for name in ("prices", "news", "sentiment", "whales") if name in answer]
    return lists[0] if lists else [answer]


async def test_the_calls(
    start_service: StartService,
    service_settings: ServiceSettings,
    start_simulator: StartSimulator,
) -> None:
    simulator = start_simulator(providers=True, binance=3, bybit=3)
    settings = service_settings(
        simulator, PROVIDERS="on", PROVIDERS_BASE_URL=simulator.base_url, API_TOKEN=TOKEN
    )
    service = await start_service(**settings)
    lines = CALLS.text.splitlines()
    assert len(lines) == 9
    for line in lines:
        answer = await told(service, line)
        if "/api/rpc/" in line:
            assert answer.keys() == {"jsonrpc", "id", "result"}
            assert int(answer["result"], 16) > 0
            continue
        assert facts(answer) or "/api/whales" in line, (line, answer)
        for each in facts(answer):
            assert not {*WHOSE} - each.keys(), (line, each)
        if "assets=btc,eth" in line:
            shown = json.loads(PRICES.text)
            [mine] = [each for each in answer["prices"] if each["asset"] == "btc"]
            # Who was slower than others depends on the machine.
            assert form({**answer, "prices": [mine], "tried": []}) == form(shown)
            assert {name: mine[name] for name in ("kind", "quote", "attribution")} == {
                name: shown["prices"][0][name] for name in ("kind", "quote", "attribution")
            }

    await was_kept(service, settings)
    await are_ruled(service)
    limited = {"host": "*", "class": "rate_limited"}
    simulator.post("/sim/providers/faults", limited)
    answer = await answered(service, "curl http://127.0.0.1:8000/api/prices/sol")
    shown = json.loads(NOBODY.text)
    assert answer["detail"] == shown["detail"].replace("btc", "sol")
    assert answer.keys() == shown.keys()
    tried = {each["resource"]: each for each in answer["tried"]}
    for each in shown["tried"]:
        assert tried[each["resource"]].keys() == each.keys()
    assert tried["price.aggregate/cmc"] == shown["tried"][1]


async def was_kept(service: Service, settings: Mapping[str, str]) -> None:
    """What the calls have brought is told again, over HTTP and in SQL."""
    *lines, sql = BEFORE.text.splitlines()
    for line, name in zip(lines, ("prices", "sentiment", "news"), strict=True):

        async def comes(line: str = line, name: str = name) -> bool:
            return bool((await answered(service, line))[name])

        await until(comes, 30)
    words = shlex.split(sql.replace(".venv/bin/python", sys.executable))
    process = await asyncio.create_subprocess_exec(
        *words, cwd=ROOT, env={**os.environ, **settings}, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    assert b"btc" in printed


async def are_ruled(service: Service) -> None:
    usage, coingecko, off, on, probed = [
        await answered(service, line) for line in RULED.text.splitlines()
    ]
    assert usage["by_resource"]["price.aggregate/coingecko"]["requests"] > 0
    assert coingecko["resources"][0]["level"] == "critical"
    assert [each["resources"][0]["asked"] for each in (off, on)] == [False, True]
    assert [each["id"] for each in probed["probed"]] == ["price.aggregate/dia"]


async def test_the_simulated_providers(
    start_service: StartService, redis_url: str, database_url: str
) -> None:
    """The service is started as `make run` does, on the tests' stores."""
    *_, command, port, number, providers = SIMULATE.text.split()
    assert (command, port, number, providers) == ("simulate", "--port", "9000", "--providers")
    simulator = await start_service(command, port, "0", providers)
    *given, make, run = SERVE.text.replace("http://127.0.0.1:9000", simulator.address).split()
    assert (make, run) == ("make", "run")
    settings = dict(each.split("=", 1) for each in given if not each.startswith("DATA_DIR="))
    stores = {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
    service = await start_service(PROVIDERS="on", **settings, **stores)
    fault, ask, look = FAIL.text.replace("http://127.0.0.1:9000", simulator.address).splitlines()
    await answered(service, fault)
    price = await told(service, ask)
    assert price["resource"] != "price.aggregate/coingecko"
    assert "price.aggregate/coingecko" in {each["resource"] for each in price["tried"]}
    [coingecko] = (await answered(service, look))["resources"]
    assert coingecko["out_until_ms"] is not None
    assert "429" in coingecko["last_error"]
