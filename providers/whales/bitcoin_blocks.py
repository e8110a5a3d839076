"""Reads Bitcoin's transactions, of esplora and of blockchain.info: what left its owners.

An output that pays to a script which the same transaction spends from is change. Counted as a
transfer, it would double each payment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from providers.exact import BadValue, shown, whole_of

MOST_SENDERS: Final = 20


@dataclass(frozen=True, slots=True)
class Paid:
    """An output that is no change. `senders`: the addresses that were spent from."""

    tx_hash: str
    index: int
    raw: int
    receiver: str | None
    senders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    number: int
    hash: str
    time_ms: int
    paid: tuple[Paid, ...]
    transactions: int


def read_esplora(page: Any, number: int, hash_: str, least_raw: int) -> Block:
    """A page of `/block/{hash}/txs`: [{"txid","vin":[{"prevout":{"scriptpubkey",
    "scriptpubkey_address","value"}}],"vout":[the same as a prevout],"status":{"block_time": s}}].
    Raises BadValue."""
    if not isinstance(page, list) or not page:
        raise BadValue(f"{shown(page)} is no page of transactions")
    status = page[0]["status"]
    if status["block_hash"] != hash_ or status["block_height"] != number:
        raise BadValue(f"its transactions are not of block {number}")
    paid: list[Paid] = []
    for each in page:
        spent = [_output(put["prevout"]) for put in each["vin"] if put.get("prevout")]
        outputs = [(n, *_output(out)) for n, out in enumerate(each["vout"])]
        paid += _paid(str(each["txid"]), spent, outputs, least_raw)
    return Block(number, hash_, _whole(status["block_time"]) * 1000, tuple(paid), len(page))


def read_raw_block(block: Any, number: int, hash_: str, least_raw: int) -> Block:
    """`/rawblock/{hash}` of blockchain.info: {"hash","height","time": s,"tx":[{"hash","inputs":
    [{"prev_out":{"addr","value","script"}}],"out":[{"n", and as a prev_out}]}]}. Raises
    BadValue."""
    if block["hash"] != hash_ or block["height"] != number or not block["tx"]:
        raise BadValue(f"it is not block {number}")
    paid: list[Paid] = []
    for each in block["tx"]:
        spent = [_raw_output(put["prev_out"]) for put in each["inputs"] if put.get("prev_out")]
        outputs = [(_whole(out["n"]), *_raw_output(out)) for out in each["out"]]
        paid += _paid(str(each["hash"]), spent, outputs, least_raw)
    time_ms = _whole(block["time"]) * 1000
    return Block(number, hash_, time_ms, tuple(paid), len(block["tx"]))


Output = tuple[str, str | None, int]  # script, address, value


def _paid(
    tx_hash: str,
    spent: Iterable[Output],
    outputs: Iterable[tuple[int, str, str | None, int]],
    least_raw: int,
) -> list[Paid]:
    owners = {script: address for script, address, _ in spent}
    if not owners:
        return []  # it pays the miner of the block
    senders = tuple(dict.fromkeys(each for each in owners.values() if each))[:MOST_SENDERS]
    return [
        Paid(tx_hash, index, raw, address, senders)
        for index, script, address, raw in outputs
        if raw >= least_raw and script not in owners
    ]


def _output(told: Mapping[str, Any]) -> Output:
    return (
        str(told["scriptpubkey"]),
        told.get("scriptpubkey_address"),
        _whole(told["value"]),
    )


def _raw_output(told: Mapping[str, Any]) -> Output:
    return str(told["script"]), told.get("addr") or None, _whole(told["value"])


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise BadValue(f"{shown(value)} is no whole number")
    found = whole_of(value)
    assert found is not None  # noqa: S101 - it is one
    return found
