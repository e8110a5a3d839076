"""mempool.space and blockstream.info: explorers of Bitcoin with the same API, esplora."""

from typing import Any, Final

from simulator.answers import Answer
from simulator.providers import bitcoin, dialects
from simulator.providers.asked import Asked, View, json_answer, text_answer
from simulator.providers.sites import Route, Site, Window, get

_PAGE: Final = 25
_BLOCKS: Final = 10
_EPOCH: Final = 2016
_RATES: Final = {"EUR": 0.86, "GBP": 0.75, "CAD": 1.39, "CHF": 0.8, "AUD": 1.52, "JPY": 155.0}


def esplora_sites() -> list[Site]:
    return [
        Site(
            "mempool.space", ("mempool.space",),
            [
                *_esplora(),
                get("/api/v1/prices", _prices),
                get("/api/v1/fees/recommended", _recommended),
                get("/api/v1/fees/precise", _precise),
                get("/api/v1/difficulty-adjustment", _adjustment),
            ],
            errors=dialects.ESPLORA, suspends_s=120, limits=(Window(10, 1),),
        ),
        Site(
            "blockstream.info", ("blockstream.info",),
            [*_esplora(), get("/api/fee-estimates", _estimates)],
            errors=dialects.ESPLORA, limits=(Window(4, 1),),
        ),
    ]  # fmt: skip


def _esplora() -> list[Route]:
    return [
        get("/api/blocks/tip/height", lambda a: text_answer(str(bitcoin.height(a.view)))),
        get("/api/blocks/tip/hash", _tip_hash),
        get("/api/block-height/(?P<height>[0-9]+)", _hash_at),
        get("/api/(v1/)?blocks(/(?P<height>[0-9]+))?", _blocks),
        get("/api/block/(?P<hash>[0-9a-f]{64})", _block),
        get("/api/block/(?P<hash>[0-9a-f]{64})/txids", _ids),
        get("/api/block/(?P<hash>[0-9a-f]{64})/txs(/(?P<start>[0-9]+))?", _transactions),
        get("/api/tx/(?P<txid>[0-9a-f]{64})", _transaction),
        get("/api/address/(?P<address>[^/]+)", _address),
        get("/api/mempool", _mempool),
    ]


def _tip_hash(asked: Asked) -> Answer:
    return text_answer(bitcoin.block_hash(asked.view.seed, bitcoin.height(asked.view)))


def _hash_at(asked: Asked) -> Answer:
    number = int(asked.words["height"])
    if number > bitcoin.height(asked.view):
        return text_answer("Block not found", 404)
    return text_answer(bitcoin.block_hash(asked.view.seed, number))


def _block_entry(view: View, number: int) -> dict[str, Any]:
    seed = view.seed
    made_s = bitcoin.time_ms(seed, number) // 1000
    return {
        "id": bitcoin.block_hash(seed, number), "height": number, "version": 0x20000000,
        "timestamp": made_s, "tx_count": len(bitcoin.transactions(view, number)), "size": 1_500_000,
        "weight": 3_993_000, "merkle_root": "0" * 64,
        "previousblockhash": bitcoin.block_hash(seed, number - 1), "mediantime": made_s - 3600,
        "nonce": 1, "bits": 386_000_000, "difficulty": bitcoin.difficulty(seed, number),
    }  # fmt: skip


def _blocks(asked: Asked) -> Answer:
    newest = bitcoin.height(asked.view)
    newest = min(int(asked.words.get("height") or newest), newest)
    numbers = range(newest, max(newest - _BLOCKS, -1), -1)
    return json_answer([_block_entry(asked.view, number) for number in numbers])


def number_of(asked: Asked) -> int | None:
    """The block that the path's hash names, None if there is none."""
    number = bitcoin.number_of_hash(asked.words["hash"])
    known = bitcoin.block_hash(asked.view.seed, number) == asked.words["hash"]
    return number if known and number <= bitcoin.height(asked.view) else None


def _block(asked: Asked) -> Answer:
    number = number_of(asked)
    if number is None:
        return text_answer("Block not found", 404)
    return json_answer(_block_entry(asked.view, number))


def _ids(asked: Asked) -> Answer:
    number = number_of(asked)
    if number is None:
        return text_answer("Block not found", 404)
    return json_answer([each.txid for each in bitcoin.transactions(asked.view, number)])


def _transactions(asked: Asked) -> Answer:
    number, start = number_of(asked), int(asked.words.get("start") or 0)
    if number is None:
        return text_answer("Block not found", 404)
    every = bitcoin.transactions(asked.view, number)
    if start % _PAGE or start >= len(every):
        return text_answer("start index out of range", 400)
    return json_answer([_sent(asked.view, each) for each in every[start : start + _PAGE]])


def _transaction(asked: Asked) -> Answer:
    found = bitcoin.find(asked.view, asked.words["txid"])
    if found is None:
        return text_answer("Transaction not found", 404)
    return json_answer(_sent(asked.view, found))


def _output(view: View, output: bitcoin.Output) -> dict[str, Any]:
    return {
        "scriptpubkey": output.script, "scriptpubkey_asm": "", "scriptpubkey_type": "p2pkh",
        "scriptpubkey_address": output.address, "value": view.amount(output.value),
    }  # fmt: skip


def _sent(view: View, transaction: bitcoin.Transaction) -> dict[str, Any]:
    spent: list[dict[str, Any]] = [
        {
            "txid": "1" * 64, "vout": place, "prevout": _output(view, output), "scriptsig": "",
            "is_coinbase": False, "sequence": 4294967293,
        }
        for place, output in enumerate(transaction.inputs)
    ]  # fmt: skip
    paid = {"txid": "0" * 64, "vout": 4294967295, "prevout": None, "scriptsig": "",
            "is_coinbase": True, "sequence": 4294967295}  # fmt: skip
    number = transaction.number
    return {
        "txid": transaction.txid, "version": 2, "locktime": 0, "vin": spent or [paid],
        "vout": [_output(view, output) for output in transaction.outputs], "size": 226,
        "weight": 904, "fee": transaction.fee,
        "status": {
            "confirmed": True, "block_height": number,
            "block_hash": bitcoin.block_hash(view.seed, number),
            "block_time": bitcoin.time_ms(view.seed, number) // 1000,
        },
    }  # fmt: skip


def _address(asked: Asked) -> Answer:
    address = asked.words["address"]
    if not bitcoin.is_address(address):
        return dialects.ESPLORA["caller_fault"].answer()
    held = asked.view.amount(bitcoin.balance_sat(asked.view.seed, address))
    spent = held // 3
    moves = 1 if held else 0
    none = dict.fromkeys(("funded_txo_count", "funded_txo_sum", "spent_txo_count",
                          "spent_txo_sum", "tx_count"), 0)  # fmt: skip
    stats = {"funded_txo_count": 2 * moves, "funded_txo_sum": held + spent,
             "spent_txo_count": moves, "spent_txo_sum": spent, "tx_count": 3 * moves}  # fmt: skip
    return json_answer({"address": address, "chain_stats": stats, "mempool_stats": none})


def _mempool(asked: Asked) -> Answer:
    fee = bitcoin.fee_sat_per_vb(asked.view, 1)
    vsize = int(asked.view.value(2_000_000 + fee * 1_000_000))
    count = vsize // 250
    body = {"count": count, "vsize": vsize, "total_fee": int(vsize * fee),
            "fee_histogram": [[fee, vsize]]}  # fmt: skip
    return json_answer(body)


def _prices(asked: Asked) -> Answer:
    if asked.view.lies.blank:
        return json_answer({})
    dollars = asked.view.usd("BTC")
    others = {name: int(dollars * rate) for name, rate in _RATES.items()}
    time_s = asked.view.now_s - asked.view.now_s % 300
    return json_answer({"time": time_s, "USD": int(dollars), **others})


_SPEEDS: Final = {"fastestFee": 1.0, "halfHourFee": 0.8, "hourFee": 0.6, "economyFee": 0.4,
                  "minimumFee": 0.2}  # fmt: skip


def _recommended(asked: Asked) -> Answer:
    fees = {n: bitcoin.fee_sat_per_vb(asked.view, speed) for n, speed in _SPEEDS.items()}
    return json_answer({name: max(1, round(fee)) for name, fee in fees.items()})


def _precise(asked: Asked) -> Answer:
    fees = {n: bitcoin.fee_sat_per_vb(asked.view, speed) for n, speed in _SPEEDS.items()}
    return json_answer(fees)


def _estimates(asked: Asked) -> Answer:
    targets = [*range(1, 26), 144, 504, 1008]
    fees = {str(n): bitcoin.fee_sat_per_vb(asked.view, 1 / n**0.25) for n in targets}
    return json_answer(fees)


def _adjustment(asked: Asked) -> Answer:
    number = bitcoin.height(asked.view)
    done = number % _EPOCH
    body = {"progressPercent": done / _EPOCH * 100, "difficultyChange": 1.2,
            "remainingBlocks": _EPOCH - done, "nextRetargetHeight": number - done + _EPOCH,
            "timeAvg": 600_000}  # fmt: skip
    return json_answer(body)
