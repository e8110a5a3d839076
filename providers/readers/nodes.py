"""Reads answers of nodes (JSON-RPC): calls as they are, fees, the head, and balances."""

import re
from statistics import median_low
from typing import Any, Final

from providers.errors import ErrorClass
from providers.exact import BadValue, block_of, quantity_of, shown, time_ms
from providers.networks import network_of
from providers.readers.asked import Asked
from providers.readers.fields import LEVELS
from providers.readers.rows import Row, records_of
from providers.readers.values import balance
from providers.records import Balance, ChainStats, GasPrice, Metric, Record, RpcAnswer
from providers.rpc_errors import is_reverted, rpc_fault

# Methods whose result is a number, which may be missing where the block is not known.
_HEX: Final = frozenset({
    "eth_blobBaseFee", "eth_blockNumber", "eth_chainId", "eth_estimateGas", "eth_gasPrice",
    "eth_getBalance", "eth_getBlockTransactionCountByHash",
    "eth_getBlockTransactionCountByNumber", "eth_getTransactionCount", "eth_maxPriorityFeePerGas",
})  # fmt: skip
_WHOLE: Final = frozenset({"getBlockHeight", "getSlot", "getTransactionCount"})
_QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")


def read_call(body: bytes, asked: Asked) -> list[Record]:
    """{"jsonrpc":"2.0","result":"0x2f06ceb","id":2}; the id may come back changed. A null result
    is an answer: there is no such block or transaction yet."""
    document = _checked(body, asked)
    reverted = document["error"] if is_reverted(document) else None
    if reverted is None and "result" not in document:
        raise asked.bad("the answer has neither a result nor an error")
    method, told = asked.question.option("method"), document.get("result")
    if not _may_be(method, told):
        raise asked.bad(f"{method} gave {shown(told)}")
    return [
        RpcAnswer(
            **asked.common(None),
            chain=asked.resource.chain.partition(".")[2],
            method=method,
            result=told,
            error=reverted,
        )
    ]


def _may_be(method: str, result: Any) -> bool:
    """Whether the result is of the method's kind, as far as that is a number."""
    if result is None:
        return True
    if method in _HEX:
        return isinstance(result, str) and _QUANTITY.fullmatch(result) is not None
    return method not in _WHOLE or (type(result) is int and result > 0)


def read_fees(body: bytes, asked: Asked) -> list[Record]:
    """eth_feeHistory of five blocks: {"oldestBlock":"0x..","baseFeePerGas":["0x..", six of them],
    "reward":[["0x..", three], five of them]} in wei. The last base fee is the next block's."""
    found: list[Record] = records_of(_object(body, asked), asked, _fees)
    return found


def _fees(row: Row) -> GasPrice:
    history = row.document
    base_fees = _all_whole(history.get("baseFeePerGas"))
    oldest = block_of(quantity_of(history.get("oldestBlock")))
    if not base_fees or oldest is None:
        raise BadValue("the fee history has no base fee, or no block")
    base_fee = base_fees[-1]
    blocks = _listed(history.get("reward") or [])
    if blocks and len(base_fees) != len(blocks) + 1:
        raise BadValue("the fee history has not one base fee more than blocks")
    rewards = [_all_whole(block) for block in blocks if block]
    if any(len(block) != len(LEVELS) for block in rewards):
        raise BadValue("the fee history has other percentiles than were asked for")
    fees: dict[str, Any] = {}
    for number, level in enumerate(LEVELS if rewards else ()):
        priority = median_low(block[number] for block in rewards)
        fees[f"priority_{level}_wei"] = priority
        # The base fee can double in six full blocks: what wallets pay at most.
        fees[f"max_fee_{level}_wei"] = 2 * base_fee + priority
    if fees and not fees["max_fee_fast_wei"]:
        raise BadValue("a fee of 0 is none")
    chain = network_of(row.name.values["chain"])
    return GasPrice(
        **row.asked.common(None),
        chain=chain.id,
        chain_id=chain.chain_id,
        block=oldest + len(base_fees) - 2,
        base_fee_wei=base_fee,
        **fees,
    )


def read_head(body: bytes, asked: Asked) -> list[Record]:
    """eth_getBlockByNumber latest: {"number":"0x..","timestamp":"0x.." (s),"gasUsed":"0x..",
    "gasLimit":"0x..","baseFeePerGas":"0x..","transactions":[hashes]}."""
    found: list[Record] = records_of(_object(body, asked), asked, _head)
    return found


def _head(row: Row) -> ChainStats:
    block = row.document
    height, time = (
        block_of(quantity_of(block.get("number"))),
        time_ms(block.get("timestamp"), "hex_s"),
    )
    if height is None or time is None:
        raise BadValue("the block has no number, or no time")
    metrics: dict[str, Metric] = {}
    for name, key, unit in (
        ("gas_used", "gasUsed", "gas"),
        ("gas_limit", "gasLimit", "gas"),
        ("base_fee", "baseFeePerGas", "wei"),
    ):
        value = quantity_of(block.get(key))
        if value is not None:
            metrics[name] = Metric.of(value, unit)
    if isinstance(transactions := block.get("transactions"), list):
        metrics["head_transactions"] = Metric.of(len(transactions), "1")
    return ChainStats(
        **row.asked.common(time),
        chain=row.name.values["chain"],
        height=height,
        head_time_ms=time,
        metrics=metrics,
    )


def read_balance(body: bytes, asked: Asked) -> list[Record]:
    """eth_getBalance: {"result":"0x15"}, in wei; of Tron in sun."""
    result = _result(body, asked)
    found: list[Record] = records_of(result, asked, _balance)
    return found


def _balance(row: Row) -> Balance:
    raw = quantity_of(row.document)
    if raw is None:
        raise BadValue("the balance is empty")
    block = row.asked.question.option("block")
    return balance(row, raw, int(block, 16) if block.startswith("0x") else None)


def _checked(body: bytes, asked: Asked) -> Any:
    document = asked.document(body)
    if not isinstance(document, dict):
        raise asked.bad(f"{shown(document)} is not an answer of JSON-RPC")
    if (fault := rpc_fault(document)) is not None:
        raise asked.refused(*fault)
    return document


def _result(body: bytes, asked: Asked) -> Any:
    """The result of a call that must have one."""
    document = _checked(body, asked)
    if document.get("result") is None:
        raise asked.refused(ErrorClass.UNKNOWN, "the node has no result of it")
    return document["result"]


def _object(body: bytes, asked: Asked) -> dict[str, Any]:
    result = _result(body, asked)
    if not isinstance(result, dict):
        raise asked.bad(f"{shown(result)} is not an object")
    return result


def _listed(values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise BadValue(f"{shown(values)} is not a list of amounts")
    return values


def _all_whole(values: Any) -> list[int]:
    found = [quantity_of(value) for value in _listed(values)]
    if any(value is None for value in found):
        raise BadValue("an amount is missing")
    return [value for value in found if value is not None]
