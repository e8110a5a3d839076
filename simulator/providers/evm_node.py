"""A simulated node of an EVM chain: JSON-RPC over its content, with the habits of the host."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from simulator.providers import evm
from simulator.providers.asked import View
from simulator.providers.chains import TOKENS, EvmChain
from simulator.randomness import draw

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_HASH: Final = re.compile(r"0x[0-9a-fA-F]{64}")
_HEX: Final = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]*)")
_KEPT_STATES: Final = 128  # blocks whose state a node has that is no archive
_MOST_FEES: Final = 1024
_BALANCE_OF, _DECIMALS, _SYMBOL = "0x70a08231", "0x313ce567", "0x95d89b41"
_BLOOM: Final = "0x" + "0" * 512


class RpcError(Exception):
    """An error of JSON-RPC."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.error: dict[str, Any] = {"code": code, "message": message}
        if data is not None:
            self.error["data"] = data


@dataclass(frozen=True, slots=True)
class Habits:
    """`logs`: the blocks of one eth_getLogs at most, 0: it is off. `archive`: it knows all states;
    else `pruned` is its error about old ones. `batches`: it takes them. `calls`: it does eth_call.
    """

    logs: int = 10_000
    archive: bool = False
    pruned: tuple[int, str] = (-32000, "missing trie node {hash} (path ) state 0x{hash} is not "
                               "available")  # fmt: skip
    batches: bool = True
    calls: bool = True


def _hex(number: int) -> str:
    return hex(number)


class EvmNode:
    """One node as one request sees it."""

    def __init__(self, view: View, chain: EvmChain, habits: Habits) -> None:
        self._view = view
        self._chain = chain
        self._habits = habits
        self._seed = view.seed
        late = draw(view.seed, view.name, "late", view.now_s, 4) == 0  # a block now and then
        self._head = chain.height_at(view.now_ms) - int(late) - view.lies.blocks
        self._methods: Mapping[str, Callable[[list[Any]], Any]] = {
            "eth_chainId": lambda p: _hex(self._chain_id),
            "net_version": lambda p: str(self._chain_id),
            "web3_clientVersion": lambda p: "Geth/v1.16.7-stable/linux-amd64/go1.25.1",
            "eth_blockNumber": lambda p: _hex(self._head),
            "eth_syncing": lambda p: False,
            "net_listening": lambda p: True,
            "eth_gasPrice": lambda p: _hex(self._fee() + self._priority()),
            "eth_maxPriorityFeePerGas": lambda p: _hex(self._priority()),
            "eth_feeHistory": self._fee_history,
            "eth_getBalance": self._balance,
            "eth_getTransactionCount": self._transaction_count,
            "eth_getCode": self._code,
            "eth_getStorageAt": lambda p: "0x" + "0" * 64,
            "eth_call": self._call,
            "eth_estimateGas": lambda p: "0x5208",
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getBlockReceipts": self._receipts,
            "eth_getLogs": self._logs,
        }

    @property
    def _chain_id(self) -> int:
        return self._view.lies.chain_id or self._chain.id

    def answer(self, method: str, parameters: Any) -> Any:
        """The result of one call. Raises RpcError."""
        found = self._methods.get(method)
        if found is None:
            raise RpcError(-32601, f"the method {method} does not exist/is not available")
        if not isinstance(parameters, list):
            raise RpcError(-32602, "invalid params")
        try:
            return found(parameters)
        except (IndexError, TypeError, KeyError, AttributeError):
            raise RpcError(-32602, "missing value for required argument") from None

    # --- fees

    def _fee(self) -> int:
        return self._view.amount(evm.base_fee_wei(self._seed, self._chain, self._head))

    def _priority(self) -> int:
        return self._view.amount(evm.priority_wei(self._seed, self._chain, self._head, 50))

    def _fee_history(self, parameters: list[Any]) -> Any:
        given = parameters[0]
        count = int(given, 16) if isinstance(given, str) else int(given)
        newest = self._number(parameters[1])
        if newest is None or not 1 <= count <= _MOST_FEES:
            raise RpcError(-32602, "invalid block count or number")
        chain, view, seed = self._chain, self._view, self._seed
        numbers = range(max(newest - count + 1, 0), newest + 1)
        fees = [
            view.amount(evm.base_fee_wei(seed, chain, n)) for n in range(numbers[0], newest + 2)
        ]
        answer: dict[str, Any] = {
            "oldestBlock": _hex(numbers[0]),
            "baseFeePerGas": [_hex(fee) for fee in fees],
            "gasUsedRatio": [evm.gas_used_ratio(seed, chain, n) for n in numbers],
        }
        percentiles = parameters[2] if len(parameters) > 2 else None
        if percentiles:
            answer["reward"] = [
                [_hex(view.amount(evm.priority_wei(seed, chain, n, p))) for p in percentiles]
                for n in numbers
            ]
        return answer

    # --- states

    def _state_at(self, tag: Any) -> int:
        number = self._number(tag)
        if number is None or number > self._head:
            raise RpcError(-32000, "header not found")
        if number < self._head - _KEPT_STATES and not self._habits.archive:
            code, message = self._habits.pruned
            state = evm.digest(self._seed, "state", number)
            raise RpcError(code, message.format(hash=state))
        return number

    def _balance(self, parameters: list[Any]) -> str:
        address = _address(parameters[0])
        self._state_at(parameters[1] if len(parameters) > 1 else "latest")
        return _hex(self._view.amount(evm.balance_wei(self._seed, self._chain, address)))

    def _transaction_count(self, parameters: list[Any]) -> str:
        return _hex(draw(self._seed, _address(parameters[0]).lower(), "nonce", 0, 900))

    def _code(self, parameters: list[Any]) -> str:
        is_token = _address(parameters[0]).lower() in TOKENS[self._chain.id]
        return "0x60806040" if is_token else "0x"

    def _call(self, parameters: list[Any]) -> str:
        if not self._habits.calls:
            raise RpcError(-32603, "Internal error")
        call = parameters[0]
        self._state_at(parameters[1] if len(parameters) > 1 else "latest")
        if "to" not in call:
            raise RpcError(-32000, "Missed `to` address")
        contract = _address(call["to"]).lower()
        data = str(call.get("data") or call.get("input") or "0x")
        token = TOKENS[self._chain.id].get(contract)
        if token is None:
            return "0x"
        if data.startswith(_BALANCE_OF) and len(data) == 74:
            held = evm.token_balance(self._seed, self._chain, contract, f"0x{data[34:]}")
            return f"0x{self._view.amount(held):064x}"
        if data.startswith(_DECIMALS):
            return f"0x{token.decimals:064x}"
        raise RpcError(3, "execution reverted", "0x")

    # --- blocks

    def _number(self, tag: Any) -> int | None:
        """The number that a tag or hex text names; None for a block that is not there yet."""
        safe, final = self._chain.safe
        tags = {"latest": 0, "pending": 0, "safe": safe, "finalized": final}
        if tag in tags:
            return max(self._head - tags[tag], 0)
        if tag == "earliest":
            return 0
        if not isinstance(tag, str) or not _HEX.fullmatch(tag):
            raise RpcError(-32602, f"invalid argument 0: hex string {str(tag)[:40]!r}")
        number = int(tag, 16)
        return number if number <= self._head else None

    def _block_by_number(self, parameters: list[Any]) -> Any:
        number = self._number(parameters[0])
        return None if number is None else self._block(number, full=bool(parameters[1]))

    def _block_by_hash(self, parameters: list[Any]) -> Any:
        number = evm.number_of_hash(_hash(parameters[0]))
        found = evm.block_hash(self._seed, self._chain, number)
        if number > self._head or found != parameters[0].lower():
            return None
        return self._block(number, full=bool(parameters[1]))

    def _block(self, number: int, *, full: bool) -> dict[str, Any]:
        seed, chain = self._seed, self._chain
        moves = evm.moved(self._view, chain, number)
        used = int(evm.gas_used_ratio(seed, chain, number) * evm.GAS_LIMIT)
        block = {
            "number": _hex(number),
            "hash": evm.block_hash(seed, chain, number),
            "parentHash": evm.block_hash(seed, chain, max(number - 1, 0)),
            "timestamp": _hex(chain.time_ms(number) // 1000),
            "miner": evm.account(seed, chain, "miner", number),
            "gasLimit": _hex(evm.GAS_LIMIT), "gasUsed": _hex(used), "size": "0x5208",
            "difficulty": "0x0", "extraData": "0x", "logsBloom": _BLOOM, "uncles": [],
            "baseFeePerGas": _hex(self._view.amount(evm.base_fee_wei(seed, chain, number))),
            "transactions": [self._sent(move) if full else move.hash for move in moves],
        }  # fmt: skip
        return block

    def _sent(self, move: evm.Moved) -> dict[str, Any]:
        fee = evm.base_fee_wei(self._seed, self._chain, move.number)
        sender = move.sender if move.sender != evm.ZERO else move.receiver
        data = "0x"
        if move.contract is not None:
            data = f"0xa9059cbb{move.receiver[2:]:0>64}{move.amount:064x}"
        return {
            "blockHash": evm.block_hash(self._seed, self._chain, move.number),
            "blockNumber": _hex(move.number), "transactionIndex": _hex(move.index),
            "hash": move.hash, "from": sender, "to": move.contract or move.receiver,
            "value": _hex(0 if move.contract else move.amount), "input": data,
            "gas": "0x186a0", "gasPrice": _hex(fee), "nonce": "0x1", "type": "0x2",
            "chainId": _hex(self._chain.id),
        }  # fmt: skip

    def _found(self, text: Any) -> evm.Moved | None:
        number, index = evm.place_of(_hash(text))
        if number > self._head:
            return None
        moves = evm.moved(self._view, self._chain, number)
        found = moves[index] if index < len(moves) else None
        return found if found and found.hash == text.lower() else None

    def _transaction(self, parameters: list[Any]) -> Any:
        move = self._found(parameters[0])
        return None if move is None else self._sent(move)

    def _receipt(self, parameters: list[Any]) -> Any:
        move = self._found(parameters[0])
        return None if move is None else self._receipt_of(move)

    def _receipts(self, parameters: list[Any]) -> Any:
        number = self._number(parameters[0])
        if number is None:
            return None
        return [self._receipt_of(m) for m in evm.moved(self._view, self._chain, number)]

    def _receipt_of(self, move: evm.Moved) -> dict[str, Any]:
        sent = self._sent(move)
        kept = ("blockHash", "blockNumber", "transactionIndex", "from", "to", "type")
        return {
            **{name: sent[name] for name in kept},
            "transactionHash": move.hash, "status": "0x1", "gasUsed": "0x5208",
            "cumulativeGasUsed": "0x5208", "effectiveGasPrice": sent["gasPrice"],
            "contractAddress": None, "logsBloom": _BLOOM,
            "logs": [self._log(move)] if move.contract else [],
        }  # fmt: skip

    # --- logs

    def _logs(self, parameters: list[Any]) -> list[dict[str, Any]]:
        if not self._habits.logs:
            raise RpcError(-32005, "limit exceeded")
        asked = parameters[0]
        if "blockHash" in asked:
            first = last = evm.number_of_hash(_hash(asked["blockHash"]))
        else:
            first = self._number(asked.get("fromBlock", "latest")) or self._head
            newest = self._number(asked.get("toBlock", "latest"))
            last = self._head if newest is None else newest
        if last - first >= self._habits.logs:
            raise RpcError(-32000, f"eth_getLogs is limited to a {self._habits.logs} blocks range")
        wanted = asked.get("address")
        contracts = {wanted} if isinstance(wanted, str) else set(wanted or ())
        contracts = {text.lower() for text in contracts}
        return [
            self._log(move)
            for number in range(first, last + 1)
            for move in evm.moved(self._view, self._chain, number)
            if move.contract is not None
            and (not contracts or move.contract in contracts)
            and _fits(asked.get("topics") or [], _topics(move))
        ]

    def _log(self, move: evm.Moved) -> dict[str, Any]:
        return {
            "address": move.contract, "topics": _topics(move), "data": f"0x{move.amount:064x}",
            "blockNumber": _hex(move.number),
            "blockHash": evm.block_hash(self._seed, self._chain, move.number),
            "transactionHash": move.hash, "transactionIndex": _hex(move.index),
            "logIndex": _hex(move.index), "removed": False,
        }  # fmt: skip


def _topics(move: evm.Moved) -> list[str]:
    return [evm.TRANSFER, f"0x{move.sender[2:]:0>64}", f"0x{move.receiver[2:]:0>64}"]


def _fits(wanted: list[Any], topics: list[str]) -> bool:
    """Whether topics are as a filter asks: null fits all, a list any of it."""
    if len(wanted) > len(topics):
        return False
    for asked, topic in zip(wanted, topics, strict=False):
        options = asked if isinstance(asked, list) else [asked]
        if asked is not None and topic not in [str(option).lower() for option in options]:
            return False
    return True


def _address(text: Any) -> str:
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        length = len(str(text)) - 2
        raise RpcError(-32602, f"invalid argument 0: hex string has length {length}, want 40")
    return text


def _hash(text: Any) -> str:
    if not isinstance(text, str) or not _HASH.fullmatch(text):
        raise RpcError(-32602, "invalid argument 0: hex string has another length than 64")
    return text.lower()
