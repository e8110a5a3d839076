"""Bitcoin's transactions: change, the miner's pay and what is too little are no transfers."""

import json
from pathlib import Path
from typing import Any

import pytest

from providers.exact import BadValue
from providers.whales.bitcoin_blocks import Block, read_esplora, read_raw_block

HASH = "ab" * 32
OWNER, OTHER, THIRD = ("script of a", "a"), ("script of b", "b"), ("script of c", None)
Owned = tuple[str, str | None]


def esplora(spent: list[tuple[Owned, int]], paid: list[tuple[Owned, int]]) -> list[Any]:
    def output(owned: Owned, value: int) -> dict[str, Any]:
        address = {"scriptpubkey_address": owned[1]} if owned[1] else {}
        return {"scriptpubkey": owned[0], "value": value, **address}

    put: list[Any] = [{"prevout": output(*each)} for each in spent] or [{"prevout": None}]
    status = {"block_hash": HASH, "block_height": 7, "block_time": 1_796_000_000}
    out = [output(*each) for each in paid]
    return [{"txid": "one", "vin": put, "vout": out, "status": status}]


def raw(spent: list[tuple[Owned, int]], paid: list[tuple[Owned, int]]) -> dict[str, Any]:
    def output(owned: Owned, value: int) -> dict[str, Any]:
        return {"script": owned[0], "value": value, "addr": owned[1]}

    put: list[Any] = [{"prev_out": output(*each)} for each in spent] or [{"prev_out": None}]
    sent = {
        "hash": "one",
        "inputs": put,
        "out": [{"n": n, **output(*each)} for n, each in enumerate(paid)],
    }
    return {"hash": HASH, "height": 7, "time": 1_796_000_000, "tx": [sent]}


def both(spent: list[tuple[Owned, int]], paid: list[tuple[Owned, int]], least: int) -> Block:
    """What both explorers are read as."""
    of_esplora = read_esplora(esplora(spent, paid), 7, HASH, least)
    assert read_raw_block(raw(spent, paid), 7, HASH, least) == of_esplora
    return of_esplora


def test_change_is_no_transfer() -> None:
    block = both([(OWNER, 90), (OTHER, 10)], [(THIRD, 60), (OWNER, 39)], 1)
    (paid,) = block.paid
    assert (paid.index, paid.raw, paid.receiver, paid.senders) == (0, 60, None, ("a", "b"))
    assert block.time_ms == 1_796_000_000_000


def test_what_is_too_little_or_goes_to_the_miner_is_left_out() -> None:
    assert both([(OWNER, 90)], [(OTHER, 59), (THIRD, 30)], 60).paid == ()
    assert both([], [(OTHER, 1_000)], 60).paid == ()
    assert [each.raw for each in both([(OWNER, 90)], [(OTHER, 60)], 60).paid] == [60]


def test_a_recorded_transaction_is_read(recorded_data: Path) -> None:
    name = "providers/blockchaininfo_rawtx.json"
    sent = json.loads((recorded_data / name).read_bytes())
    block = {"hash": HASH, "height": 700_000, "time": sent["time"], "tx": [sent]}
    found = read_raw_block(block, 700_000, HASH, 1)
    spent = {put["prev_out"]["script"] for put in sent["inputs"]}
    kept = [out["value"] for out in sent["out"] if out["script"] not in spent]
    assert [each.raw for each in found.paid] == kept
    assert found.paid[0].senders[0] == "bc1qdlt2jrplkf0v7ucvhhjhs0qf7cqr0j27k7j7p0"


@pytest.mark.parametrize(
    "change", [{"hash": "cd" * 32}, {"height": 8}, {"tx": []}, {"time": "soon"}]
)
def test_another_block_is_refused(change: dict[str, Any]) -> None:
    block = raw([(OWNER, 90)], [(OTHER, 60)]) | change
    with pytest.raises(BadValue):
        read_raw_block(block, 7, HASH, 1)


@pytest.mark.parametrize("page", [[], {}, "Block not found"])
def test_what_is_no_page_is_refused(page: Any) -> None:
    with pytest.raises(BadValue):
        read_esplora(page, 7, HASH, 1)


def test_a_page_of_another_block_is_refused() -> None:
    with pytest.raises(BadValue, match="not of block 8"):
        read_esplora(esplora([(OWNER, 90)], [(OTHER, 60)]), 8, HASH, 1)
