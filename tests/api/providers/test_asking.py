"""Prices, news, sentiment, fees, statistics, transfers, balances and nodes, as clients ask them."""

import json
import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from database import Database
from stores.cold.providers.whales import WhaleCursor, WhaleRow
from tests.fixtures.api import ServedApi, StartApi, ask, get
from tests.fixtures.signals import until
from tests.fixtures.simulator import Simulator
from timing.clock import now_ms

ZERO = "0x0000000000000000000000000000000000000000"


async def told(api: ServedApi, path: str) -> Any:
    """The answer to a GET, with its numbers exact."""
    status, headers, body = await get(api, path)
    assert status == 200, body
    assert headers["content-type"] == "application/json"
    return json.loads(body, parse_float=Decimal)


async def test_prices_say_whose_they_are_and_how_old(
    provider_api: ServedApi, imitated: Simulator
) -> None:
    answer = await told(provider_api, "/api/prices?assets=btc,Ethereum,btc")
    assert [each["asset"] for each in answer["prices"]] == ["btc", "eth"]
    assert answer["missing"] == []
    bitcoin = answer["prices"][0]
    truth = Decimal(str((imitated.get("/sim/providers/truth", assets="btc"))["prices"]["btc"]))
    assert abs(bitcoin["price"] / truth - 1) < Decimal("0.001")
    assert bitcoin["resource"].partition(":")[0] == f"price.aggregate/{bitcoin['provider']}"
    assert bitcoin["level"] in ("critical", "high", "medium", "low", "emergency")
    assert set(bitcoin["attribution"]) == {"text", "url"}
    assert bitcoin["stale_since"] is None
    assert 0 <= bitcoin["age_s"] < 60
    one = await told(provider_api, "/api/prices/bitcoin")
    assert one["price"] == bitcoin["price"]


async def test_a_price_of_another_market_is_another_price(provider_api: ServedApi) -> None:
    for kind, told_kind, quote in (("spot", "spot", "usdt"), ("perp", "perp_last", "usdt")):
        answer = await told(provider_api, f"/api/prices/eth?kind={kind}&quote={quote}")
        assert (answer["kind"], answer["quote"]) == (told_kind, "USDT")


async def test_without_names_the_agents_assets_are_told(provider_api: ServedApi) -> None:
    answer = await told(provider_api, "/api/prices")
    assert {each["asset"] for each in answer["prices"]} == {"btc", "eth", "bnb", "sol", "xrp"}


async def test_news_are_chosen(provider_api: ServedApi) -> None:
    all_ = (await told(provider_api, "/api/news?limit=500"))["news"]
    assert len(all_) > 20
    source, asset = all_[0]["source"], next(e["assets"][0] for e in all_ if e["assets"])
    of_source = (await told(provider_api, f"/api/news?limit=500&source={source}"))["news"]
    assert {each["source"] for each in of_source} == {source}
    of_asset = (await told(provider_api, f"/api/news?limit=500&assets={asset}"))["news"]
    assert [e["id"] for e in of_asset] == [e["id"] for e in all_ if asset in e["assets"]]
    assert (await told(provider_api, "/api/news?since=2099-01-01T00:00:00Z"))["news"] == []
    assert len((await told(provider_api, "/api/news?limit=3"))["news"]) == 3


async def test_an_index_is_never_given_for_another(
    provider_api: ServedApi, imitated: Simulator
) -> None:
    found = (await told(provider_api, "/api/sentiment"))["sentiment"][0]
    assert (found["metric"], found["asset"], found["scale"]) == (
        "fear_greed_altme",
        "MARKET",
        [0, 100],
    )
    # Who tells the one that is named is asked, whoever stands before.
    for metric in ("fear_greed_altme", "fear_greed_cmc"):
        answer = await told(provider_api, f"/api/sentiment?metric={metric}")
        assert [each["metric"] for each in answer["sentiment"]] == [metric]
    votes = "/api/sentiment?assets=btc&metric=votes_cryptopanic"
    status, _, answer = await ask(provider_api, "GET", votes)
    asked = [(each["resource"], each["skipped"]) for each in answer["tried"]]
    assert (status, asked) == (503, [("sentiment.asset/cryptopanic", "no_key")])
    imitated.post("/sim/providers/faults", {"host": "cfgi.io", "class": "transient"})
    status, _, answer = await ask(provider_api, "GET", "/api/sentiment?metric=fear_greed_cfgi")
    assert status == 503
    assert {each["resource"] for each in answer["tried"]} == {"sentiment.market/cfgi"}
    status, _, answer = await ask(provider_api, "GET", "/api/sentiment?metric=nosuch")
    assert status == 422
    assert "must be one of fear_greed_altme" in answer["detail"][0]["msg"]


async def test_fees_are_whole_numbers_of_the_smallest_unit(provider_api: ServedApi) -> None:
    ethereum = await told(provider_api, "/api/gas/eth")
    assert (ethereum["chain"], ethereum["chain_id"]) == ("ethereum", 1)
    assert int(ethereum["fees"]["base_fee_wei"]) > 0
    assert "fee_fast_sat_per_kvb" not in ethereum["fees"]
    bitcoin = await told(provider_api, "/api/gas/bitcoin")
    assert bitcoin["fees"]["fee_fast_sat_per_kvb"] > 0
    assert (await told(provider_api, "/api/gas/polygon"))["chain_id"] == 137


async def test_chains_whales_and_balances(provider_api: ServedApi) -> None:
    ethereum = await told(provider_api, "/api/blockchain/ethereum")
    assert ethereum["height"] > 0
    assert {"value", "unit"} == set(next(iter(ethereum["metrics"].values())))
    answer = await told(provider_api, "/api/whales?chain=ethereum")
    whales, (read,) = answer["whales"], answer["read"]
    assert (read["chain"], read["complete"]) == ("ethereum", True)
    assert ethereum["height"] - 20 <= read["last_block"] <= ethereum["height"]
    assert read["last_block"] - read["first_block"] >= 20
    assert read["age_s"] < 60
    assert all(each["value_usd"] >= 1_000_000 for each in whales)
    great = (await told(provider_api, "/api/whales?chain=ethereum&min_usd=20000000"))["whales"]
    assert {e["tx_hash"] for e in great} == {
        e["tx_hash"] for e in whales if e["value_usd"] >= 20_000_000
    }
    balance = await told(provider_api, f"/api/balance/ethereum/{ZERO}")
    assert balance["amount"] == Decimal(balance["raw"]).scaleb(-18)
    _, headers, _ = await get(provider_api, f"/api/balance/ethereum/{ZERO}")
    assert headers["cache-control"] == "no-store"
    _, _, body = await get(provider_api, f"/api/balance/bsc/{ZERO}")
    assert re.search(rb'"amount":[0-9]+\.[0-9]{18},', body)  # also where it is 0 or little


async def test_kept_transfers_are_given_where_the_hot_store_was_emptied(
    provider_api: ServedApi, imitated: Simulator, database_url: str
) -> None:
    now = now_ms()
    kept = WhaleRow(
        *(),
        chain="ethereum", tx_hash="0x" + "5" * 64, index=3, type="transfer", asset="usdt",
        contract="0xdac17f958d2ee523a2206206994597c13d831ec7", amount_raw=7_000_000_000_000,
        decimals=6, value_usd=Decimal("7000000.00"), price_source="coingecko", senders=("0x1",),
        receivers=("0x2",), sender_owner=None, receiver_owner=None, block=1_000,
        timestamp_ms=now - 1_800_000, confirmed=True, source="whales.evm/own",
        known_at_ms=now - 600_000,
    )  # fmt: skip
    old = replace(kept, tx_hash="0x6", timestamp_ms=now - 3_700_000)
    little = replace(kept, tx_hash="0x7", value_usd=Decimal("999999.99"))
    removed = replace(kept, tx_hash="0x8", source="whales.evm/nosuch")
    cursor = WhaleCursor(
        chain="ethereum", block=1_010, block_hash=None, changed_at_ms=now - 600_000
    )
    database = Database(database_url)
    await database.providers.whales.add([kept, old, little, removed], cursor)
    await database.aclose()
    imitated.post("/sim/providers/faults", {"class": "status", "status": 503})
    answer = await told(provider_api, "/api/whales?chain=ethereum")
    [whale], [read] = answer["whales"], answer["read"]
    assert (whale["tx_hash"], whale["resource"]) == (kept.tx_hash, kept.source)
    assert (whale["value_usd"], whale["block"]) == (Decimal("7000000.00"), 1_000)
    assert whale["stale_since"] == now - 600_000
    assert 1_800 <= whale["age_s"] < 1_900
    assert (read["source"], read["first_block"], read["last_block"]) == ("table", 1_000, 1_010)
    assert read["read_at_ms"] == now - 600_000 and not read["complete"]
    assert answer["missing"] == []
    # What is read anew stands beside it, until it is the whole hour.
    imitated.delete("/sim/providers/faults")

    async def is_read() -> bool:
        found = await told(provider_api, "/api/whales?chain=ethereum")
        sources = [each["source"] for each in found["read"]]
        assert kept.tx_hash in {each["tx_hash"] for each in found["whales"]}
        return sources == ["blocks", "table"]

    await until(is_read, 60)


async def test_nodes_are_read_by_one_call_or_a_batch(provider_api: ServedApi) -> None:
    call = {"jsonrpc": "2.0", "id": 7, "method": "eth_blockNumber", "params": []}
    status, headers, answer = await ask(provider_api, "POST", "/api/rpc/ethereum", call)
    assert (status, answer["id"]) == (200, 7)
    assert int(answer["result"], 16) > 0
    assert headers["cache-control"] == "no-store"
    status, _, answers = await ask(
        provider_api,
        "POST",
        "/api/rpc/ethereum",
        [call, {**call, "id": 8, "method": "eth_sendRawTransaction"}],
    )
    assert status == 200
    assert answers[1]["error"]["code"] == -32601
    status, _, answer = await ask(provider_api, "POST", "/api/rpc/bitcoin", call)
    assert status == 404
    assert "there are arbitrum, avalanche, base" in answer["detail"]


async def test_who_may_read_may_call_nodes(
    redis_url: str, database_url: str, imitated: Simulator, start_api: StartApi
) -> None:
    api = await start_api(
        redis_url=redis_url,
        dsn=database_url,
        providers_base_url=imitated.base_url,
        read_token="reader",
    )
    call = {"jsonrpc": "2.0", "id": 7, "method": "eth_chainId", "params": []}
    path = "/api/rpc/ethereum"
    assert (await ask(api, "POST", path, call))[0] == 401
    with_token = {"Authorization": "Bearer reader"}
    status, _, answer = await ask(api, "POST", path, call, headers=with_token)
    assert (status, answer["result"]) == (200, "0x1")
    status, headers, _ = await ask(api, "GET", "/api/gas/bitcoin", headers=with_token)
    assert status == 200
    assert headers["cache-control"].startswith("private, max-age=")
    foreign = {**with_token, "Origin": "https://elsewhere.example", "Content-Type": "text/plain"}
    status, _, _ = await ask(api, "POST", path, headers=foreign, data=json.dumps(call))
    assert status == 403


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/prices/zzz", 404, "'zzz' is no asset that is known"),
        ("/api/prices?assets=zzz", 422, "'zzz' is no asset that is known"),
        ("/api/prices?asset=btc", 422, "did you mean assets?"),
        ("/api/prices/btc?kind=future", 422, "must be one of aggregate, spot, perp"),
        ("/api/prices/btc?quote=us-dollar", 422, "must be 2 to 10 letters"),
        ("/api/news?limit=501", 422, "must be at most 500"),
        ("/api/gas/nosuch", 404, "is no chain that is known"),
        ("/api/gas/tron", 404, "nobody tells of tron: there are bitcoin, ethereum, all EVM"),
        ("/api/whales?chain=solana", 422, "nobody tells of solana"),
        ("/api/balance/ethereum/0x12", 422, "is not an EVM address"),
        ("/api/blockchain/ethereum?x=1", 422, "There are no parameters here"),
    ],
)
async def test_wrong_questions_are_asked_of_nobody(
    provider_api: ServedApi, imitated: Simulator, path: str, status: int, words: str
) -> None:
    found, _, body = await get(provider_api, path)
    assert found == status
    assert words in body.decode()
    assert imitated.get("/sim/providers/requests")["requests"] == []


async def test_what_nobody_answers_names_everyone_who_was_tried(
    provider_api: ServedApi, imitated: Simulator
) -> None:
    imitated.post("/sim/providers/faults", {"host": "*", "class": "transient"})
    status, headers, answer = await ask(provider_api, "GET", "/api/gas/bitcoin")
    assert status == 503
    assert headers["retry-after"] == "5"
    assert answer["detail"] == "nobody has answered gas.bitcoin of bitcoin"
    tried = {each["resource"]: each for each in answer["tried"]}
    assert tried["gas.bitcoin/mempool"]["error"] == "transient"
    assert tried["gas.bitcoin/mempool"]["level"] == "critical"
    assert all(each["message"] for each in tried.values())


async def test_answers_may_be_kept_until_they_are_due_again(provider_api: ServedApi) -> None:
    _, headers, _ = await get(provider_api, "/api/gas/bitcoin")
    words = headers["cache-control"].split("=")
    assert words[0] == "public, max-age"
    assert 1 <= int(words[1]) <= 60


async def test_what_was_asked_is_kept(provider_api: ServedApi) -> None:
    price = await told(provider_api, "/api/prices/doge")
    await told(provider_api, f"/api/balance/ethereum/{ZERO}")

    async def kept() -> Any:
        return (await told(provider_api, "/api/historical/prices/doge?source=providers"))["prices"]

    (row,) = await until(kept)
    assert (row["symbol"], row["price"], row["source"]) == (
        "doge",
        price["price"],
        "price.aggregate/coingecko",
    )


async def test_a_client_causes_as_many_calls_as_it_may(
    redis_url: str, database_url: str, imitated: Simulator, start_api: StartApi
) -> None:
    api = await start_api(
        redis_url=redis_url,
        dsn=database_url,
        providers_base_url=imitated.base_url,
        max_provider_calls_per_client=2,
    )
    for asset in ("btc", "btc", "eth"):  # the second is known
        assert (await ask(api, "GET", f"/api/prices/{asset}"))[0] == 200
    status, headers, answer = await ask(api, "GET", "/api/prices/sol")
    assert status == 429
    assert 1 <= int(headers["retry-after"]) <= 30
    assert "MAX_PROVIDER_CALLS_PER_CLIENT" in answer["detail"]
    assert (await ask(api, "GET", "/api/prices/btc"))[0] == 200
    assert (await ask(api, "GET", "/api/news"))[0] == 200
    call = {"jsonrpc": "2.0", "id": 7, "method": "eth_blockNumber", "params": []}
    assert (await ask(api, "POST", "/api/rpc/ethereum", call))[0] == 429


async def test_calls_of_a_batch_are_counted_however_they_are_written(
    redis_url: str, database_url: str, imitated: Simulator, start_api: StartApi
) -> None:
    api = await start_api(
        redis_url=redis_url,
        dsn=database_url,
        providers_base_url=imitated.base_url,
        max_provider_calls_per_client=20,
    )
    call = '{"jsonrpc": "2.0", "id": 7, "m\\u0065thod": "eth_blockNumber", "params": []}'
    batch = f"[{', '.join([call] * 12)}]".encode()
    statuses = []
    for _ in range(2):
        async with api.http.post("/api/rpc/ethereum", data=batch) as response:
            statuses.append(response.status)
    assert statuses == [200, 429]


async def test_where_providers_are_off_their_routes_say_so(native_api: ServedApi) -> None:
    for path in ("/api/prices/btc", "/api/news", "/api/providers", "/api/hierarchy/usage-stats"):
        status, _, answer = await ask(native_api, "GET", path)
        assert (status, answer["detail"]) == (
            404,
            "providers are off: start the service with PROVIDERS=on",
        )
