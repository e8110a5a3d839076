"""Great transfers on simulated chains: those that a slow look at each block finds, each once."""

from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest

from providers.assets import load
from providers.attempts import Alert
from providers.chain import Chains
from providers.errors import NoAnswer
from providers.questions import Question
from providers.records import WhaleTransfer
from providers.whales.evm_blocks import TRANSFER
from providers.whales.scanning import Cursor
from tests.fixtures.signals import until
from tests.fixtures.simulator import Simulator

PATHS = {"ethereum": "/eth.drpc.org/", "base": "/base.drpc.org/", "bsc": "/bsc.drpc.org/"}
MILLION = 1_000_000


def told(simulated: Simulator, chain: str, method: str, *params: Any) -> Any:
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return simulated.post(PATHS[chain], call)["result"]


def slowly(simulated: Simulator, chain: str, block: int) -> list[tuple[str, int, str, int]]:
    """All transfers of known tokens and of ether in a block: hash, index, asset, amount."""
    found = []
    whole = told(simulated, chain, "eth_getBlockByNumber", hex(block), True)
    for sent in whole["transactions"]:
        if chain == "ethereum" and int(sent["value"], 16):
            found.append((sent["hash"], -1, "eth", int(sent["value"], 16)))
        receipt = told(simulated, chain, "eth_getTransactionReceipt", sent["hash"])
        for log in receipt["logs"]:
            known = load().by_token(chain, log["address"])
            if known is not None and log["topics"][0] == TRANSFER:
                index = int(log["logIndex"], 16)
                found.append((log["transactionHash"], index, known[0].id, int(log["data"], 16)))
    return found


def summed(transfers: tuple[WhaleTransfer, ...]) -> set[tuple[str, int, str, int]]:
    return {(each.tx_hash, each.index, each.asset, each.amount_raw) for each in transfers}


@pytest.mark.parametrize("chain", ["ethereum", "base"])
async def test_what_is_found_is_what_each_block_has(
    chains: Chains, simulated: Simulator, chain: str
) -> None:
    scan = await chains.whales.scan(chain, None, within_s=20, min_usd=20_000)
    assert scan.cursor is not None
    last = scan.cursor.block
    first = last - (24 if chain == "ethereum" else 149)
    every = {entry for block in range(first, last + 1) for entry in slowly(simulated, chain, block)}
    found = summed(scan.transfers)
    assert found <= every
    assert len(found) == len(scan.transfers) > 3
    prices: dict[str, Decimal] = {}
    for transfer in scan.transfers:
        assert transfer.value_usd is not None
        assert transfer.value_usd >= 20_000
        amount = Decimal(transfer.amount_raw).scaleb(-transfer.decimals)
        prices[transfer.asset] = transfer.value_usd / amount
    decimals = {transfer.asset: transfer.decimals for transfer in scan.transfers}
    for tx_hash, index, asset, raw in every - found:
        if asset in prices:
            value = Decimal(raw).scaleb(-decimals[asset]) * prices[asset]
            assert value < 20_001, (tx_hash, index)


@pytest.mark.parametrize("chain", ["bsc", "base"])
async def test_transfers_of_the_coin_are_those_of_whole_blocks(
    chains: Chains, simulated: Simulator, chain: str
) -> None:
    now = await chains.whales.scan(chain, None, within_s=20, min_usd=20_000)
    assert now.cursor is not None
    begin = Cursor(now.cursor.block - 40)
    simulated.delete("/sim/providers/requests")
    scan = await chains.whales.scan(chain, begin, within_s=20, min_usd=20_000, coins=True)
    assert simulated.get("/sim/providers/requests")["total"] <= 120
    assert (scan.coin_left, scan.skipped) == (0, 0)
    assert scan.cursor is not None
    truth = simulated.get(
        "/sim/providers/truth/whales",
        chain=chain, first=begin.block + 1, last=scan.cursor.block, min_usd=1,
    )["transfers"]  # fmt: skip
    coins = {each["tx_hash"]: each for each in truth if each["contract"] is None}
    found = {each.tx_hash: each for each in scan.transfers if each.contract is None}
    assert len(found) > 3
    for tx_hash, transfer in found.items():
        told = coins[tx_hash]
        assert (transfer.amount_raw, transfer.block) == (int(told["amount_raw"]), told["block"])
        assert (transfer.senders[0].lower(), transfer.receivers[0].lower()) == (
            told["from"].lower(),
            told["to"].lower(),
        )
        assert transfer.value_usd is not None
        assert abs(float(transfer.value_usd) / told["usd"] - 1) < 0.02
    assert {each for each, told in coins.items() if told["usd"] > 20_400} <= set(found)
    places = [(each.tx_hash, each.index) for each in scan.transfers]
    assert len(set(places)) == len(places)
    window = await chains.whales.known(chain, 20_000)
    assert window is not None
    assert set(found) <= {each.tx_hash for each in window.transfers}


async def test_a_scan_goes_on_where_the_last_one_ended(chains: Chains) -> None:
    whole = await chains.whales.scan("base", None, within_s=20)
    assert whole.cursor is not None
    begin = Cursor(whole.cursor.block - 140)
    again = await chains.whales.scan("base", begin, within_s=20)
    assert again.cursor is not None
    mine = {each for each in summed(again.transfers)}
    assert {e for e in summed(whole.transfers)} >= {
        (each.tx_hash, each.index, each.asset, each.amount_raw)
        for each in again.transfers
        if each.block is not None and each.block <= whole.cursor.block
    }
    assert mine >= {
        (each.tx_hash, each.index, each.asset, each.amount_raw)
        for each in whole.transfers
        if each.block is not None and each.block > begin.block
    }
    after = await chains.whales.scan("base", again.cursor, within_s=20)
    assert not summed(after.transfers) & mine


async def test_blocks_that_are_too_old_are_left_out_and_counted(chains: Chains) -> None:
    now = await chains.whales.scan("base", None, within_s=20)
    assert now.cursor is not None
    scan = await chains.whales.scan("base", Cursor(now.cursor.block - 5_000), within_s=20)
    assert scan.cursor is not None
    assert scan.skipped >= 4_000
    assert scan.cursor.block >= now.cursor.block


async def test_blocks_before_one_that_was_taken_back_are_read_again(chains: Chains) -> None:
    now = await chains.whales.scan("base", None, within_s=20, min_usd=20_000)
    assert now.cursor is not None
    taken_back = Cursor(now.cursor.block, "0x" + "0" * 64)
    scan = await chains.whales.scan("base", taken_back, within_s=20, min_usd=20_000)
    standing = await chains.whales.scan("base", now.cursor, within_s=20, min_usd=20_000)
    late = {each for each in now.transfers if each.block and each.block > now.cursor.block - 30}
    assert late
    assert summed(tuple(late)) <= summed(scan.transfers)
    assert not summed(tuple(late)) & summed(standing.transfers)


async def test_nodes_without_logs_cost_their_chain_no_pause(
    chains: Chains, simulated: Simulator
) -> None:
    scan = await chains.whales.scan("bsc", None, within_s=20)
    assert scan.cursor is not None
    rows = [each for each in chains.registry.resources if each.provider.id == "bnbchain"]
    for member in await chains.client.look(rows):
        assert member.out_until_ms == 0


def whales_of(chain: str) -> Question:
    return Question("whales.evm", (chain,), (("min_usd", "1000000"),))


async def test_nodes_that_are_slow_are_not_dead_and_reading_goes_on_after_the_answer(
    chains: Chains, simulated: Simulator, alerts: list[Alert]
) -> None:
    hosts = {urlsplit(each.url).hostname or "" for each in chains.registry.chain("rpc.base")}
    slow = [{"host": host, "class": "slow", "seconds_each": 1} for host in hosts if host]
    simulated.post("/sim/providers/faults", slow)
    with pytest.raises(NoAnswer) as caught:
        await chains.ask(whales_of("base"), 3.0)
    (own,) = [each for each in caught.value.tried if each.resource == "whales.evm/own"]
    assert own.skipped == "no_time"
    assert "too slow for" in own.message
    assert alerts == []

    async def is_read() -> bool:
        return await chains.whales.known("base", MILLION) is not None

    await until(is_read)
    window = await chains.whales.known("base", MILLION)
    assert window is not None
    every = simulated.get(
        "/sim/providers/truth/whales",
        chain="base", first=window.first, last=window.cursor.block, min_usd=1_001_000,
    )["transfers"]  # fmt: skip
    found = {each.tx_hash for each in window.transfers}
    assert {each["tx_hash"] for each in every if each["contract"]} <= found
    simulated.delete("/sim/providers/faults")
    scan = await chains.whales.scan("base", None, within_s=20)
    assert scan.first == window.cursor.block + 1  # nothing is read twice
    assert found <= {each.tx_hash for each in scan.transfers}


async def test_nodes_that_are_dead_are_told(
    chains: Chains, simulated: Simulator, alerts: list[Alert]
) -> None:
    hosts = {urlsplit(each.url).hostname or "" for each in chains.registry.chain("rpc.base")}
    dead = [{"host": host, "class": "status", "status": 503} for host in hosts if host]
    simulated.post("/sim/providers/faults", dead)

    async def is_told() -> bool:
        with pytest.raises(NoAnswer):
            await chains.ask(whales_of("base"), 3.0)
        return [each.kind for each in alerts] == ["no_living_member"]

    await until(is_told)


def bitcoin_slowly(simulated: Simulator, hash_: str, least: int) -> set[tuple[str, int, int]]:
    """Outputs of a block that do not go back to who spends: hash, index, amount."""
    found = set()
    for start in range(0, len(simulated.get(f"/mempool.space/api/block/{hash_}/txids")), 25):
        for sent in simulated.get(f"/mempool.space/api/block/{hash_}/txs/{start}"):
            owners = [put["prevout"]["scriptpubkey"] for put in sent["vin"] if put["prevout"]]
            for index, output in enumerate(sent["vout"]):
                if owners and output["scriptpubkey"] not in owners and output["value"] >= least:
                    found.add((sent["txid"], index, output["value"]))
    return found


@pytest.mark.parametrize("down", ["nobody.example", "blockchain.info", "mempool.space"])
async def test_what_is_found_on_bitcoin_is_what_its_blocks_have_whoever_is_down(
    chains: Chains, simulated: Simulator, down: str
) -> None:
    simulated.post("/sim/providers/faults", {"host": down, "class": "transient", "path": "/"})
    scan = await chains.whales.scan("bitcoin", None, within_s=20, min_usd=50_000)
    simulated.delete("/sim/providers/faults")
    assert scan.cursor is not None
    assert scan.cursor.block_hash is not None
    (price,) = {each.value_usd / each.amount_raw for each in scan.transfers[:1] if each.value_usd}
    least = int(50_000 / price) + 1
    found = {(each.tx_hash, each.index, each.amount_raw) for each in scan.transfers}
    assert len(found) == len(scan.transfers) > 3
    assert {each.block for each in scan.transfers} == {scan.cursor.block}
    every = bitcoin_slowly(simulated, scan.cursor.block_hash, least - 1_000)
    assert {entry for entry in every if entry[2] >= least + 1_000} <= found <= every


async def test_what_is_found_on_tron_is_what_its_blocks_have(
    chains: Chains, simulated: Simulator
) -> None:
    scan = await chains.whales.scan("tron", None, within_s=20, min_usd=50_000)
    assert scan.cursor is not None
    price = {each.value_usd / each.amount_raw for each in scan.transfers if each.value_usd}
    least = int(50_000 / max(price))
    every = set()
    for block in range(scan.cursor.block - 99, scan.cursor.block + 1):
        path = "/tron-rpc.publicnode.com/wallet/gettransactioninfobyblocknum"
        for info in simulated.post(path, {"num": block}):
            value = int(info["log"][0]["data"], 16)
            if value >= least - 1_000:
                every.add((info["id"], value))
    found = {(each.tx_hash, each.amount_raw) for each in scan.transfers}
    assert len(found) == len(scan.transfers) > 3
    assert {entry for entry in every if entry[1] >= least + 1_000} <= found <= every
    for transfer in scan.transfers:
        assert all(each.startswith("T") for each in (*transfer.senders, *transfer.receivers))
    after = await chains.whales.scan("tron", scan.cursor, within_s=20, min_usd=50_000)
    assert not {(each.tx_hash, each.amount_raw) for each in after.transfers} & found


async def test_a_source_that_is_turned_off_is_not_asked(
    chains: Chains, simulated: Simulator
) -> None:
    await chains.client.gate.switch("whales.tron/trongrid", False)
    with pytest.raises(NoAnswer, match="nobody may be asked"):
        await chains.whales.scan("tron", None, within_s=20)
    await chains.client.gate.switch("whales.tron/trongrid", None)
