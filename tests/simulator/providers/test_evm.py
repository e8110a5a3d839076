"""Simulated EVM chains: nodes agree with themselves, with each other and with the explorers."""

from typing import Any

import pytest

from simulator.providers.chains import CHAINS, NODES
from tests.fixtures.simulator import Simulator
from tests.simulator.providers.asking import answer, call, fine, result

_NODE = "/eth.drpc.org"
_ADDRESS = "0xd8da6bf26964af9d7eed9e03e53415d37aa96045"
_USDT = "0xdac17f958d2ee523a2206206994597c13d831ec7"
_TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
_EXPLORERS = (
    "/api.etherscan.io/v2/api?chainid=1&apikey=k&",
    "/api.blockscout.com/1/api?apikey=k&",
    "/api.routescan.io/v2/network/mainnet/evm/1/etherscan/api?apikey=placeholder&",
)


def _block(simulator: Simulator, tag: str, *, full: bool = False) -> Any:
    return result(simulator, _NODE, "eth_getBlockByNumber", tag, full)


def test_every_node_is_of_its_chain_and_near_its_head(world: Simulator) -> None:
    for chain_id, nodes in NODES.items():
        true = CHAINS[chain_id].height_at(world.get("/sim/clock")["now_ms"])
        for node in nodes.split():
            assert result(world, f"/{node}", "eth_chainId") == hex(chain_id), node
            assert true - 1 <= int(result(world, f"/{node}", "eth_blockNumber"), 16) <= true


@pytest.mark.parametrize(
    ("node", "chain_id"),
    [
        ("/mainnet.infura.io/v3/k", 1),
        ("/bnb-mainnet.g.alchemy.com/v2/k", 56),
        ("/rpc.ankr.com/polygon/k", 137),
        ("/opt-mainnet.nodereal.io/v1/k", 10),
        ("/go.getblock.io/token-of-arbitrum", 42161),
    ],
)
def test_nodes_with_a_key_in_the_path(world: Simulator, node: str, chain_id: int) -> None:
    assert result(world, node, "eth_chainId") == hex(chain_id)


def test_without_a_key_ankr_refuses_with_200(world: Simulator) -> None:
    status, told = answer(world, "/rpc.ankr.com/eth", {"method": "eth_chainId", "id": 1})
    assert (status, told["error"]["code"]) == (200, -32000)


def test_blocks_are_a_chain(world: Simulator) -> None:
    newest = _block(world, "latest")
    before = result(world, _NODE, "eth_getBlockByHash", newest["parentHash"], False)
    assert int(before["number"], 16) == int(newest["number"], 16) - 1
    assert int(newest["timestamp"], 16) - int(before["timestamp"], 16) == 12
    assert before == _block(world, before["number"])
    assert _block(world, hex(int(newest["number"], 16) + 5)) is None
    numbers = [int(_block(world, tag)["number"], 16) for tag in ("finalized", "safe", "latest")]
    assert numbers == sorted(set(numbers))


def test_logs_are_those_of_the_blocks(world: Simulator) -> None:
    head = int(result(world, _NODE, "eth_blockNumber"), 16)
    asked = {"fromBlock": hex(head - 50), "toBlock": hex(head), "topics": [_TRANSFER]}
    logs = result(world, _NODE, "eth_getLogs", {**asked, "address": [f"0x{_USDT[2:].upper()}"]})
    assert logs
    for log in logs:
        assert log["address"] == _USDT
        block = _block(world, log["blockNumber"], full=True)
        sent = block["transactions"][int(log["transactionIndex"], 16)]
        assert (sent["hash"], sent["to"], block["hash"]) == (
            log["transactionHash"], _USDT, log["blockHash"],
        )  # fmt: skip
        receipt = result(world, _NODE, "eth_getTransactionReceipt", sent["hash"])
        assert receipt["logs"] == [log]
    receiver = logs[0]["topics"][2]
    theirs = result(world, _NODE, "eth_getLogs", {**asked, "topics": [None, None, receiver]})
    assert logs[0] in theirs
    assert all(log["topics"][2] == receiver for log in theirs)


def test_whales_are_told_as_they_are_on_the_chain(world: Simulator) -> None:
    head = int(result(world, _NODE, "eth_blockNumber"), 16)
    told = world.get("/sim/providers/truth/whales", chain="ethereum", first=head - 200, last=head)
    assert len(told["transfers"]) > 5
    for whale in told["transfers"]:
        assert whale["usd"] >= 1_000_000
        block = _block(world, hex(whale["block"]), full=True)
        sent = block["transactions"][whale["index"]]
        assert sent["hash"] == whale["tx_hash"]
        if whale["contract"] is None:
            assert (str(int(sent["value"], 16)), sent["to"]) == (whale["amount_raw"], whale["to"])


def test_fees(world: Simulator) -> None:
    history = result(world, _NODE, "eth_feeHistory", "0x5", "latest", [10, 50, 90])
    assert len(history["baseFeePerGas"]) == 6
    assert len(history["gasUsedRatio"]) == len(history["reward"]) == 5
    slow, usual, fast = (int(text, 16) for text in history["reward"][-1])
    assert 0 < slow < usual < fast
    assert int(_block(world, "latest")["baseFeePerGas"], 16) == int(
        history["baseFeePerGas"][-2], 16
    )
    bsc = result(world, "/bsc.drpc.org", "eth_feeHistory", "0x2", "latest", [50])
    assert set(bsc["baseFeePerGas"]) == {"0x0"}
    oracle = fine(world, _EXPLORERS[0] + "module=gastracker&action=gasoracle")["result"]
    number = hex(int(oracle["LastBlock"]))  # some nodes are late
    blocks = [
        result(world, f"/{node}", "eth_getBlockByNumber", number, False)
        for node in NODES[1].split()
    ]
    base = int(next(block["baseFeePerGas"] for block in blocks if block), 16)
    assert float(oracle["suggestBaseFee"]) == pytest.approx(base / 1e9)
    cypher = fine(world, "/api.blockcypher.com/v1/eth/main")
    assert cypher["base_fee"] + cypher["low_priority_fee"] == cypher["low_gas_price"]


def test_all_tell_the_same_balance(world: Simulator) -> None:
    true = world.get("/sim/providers/truth/chain", chain="ethereum", address=_ADDRESS)["balance"]
    assert int(result(world, _NODE, "eth_getBalance", _ADDRESS, "latest"), 16) == int(true)
    path = f"module=account&action=balance&address={_ADDRESS}&tag=latest"
    for explorer in _EXPLORERS:
        assert fine(world, explorer + path) == {"status": "1", "message": "OK", "result": true}
    plorer = fine(world, f"/api.ethplorer.io/getAddressInfo/{_ADDRESS}?apiKey=freekey")
    assert plorer["ETH"]["rawBalance"] == true
    chair = fine(world, f"/api.blockchair.com/ethereum/dashboards/address/{_ADDRESS}?key=k")
    assert chair["data"][_ADDRESS]["address"]["balance"] == true
    cypher = fine(world, f"/api.blockcypher.com/v1/eth/main/addrs/{_ADDRESS}/balance")
    assert cypher["balance"] == int(true)
    ankr = {"id": 1, "method": "ankr_getAccountBalance",
            "params": {"blockchain": ["eth"], "walletAddress": _ADDRESS}}  # fmt: skip
    assets = fine(world, "/rpc.ankr.com/multichain/k", ankr)["result"]["assets"]
    assert assets[0]["balanceRawInteger"] == true


def test_tokens(world: Simulator) -> None:
    data = f"0x70a08231{_ADDRESS[2:]:0>64}"
    held = int(result(world, _NODE, "eth_call", {"to": _USDT, "data": data}, "latest"), 16)
    path = f"module=account&action=tokenbalance&contractaddress={_USDT}&address={_ADDRESS}"
    assert fine(world, _EXPLORERS[0] + path)["result"] == str(held)
    decimals = {"to": _USDT, "data": "0x313ce567"}
    assert int(result(world, _NODE, "eth_call", decimals, "latest"), 16) == 6
    assert call(world, _NODE, "eth_call", {"to": _USDT, "data": "0xdead"}, "latest")["error"][
        "code"
    ] == 3  # fmt: skip
    sent = fine(
        world, f"{_EXPLORERS[0]}module=account&action=tokentx&contractaddress={_USDT}&sort=desc"
    )["result"]
    numbers = [int(row["blockNumber"]) for row in sent]
    assert numbers == sorted(numbers, reverse=True)
    assert {row["contractAddress"] for row in sent} == {_USDT}


def test_habits_of_nodes(world: Simulator) -> None:
    old = {"fromBlock": "0x1", "toBlock": "0x1000"}
    assert call(world, "/public.1rpc.io/eth", "eth_getLogs", old)["error"] == {
        "code": -32000, "message": "eth_getLogs is limited to a 1000 blocks range",
    }  # fmt: skip
    bsc = call(world, "/bsc-dataseed.bnbchain.org", "eth_getLogs", {"fromBlock": "latest"})
    assert bsc["error"]["code"] == -32005
    past = [_ADDRESS, "0x15402"]
    pruned = call(world, "/ethereum-rpc.publicnode.com", "eth_getBalance", *past)["error"]
    assert pruned["message"].startswith("missing trie node ")
    assert call(world, "/rpc.flashbots.net", "eth_getBalance", *past)["error"]["code"] == -32002
    optimism = call(world, "/mainnet.optimism.io", "eth_getBalance", *past)["error"]
    assert optimism["code"] == -32801
    assert "result" in call(world, _NODE, "eth_getBalance", *past)
    assert call(world, "/cloudflare-eth.com", "eth_call", {"to": _USDT})["error"]["code"] == -32603


def test_batches(world: Simulator) -> None:
    calls: list[dict[str, object]] = [
        {"jsonrpc": "2.0", "id": n, "method": "eth_chainId", "params": []} for n in (3, 4)
    ]
    assert [each["id"] for each in fine(world, _NODE, calls)] == [3, 4]
    assert fine(world, "/eth.meowrpc.com", calls)["error"]["code"] == -32600


def test_wrong_calls(world: Simulator) -> None:
    assert call(world, _NODE, "eth_nothing")["error"]["code"] == -32601
    assert call(world, _NODE, "eth_getBalance", "0x12", "latest")["error"]["code"] == -32602
    assert call(world, _NODE, "eth_getBlockByNumber")["error"]["code"] == -32602
    assert call(world, _NODE, "eth_getBlockByNumber", "12", True)["error"]["code"] == -32602
    assert answer(world, _NODE, "text")[1]["error"]["code"] == -32600


def test_explorers_tell_errors_with_200(world: Simulator) -> None:
    path = f"module=account&action=balance&address={_ADDRESS}"
    missing = fine(world, f"/api.etherscan.io/v2/api?chainid=1&{path}")
    assert (missing["status"], missing["result"]) == ("0", "Missing/Invalid API Key")
    paid = fine(world, f"/api.etherscan.io/v2/api?chainid=56&apikey=k&{path}")
    assert paid["result"].startswith("Free API access is not supported for this chain")
    none = fine(world, f"{_EXPLORERS[0]}module=account&action=txlist&address={_ADDRESS}")
    assert none == {"status": "0", "message": "No transactions found", "result": []}
    proxied = fine(world, f"{_EXPLORERS[0]}module=proxy&action=eth_blockNumber")
    assert proxied["id"] == 83
    assert "status" not in proxied
    body = {"jsonrpc": "2.0", "id": 0, "method": "eth_call", "params": [{}, "latest"]}
    as_text = fine(world, "/api.blockscout.com/1/json-rpc?apikey=k", body)
    assert as_text["error"] == "Missed `to` address"
