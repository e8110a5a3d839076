"""What may be asked of nodes: what only reads, within bounds; nothing that sends or signs."""

from typing import Any

import pytest

from providers.rpc.methods import MOST_BLOCKS, Refused, checked, methods_of, needs_head

HASH = "0x" + "ab" * 32


@pytest.mark.parametrize(
    "method",
    [
        "eth_sendRawTransaction",
        "eth_sendTransaction",
        "eth_sign",
        "eth_accounts",
        "personal_unlockAccount",
        "debug_traceTransaction",
        "trace_block",
        "admin_peers",
        "eth_newFilter",
        "eth_subscribe",
        "getBalance",
        "",
    ],
)
def test_what_does_not_only_read_is_refused(method: str) -> None:
    with pytest.raises(Refused) as caught:
        checked("ethereum", method, [])
    assert caught.value.code == -32601


def test_each_family_has_methods_of_its_own() -> None:
    assert "getBalance" in methods_of("solana")
    assert "eth_getBalance" in methods_of("bsc")
    assert methods_of("bitcoin") == []
    for chain in ("ethereum", "solana"):
        assert not [name for name in methods_of(chain) if "send" in name.lower()]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        (None, []),
        ("eth_getBalance", {"address": "0x1"}),
        ("eth_getLogs", []),
        ("eth_getLogs", ["latest"]),
        ("eth_getLogs", [{"fromBlock": "0x1", "toBlock": hex(MOST_BLOCKS + 1)}]),
        ("eth_getLogs", [{"fromBlock": "earliest", "toBlock": "latest"}]),
        ("eth_getLogs", [{"fromBlock": "0x1"}]),
        ("eth_getLogs", [{"fromBlock": "-0x1", "toBlock": "0x1"}]),
        ("eth_getLogs", [{"fromBlock": "one", "toBlock": "0x1"}]),
        ("eth_getLogs", [{"address": ["0x1"] * 51}]),
        ("eth_getLogs", [{"fromblock": "0x0"}]),
        ("eth_getLogs", [{"FromBlock": "0x0", "fromBlock": "latest"}]),
        ("eth_getLogs", [{"blockHash": None, "fromBlock": "0x0", "toBlock": "latest"}]),
        ("eth_getLogs", [{"blockHash": HASH, "fromBlock": "0x0"}]),
        ("eth_getLogs", [{"blockHash": "latest"}]),
        ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": None}]),
        ("eth_feeHistory", ["0x401", "latest", []]),
        ("eth_feeHistory", []),
    ],
)
@pytest.mark.parametrize("head", [5_000, None])
def test_what_has_no_bounds_is_refused(method: Any, params: Any, head: int | None) -> None:
    with pytest.raises(Refused):
        checked("ethereum", method, params, head)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("getMultipleAccounts", [["a"] * 101]),
        ("getSignaturesForAddress", ["a", {"limit": 1_001}]),
        ("getSignaturesForAddress", ["a", {"limit": None}]),
    ],
)
def test_what_has_no_bounds_is_refused_of_solana_too(method: str, params: Any) -> None:
    with pytest.raises(Refused):
        checked("solana", method, params)


def test_a_range_of_logs_ends_at_a_block_with_a_number() -> None:
    wanted = {"fromBlock": "0x1000", "toBlock": "latest", "topics": []}
    assert needs_head("eth_getLogs", [wanted])
    call = checked("ethereum", "eth_getLogs", [wanted], 0x1010)
    assert call.params == ({"fromBlock": "0x1000", "toBlock": "0x1010", "topics": []},)


@pytest.mark.parametrize(
    "wanted", [{}, {"blockHash": HASH}, {"fromBlock": "0x1", "toBlock": "0x3e8"}]
)
def test_logs_of_few_blocks_need_no_head(wanted: dict[str, str]) -> None:
    assert not needs_head("eth_getLogs", [wanted])
    assert checked("ethereum", "eth_getLogs", [wanted]).params == (wanted,)


@pytest.mark.parametrize(
    ("method", "params", "pinned"),
    [
        ("eth_getBalance", ["0x1", "latest"], ["0x1", "0x64"]),
        ("eth_getBalance", ["0x1"], ["0x1", "0x64"]),
        ("eth_getBalance", ["0x1", None], ["0x1", "0x64"]),
        ("eth_getBalance", ["0x1", "0x5"], ["0x1", "0x5"]),
        ("eth_getBlockByNumber", ["latest", False], ["0x64", False]),
        ("eth_feeHistory", ["0x5", "latest", [50]], ["0x5", "0x64", [50]]),
        ("eth_getStorageAt", ["0x1"], ["0x1"]),
        ("eth_gasPrice", [], []),
    ],
)
def test_a_call_is_pinned_to_a_block(method: str, params: Any, pinned: Any) -> None:
    assert list(checked("ethereum", method, params).at(100).params) == pinned
