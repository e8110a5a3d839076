"""/api/providers and usage-stats: how resources are, are switched and probed, and were used."""

from typing import Any

import asyncpg
import pytest

from tests.api.providers.conftest import WITH_TOKEN
from tests.fixtures.api import ServedApi, ask, get
from tests.fixtures.numbers import Numbers
from tests.fixtures.signals import until
from tests.fixtures.simulator import Simulator
from tests.metrics.dashboards import check_expressions, expressions_of

COINGECKO = "/api/providers/price.aggregate/coingecko"


async def test_every_row_is_listed_as_it_is(provider_api: ServedApi) -> None:
    status, _, answer = await ask(provider_api, "GET", "/api/providers")
    rows = {each["id"]: each for each in answer["resources"]}
    assert status == 200
    assert len(rows) >= 173
    assert len({each["chain"] for each in rows.values()}) >= 28
    gecko = rows["price.aggregate/coingecko"]
    assert (gecko["asked"], gecko["level"], gecko["breaker"]) == (True, "critical", "closed")
    dead = [each for each in rows.values() if each["state"] == "dead"]
    assert dead
    assert all(each["reason"] and not each["asked"] for each in dead)
    lacking = [each for each in rows.values() if each["key"] == "missing"]
    assert all(each["key_variable"].endswith(("_API_KEY", "_API_KEY_2")) for each in lacking)
    _, _, answer = await ask(provider_api, "GET", "/api/providers?chain=news&state=dead")
    assert {(each["chain"], each["state"]) for each in answer["resources"]} <= {("news", "dead")}


async def test_one_resource_or_all_of_a_provider(provider_api: ServedApi) -> None:
    _, _, answer = await ask(provider_api, "GET", COINGECKO)
    (row,) = answer["resources"]
    assert row["attribution"]["url"] == "https://www.coingecko.com"
    assert row["limits"]
    _, _, answer = await ask(provider_api, "GET", "/api/providers/mempool")
    assert len(answer["resources"]) > 1
    status, _, answer = await ask(provider_api, "GET", "/api/providers/nosuch")
    assert (status, answer["detail"]) == (
        404,
        "'nosuch' is no resource, provider or chain: see /api/providers",
    )


async def test_a_resource_that_is_disabled_is_not_asked(
    provider_api: ServedApi, database_url: str, imitated: Simulator
) -> None:
    assert (await ask(provider_api, "POST", f"{COINGECKO}/disable"))[0] == 401
    status, _, answer = await ask(provider_api, "POST", f"{COINGECKO}/disable", headers=WITH_TOKEN)
    assert status == 200
    assert [(each["enabled"], each["asked"]) for each in answer["resources"]] == [(False, False)]
    _, _, price = await ask(provider_api, "GET", "/api/prices/btc")
    assert price["provider"] != "coingecko"
    connection = await asyncpg.connect(database_url)
    kept = await connection.fetchrow("SELECT enabled, changed_by FROM providers WHERE NOT enabled")
    await connection.close()
    assert kept is not None
    assert kept["changed_by"] == "api"
    await ask(provider_api, "POST", f"{COINGECKO}/enable", headers=WITH_TOKEN)
    _, _, price = await ask(provider_api, "GET", "/api/prices/eth")
    assert price["provider"] == "coingecko"


async def test_what_is_dead_stays_so(provider_api: ServedApi) -> None:
    _, _, answer = await ask(provider_api, "GET", "/api/providers?state=dead")
    path = f"/api/providers/{answer['resources'][0]['id']}"
    status, _, answer = await ask(provider_api, "POST", f"{path}/enable", headers=WITH_TOKEN)
    assert status == 409
    assert " is dead: " in answer["detail"]
    status, _, answer = await ask(provider_api, "POST", f"{path}/probe", headers=WITH_TOKEN)
    assert status == 200
    assert not answer["probed"][0]["answered"]


async def test_a_probe_asks_now(provider_api: ServedApi, imitated: Simulator) -> None:
    assert (await ask(provider_api, "POST", f"{COINGECKO}/probe"))[0] == 401
    _, _, answer = await ask(provider_api, "POST", f"{COINGECKO}/probe", headers=WITH_TOKEN)
    (probed,) = answer["probed"]
    assert probed["answered"], probed
    assert probed["records"] >= 1
    hosts = {each["host"] for each in imitated.get("/sim/providers/requests")["requests"]}
    assert hosts == {"api.coingecko.com"}
    status, _, _ = await ask(provider_api, "POST", "/api/providers/news/probe", headers=WITH_TOKEN)
    assert status == 409


async def test_usage_is_counted_with_its_fallbacks(
    provider_api: ServedApi, imitated: Simulator
) -> None:
    rule = {"host": "api.coingecko.com", "class": "status", "status": 500}
    imitated.post("/sim/providers/faults", rule)
    _, _, price = await ask(provider_api, "GET", "/api/prices/btc")
    assert price["tried"][0]["resource"] == "price.aggregate/coingecko"

    async def is_counted() -> Any:  # a moment later, many at once
        _, _, found = await ask(provider_api, "GET", "/api/hierarchy/usage-stats")
        return found if found["total_fallbacks"] else None

    stats = await until(is_counted)
    assert stats["success"] is True
    assert stats["total_fallbacks"] == 1
    gecko = stats["by_resource"]["price.aggregate/coingecko"]
    assert gecko["failed"] == gecko["failed_by_class"]["transient"] == gecko["requests"] >= 1
    assert (gecko["success"], gecko["success_rate"], gecko["avg_response_ms"]) == (0, 0, None)
    served = stats["by_resource"][price["resource"]]
    assert (served["success"], served["success_rate"]) == (1, 1)
    assert served["avg_response_ms"] > 0
    total = sum(each["requests"] for each in stats["by_resource"].values())
    assert stats["total_requests"] == total
    assert stats["fallback_rate"] == pytest.approx(1 / total)
    assert stats["by_chain"]["price.aggregate"]["fallbacks"] == 1

    _, _, page = await get(provider_api, "/metrics")
    text = page.decode()
    assert 'perpcache_provider_success_rate{resource="price.aggregate/coingecko"} 0.0' in text
    assert 'perpcache_provider_fallback_count_total{chain="price.aggregate"} 1.0' in text
    for file, least in (("grafana-dashboard.json", 6), ("alerts.example.yml", 4)):
        of_providers = [each for each in expressions_of(file) if "perpcache_provider_" in each]
        assert len(of_providers) >= least
        check_expressions(of_providers, Numbers(text))


async def test_an_alert_comes_by_events(provider_api: ServedApi, imitated: Simulator) -> None:
    async with provider_api.http.get("/events?event=alert") as events:
        await events.content.readuntil(b"\n\n")  # it listens
        imitated.post("/sim/providers/faults", {"host": "*", "class": "status", "status": 500})
        assert (await ask(provider_api, "GET", "/api/gas/bitcoin"))[0] == 503
        said = await events.content.readuntil(b"nobody of")
    assert b"event: alert" in said
    assert b'"alert":"no_living_member","chain":"gas.bitcoin","resource":null' in said
