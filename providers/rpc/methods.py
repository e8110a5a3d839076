"""What may be asked of nodes from outside: methods that only read, each with bounds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from providers.networks import Family, networks

MOST_BLOCKS: Final = 1_000  # of one eth_getLogs; nodes refuse more
_TAGS: Final = ("latest", "pending", "safe", "finalized")
_FILTER: Final = ("address", "blockHash", "fromBlock", "toBlock", "topics")
_HASH: Final = re.compile(r"0x[0-9a-fA-F]{64}")
_MOST_FEE_BLOCKS: Final = 1_024
_MOST_ADDRESSES: Final = 50
_MOST_ACCOUNTS: Final = 100
_MOST_SIGNATURES: Final = 1_000

# Where the parameters name the block; None where they name none.
_EVM: Final[Mapping[str, int | None]] = {
    "eth_blobBaseFee": None,
    "eth_blockNumber": None,
    "eth_call": 1,
    "eth_chainId": None,
    "eth_estimateGas": 1,
    "eth_feeHistory": 1,
    "eth_gasPrice": None,
    "eth_getBalance": 1,
    "eth_getBlockByHash": None,
    "eth_getBlockByNumber": 0,
    "eth_getBlockTransactionCountByHash": None,
    "eth_getBlockTransactionCountByNumber": 0,
    "eth_getCode": 1,
    "eth_getLogs": None,
    "eth_getStorageAt": 2,
    "eth_getTransactionByBlockHashAndIndex": None,
    "eth_getTransactionByBlockNumberAndIndex": 0,
    "eth_getTransactionByHash": None,
    "eth_getTransactionCount": 1,
    "eth_getTransactionReceipt": None,
    "eth_maxPriorityFeePerGas": None,
    "net_version": None,
}
_SOLANA: Final[Mapping[str, int | None]] = dict.fromkeys(
    (
        "getAccountInfo",
        "getBalance",
        "getBlockHeight",
        "getBlockTime",
        "getEpochInfo",
        "getFeeForMessage",
        "getGenesisHash",
        "getLatestBlockhash",
        "getMinimumBalanceForRentExemption",
        "getMultipleAccounts",
        "getRecentPrioritizationFees",
        "getSignaturesForAddress",
        "getSignatureStatuses",
        "getSlot",
        "getTokenAccountBalance",
        "getTokenSupply",
        "getTransaction",
        "getTransactionCount",
    )
)
_BY_FAMILY: Final = {Family.EVM: _EVM, Family.SOLANA: _SOLANA}


class Refused(Exception):
    """A call that is not passed on. `code` as JSON-RPC has it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class RpcCall:
    """One call, checked. `block_at`: where `params` names a block."""

    method: str
    params: tuple[Any, ...]
    block_at: int | None

    @property
    def reads_latest(self) -> bool:
        """Whether it asks for the state of the newest block, whichever that is."""
        if self.block_at is None:
            return False
        return len(self.params) <= self.block_at or self.params[self.block_at] in ("latest", None)

    def at(self, block: int) -> "RpcCall":
        """The same of one block."""
        if not self.reads_latest or self.block_at is None or len(self.params) < self.block_at:
            return self
        pinned = (*self.params[: self.block_at], hex(block), *self.params[self.block_at + 1 :])
        return RpcCall(self.method, pinned, self.block_at)


def methods_of(chain: str) -> list[str]:
    """The methods that may be asked of a chain."""
    return list(_known(chain))


def checked(chain: str, method: Any, params: Any, head: int | None = None) -> RpcCall:
    """Raises Refused. `head`: of the chain, if it is known: a range of logs may end at it."""
    known = _known(chain)
    if not isinstance(method, str):
        raise Refused(-32600, "method is no text")
    if method not in known:
        raise Refused(-32601, f"method {method[:80]!r} is none of those that may be asked here")
    if params is None:
        params = []
    if not isinstance(params, list):
        raise Refused(-32602, "params is no list")
    match method:
        case "eth_getLogs":
            params = _logs(params, head)
        case "eth_feeHistory":
            _at_most(_number(params[0]) if params else None, _MOST_FEE_BLOCKS, "blocks")
        case "getMultipleAccounts":
            _at_most(_length(params), _MOST_ACCOUNTS, "accounts")
        case "getSignaturesForAddress":
            options = params[1] if len(params) > 1 and isinstance(params[1], dict) else {}
            _at_most(options.get("limit", 0), _MOST_SIGNATURES, "signatures")
    return RpcCall(method, tuple(params), known[method])


def needs_head(method: Any, params: Any) -> bool:
    """Whether only the head tells how many blocks a call reads."""
    if method != "eth_getLogs" or not isinstance(params, list) or not params:
        return False
    ends = params[0] if isinstance(params[0], dict) else {}
    named = [_end(ends, end) for end in ("fromBlock", "toBlock")]
    return named != ["latest", "latest"] and any(end in _TAGS for end in named)


def _known(chain: str) -> Mapping[str, int | None]:
    network = networks().get(chain)
    return _EVM if network is None else _BY_FAMILY.get(network.family, {})


def _logs(params: list[Any], head: int | None) -> list[Any]:
    if len(params) != 1 or not isinstance(params[0], dict):
        raise Refused(-32602, "params is not one filter of logs")
    wanted = params[0]
    for name in wanted:  # nodes read other spellings of these, too, and so past their bounds
        if name not in _FILTER:
            raise Refused(-32602, f"a filter of logs has no {name[:80]!r}")
    addresses = wanted.get("address")
    _at_most(len(addresses) if isinstance(addresses, list) else 0, _MOST_ADDRESSES, "addresses")
    ends = [end for end in ("fromBlock", "toBlock") if wanted.get(end) is not None]
    if wanted.get("blockHash") is not None:
        if ends or not _is_hash(wanted["blockHash"]):
            raise Refused(-32602, "blockHash is no hash of a block, or stands beside a range")
        return [_without(wanted, "fromBlock", "toBlock")]
    first, last = _end(wanted, "fromBlock"), _end(wanted, "toBlock")
    if first == last == "latest" and head is None:
        return [_without(wanted, "blockHash", "fromBlock", "toBlock")]
    begin, end = _block(first, head), _block(last, head)
    _at_most(end - begin + 1, MOST_BLOCKS, "blocks")
    rest = _without(wanted, "blockHash")
    return [{**rest, "fromBlock": hex(begin), "toBlock": hex(end)}]


def _end(wanted: Mapping[str, Any], end: str) -> Any:
    """An end of the range; as nodes have it, null is the newest block."""
    told = wanted.get(end)
    return "latest" if told is None else told


def _without(wanted: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if name not in names}


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _block(block: Any, head: int | None) -> int:
    if block == "earliest":
        return 0
    if block not in _TAGS:
        return _number(block)
    if head is None:
        raise Refused(-32000, "how far the chain is is not known now")
    return head


def _number(value: Any) -> int:
    try:
        found = value if type(value) is int else int(value, 16)
    except (TypeError, ValueError):
        raise Refused(-32602, f"{str(value)[:80]!r} is no number") from None
    if found < 0:
        raise Refused(-32602, "a number is negative")
    return found


def _length(params: Sequence[Any]) -> int:
    return len(params[0]) if params and isinstance(params[0], list) else 0


def _at_most(count: Any, most: int, what: str) -> None:
    if type(count) is not int or count > most:
        raise Refused(-32602, f"more than {most} {what} are asked for, or no number of them")
