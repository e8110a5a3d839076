"""Fees, statistics, balances, sentiment and news by the paths of rows, within their bounds."""

from decimal import Decimal
from typing import Any

import pytest

from providers.errors import ErrorClass
from providers.questions import Question
from providers.readers.asked import Asked
from providers.readers.json_rows import read_json
from providers.readers.values import joined
from providers.registry import FOLDER, build
from tests.providers.making import ASSETS, NOW_MS, is_bad, read, refusal, resource

BAD, UNKNOWN = ErrorClass.BAD_PAYLOAD, ErrorClass.UNKNOWN
ADDRESS = "bc1qdlt2jrplkf0v7ucvhhjhs0qf7cqr0j27k7j7p0"
TRON = "TWAFRfZFmhVQZjxM3De7Mp5UZ9sLqWqpHp"


def test_fees_in_gwei_and_sat_per_vb_are_whole() -> None:
    row = resource("gas.ethereum", read={"base_fee": "b | gwei", "max_fee_fast": "f.x || f | gwei"})
    (gas,) = read(row, '{"b":"32.570418457","f":35}', "ethereum")
    assert (gas.base_fee_wei, gas.max_fee_fast_wei) == (32570418457, 35 * 10**9)
    bitcoin = resource("gas.bitcoin", read={"fee_fast": '"1" | sat_per_vb'})
    (gas,) = read(bitcoin, '{"1":0.502}', "bitcoin")
    assert (gas.fee_fast_sat_per_kvb, gas.chain_id) == (502, None)


@pytest.mark.parametrize("body", ['{"f":0}', '{"f":-1}', '{"f":true}', '{"f":"1,000"}'])
def test_fees_that_cannot_be_are_refused(body: str) -> None:
    row = resource("gas.ethereum", read={"max_fee_fast": "f | gwei"})
    assert is_bad(refusal(row, body, "ethereum"))


def test_fees_that_are_null_are_unknown() -> None:
    row = resource("gas.ethereum", read={"max_fee_fast": "gas_prices.fast | gwei"})
    assert refusal(row, '{"gas_prices":null}', "ethereum").error_class is ErrorClass.UNKNOWN


def test_statistics_of_several_answers_are_one_record() -> None:
    row = resource(
        "stats.bitcoin",
        read={
            "metrics": {"mempool_count": "count | 1"},
            "also": [
                {"url": "https://a.example/tip", "height": "$"},
                {"url": "https://a.example/d", "metrics": {"change": "change | percent"}},
            ],
        },
    )
    records = []
    for part, body in enumerate((b'{"count":7}', b"978385", b'{"change":-1.5}')):
        asked = Asked(row, Question(row.chain, ("bitcoin",)), ("bitcoin",), NOW_MS, ASSETS,
                      part=part)  # fmt: skip
        records += read_json(body, asked)
    (stats,) = joined(records)
    assert stats.height == 978385
    assert {name: (each.value, each.unit) for name, each in stats.metrics.items()} == {
        "mempool_count": (Decimal(7), "1"),
        "change": (Decimal("-1.5"), "percent"),
    }


@pytest.mark.parametrize("body", ['{"h":0}', '{"h":-7}', '{"h":"x"}', '{"h":1,"m":-1}', "[]"])
def test_statistics_that_cannot_be_are_refused(body: str) -> None:
    row = resource("stats.bitcoin", read={"height": "h", "metrics": {"m": "m | 1"}})
    assert is_bad(refusal(row, body, "bitcoin"))


def test_balances_received_less_spent() -> None:
    row = resource("balance.bitcoin", read={"raw": "s.in", "minus": "s.out"})
    (balance,) = read(row, '{"s":{"in":15007599040,"out":7599040}}', ADDRESS)
    assert (balance.raw, balance.asset, balance.decimals) == (15 * 10**9, "btc", 8)
    assert balance.address == ADDRESS
    assert is_bad(refusal(row, '{"s":{"in":1,"out":2}}', ADDRESS))
    assert is_bad(refusal(row, '{"s":{"in":1.5e9,"out":2}}', ADDRESS))


def test_balances_in_whole_coins_are_exact_or_refused() -> None:
    row = resource("balance.bsc", read={"raw": "x | coin"})
    (balance,) = read(row, '{"x":"3613.819373764297300000"}', "0xAb")
    assert balance.raw == 3613819373764297300000
    assert is_bad(refusal(row, '{"x":"0.0000000000000000001"}', "0xAb"))
    assert is_bad(refusal(row, '{"x":-1}', "0xAb"))


def test_accounts_of_tron() -> None:
    row = resource("balance.tron", reader="tron")
    in_hex = "41dd791d6b49e190062d650e6a23c575510d35f2f9"
    for address in (TRON, in_hex):
        (balance,) = read(row, f'{{"address":"{address}","balance":5}}', TRON)
        assert (balance.raw, balance.asset, balance.decimals) == (5, "trx", 6)
    (balance,) = read(row, f'{{"address":"{TRON}","create_time":1}}', TRON)
    assert balance.raw == 0
    assert refusal(row, "{}", TRON).error_class is ErrorClass.UNKNOWN
    assert is_bad(refusal(row, '{"address":"TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"}', TRON))
    error = '{"Error":"class org.tron : INVALID hex String"}'
    assert refusal(row, error, TRON).error_class is ErrorClass.CALLER_FAULT


FNG: dict[str, Any] = {"metric": "fear_greed_altme", "scale": [0, 100], "value": "v", "label": "l"}


def test_sentiment_is_within_its_scale() -> None:
    row = resource("sentiment.market", read=FNG)
    (reading,) = read(row, '{"v":"69","l":"Greed"}', "MARKET")
    assert (reading.value, reading.label, reading.asset) == (Decimal(69), "Greed", "MARKET")
    assert is_bad(refusal(row, '{"v":"101"}', "MARKET"))
    assert is_bad(refusal(row, '{"v":-0.5}', "MARKET"))
    assert refusal(row, '{"v":null}', "MARKET").error_class is ErrorClass.UNKNOWN


def test_votes_are_the_share_of_positive_ones_and_none_is_not_half() -> None:
    row = resource("sentiment.asset", reader="cryptopanic_votes", read={"metric": "votes"})
    posts = """{"results":[{"published_at":"2026-09-30T17:44:10Z","votes":{"positive":3,
        "negative":1}},{"votes":null},null,{"votes":{"positive":null}}]}"""
    (reading,) = read(row, posts, "btc")
    assert (reading.value, reading.asset, reading.as_of_ms) == (75, "btc", 1790790250000)
    assert reading.metric == "votes"
    assert refusal(row, '{"results":[]}', "btc").error_class is ErrorClass.UNKNOWN
    assert is_bad(refusal(row, '{"results":null}', "btc"))
    assert is_bad(refusal(row, '{"results":[{"votes":{"positive":-1}}]}', "btc"))


NEWS = resource(
    "news",
    read={
        "items": "articles[*]",
        "url": "original_url || url",
        "title": "title",
        "summary": "description",
        "published": "publishedAt | iso",
        "source": "source.name",
        "authors": "authors[*].name",
        "codes": "instruments[*].code",
        "source_name": "Somebody",
    },
)


def test_news_in_which_anything_may_be_null() -> None:
    body = """{"articles":[{"url":"https://a.example/1","original_url":null,"title":"One",
        "description":null,"publishedAt":"2026-09-30T17:44:10Z","source":null,
        "authors":[{"name":"A"},{"name":null}],"instruments":[{"code":"BTC"}]},
        {"url":null,"title":"No address"},{"url":"https://a.example/2","title":" "},null,
        {"url":"https://a.example/3","title":"Bad time","publishedAt":"soon"}]}"""
    story, undated = read(NEWS, body, "news")
    assert (undated.title, undated.published_at_ms) == ("Bad time", None)
    assert (story.url, story.title, story.summary) == ("https://a.example/1", "One", "")
    assert (story.source, story.authors, story.assets) == ("Somebody", ("A",), ("BTC",))
    assert story.published_at_ms == story.as_of_ms == 1790790250000


def test_no_news_is_an_answer_and_no_list_is_not() -> None:
    assert read(NEWS, '{"articles":[]}', "news") == []
    assert is_bad(refusal(NEWS, '{"articles":null}', "news"))
    assert is_bad(refusal(NEWS, '{"articles":[{"name":"x"}]}', "news"))


def test_an_envelope_that_does_not_say_success_is_refused() -> None:
    row = resource("stats.bitcoin", read={"height": "h", "success": {"error[0]": "", "code": "0"}})
    (stats,) = read(row, '{"h":7,"error":[],"code":0}', "bitcoin")
    assert stats.height == 7
    assert is_bad(refusal(row, '{"h":7,"error":["E"],"code":"0"}', "bitcoin"))
    assert is_bad(refusal(row, '{"h":7,"code":"1"}', "bitcoin"))


@pytest.mark.parametrize(
    ("row", "body", "subject"),
    [
        ("price.aggregate/coinpaprika",
         '{"id":"eth-ethereum","quotes":{"USD":{"price":3000}}}', "btc"),
        ("price.spot/coinbase", '{"data":{"currency":"ETH","rates":{"USD":"3000"}}}', "btc"),
        ("price.aggregate/coincap", '{"data":{"id":"ethereum","priceUsd":"3000"}}', "btc"),
        ("balance.bitcoin/mempool",
         '{"address":"1wiz18xYmhRX6xStj2b9t1rwWX4GKUgpv",'
         '"chain_stats":{"funded_txo_sum":9,"spent_txo_sum":4}}', ADDRESS),
        ("balance.bitcoin/blockcypher",
         '{"address":"1wiz18xYmhRX6xStj2b9t1rwWX4GKUgpv","balance":9}', ADDRESS),
        ("balance.tron/tronscan",
         '{"address":"T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb","balance":9}', TRON),
        ("gas.bitcoin/blockcypher", '{"name":"ETH.main","high_fee_per_kb":9}', "bitcoin"),
        ("sentiment.market/cfgi", '{"data":[{"symbol":"BTC","score":50}]}', "MARKET"),
    ],
)  # fmt: skip
def test_an_answer_that_is_of_another_subject_is_refused(row: str, body: str, subject: str) -> None:
    """Providers repeat what they were asked for: caches and proxies mix answers up."""
    rows = build(sorted(FOLDER.glob("*.toml")), None)
    error = refusal(rows.resource(row), body, subject)
    assert is_bad(error)
    assert "was asked for" in str(error)


def test_a_balance_of_another_address_is_not_taken() -> None:
    rows = build(sorted(FOLDER.glob("*.toml")), None)
    other = "0x3282791d6fd713f1e94f4bfd565eaa78b3a0599d"
    body = f'{{"data":{{"{other}":{{"address":{{"balance":"5"}}}}}}}}'
    row = rows.resource("balance.ethereum/blockchair")
    (found,) = read(row, body, "0x3282791d6fd713f1E94f4BFD565EAA78B3a0599D")
    assert found.raw == 5
    asked = refusal(row, body, "0x84e8EE8911c147755bD70084b6b4D1a5A8351476")
    assert asked.error_class is ErrorClass.UNKNOWN


@pytest.mark.parametrize(
    ("read_", "body", "due"),
    [
        ({"value": "{id}.usd", "id": "{coingecko}"}, '{"bitcoin":[{"usd":5}]}', BAD),
        ({"value": "{id}.usd", "id": "{coingecko}"}, '{"bitcoin":"soon"}', BAD),
        ({"value": "{id}.usd", "id": "{coingecko}"}, '{"bitcoin":{}}', UNKNOWN),
        ({"value": "{id}.usd", "id": "{coingecko}"}, '{"bitcoin":[]}', UNKNOWN),
        ({"value": "{id}.usd", "id": "{coingecko}"}, '{"ethereum":{"usd":5}}', UNKNOWN),
        ({"value": "data[0].v || data.v"}, '{"data":"none today"}', BAD),
        ({"value": "data[0].v || data.v"}, '{"data":{"w":1}}', UNKNOWN),
        ({"value": "p", "items": "d.l[*]", "item_id": "i", "id": "{symbol}"}, '{"d":[1]}', BAD),
        ({"value": "p", "items": "d.l[*]", "item_id": "i", "id": "{symbol}"},
         '{"d":{"l":7}}', BAD),
        ({"value": "p", "items": "d.l[*]", "item_id": "i", "id": "{symbol}"},
         '{"d":{"l":[]}}', UNKNOWN),
    ],
)  # fmt: skip
def test_another_form_is_not_an_asset_that_is_unknown(
    read_: dict[str, Any], body: str, due: ErrorClass
) -> None:
    """What is unknown is not asked for again for an hour; a form that changed is a failure."""
    row = resource("price.aggregate", read=read_)
    assert refusal(row, body, "btc").error_class is due
