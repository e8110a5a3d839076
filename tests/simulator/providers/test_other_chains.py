"""Simulated Bitcoin, Tron and Solana: explorers and nodes agree with each other."""

import pytest

from tests.fixtures.simulator import Simulator
from tests.simulator.providers.asking import answer, call, fine, result

_BITCOIN = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
_TRON = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"
_TRON_HEX = "41a614f803b6fd780986a42c78ec9c7f77e6ded13c"
_SOLANA = "/api.mainnet-beta.solana.com"


def test_all_tell_the_same_balance_of_bitcoin(world: Simulator) -> None:
    true = int(
        world.get("/sim/providers/truth/chain", chain="bitcoin", address=_BITCOIN)["balance"]
    )
    assert true
    for host in ("mempool.space", "blockstream.info"):
        stats = fine(world, f"/{host}/api/address/{_BITCOIN}")["chain_stats"]
        assert stats["funded_txo_sum"] - stats["spent_txo_sum"] == true
        assert answer(world, f"/{host}/api/address/nobody") == (400, "Invalid Bitcoin address")
    several = fine(world, f"/blockchain.info/multiaddr?active={_BITCOIN}%7C{_BITCOIN}")
    assert [entry["final_balance"] for entry in several["addresses"]] == [true, true]
    cypher = fine(world, f"/api.blockcypher.com/v1/btc/main/addrs/{_BITCOIN}/balance")
    assert cypher["final_balance"] == true
    chair = fine(world, f"/api.blockchair.com/bitcoin/dashboards/address/{_BITCOIN}?key=k")
    assert chair["data"][_BITCOIN]["address"]["balance"] == true


def test_blocks_of_bitcoin_are_a_chain(world: Simulator) -> None:
    for host in ("mempool.space", "blockstream.info"):
        height = fine(world, f"/{host}/api/blocks/tip/height")
        hashed = answer(world, f"/{host}/api/block-height/{height}")[1]
        assert answer(world, f"/{host}/api/blocks/tip/hash")[1] == hashed
        blocks = fine(world, f"/{host}/api/blocks")
        assert [block["height"] for block in blocks] == list(range(height, height - 10, -1))
        assert blocks[0] == fine(world, f"/{host}/api/block/{hashed}")
        assert [b["previousblockhash"] for b in blocks[:-1]] == [b["id"] for b in blocks[1:]]
        assert blocks[0]["timestamp"] * 1000 <= world.get("/sim/clock")["now_ms"]
        assert answer(world, f"/{host}/api/block-height/{height + 1}")[0] == 404
    assert fine(world, "/blockchain.info/latestblock")["hash"] == hashed


def test_transactions_of_bitcoin_by_page(world: Simulator) -> None:
    base = "/mempool.space/api"
    hashed = answer(world, f"{base}/blocks/tip/hash")[1]
    count = fine(world, f"{base}/block/{hashed}")["tx_count"]
    pages = [fine(world, f"{base}/block/{hashed}/txs/{start}") for start in range(0, count, 25)]
    sent = [each for page in pages for each in page]
    assert [each["txid"] for each in sent] == fine(world, f"{base}/block/{hashed}/txids")
    assert answer(world, f"{base}/block/{hashed}/txs/{(count // 25 + 1) * 25}")[0] == 400
    assert sent[0]["vin"][0]["is_coinbase"]
    for each in sent[1:]:
        inputs = sum(spent["prevout"]["value"] for spent in each["vin"])
        assert inputs - sum(paid["value"] for paid in each["vout"]) == each["fee"] > 0
    assert fine(world, f"{base}/tx/{sent[3]['txid']}") == sent[3]
    raw = fine(world, f"/blockchain.info/rawblock/{hashed}")
    assert [each["hash"] for each in raw["tx"]] == [each["txid"] for each in sent]


def test_whales_of_bitcoin_are_outputs_without_change(world: Simulator) -> None:
    height = fine(world, "/mempool.space/api/blocks/tip/height")
    told = world.get(
        "/sim/providers/truth/whales", chain="bitcoin", first=height - 20, last=height
    )["transfers"]
    assert len(told) > 5
    for whale in told[:5]:
        sent = fine(world, f"/blockstream.info/api/tx/{whale['tx_hash']}")
        paid = sent["vout"][whale["index"]]
        assert (str(paid["value"]), paid["scriptpubkey_address"]) == (
            whale["amount_raw"], whale["to"],
        )  # fmt: skip
        assert paid["scriptpubkey"] != sent["vin"][0]["prevout"]["scriptpubkey"]
        assert len(sent["vout"]) == 2


def test_fees_of_bitcoin(world: Simulator) -> None:
    precise = fine(world, "/mempool.space/api/v1/fees/precise")
    told = fine(world, "/mempool.space/api/v1/fees/recommended")
    assert told == {name: max(1, round(fee)) for name, fee in precise.items()}
    estimates = fine(world, "/blockstream.info/api/fee-estimates")
    assert estimates["1"] == precise["fastestFee"] > estimates["144"]
    cypher = fine(world, "/api.blockcypher.com/v1/btc/main")
    assert cypher["high_fee_per_kb"] == pytest.approx(precise["fastestFee"] * 1000, abs=1)


def test_all_tell_the_same_balance_of_tron(world: Simulator) -> None:
    true = int(world.get("/sim/providers/truth/chain", chain="tron", address=_TRON)["balance"])
    for node in ("/api.trongrid.io", "/tron-rpc.publicnode.com", "/go.getblock.io/k"):
        for body, shown in (
            ({"address": _TRON, "visible": True}, _TRON),
            ({"address": _TRON_HEX}, _TRON_HEX),
        ):
            told = fine(world, f"{node}/wallet/getaccount", body)
            assert (told["balance"], told["address"]) == (true, shown)
    grid = fine(world, f"/api.trongrid.io/v1/accounts/{_TRON}")
    assert grid["data"][0]["balance"] == true
    as_evm = f"0x{_TRON_HEX[2:]}"
    for node in ("/tron.drpc.org", "/api.trongrid.io/jsonrpc"):
        assert int(result(world, node, "eth_getBalance", as_evm, "latest"), 16) == true
    scan = f"/apilist.tronscanapi.com/api/accountv2?address={_TRON}"
    assert fine(world, scan, **{"TRON-PRO-API-KEY": "k"})["balance"] == true
    assert answer(world, scan)[0] == 401


def test_wrong_addresses_of_tron_are_told_with_200(world: Simulator) -> None:
    path = "/api.trongrid.io/wallet/getaccount"
    for body in (
        {"address": _TRON_HEX, "visible": True},
        {"address": _TRON},
        {"address": _TRON.lower(), "visible": True},
    ):
        assert fine(world, path, body).keys() == {"Error"}


def test_transfers_of_tron(world: Simulator) -> None:
    base = "/api.trongrid.io"
    newest = fine(world, f"{base}/wallet/getnowblock", {})["block_header"]["raw_data"]["number"]
    solid = fine(world, f"{base}/walletsolidity/getnowblock", {})
    assert solid["block_header"]["raw_data"]["number"] == newest - 19
    assert fine(world, f"{base}/wallet/getblockbynum", {"num": newest + 1}) == {}
    told = world.get("/sim/providers/truth/whales", chain="tron", first=newest - 300, last=newest)[
        "transfers"
    ]
    usdt = [whale for whale in told if whale["asset"] == "USDT"]
    assert usdt
    assert len(usdt) < len(told)
    for whale in usdt:
        number = whale["block"]
        events = fine(world, f"{base}/v1/contracts/{_TRON}/events?block_number={number}")["data"]
        assert (whale["tx_hash"], whale["amount_raw"]) in [
            (event["transaction_id"], event["result"]["value"]) for event in events
        ]
        infos = fine(world, f"{base}/wallet/gettransactioninfobyblocknum", {"num": number})
        amounts = [int(info["log"][0]["data"], 16) for info in infos]
        assert int(whale["amount_raw"]) in amounts
        block = fine(world, f"{base}/wallet/getblockbynum", {"num": number})
        assert whale["tx_hash"] in [sent["txID"] for sent in block["transactions"]]


def test_solana(world: Simulator) -> None:
    address = "7T8ckKtdc5DH7ACS5AnCny7rVXYJPEsaAbdBri1FhPxY"
    true = world.get("/sim/providers/truth/chain", chain="solana", address=address)
    newest = result(world, _SOLANA, "getSlot", {"commitment": "processed"})
    assert newest == true["height"]
    assert result(world, _SOLANA, "getSlot") == newest - 32
    for node in ("/solana-rpc.publicnode.com", "/rpc.ankr.com/solana/k", "/go.getblock.io/solana"):
        told = result(world, node, "getBalance", address)
        assert told["value"] == int(true["balance"])
        assert told["context"]["slot"] == newest - 32
    assert result(world, _SOLANA, "getHealth") == "ok"
    assert call(world, _SOLANA, "getBalance", "0x1")["error"]["code"] == -32602
    assert call(world, _SOLANA, "getNothing")["error"]["code"] == -32601
