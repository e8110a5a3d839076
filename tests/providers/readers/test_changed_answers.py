"""Answers that were changed in one place: a reader tells what is true, leaves it out, or refuses.

The bodies are our own, of the shapes that providers document; what is due of each stands beside it.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from config import load_settings
from providers import assets
from providers.classify import classify
from providers.errors import ProviderError
from providers.questions import Question
from providers.readers.asked import Asked
from providers.readers.table import READERS
from providers.records import EarlierReading
from providers.registry import load
from tests.providers.making import NOW_MS

D = Decimal
BITCOIN = "bc1qdlt2jrplkf0v7ucvhhjhs0qf7cqr0j27k7j7p0"
ETHEREUM = "0x84e8EE8911c147755bD70084b6b4D1a5A8351476"
TRON = "TWAFRfZFmhVQZjxM3De7Mp5UZ9sLqWqpHp"
USDT = "0xdac17f958d2ee523a2206206994597c13d831ec7"
SENDER, RECEIVER = "0x" + "a1" * 20, "0x" + "b2" * 20
AT_S = 1_789_999_990
AT_ISO = "2026-09-21T14:13:10Z"
FACTOR = Decimal("1000000000")


@dataclass(frozen=True)
class Case:
    """`lists`: keys of lists in which other elements may stand first, or in another order."""

    row: str
    subject: str
    body: Any
    due: dict[str, Any]
    lists: tuple[str, ...] = ()
    quote: str = "usd"
    zero: str = ""  # the field that is 0 where its key is missing


def spot(row: str, body: Any, due: dict[str, Any], *lists: str, quote: str = "usdt") -> Case:
    return Case(f"price.spot/{row}", "btc", body, due, lists, quote)


def total(row: str, body: Any, due: dict[str, Any], *lists: str) -> Case:
    return Case(f"price.aggregate/{row}", "btc", body, due, lists)


def envelope(result: Any) -> Any:
    return {"status": "1", "message": "OK", "result": result}


def node(result: Any) -> Any:
    return {"jsonrpc": "2.0", "id": 1, "result": result}


CMC = [{"symbol": "USD", "price": 60123.25, "volume_24h": 9e9, "percent_change_24h": -1.5,
        "market_cap": 1.2e12, "last_updated": AT_ISO}]  # fmt: skip
USD = {"value": D("60123.25"), "as_of_ms": AT_S * 1000}
# fmt: off
CASES = (
    spot("binance_spot", [{"symbol": "BTCUSDT", "price": "60123.25000000"}],
         {"value": D("60123.25"), "as_of_ms": None}, ""),
    spot("bybit_spot", {"retCode": 0, "retMsg": "OK", "time": AT_S * 1000, "result": {"list": [
        {"symbol": "BTCUSDT", "lastPrice": "60123.25", "price24hPcnt": "-0.0068",
         "turnover24h": "243765620.658", "volume24h": "11801.2"}]}},
         {**USD, "change_24h": D("-0.0068"), "volume_24h_quote": D("243765620.658")}, "list"),
    spot("okx_spot", {"code": "0", "msg": "", "data": [
        {"instId": "BTC-USDT", "last": "60123.25", "open24h": "60000", "volCcy24h": "2222.5",
         "ts": str(AT_S * 1000)}]},
         {**USD, "volume_24h_quote": D("2222.5")}, "data"),
    spot("kraken", {"error": [], "result": {"BTC/USD": {"c": ["60123.25", "0.5"], "a": ["7"]}}},
         {"value": D("60123.25"), "as_of_ms": None}, quote="usd"),
    spot("coinbase", {"data": {"currency": "BTC", "rates": {"EUR": "55000", "USD": "60123.25"}}},
         {"value": D("60123.25"), "as_of_ms": None}, quote="usd"),
    total("coingecko", {"bitcoin": {"usd": 60123.25, "usd_market_cap": 1200000000000.5,
          "usd_24h_vol": 9000000000.25, "usd_24h_change": -1.5, "last_updated_at": AT_S}},
          {**USD, "market_cap": D("1200000000000.5"), "volume_24h_quote": D("9000000000.25"),
           "change_24h": D("-0.015")}),
    total("coinpaprika", {"id": "btc-bitcoin", "symbol": "BTC", "rank": 1, "last_updated": AT_ISO,
          "quotes": {"USD": {"price": 60123.25, "volume_24h": 9.5, "market_cap": 12,
                             "percent_change_24h": -1.5}}},
          {**USD, "volume_24h_quote": D("9.5"), "market_cap": D(12), "change_24h": D("-0.015")}),
    total("cmc_keyless", {"status": {"error_code": "0", "error_message": None},
          "data": [{"id": 1, "symbol": "BTC", "quote": CMC}]},
          {**USD, "volume_24h_quote": D(9000000000), "change_24h": D("-0.015")}, "data", "quote"),
    total("cmc_keyless", {"status": {"error_code": "0", "error_message": None},
          "data": [{"id": 1, "symbol": "BTC", "quotes": CMC}]},
          {**USD, "market_cap": D(1200000000000)}, "data", "quotes"),
    total("defillama", {"coins": {"coingecko:bitcoin": {"price": 60123.25, "symbol": "BTC",
          "timestamp": AT_S, "confidence": 0.99}}}, {**USD, "confidence": D("0.99")}),
    total("coinlore", [{"id": "90", "symbol": "BTC", "price_usd": "60123.25", "volume24": 44.27,
          "percent_change_24h": "-1.50", "market_cap_usd": "1329563158682.30"}],
          {"value": D("60123.25"), "volume_24h_quote": D("44.27"), "change_24h": D("-0.015"),
           "market_cap": D("1329563158682.30"), "as_of_ms": None}, ""),
    total("dia", {"Symbol": "BTC", "Address": "0x" + "0" * 40, "Blockchain": "Bitcoin",
          "Price": 60123.25, "PriceYesterday": 61000.5, "Time": AT_ISO}, USD),
    total("coincap", {"data": {"id": "bitcoin", "symbol": "BTC", "priceUsd": "60123.25",
          "changePercent24Hr": "-1.5", "volumeUsd24Hr": None}, "timestamp": AT_S * 1000},
          {**USD, "change_24h": D("-0.015")}),
    total("mempool", {"time": AT_S, "USD": 60123, "EUR": 55000},
          {"value": D(60123), "as_of_ms": AT_S * 1000}),
    Case("sentiment.market/fng", "MARKET", {"name": "Fear and Greed Index", "data": [
        {"value": "69", "value_classification": "Greed", "timestamp": str(AT_S),
         "time_until_update": "2723"}], "metadata": {"error": None}},
        {"value": D(69), "label": "Greed", "as_of_ms": AT_S * 1000}),
    Case("sentiment.market/cmc_fng", "MARKET", {"status": {"error_code": "0"}, "data": {
        "value": 40, "value_classification": "Neutral", "update_time": AT_ISO}},
        {"value": D(40), "label": "Neutral", "as_of_ms": AT_S * 1000}),
    Case("sentiment.asset/cfgi", "btc", {"data": [
        {"symbol": "BTC", "timestamp": AT_ISO, "score": 50.5, "classification": "Neutral"}]},
        {"value": D("50.5"), "label": "Neutral", "as_of_ms": AT_S * 1000}, ("data",)),
    Case("sentiment.asset/coingecko", "btc", {"id": "bitcoin",
        "sentiment_votes_up_percentage": 82.5, "sentiment_votes_down_percentage": 17.5},
        {"value": D("82.5"), "as_of_ms": None}),
    Case("gas.ethereum/etherscan", "ethereum", envelope({
        "LastBlock": "14653286", "SafeGasPrice": "33", "ProposeGasPrice": "34.5",
        "FastGasPrice": "35", "suggestBaseFee": "32.570418457", "gasUsedRatio": "0.36,0.15"}),
        {"block": 14653286, "base_fee_wei": 32570418457, "max_fee_slow_wei": 33 * 10**9,
         "max_fee_standard_wei": 345 * 10**8, "max_fee_fast_wei": 35 * 10**9}),
    Case("gas.ethereum/blockscout", "ethereum", {"gas_prices": {
        "slow": 0.5, "average": 1.25, "fast": 2.75}, "total_blocks": "7"},
        {"max_fee_slow_wei": 5 * 10**8, "max_fee_standard_wei": 125 * 10**7,
         "max_fee_fast_wei": 275 * 10**7}),
    Case("gas.ethereum/blockcypher", "ethereum", {"name": "ETH.main", "height": 20693385,
        "time": "2026-09-21T14:13:10.411775316Z", "high_gas_price": 21517963860,
        "base_fee": 6319933854, "low_priority_fee": 1601483838},
        {"block": 20693385, "max_fee_fast_wei": 21517963860, "base_fee_wei": 6319933854,
         "priority_slow_wei": 1601483838, "as_of_ms": AT_S * 1000 + 412}),
    Case("gas.ethereum/rpc", "ethereum", node({"oldestBlock": "0x64",
        "baseFeePerGas": ["0x64", "0x6e", "0x78"], "gasUsedRatio": [0.5, 0.5],
        "reward": [["0x1", "0x2", "0x3"], ["0x1", "0x2", "0x3"]]}),
        {"block": 101, "base_fee_wei": 120, "priority_slow_wei": 1, "priority_fast_wei": 3,
         "max_fee_fast_wei": 243}),
    Case("gas.bitcoin/mempool", "bitcoin", {"fastestFee": 9, "halfHourFee": 5, "hourFee": 0.502,
        "economyFee": 1, "minimumFee": 1},
        {"fee_fast_sat_per_kvb": 9000, "fee_standard_sat_per_kvb": 5000,
         "fee_slow_sat_per_kvb": 502}),
    Case("balance.bitcoin/mempool", BITCOIN, {"address": BITCOIN, "chain_stats": {
        "funded_txo_sum": 15007599040, "spent_txo_sum": 7599040, "tx_count": 7},
        "mempool_stats": {"funded_txo_sum": 5, "spent_txo_sum": 5}}, {"raw": 15 * 10**9}),
    Case("balance.bitcoin/blockchain_info", BITCOIN, {"addresses": [
        {"address": BITCOIN, "final_balance": 12345, "n_tx": 2}], "wallet": {"final_balance": 1}},
        {"raw": 12345}, ("addresses",)),
    Case("balance.bitcoin/blockcypher", BITCOIN, {"address": BITCOIN, "balance": 12345,
        "unconfirmed_balance": 5, "final_balance": 12350}, {"raw": 12345}),
    Case("balance.ethereum/blockchair", ETHEREUM, {"data": {ETHEREUM.lower(): {"address": {
        "balance": "1337000000000000001337", "received_approximate": "1"}}},
        "context": {"code": 200}}, {"raw": 1337000000000000001337}),
    Case("balance.ethereum/ethplorer", ETHEREUM, {"address": ETHEREUM.lower(), "ETH": {
        "price": False, "balance": 0.123, "rawBalance": "123000000000000000"}},
        {"raw": 123000000000000000}),
    Case("balance.ethereum/etherscan", ETHEREUM, envelope("40891626854930000000000"),
        {"raw": 40891626854930000000000}),
    Case("balance.ethereum/rpc", ETHEREUM, node("0x15"), {"raw": 21}),
    Case("balance.tron/trongrid", TRON, {"address": TRON, "balance": 1793227200,
        "create_time": AT_S * 1000}, {"raw": 1793227200}, zero="raw"),
    Case("stats.evm/rpc", "ethereum", node({"number": "0x64", "timestamp": hex(AT_S),
        "gasUsed": "0x5208", "gasLimit": "0x1c9c380", "baseFeePerGas": "0x7"}),
        {"height": 100, "head_time_ms": AT_S * 1000, "gas_used": D(21000), "base_fee": D(7)}),
    Case("stats.bitcoin/blockchair", "bitcoin", {"data": {"best_block_height": 690164,
        "best_block_time": "2026-09-21 14:13:10", "mempool_transactions": 6591}},
        {"height": 690164, "head_time_ms": AT_S * 1000, "mempool_count": D(6591)}),
    Case("stats.evm/defillama", "ethereum", [{"name": "Ethereum", "chainId": 1,
        "tvl": 60123.25}], {"tvl": D("60123.25"), "height": None}, ("",)),
    Case("whales.evm/etherscan", "ethereum", envelope([{"blockNumber": "14051455",
        "timeStamp": str(AT_S), "hash": "0x" + "c3" * 32, "from": SENDER, "to": RECEIVER,
        "contractAddress": USDT, "value": "1166000000", "tokenSymbol": "USDT",
        "confirmations": "12"}]),
        {"amount_raw": 1166000000, "asset": "usdt", "decimals": 6, "senders": (SENDER,),
         "receivers": (RECEIVER,), "block": 14051455, "time_ms": AT_S * 1000, "value_usd": None,
         "tx_hash": "0x" + "c3" * 32}, ("result",)),
    Case("whales.evm/whale_alert", "ethereum", [{"height": 44204309, "timestamp": AT_S,
        "hash": "0x" + "c3" * 32, "sub_transactions": [{"symbol": "USDC", "unit_price_usd": 0.5,
         "transaction_type": "transfer", "inputs": [{"address": SENDER, "amount": "500000.5"}],
         "outputs": [{"address": RECEIVER, "amount": "499999.5"},
                     {"address": RECEIVER, "amount": "1"}]}]}],
        {"amount_raw": 500000500000, "value_usd": D("250000.25"), "asset": "usdc",
         "senders": (SENDER,), "receivers": (RECEIVER,), "block": 44204309,
         "time_ms": AT_S * 1000, "tx_hash": "0x" + "c3" * 32}, ("sub_transactions",)),
)
# fmt: on
ROWS = load(load_settings())
ASSETS = assets.load()
# What stands where nobody expects it. None of them is a value.
INSTEAD: tuple[Any, ...] = (None, False, True, "", " ", [], {}, "1,234.5", "NaN", "x")
# Ways to write a number that mean the same.
SAME = (str, lambda value: f"{Decimal(str(value)):e}", lambda value: f" {value} ")


def told(case: Case, body: Any) -> list[dict[str, Any]]:
    """The due fields of each record, of statistics by their names. Raises ProviderError."""
    row = ROWS.resource(case.row)
    options = (("quote", case.quote),) if row.chain.startswith("price") else ()
    content = json.dumps(body).encode()
    if (error := classify(row, 200, {}, content, NOW_MS)) is not None:
        raise error
    question = Question(row.chain, (case.subject,), options)
    asked = Asked(row, question, (case.subject,), NOW_MS, ASSETS)
    found: list[dict[str, Any]] = []
    for record in READERS[row.reader](content, asked):
        metrics = getattr(record, "metrics", {})
        found.append(
            {
                name: metrics[name].value if name in metrics else getattr(record, name, None)
                for name in case.due
            }
        )
    return found


def places(body: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    yield at, body
    for key, value in body.items() if isinstance(body, dict) else enumerate_of(body):
        yield from places(value, (*at, key))


def enumerate_of(body: Any) -> Any:
    return enumerate(body) if isinstance(body, list) else ()


def changed(body: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    whole = copy.deepcopy(body)
    place = whole
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = value
    return whole


def without(body: Any, at: tuple[Any, ...]) -> Any:
    whole = copy.deepcopy(body)
    place = whole
    for key in at[:-1]:
        place = place[key]
    del place[at[-1]]
    return whole


def another(value: Any) -> Any:
    """The same shape with other names and numbers."""
    if isinstance(value, dict):
        return {key: another(each) for key, each in value.items()}
    if isinstance(value, list):
        return [another(each) for each in value]
    if isinstance(value, str):
        return f"{value}7" if value[-1:].isdigit() else "other"
    return value if value is None or isinstance(value, bool) else value + 7


def damages(case: Case) -> Iterator[Any]:
    """The body with one place missing, or with what is no value there."""
    for at, value in places(case.body):
        # One output of several is missed by nobody.
        if at and isinstance(at[-1], str):
            yield without(case.body, at)
        for other in (*INSTEAD, [value], {"value": value}):
            yield changed(case.body, at, other)
        if isinstance(value, str) and value.startswith("0x"):
            yield changed(case.body, at, value[2:])  # digits that would be read as decimal


def rewritings(case: Case) -> Iterator[Any]:
    """The body with one place written in another way, or with more in it."""
    for at, value in places(case.body):
        name = next((str(key) for key in reversed(at) if isinstance(key, str)), "")
        if isinstance(value, dict):
            yield changed(case.body, at, {"a new key": [1], **value, "another": {"x": None}})
        elif isinstance(value, list) and name in case.lists:
            yield changed(case.body, at, [another(value[0]), *value])
            yield changed(case.body, at, [None, {}, *reversed(value)])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_it_is_read_as_it_is(case: Case) -> None:
    assert told(case, case.body) == [case.due]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_what_is_damaged_is_missing_or_refused_and_never_another(case: Case) -> None:
    for body in damages(case):
        try:
            found = told(case, body)
        except ProviderError:
            continue
        for record in found:
            for name, value in record.items():
                allowed = (case.due[name], None, "", (), 0 if name == case.zero else None)
                assert value in allowed or is_text(case, name, value), (name, value, body)


def is_text(case: Case, name: str, value: Any) -> bool:
    """Any text may stand where words do, or names of what is on a chain."""
    if isinstance(case.due[name], tuple):
        return isinstance(value, tuple) and all(isinstance(each, str) for each in value)
    return isinstance(case.due[name], str) and isinstance(value, str)


def test_readings_before_the_newest_come_with_it_and_wrong_ones_are_left_out() -> None:
    days = [("69", 0), ("44", -1), ("101", -2), ("?", -3), ("12", 1), ("30", -4)]
    told_days = [
        {"value": value, "value_classification": "Mood", "timestamp": str(AT_S + day * 86_400)}
        for value, day in days
    ]
    del told_days[-1]["value_classification"]
    case = Case("sentiment.market/fng", "MARKET", {"data": told_days}, {"earlier": None})
    assert told(case, case.body) == [
        {
            "earlier": (
                EarlierReading(as_of_ms=(AT_S - 86_400) * 1000, value=D(44), label="Mood"),
                EarlierReading(as_of_ms=(AT_S - 4 * 86_400) * 1000, value=D(30), label=None),
            )
        }
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_other_keys_and_elements_change_nothing(case: Case) -> None:
    for body in rewritings(case):
        assert told(case, body) == [case.due], body


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_a_number_in_another_writing_is_the_same_or_refused(case: Case) -> None:
    for at, value in places(case.body):
        text = value if isinstance(value, str) else ""
        number = value if isinstance(value, int | float) else None
        if number is None and text.replace(".", "", 1).removeprefix("-").isdigit():
            number = float(text) if "." in text else int(text)
        if number is None or isinstance(value, bool):
            continue
        for write in (*SAME, lambda value: value):
            try:
                found = told(case, changed(case.body, at, write(number)))
            except ProviderError:
                continue
            for record in found:
                for name, value_now in record.items():
                    assert value_now in (case.due[name], None), (name, at, write(number))


@pytest.mark.parametrize(
    ("row", "subject", "body"),
    [
        ("price.spot/coinbase", "btc", '{"data":{"currency":"ETH","rates":{"USD":"7"}}}'),
        (
            "price.aggregate/coinpaprika",
            "btc",
            '{"id":"eth-ethereum","quotes":{"USD":{"price":7}}}',
        ),
        ("price.aggregate/coincap", "btc", '{"data":{"id":"ethereum","priceUsd":"7"}}'),
        ("price.aggregate/moralis", "usdc", '{"tokenAddress":"' + USDT + '","usdPrice":7}'),
        (
            "price.aggregate/alchemy",
            "usdc",
            '{"data":[{"address":"' + USDT + '","prices":[{"currency":"usd","value":"7"}]}]}',
        ),
        ("sentiment.asset/coingecko", "btc", '{"id":"eth","sentiment_votes_up_percentage":7}'),
        ("sentiment.asset/cfgi", "btc", '{"data":[{"symbol":"ETH","score":7}]}'),
        (
            "balance.bitcoin/blockstream",
            BITCOIN,
            '{"address":"1wiz18xYmhRX6xStj2b9t1rwWX4GKUgpv","chain_stats":{"funded_txo_sum":7,'
            '"spent_txo_sum":0}}',
        ),
        ("balance.bitcoin/blockchair", BITCOIN, '{"data":{"other":{"address":{"balance":7}}}}'),
        ("balance.ethereum/ethplorer", ETHEREUM, '{"address":"0x1","ETH":{"rawBalance":"7"}}'),
    ],
)
def test_an_answer_about_another_subject_is_none(row: str, subject: str, body: str) -> None:
    with pytest.raises(ProviderError):
        told(Case(row, subject, None, {}), json.loads(body))
