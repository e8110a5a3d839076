"""Transfers of others: assets by contract, exact amounts, change left out, unknown tokens too."""

import json
from decimal import Decimal
from typing import Any

from providers import assets
from providers.errors import ErrorClass
from providers.questions import Question
from providers.readers.asked import Asked
from providers.readers.table import READERS
from providers.resources import Resource
from tests.providers.making import NOW_MS, is_bad, refusal, resource

USDT = "0xdAC17F958D2ee523a2206206994597C13D831ec7"
TRON_USDT = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"
TRON_A, TRON_B = "TWAFRfZFmhVQZjxM3De7Mp5UZ9sLqWqpHp", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"


def transfers(row: Resource, subject: str, value: Any) -> list[Any]:
    asked = Asked(row, Question(row.chain, (subject,)), (subject,), NOW_MS, assets.load())
    return list(READERS[row.reader](json.dumps(value).encode(), asked))


def tokentx(**fields: Any) -> dict[str, Any]:
    return {
        "blockNumber": "100",
        "timeStamp": "1642802286",
        "hash": "0xaa",
        "from": "0x1",
        "to": "0x2",
        "contractAddress": USDT.lower(),
        "value": "1166000000",
        "tokenSymbol": "USDT",
        "tokenDecimal": "18",
        "confirmations": "3",
        **fields,
    }


ETHERSCAN = resource("whales.evm", reader="etherscan_tokentx")


def test_tokens_are_known_by_contract_and_not_by_what_they_call_themselves() -> None:
    listed = [tokentx(), tokentx(), tokentx(contractAddress="0xbad")]
    first, second = transfers(ETHERSCAN, "ethereum", {"status": "1", "result": listed})
    assert (first.asset, first.decimals, first.amount_raw) == ("usdt", 6, 1166000000)
    assert (first.confirmed, first.value_usd, first.price_source) == (False, None, None)
    assert (first.index, second.index) == (0, 1)


def test_a_transfer_that_cannot_be_read_is_left_out() -> None:
    listed = [tokentx(value="1.5e9"), tokentx(hash=None), tokentx(hash="0xbb"), "x"]
    (found,) = transfers(ETHERSCAN, "ethereum", {"status": "1", "result": listed})
    assert found.tx_hash == "0xbb"
    body = json.dumps({"status": "1", "result": ["x"]})
    assert is_bad(refusal(ETHERSCAN, body, "ethereum"))
    assert is_bad(refusal(ETHERSCAN, '{"status":"1","result":"x"}', "ethereum"))


def test_tron_addresses_have_one_form() -> None:
    row = resource("whales.tron", reader="tronscan_whales")
    transfer = {
        "transaction_id": "aa",
        "block_ts": 1785276308000,
        "block": 7,
        "from_address": "41dd791d6b49e190062d650e6a23c575510d35f2f9",
        "to_address": TRON_B,
        "contract_address": TRON_USDT,
        "quant": "1000000",
        "confirmed": True,
    }
    (found,) = transfers(row, "tron", {"token_transfers": [transfer]})
    assert (found.senders, found.receivers) == ((TRON_A,), (TRON_B,))
    assert (found.asset, found.amount_raw, found.decimals) == ("usdt", 1000000, 6)


def test_whale_alert_tells_what_a_transfer_is_and_is_worth() -> None:
    row = resource("whales.evm", reader="whale_alert")
    part = {
        "symbol": "ETH",
        "unit_price_usd": 3000.5,
        "transaction_type": "transfer",
        "inputs": [{"address": "0x1", "amount": "2.5"}],
        "outputs": [{"address": "0x2", "amount": "1.5"}, {"address": "0x3", "amount": "1"}],
    }
    burn = {**part, "symbol": "USDC", "transaction_type": "burn", "outputs": []}
    other = {**part, "symbol": "SCAM"}
    document = [{"height": 7, "timestamp": 1787735817, "hash": "0xaa",
                 "sub_transactions": [part, other, burn]}]  # fmt: skip
    first, second = transfers(row, "ethereum", document)
    assert (first.asset, first.amount_raw, first.contract) == ("eth", 25 * 10**17, None)
    assert first.value_usd == Decimal("7501.25")
    assert (second.asset, second.type, second.receivers, second.index) == ("usdc", "burn", (), 2)
    assert transfers(row, "ethereum", {"transactions": document}) == [first, second]


def test_bitquery_has_coins_and_tokens() -> None:
    row = resource("whales.evm", reader="bitquery_whales")

    def transfer(contract: str, amount: str) -> dict[str, Any]:
        return {
            "Block": {"Number": "7", "Time": "2026-09-30T17:44:10Z"},
            "Transaction": {"Hash": f"0x{amount}"},
            "Transfer": {
                "Index": 3, "Amount": amount, "AmountInUSD": "1000000.5", "Sender": "0x1",
                "Receiver": "0x2", "Currency": {"SmartContract": contract},
            },
        }  # fmt: skip

    listed = [transfer("0x", "1.5"), transfer(USDT, "2.25"), transfer("0xbad", "3")]
    coin, token = transfers(row, "ethereum", {"data": {"EVM": {"Transfers": listed}}})
    assert (coin.asset, coin.amount_raw, coin.contract) == ("eth", 15 * 10**17, None)
    assert (token.asset, token.amount_raw, token.index) == ("usdt", 2250000, 3)
    assert token.value_usd == Decimal("1000000.5")
    assert is_bad(refusal(row, '{"data":{"EVM":null}}', "ethereum"))


def test_a_chain_that_the_row_does_not_have_is_unknown() -> None:
    row = resource("whales.evm", reader="whale_alert", read={"chains": ["polygon"]})
    assert refusal(row, "[]", "ethereum").error_class is ErrorClass.UNKNOWN
