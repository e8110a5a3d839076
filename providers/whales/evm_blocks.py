"""Reads blocks and Transfer events of EVM nodes: what is great, and nothing that cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from providers.accounts import evm_address
from providers.errors import InvalidQuestion
from providers.exact import BadValue, quantity_of, shown
from providers.whales.scanning import Watched

TRANSFER: Final = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
NATIVE_INDEX: Final = -1  # of a transfer of the coin itself, which is in no log


@dataclass(frozen=True, slots=True)
class Moved:
    """`index`: of the log in its block."""

    watched: Watched
    contract: str | None
    block: int
    tx_hash: str
    index: int
    sender: str
    receiver: str
    raw: int


@dataclass(frozen=True, slots=True)
class Block:
    number: int
    hash: str
    time_ms: int
    moved: tuple[Moved, ...] = ()


def read_logs(logs: Any, first: int, last: int, tokens: Mapping[str, Watched]) -> list[Moved]:
    """Raises BadValue where they are of other blocks, or are none."""
    if not isinstance(logs, list):
        raise BadValue(f"{shown(logs)} are no logs")
    found = []
    for entry in logs:
        block = _whole(_object(entry).get("blockNumber"))
        if not first <= block <= last:
            raise BadValue(f"a log is of block {block}, which was not asked for")
        if (moved := _moved(entry, block, tokens)) is not None:
            found.append(moved)
    return found


def read_block(block: Any, number: int, coin: Watched | None) -> Block:
    """`coin`: what the block's transactions are looked through for, None where it has only their
    hashes. Raises BadValue where it is another block, or none."""
    if _whole(_object(block).get("number")) != number:
        raise BadValue(f"it is not block {number}")
    time_ms, hash_ = _whole(block.get("timestamp")) * 1000, _text(block.get("hash"))
    if coin is None:
        return Block(number, hash_, time_ms)
    found = []
    for sent in block.get("transactions") or ():
        raw = _whole(_object(sent).get("value") or 0)
        if raw >= coin.least_raw and sent.get("to") not in (None, sent.get("from")):
            ends = _address(sent["from"]), _address(sent["to"])
            tx_hash = _text(sent.get("hash"))
            found.append(Moved(coin, None, number, tx_hash, NATIVE_INDEX, *ends, raw))
    return Block(number, hash_, time_ms, tuple(found))


def _moved(entry: Mapping[str, Any], block: int, tokens: Mapping[str, Watched]) -> Moved | None:
    """None for what is not great, was taken back, or goes from an account to itself."""
    contract, topics = _text(entry.get("address")), entry.get("topics")
    token = tokens.get(contract.lower())
    if token is None or entry.get("removed") or not isinstance(topics, list) or len(topics) != 3:
        return None
    raw = 0 if entry.get("data") == "0x" else _whole(entry.get("data"))
    if topics[0] != TRANSFER or topics[1] == topics[2] or raw < token.least_raw:
        return None
    sender, receiver = (_address(f"0x{_text(topic)[-40:]}") for topic in topics[1:])
    return Moved(
        *(token, _address(contract), block, _text(entry.get("transactionHash"))),
        *(_whole(entry.get("logIndex")), sender, receiver, raw),
    )


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadValue(f"{shown(value)} is no object")
    return value


def _whole(value: Any) -> int:
    found = quantity_of(value)
    if found is None:
        raise BadValue("a number is missing")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise BadValue(f"{shown(value)} is no text")
    return value


def _address(value: Any) -> str:
    try:
        return evm_address(_text(value))
    except InvalidQuestion as error:
        raise BadValue(str(error)) from None
