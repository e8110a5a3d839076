"""EVM logs and blocks: what is great is found; what cannot be is the node's fault."""

from decimal import Decimal
from typing import Any

import pytest

from providers.exact import BadValue
from providers.whales.evm_blocks import NATIVE_INDEX, TRANSFER, Moved, read_block, read_logs
from providers.whales.scanning import Cursor, Priced, Stretch, stretch, watched

TOKEN = "0xdAC17F958D2ee523a2206206994597C13D831ec7"
A, B = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
USDT = watched("usdt", 6, Priced(Decimal("0.999"), "price.aggregate/coingecko"), 1_000_000)
ETH = watched("eth", 18, Priced(Decimal(3_000), "price.aggregate/coingecko"), 1_000_000)


def topic(address: str) -> str:
    return "0x" + "0" * 24 + address[2:].lower()


def log(raw: int, **fields: Any) -> dict[str, Any]:
    return {
        "address": TOKEN.lower(),
        "topics": [TRANSFER, topic(A), topic(B)],
        "data": f"0x{raw:064x}",
        "blockNumber": "0x10",
        "transactionHash": "0xaa",
        "logIndex": "0x3",
    } | fields


def moved(*logs: Any) -> list[Moved]:
    return read_logs(list(logs), 0x10, 0x11, {TOKEN.lower(): USDT})


def test_the_least_that_counts_is_a_million_dollars() -> None:
    assert USDT.least_raw == 1_001_001_001_002
    (found,) = moved(log(USDT.least_raw), log(USDT.least_raw - 1))
    assert (found.sender, found.receiver, found.contract) == (A, B, TOKEN)
    assert (found.block, found.index, found.tx_hash) == (16, 3, "0xaa")
    assert USDT.value(found.raw) == Decimal("1000000.00")


@pytest.mark.parametrize(
    "fields",
    [
        {"removed": True},
        {"topics": [TRANSFER, topic(A), topic(A)]},
        {"topics": [TRANSFER, topic(A)]},
        {"topics": ["0x" + "1" * 64, topic(A), topic(B)]},
        {"address": A},
        {"data": "0x"},
    ],
)
def test_other_logs_are_left_out(fields: dict[str, Any]) -> None:
    assert moved(log(10**18, **fields)) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"blockNumber": "0x12"},
        {"blockNumber": None},
        {"data": "many"},
        {"topics": [TRANSFER, "0x1", topic(B)]},
        {"transactionHash": None},
        {"logIndex": "0x"},
    ],
)
def test_logs_that_cannot_be_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadValue):
        moved(log(10**18, **fields))


@pytest.mark.parametrize("logs", [None, {}, ["log"]])
def test_what_is_no_list_of_logs_is_refused(logs: Any) -> None:
    with pytest.raises(BadValue):
        read_logs(logs, 1, 2, {})


def block(*sent: dict[str, Any]) -> dict[str, Any]:
    return {"number": "0x10", "hash": "0xbb", "timestamp": "0x6b0d0000", "transactions": sent}


def test_great_transfers_of_the_coin_are_found_in_a_block() -> None:
    great = {"hash": "0xaa", "from": A, "to": B, "value": hex(ETH.least_raw)}
    others = (
        great | {"value": hex(ETH.least_raw - 1)},
        great | {"to": None},
        great | {"to": A},
        great | {"value": "0x0"},
    )
    found = read_block(block(great, *others), 16, ETH)
    assert found.time_ms == 0x6B0D0000 * 1000
    (native,) = found.moved
    assert (native.index, native.contract, native.raw) == (NATIVE_INDEX, None, ETH.least_raw)


@pytest.mark.parametrize("told", [None, {}, {"number": "0x11"}, {"number": "0x10", "hash": None}])
def test_another_block_is_refused(told: Any) -> None:
    with pytest.raises(BadValue):
        read_block(told, 16, None)


@pytest.mark.parametrize(
    ("cursor", "wanted"),
    [
        (None, Stretch(976, 1_000, 0)),
        (Cursor(990), Stretch(991, 1_000, 0)),
        (Cursor(1_000), Stretch(1_001, 1_000, 0)),
        (Cursor(1_005), Stretch(1_006, 1_000, 0)),
        (Cursor(700), Stretch(851, 1_000, 150)),
    ],
)
def test_what_is_left_to_read(cursor: Cursor | None, wanted: Stretch) -> None:
    assert stretch(cursor, 1_000, 12.0) == wanted


def test_spans_cover_a_stretch() -> None:
    assert Stretch(1, 7, 0).spans(3) == [(1, 3), (4, 6), (7, 7)]
    assert Stretch(8, 7, 0).spans(3) == []
