"""blockchain.info, as one of the simulated explorers of Bitcoin."""

from typing import Any, Final

from simulator.answers import Answer
from simulator.providers import bitcoin, dialects
from simulator.providers.asked import Asked, View, json_answer, text_answer
from simulator.providers.esplora import number_of
from simulator.providers.sites import Site, Window, get

_WAITING: Final = 50


def blockchain_info_site() -> Site:
    return Site(
        "blockchain.info", ("blockchain.info", "api.blockchain.info"),
        [
            get("/multiaddr", _multiaddr), get("/balance", _balances),
            get("/latestblock", _latest), get("/unconfirmed-transactions", _unconfirmed),
            get("/rawblock/(?P<hash>[0-9a-f]{64})", _raw_block),
            get("/stats", _stats), get("/q/getblockcount", _count),
            get("/mempool/fees", _pool_fees),
        ],
        errors=dialects.BLOCKCHAIN_INFO, limits=(Window(1, 10),),
    )  # fmt: skip


def _multiaddr(asked: Asked) -> Answer:
    active = [each for each in asked.query.get("active", "").split("|") if each]
    if not active or not all(map(bitcoin.is_address, active)):
        return dialects.BLOCKCHAIN_INFO["caller_fault"].answer()
    entries = []
    for address in active:
        held = asked.view.amount(bitcoin.balance_sat(asked.view.seed, address))
        entries.append(
            {"address": address, "final_balance": held, "n_tx": 2 if held else 0,
             "total_received": held + held // 3, "total_sent": held // 3}
        )  # fmt: skip
    newest = bitcoin.height(asked.view)
    info = {"latest_block": {"height": newest, "time": asked.view.now_s}}
    wallet = {"final_balance": sum(int(str(entry["final_balance"])) for entry in entries)}
    return json_answer({"addresses": entries, "wallet": wallet, "txs": [], "info": info})


def _balances(asked: Asked) -> Answer:
    active = [each for each in asked.query.get("active", "").split("|") if each]
    view = asked.view
    held = {a: view.amount(bitcoin.balance_sat(view.seed, a)) for a in active}
    entries = {a: {"final_balance": sats, "n_tx": 2, "total_received": sats} for a, sats in
               held.items()}  # fmt: skip
    return json_answer(entries)


def _latest(asked: Asked) -> Answer:
    number = bitcoin.height(asked.view)
    body = {
        "hash": bitcoin.block_hash(asked.view.seed, number), "height": number,
        "time": bitcoin.time_ms(asked.view.seed, number) // 1000, "block_index": number,
        "txIndexes": [],
    }  # fmt: skip
    return json_answer(body)


def _info_transaction(view: View, each: bitcoin.Transaction, time_s: int) -> dict[str, Any]:
    def told(output: bitcoin.Output, n: int) -> dict[str, Any]:
        return {"type": 0, "spent": False, "value": view.amount(output.value), "n": n,
                "script": output.script, "addr": output.address}  # fmt: skip

    return {
        "hash": each.txid, "ver": 2, "vin_sz": len(each.inputs), "vout_sz": len(each.outputs),
        "fee": each.fee, "time": time_s, "size": 226, "weight": 904, "double_spend": False,
        "inputs": [{"sequence": 4294967293, "index": n, "prev_out": told(output, n)}
                   for n, output in enumerate(each.inputs)],
        "out": [told(output, n) for n, output in enumerate(each.outputs)],
    }  # fmt: skip


def _unconfirmed(asked: Asked) -> Answer:
    view = asked.view
    every = bitcoin.waiting(view, _WAITING)
    return json_answer({"txs": [_info_transaction(view, each, view.now_s) for each in every]})


def _raw_block(asked: Asked) -> Answer:
    number = number_of(asked)
    if number is None:
        return json_answer({"error": "not-found-or-invalid-arg"}, 404)
    view = asked.view
    made_s = bitcoin.time_ms(view.seed, number) // 1000
    sent = [{**_info_transaction(view, each, made_s), "block_height": number}
            for each in bitcoin.transactions(view, number)]  # fmt: skip
    body = {"hash": asked.words["hash"], "height": number, "time": made_s, "n_tx": len(sent),
            "tx": sent}  # fmt: skip
    return json_answer(body)


def _stats(asked: Asked) -> Answer:
    view = asked.view
    number = bitcoin.height(view)
    body = {
        "timestamp": view.now_ms, "market_price_usd": view.usd("BTC"), "hash_rate": 1.1e12,
        "n_blocks_total": number, "minutes_between_blocks": 10.0, "n_tx": 400_000,
        "difficulty": bitcoin.difficulty(view.seed, number), "totalbc": 1_990_000_000_000_000,
    }  # fmt: skip
    return json_answer(body)


def _count(asked: Asked) -> Answer:
    return text_answer(str(bitcoin.height(asked.view)))


def _pool_fees(asked: Asked) -> Answer:
    fee = max(1, round(bitcoin.fee_sat_per_vb(asked.view, 1)))
    body = {"limits": {"min": 1, "max": 100}, "regular": max(1, fee // 2), "priority": fee}
    return json_answer(body)
