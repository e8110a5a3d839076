"""Ethplorer and BlockCypher: explorers with envelopes of their own."""

import re
from typing import Final

from simulator.answers import Answer
from simulator.providers import bitcoin, dialects, evm
from simulator.providers.aggregates import iso
from simulator.providers.asked import Asked, View, json_answer, rounded
from simulator.providers.chains import CHAINS, TOKENS
from simulator.providers.sites import Site, Window, get

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


def ethplorer_site() -> Site:
    return Site(
        "ethplorer", ("api.ethplorer.io",),
        [get("/getAddressInfo/(?P<address>[^/]+)", _ethplorer)], keys=("query:apiKey",),
        keyless=False, limits=(Window(2, 1),), errors=dialects.ETHPLORER,
    )  # fmt: skip


def _held(view: View, address: str) -> int:
    return view.amount(evm.balance_wei(view.seed, CHAINS[1], address))


def _ethplorer(asked: Asked) -> Answer:
    address = asked.words["address"]
    if not _ADDRESS.fullmatch(address):
        return dialects.ETHPLORER["caller_fault"].answer()
    view, chain = asked.view, CHAINS[1]
    held = _held(view, address)
    tokens = []
    for contract, token in TOKENS[1].items():
        raw = view.amount(evm.token_balance(view.seed, chain, contract, address))
        priced = {"rate": view.usd(token.symbol), "currency": "USD", "ts": view.now_s}
        info = {"address": contract, "decimals": str(token.decimals), "symbol": token.symbol,
                "price": priced if token.decimals == 6 else False}  # fmt: skip
        tokens.append({"tokenInfo": info, "balance": float(raw), "rawBalance": str(raw)})
    ether = {
        "price": {"rate": view.usd("ETH"), "ts": view.now_s}, "balance": rounded(held / 1e18),
        "rawBalance": str(held),
    }  # fmt: skip
    body = {"address": address.lower(), "ETH": ether, "countTxs": 1, "tokens": tokens}
    return json_answer(body)


def blockcypher_site() -> Site:
    return Site(
        "blockcypher", ("api.blockcypher.com",),
        [
            get("/v1/eth/main", _cypher_ether),
            get("/v1/btc/main", _cypher_bitcoin),
            get("/v1/eth/main/addrs/(?P<address>[^/]+)/balance", _cypher_ether_balance),
            get("/v1/btc/main/addrs/(?P<address>[^/]+)/balance", _cypher_bitcoin_balance),
        ],
        limits=(Window(3, 1), Window(100, 3600)), errors=dialects.BLOCKCYPHER,
    )  # fmt: skip


def _nine_digits(time_ms: int) -> str:
    return iso(time_ms).replace("Z", f".{time_ms % 1000:03d}775316Z")


def _cypher_ether(asked: Asked) -> Answer:
    view, chain = asked.view, CHAINS[1]
    number = chain.height_at(view.now_ms) - view.lies.blocks
    base = view.amount(evm.base_fee_wei(view.seed, chain, number))
    low, medium, high = (
        view.amount(evm.priority_wei(view.seed, chain, number, p)) for p in (10, 50, 90)
    )
    hashed = evm.block_hash(view.seed, chain, number)[2:]
    body = {
        "name": "ETH.main", "height": number, "hash": hashed,
        "time": _nine_digits(chain.time_ms(number)), "latest_url": "", "peer_count": 26,
        "unconfirmed_count": 3000 + number % 900, "high_gas_price": base + high,
        "medium_gas_price": base + medium, "low_gas_price": base + low, "high_priority_fee": high,
        "medium_priority_fee": medium, "low_priority_fee": low, "base_fee": base,
    }  # fmt: skip
    return json_answer(body)


def _cypher_bitcoin(asked: Asked) -> Answer:
    view = asked.view
    number = bitcoin.height(view)
    high, medium, low = (
        int(bitcoin.fee_sat_per_vb(view, speed) * 1000) for speed in (1.0, 0.8, 0.4)
    )
    body = {
        "name": "BTC.main", "height": number, "hash": bitcoin.block_hash(view.seed, number),
        "time": _nine_digits(bitcoin.time_ms(view.seed, number)), "peer_count": 240,
        "unconfirmed_count": 8000 + number % 500, "high_fee_per_kb": high,
        "medium_fee_per_kb": medium, "low_fee_per_kb": low,
    }  # fmt: skip
    return json_answer(body)


def _cypher_balance(address: str, held: int) -> Answer:
    body = {
        "address": address, "total_received": held, "total_sent": 0, "balance": held,
        "unconfirmed_balance": 0, "final_balance": held, "n_tx": 1, "unconfirmed_n_tx": 0,
        "final_n_tx": 1,
    }  # fmt: skip
    answer = json_answer(body)
    answer.headers["X-Ratelimit-Remaining"] = "97"
    return answer


def _cypher_ether_balance(asked: Asked) -> Answer:
    address = asked.words["address"]
    full = address if address.startswith("0x") else f"0x{address}"
    if not _ADDRESS.fullmatch(full):
        return dialects.BLOCKCYPHER["caller_fault"].answer()
    return _cypher_balance(address, _held(asked.view, full))


def _cypher_bitcoin_balance(asked: Asked) -> Answer:
    address = asked.words["address"]
    if not bitcoin.is_address(address):
        return dialects.BLOCKCYPHER["caller_fault"].answer()
    view = asked.view
    return _cypher_balance(address, view.amount(bitcoin.balance_sat(view.seed, address)))
