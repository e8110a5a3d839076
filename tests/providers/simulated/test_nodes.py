"""Gas, statistics, balances and JSON-RPC of simulated nodes, over the rows of the registry."""

import json
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from providers.chain import Chains
from providers.questions import Question
from providers.records import Balance, ChainStats, GasPrice
from providers.rpc.serving import serve
from tests.fixtures.signals import until
from tests.fixtures.simulator import Simulator

ADDRESS = "0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe"
NODES_OF_BSC = (
    "/bsc-dataseed.bnbchain.org/",
    "/bsc-dataseed1.defibit.io/",
    "/bsc-dataseed1.ninicoin.io/",
)


def told(simulated: Simulator, path: str, method: str, *params: Any) -> Any:
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return simulated.post(path, call)["result"]


async def until_at(simulated: Simulator, path: str, block: int) -> None:
    async def is_there() -> bool:
        return int(told(simulated, path, "eth_blockNumber"), 16) >= block

    await until(is_there)


async def test_gas_of_each_chain_is_its_nodes(chains: Chains, simulated: Simulator) -> None:
    names = ("bsc", "polygon", "arbitrum", "base")
    answer = await chains.ask(Question("gas.evm", names), 3.0)
    gas = {record.chain: record for record in answer.records if isinstance(record, GasPrice)}
    assert set(gas) == set(names)
    path = "/polygon-bor-rpc.publicnode.com/"
    block = gas["polygon"].block
    assert block is not None
    await until_at(simulated, path, block)  # another node may have been ahead
    history = told(simulated, path, "eth_feeHistory", "0x5", hex(block), [10, 50, 90])
    assert gas["polygon"].base_fee_wei == int(history["baseFeePerGas"][-1], 16)
    assert gas["bsc"].base_fee_wei == 0
    assert gas["base"].chain_id == 8453


async def test_a_node_that_lags_or_is_of_another_chain_tells_nothing(
    chains: Chains, simulated: Simulator
) -> None:
    lagging = {"host": "bsc-dataseed.bnbchain.org", "class": "lagging", "blocks": 40}
    stranger = {"host": "bsc-dataseed1.defibit.io", "class": "wrong_chain"}
    simulated.post("/sim/providers/faults", [lagging, stranger])
    head = int(told(simulated, NODES_OF_BSC[2], "eth_blockNumber"), 16)
    answer = await chains.ask(Question("stats.evm", ("bsc",)), 3.0)
    (stats,) = answer.records
    assert isinstance(stats, ChainStats)
    assert stats.height is not None
    assert stats.height >= head - 15
    assert stats.provider not in ("bnbchain", "defibit")
    assert stats.stale_since_ms is None


async def test_a_lagging_node_tells_nothing_while_those_that_were_compared_die(
    chains: Chains, simulated: Simulator
) -> None:
    rows = [urlsplit(each.url).hostname or "" for each in chains.registry.chain("rpc.bsc")]
    living, lagging = "bsc.drpc.org", ["bsc-rpc.publicnode.com", "rpc-bsc.48.club"]
    simulated.post(
        "/sim/providers/faults",
        [{"host": host, "class": "lagging", "blocks": 45} for host in lagging],
    )
    await chains.nodes.read("bsc", "eth_blockNumber", (), within_s=3.0)  # compares the best three
    dead = [host for host in rows if host and host not in (living, *lagging)]
    simulated.post("/sim/providers/faults", [{"host": host, "class": "transient"} for host in dead])
    for _ in range(4):  # within the limits of the one that lives
        head = int(told(simulated, f"/{living}/", "eth_blockNumber"), 16)
        answer = await chains.nodes.read("bsc", "eth_blockNumber", (), within_s=3.0)
        assert int(answer.result, 16) >= head - 1
        assert answer.resource == f"rpc.bsc/{living}"


async def test_a_balance_is_what_nodes_agree_about_at_a_block_that_stands(
    chains: Chains, simulated: Simulator
) -> None:
    truth = int(told(simulated, NODES_OF_BSC[0], "eth_getBalance", ADDRESS, "latest"), 16)
    head = int(told(simulated, NODES_OF_BSC[0], "eth_blockNumber"), 16)
    liar = {"host": "bsc-dataseed1.ninicoin.io", "class": "wrong_value", "factor": 2}
    simulated.post("/sim/providers/faults", liar)
    for _ in range(4):
        answer = await chains.ask(Question("balance.bsc", (ADDRESS,)), 3.0)
        (balance,) = answer.records
        assert isinstance(balance, Balance)
        assert (balance.raw, balance.address, balance.decimals) == (truth, ADDRESS, 18)
        assert balance.block is not None
        assert balance.block <= head


async def test_a_batch_is_read_at_one_block(chains: Chains, simulated: Simulator) -> None:
    head = int(told(simulated, "/eth.drpc.org/", "eth_blockNumber"), 16)
    calls = [
        {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []},
        {"jsonrpc": "2.0", "id": 2, "method": "eth_getBlockByNumber", "params": ["latest", False]},
        {"jsonrpc": "2.0", "id": 3, "method": "eth_sendRawTransaction", "params": ["0x00"]},
    ]
    reply = await serve(chains.nodes, "ethereum", json.dumps(calls).encode())
    number, block, refused = json.loads(reply.body)
    assert int(number["result"], 16) >= head - 2  # nodes differ by a block
    assert block["result"]["number"] == number["result"]
    assert refused["error"]["code"] == -32601


FAULTS = (
    {"class": "transient"},
    {"class": "reset"},
    {"class": "hang", "seconds_each": 30},
    {"class": "slow", "seconds_each": 10},
    {"class": "rate_limited"},
    {"class": "html"},
    {"class": "truncated"},
    {"class": "empty"},
    {"class": "wrong_chain"},
    {"class": "lagging", "blocks": 500},
)


@pytest.mark.parametrize("fault", FAULTS, ids=[str(fault["class"]) for fault in FAULTS])
@pytest.mark.parametrize("living", ["rpc-bsc.48.club", "bsc-dataseed1.ninicoin.io"])
async def test_one_living_node_answers_within_the_deadline(
    chains: Chains, simulated: Simulator, fault: dict[str, Any], living: str
) -> None:
    hosts = {urlsplit(each.url).hostname for each in chains.registry.chain("rpc.bsc")} - {living}
    head = int(told(simulated, f"/{living}/", "eth_blockNumber"), 16)
    simulated.post("/sim/providers/faults", [{"host": host, **fault} for host in hosts if host])
    for chain, subject in (("gas.evm", "bsc"), ("balance.bsc", ADDRESS)):
        began = time.monotonic()
        answer = await chains.ask(Question(chain, (subject,)), 3.0)
        assert time.monotonic() - began < 3.2
        (record,) = answer.records
        block = record.block if isinstance(record, GasPrice | Balance) else None
        assert block is not None
        assert block >= head - 100


async def test_a_node_that_blames_the_caller_for_a_call_of_ours_is_followed_by_the_next(
    chains: Chains, simulated: Simulator
) -> None:
    """Who asks for fees gives nothing but a chain's name: that cannot be wrong in a node's eyes."""
    others = {urlsplit(each.url).hostname for each in chains.registry.chain("rpc.bsc")}
    rules = [{"host": each, "class": "caller_fault"} for each in others - {"bsc.drpc.org"}]
    simulated.post("/sim/providers/faults", rules)
    answer = await chains.ask(Question("gas.evm", ("bsc",)), 5.0)
    assert [record.provider for record in answer.records] == ["drpc"]
