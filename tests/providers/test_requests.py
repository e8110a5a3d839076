"""Requests carry what the question names, keys in their places, and show no key."""

import json
from typing import Any

import pytest

from providers.questions import Question
from providers.requests import PreparedRequest, mistakes_of_request, requests_of, secrets_shown
from providers.resources import KeyPlace, KeySlot, Resource
from tests.providers.making import ASSETS, resource

KEY = "s3cret/key+of=ours"
TRON = "TWAFRfZFmhVQZjxM3De7Mp5UZ9sLqWqpHp"


def made(row: Resource, *subjects: str, key: str | None = None, **more: Any) -> list[Any]:
    options = tuple(sorted(more.pop("options", {}).items()))
    return requests_of(row, Question(row.chain, subjects, options), ASSETS, key, **more)


def one(row: Resource, *subjects: str, **more: Any) -> PreparedRequest:
    (found,) = made(row, *subjects, **more)
    assert isinstance(found, PreparedRequest)
    return found


def keyed(place: KeyPlace, name: str | None = None, **fields: Any) -> Resource:
    slot = KeySlot("SOMEBODY_API_KEY", place, name, optional=False)
    return resource("stats.bitcoin", key=slot, **fields)


def test_names_of_a_batch_stand_in_the_query() -> None:
    row = resource(
        "price.aggregate",
        url="https://api.example.com/v3/simple/price",
        query={"ids": "{ids}", "vs": "{quote_lower}"},
        batch=3,
        read={"id": "{coingecko}", "value": "{id}.usd"},
    )
    first, second = made(row, "btc", "eth", "sol", "xrp")
    assert first.url == "https://api.example.com/v3/simple/price?ids=bitcoin,ethereum,solana&vs=usd"
    assert (first.subjects, first.body, first.method) == (("btc", "eth", "sol"), None, "GET")
    assert second.url.endswith("?ids=ripple&vs=usd")
    assert first.headers["User-Agent"] == "perpcache"


def test_lists_of_pairs_are_json() -> None:
    row = resource(
        "price.spot",
        query={"symbols": "{ids_json}"},
        batch=10,
        read={"id": "{binance_spot}{quote}", "quotes": ["USDT"], "value": "x"},
    )
    found = one(row, "btc", "eth", options={"quote": "usdt"})
    assert found.url.endswith("?symbols=%5B%22BTCUSDT%22,%22ETHUSDT%22%5D")


def test_a_subject_that_the_row_does_not_answer_for_is_not_asked() -> None:
    row = resource("price.aggregate", url="https://a.example/{id}", read={"id": "{dia}"})
    assert [found.subjects for found in made(row, "btc", "sol", "eth")] == [("btc",), ("eth",)]
    assert made(row, "sol") == []
    assert made(row, "btc", options={"quote": "eur"}) == []
    of_chains = resource("gas.evm", url="https://a.example/{chain_id}", read={"chains": ["base"]})
    assert [found.url for found in made(of_chains, "base", "bsc")] == ["https://a.example/8453"]
    assert made(resource("whales.tron", reader="own"), "tron") == []


def test_addresses_stand_in_the_body_and_tron_has_its_other_form() -> None:
    row = resource(
        "balance.tron", method="POST", body={"address": "{address}", "visible": True, "n": [1]}
    )
    found = one(row, TRON)
    assert json.loads(found.body or b"") == {"address": TRON, "visible": True, "n": [1]}
    assert found.headers["Content-Type"] == "application/json"
    node = resource("balance.tron", method="POST", reader="rpc_balance")
    (account, block) = json.loads(one(node, TRON).body or b"")["params"]
    assert (account, block) == ("0xdd791d6b49e190062d650e6a23c575510d35f2f9", "latest")


def test_calls_of_nodes() -> None:
    def body(reader: str, chain: str, subject: str, **options: str) -> Any:
        row = resource(chain, method="POST", reader=reader)
        return json.loads(one(row, subject, options=options).body or b"")

    call = body("jsonrpc", "rpc.base", "base", method="eth_call", params='[{"to":"0x1"},"0x2"]')
    assert (call["method"], call["params"]) == ("eth_call", [{"to": "0x1"}, "0x2"])
    assert body("rpc_gas", "gas.evm", "base")["params"] == ["0x5", "latest", [10, 50, 90]]
    assert body("rpc_head", "stats.evm", "base")["params"] == ["latest", False]
    asked = body("rpc_balance", "balance.bsc", "0xAb", block="0x10")
    assert asked["params"] == ["0xAb", "0x10"]


def test_a_row_is_asked_through_a_node() -> None:
    slot = KeySlot("INFURA_API_KEY", KeyPlace.PATH, None, optional=False)
    node = resource(
        "rpc.base", id="rpc.base/infura", method="POST", url="https://b.example/{key}", key=slot
    )
    row = resource("gas.evm", method="GET", url="", via="rpc.{chain}", reader="rpc_gas")
    found = one(row, "base", key="abcdef123456", node=node)
    assert (found.method, found.url) == ("POST", "https://b.example/abcdef123456")
    assert found.shown == "POST https://b.example/***"


def test_several_requests_of_one_answer() -> None:
    row = resource(
        "stats.bitcoin",
        read={"height": "h", "also": [{"url": "https://b.example/tip", "height": "$"}]},
    )
    assert [(found.part, found.url) for found in made(row, "bitcoin")] == [
        (0, "https://api.example.com/v1"),
        (1, "https://b.example/tip"),
    ]


@pytest.mark.parametrize(
    ("row", "place"),
    [
        (keyed(KeyPlace.HEADER, "X-API-KEY"), "header"),
        (keyed(KeyPlace.BEARER), "header"),
        (keyed(KeyPlace.QUERY, "apikey"), "url"),
        (keyed(KeyPlace.PATH, url="https://api.example.com/{key}/x"), "url"),
    ],
)
def test_keys_stand_in_their_place_and_are_not_shown(row: Resource, place: str) -> None:
    found = one(row, "bitcoin", key=KEY)
    carried = found.url if place == "url" else "".join(found.headers.values())
    assert KEY in carried or "s3cret%2Fkey%2Bof%3Dours" in carried or "s3cret/key%2B" in carried
    assert KEY not in found.shown
    assert "s3cret" not in found.shown
    without = one(row, "bitcoin", key=None)
    assert "X-API-KEY" not in without.headers
    assert "Authorization" not in without.headers


def test_of_an_operators_own_url_only_the_host_is_shown() -> None:
    row = resource("rpc.base", url="https://node.example:8545/v3/0123abcd?t=4", private=True)
    assert one(row, "base").shown == "GET https://node.example"


def test_what_providers_repeat_of_a_key_is_hidden() -> None:
    said = f"invalid token {KEY} or s3cret%2Fkey%2Bof%3Dours"
    assert secrets_shown(said, KEY) == "invalid token *** or ***"
    assert secrets_shown(said, None) == said


@pytest.mark.parametrize(
    ("url", "through"),
    [
        ("https://api.example.com/v1?a=1", "http://127.0.0.1:8000/api.example.com/v1?a=1"),
        ("https://api.example.com", "http://127.0.0.1:8000/api.example.com/"),
    ],
)
def test_all_providers_on_one_port(url: str, through: str) -> None:
    found = one(resource("stats.bitcoin", url=url), "bitcoin", base_url="http://127.0.0.1:8000/")
    assert found.url == through
    assert found.shown == f"GET {url}"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"url": "https://a.example/{user}"}, "nothing fills {user}"),
        ({"query": {"ids": "{ids}"}}, "needs read.id"),
        ({"body": [{"a": "{id}"}], "read": {"id": "{cmc}"}, "batch": 5}, "batch is 5"),
        ({"headers": {"X": "{secret}"}}, "nothing fills {secret}"),
        ({"read": {"also": [{"url": "https://a.example/{x}"}]}}, "nothing fills {x}"),
    ],
)
def test_templates_that_cannot_be_filled_are_mistakes(fields: Any, reason: str) -> None:
    (mistake,) = mistakes_of_request(resource("price.aggregate", **fields))
    assert reason in mistake[1]
