"""Prices are read of every shape of answer, exactly, and of no other quote."""

from decimal import Decimal

from providers.errors import ErrorClass
from providers.records import PriceKind
from tests.providers.making import is_bad, read, refusal, resource

COINGECKO = resource(
    "price.aggregate",
    batch=100,
    read={
        "id": "{coingecko}",
        "value": "{id}.{quote_lower}",
        "market_cap": "{id}.usd_market_cap",
        "volume_24h_quote": "{id}.usd_24h_vol",
        "change_24h": "{id}.usd_24h_change | percent",
        "as_of": "{id}.last_updated_at | s",
    },
)
LIST = resource(
    "price.spot",
    batch=100,
    read={
        "id": "{bybit_spot}{quote}",
        "quotes": ["USDT"],
        "items": "result.list[*]",
        "item_id": "symbol",
        "value": "lastPrice",
        "change_24h": "price24hPcnt | fraction",
        "as_of": "$.time | ms",
        "success": {"retCode": "0"},
    },
)


def test_by_names_that_stand_as_keys() -> None:
    body = """{"bitcoin":{"usd":76975,"usd_market_cap":1542226908349.84,"usd_24h_vol":29096603418.8,
        "usd_24h_change":-1.4093,"last_updated_at":1779092258},"ethereum":{"usd":8.3e-07}}"""
    bitcoin, ether = read(COINGECKO, body, "btc", "eth")
    assert (bitcoin.asset, bitcoin.quote, bitcoin.kind) == ("btc", "USD", PriceKind.AGGREGATE)
    assert bitcoin.value == 76975
    assert bitcoin.market_cap == Decimal("1542226908349.84")
    assert bitcoin.change_24h == Decimal("-0.014093")
    assert bitcoin.as_of_ms == 1779092258000
    assert bitcoin.provider == "somebody"
    assert bitcoin.resource == "price.aggregate/somebody"
    assert ether.value == Decimal("0.00000083")
    assert ether.as_of_ms is ether.market_cap is None


def test_subjects_that_are_missing_empty_or_wrong_are_left_out() -> None:
    body = '{"bitcoin":{"usd":1},"ethereum":{},"solana":{"usd":0},"ripple":{"usd":"18,974.5"}}'
    assert [price.asset for price in read(COINGECKO, body, "btc", "eth", "sol", "xrp")] == ["btc"]


def test_an_answer_without_any_is_unknown_and_one_with_wrong_values_is_bad() -> None:
    assert refusal(COINGECKO, "{}", "btc").error_class is ErrorClass.UNKNOWN
    assert refusal(COINGECKO, '{"bitcoin":{}}', "btc").error_class is ErrorClass.UNKNOWN
    assert is_bad(refusal(COINGECKO, "[]", "btc"))
    assert is_bad(
        refusal(LIST, '{"retCode":0,"result":{"list":[["BTCUSDT"]]}}', "btc", quote="usdt")
    )
    assert is_bad(refusal(COINGECKO, '{"bitcoin":{"usd":0}}', "btc"))
    assert is_bad(refusal(COINGECKO, '{"bitcoin":{"usd":true}}', "btc"))
    assert refusal(COINGECKO, '{"bitcoin":{"us', "btc").error_class is ErrorClass.TRANSIENT
    assert refusal(COINGECKO, "<html>", "btc").error_class is ErrorClass.TRANSIENT


def test_a_list_of_markets() -> None:
    body = """{"retCode":0,"result":{"list":[{"symbol":"BTCUSDC","lastPrice":"1"},
        {"symbol":"BTCUSDT","lastPrice":"20533.13","price24hPcnt":"0.0068"}]},"time":1673859087947}"""
    (price,) = read(LIST, body, "btc", "eth", quote="usdt")
    assert (price.quote, price.value) == ("USDT", Decimal("20533.13"))
    assert price.change_24h == Decimal("0.0068")
    assert price.as_of_ms == 1673859087947
    assert refusal(LIST, body, "btc", quote="usd").error_class is ErrorClass.UNKNOWN
    assert is_bad(refusal(LIST, body.replace(":0,", ":10001,"), "btc", quote="usdt"))


def test_a_market_of_a_thousand_coins_is_a_thousandth() -> None:
    row = resource(
        "price.perp",
        batch=100,
        read={
            "id": "{binance_usdm}{quote}",
            "quotes": ["USDT"],
            "items": "[*]",
            "item_id": "symbol",
            "kind": "mark",
            "value": "markPrice",
        },
    )
    (price,) = read(
        row, '[{"symbol":"1000PEPEUSDT","markPrice":"0.0123456"}]', "pepe", quote="usdt"
    )
    assert price.value == Decimal("0.0000123456")
    assert price.kind is PriceKind.MARK


def test_a_price_of_little_confidence_is_none() -> None:
    row = resource(
        "price.aggregate",
        batch=10,
        read={
            "id": "{defillama}",
            "value": "coins.{id}.price",
            "confidence": "coins.{id}.confidence",
            "min_confidence": 0.9,
        },
    )
    body = """{"coins":{"coingecko:bitcoin":{"price":60580.28,"confidence":0.99},
        "coingecko:ethereum":{"price":1631.5,"confidence":0.89}}}"""
    assert [price.asset for price in read(row, body, "btc", "eth")] == ["btc"]
    assert refusal(row, '{"coins":{}}', "btc").error_class is ErrorClass.UNKNOWN
