"""Answers of nodes: fees, heads and balances in whole wei, reverts as answers, nulls as unknown."""

import json
from typing import Any

import pytest

from providers.errors import ErrorClass
from tests.providers.making import is_bad, read, refusal, resource

GAS = resource("gas.evm", reader="rpc_gas")
HEAD = resource("stats.evm", reader="rpc_head")
BALANCE = resource("balance.bsc", reader="rpc_balance")
CALL = resource("rpc.base", reader="jsonrpc")


def result(value: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 83, "result": value})


def history(**fields: Any) -> str:
    rewards = [["0x1", "0x5", "0x9"], ["0x2", "0x4", "0x8"], ["0x3", "0x6", "0x7"]]
    return result(
        {
            "oldestBlock": "0x64",
            "baseFeePerGas": ["0x10", "0x11", "0x12", "0x3b9aca00"],
            "reward": rewards,
            **fields,
        }
    )


def test_fees_are_of_the_next_block() -> None:
    (gas,) = read(GAS, history(), "base")
    assert (gas.chain, gas.chain_id, gas.block) == ("base", 8453, 102)
    assert gas.base_fee_wei == 10**9
    assert gas.priority_slow_wei == 2
    assert gas.priority_standard_wei == 5
    assert gas.priority_fast_wei == 8
    assert gas.max_fee_fast_wei == 2 * 10**9 + 8
    assert gas.as_of_ms is gas.fee_fast_sat_per_kvb is None


def test_a_base_fee_of_0_is_one_and_rewards_may_be_missing() -> None:
    (gas,) = read(GAS, history(baseFeePerGas=["0x0", "0x0"], reward=[["0x1", "0x2", "0x8"]]), "bsc")
    assert (gas.base_fee_wei, gas.max_fee_fast_wei, gas.block) == (0, 8, 100)
    (gas,) = read(GAS, history(reward=None), "bsc")
    assert gas.priority_fast_wei is None


@pytest.mark.parametrize(
    "fields",
    [
        {"baseFeePerGas": ["0x0", "0x0"], "reward": [["0x0", "0x0", "0x0"]]},
        {"baseFeePerGas": []},
        {"baseFeePerGas": ["0x1", "0x1", "0x1"], "reward": [["0x1", "0x2", "0x8"]]},
        {"baseFeePerGas": ["1", "1"]},
        {"baseFeePerGas": ["0x1", "zero"]},
        {"baseFeePerGas": "0x1"},
        {"baseFeePerGas": ["0x1", None]},
        {"oldestBlock": None},
        {"reward": 7},
        {"reward": [["0x1", "0x2"]]},
        {"reward": [["0x1", "0x2", "-0x3"]]},
    ],
)
def test_impossible_fees_are_refused(fields: dict[str, Any]) -> None:
    assert is_bad(refusal(GAS, history(**fields), "base"))


def test_a_head() -> None:
    block = {
        "number": "0x3c30896",
        "timestamp": "0x66db4c8b",
        "gasUsed": "0x10",
        "gasLimit": "0x20",
        "baseFeePerGas": "0x0",
        "transactions": ["0xa", "0xb"],
    }
    (stats,) = read(HEAD, result(block), "bsc")
    assert (stats.chain, stats.height) == ("bsc", 63113366)
    assert stats.head_time_ms == stats.as_of_ms == 1725648011000
    assert {name: int(each.value) for name, each in stats.metrics.items()} == {
        "gas_used": 16,
        "gas_limit": 32,
        "base_fee": 0,
        "head_transactions": 2,
    }
    assert is_bad(refusal(HEAD, result({**block, "timestamp": None}), "bsc"))
    assert is_bad(refusal(HEAD, result("0x1"), "bsc"))


def test_balances() -> None:
    (found,) = read(BALANCE, result("0x" + "f" * 20), "0xAb", block="0x1bf")
    assert (found.raw, found.asset, found.decimals) == (16**20 - 1, "bnb", 18)
    assert (found.address, found.block) == ("0xAb", 447)
    (found,) = read(BALANCE, result("0x0"), "0xAb")
    assert (found.raw, found.block) == (0, None)
    assert is_bad(refusal(BALANCE, result("0x" + "f" * 65), "0xAb"))
    assert is_bad(refusal(BALANCE, result(1.5), "0xAb"))


@pytest.mark.parametrize("row", [GAS, HEAD, BALANCE])
def test_what_a_node_does_not_have_yet_is_unknown(row: Any) -> None:
    subject = "0xAb" if row is BALANCE else "base"
    assert refusal(row, result(None), subject).error_class is ErrorClass.UNKNOWN


def test_calls() -> None:
    (answer,) = read(CALL, result(None), "base", method="eth_getTransactionReceipt")
    assert (answer.chain, answer.method, answer.result) == (
        "base",
        "eth_getTransactionReceipt",
        None,
    )
    reverted = '{"jsonrpc":"2.0","id":1,"error":{"code":3,"message":"execution reverted"}}'
    (answer,) = read(CALL, reverted, "base", method="eth_call")
    assert answer.error == {"code": 3, "message": "execution reverted"}


NO_NUMBERS: list[Any] = [True, "true", -1, "-1", "0", 7, "0x", [], {}]


@pytest.mark.parametrize(
    ("method", "told"),
    [
        *(("eth_blockNumber", told) for told in NO_NUMBERS),
        ("eth_getBalance", "12"),
        ("eth_gasPrice", "0x" + "f" * 65),
        *(("getSlot", told) for told in (True, "7", 0, -1, 1.5)),
    ],
)
def test_a_result_that_is_no_number_where_one_is_due_is_refused(method: str, told: Any) -> None:
    assert is_bad(refusal(CALL, result(told), "base", method=method))


def test_results_that_are_numbers_are_kept_as_they_are() -> None:
    results: list[tuple[str, Any]] = [
        ("eth_blockNumber", "0x10"),
        ("getSlot", 7),
        ("eth_call", "0x"),
    ]
    for method, told in results:
        (answer,) = read(CALL, result(told), "base", method=method)
        assert answer.result == told


@pytest.mark.parametrize("body", ['{"jsonrpc":"2.0","id":1}', "[]", "7", '"0x1"'])
def test_what_is_no_answer_is_refused(body: str) -> None:
    assert is_bad(refusal(CALL, body, "base", method="eth_chainId"))
