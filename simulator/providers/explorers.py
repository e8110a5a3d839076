"""Explorers of EVM chains with Etherscan's envelope: its own, Blockscout's and Routescan's."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from simulator.answers import Answer
from simulator.providers import dialects, evm
from simulator.providers.aggregates import iso
from simulator.providers.asked import Asked, View, json_answer
from simulator.providers.chains import CHAINS, TOKENS, EvmChain
from simulator.providers.evm_node import EvmNode, Habits, RpcError
from simulator.providers.rpc import call_all
from simulator.providers.sites import Answering, Site, Window, get, post

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_GWEI: Final = 10**9
# Chains that Etherscan's free plan has, of the simulated ones.
_FREE: Final = (1, 137, 42161, 59144, 999)
_BLOCKSCOUT: Final = (1, 10, 100, 137, 8453, 42161, 59144)
_ROUTESCAN: Final = (1, 10, 8453, 42161, 43114)
_MOST_ADDRESSES: Final = 20
_FIXED_ID: Final = 83  # of Etherscan's proxy, whatever was asked
_CHAIN_WORDS: Final = r"/(?P<chain>[0-9]+)"


def explorer_sites() -> list[Site]:
    return [
        Site("etherscan", ("api.etherscan.io",), [get("/v2/api", _etherscan)],
             keys=("query:apikey",), keyless=False, limits=(Window(3, 1),),
             errors=dialects.ETHERSCAN),
        Site(
            "blockscout", ("api.blockscout.com",),
            [
                get(f"{_CHAIN_WORDS}/api", _blockscout),
                get(f"{_CHAIN_WORDS}/api/v2/stats", _blockscout_stats),
                get(f"{_CHAIN_WORDS}/api/v2/addresses/(?P<address>[^/]+)", _blockscout_address),
                post(f"{_CHAIN_WORDS}/json-rpc", _blockscout_rpc),
            ],
            keys=("query:apikey", "bearer", "header:x-api-key"), keyless=False,
            limits=(Window(5, 1),), errors=dialects.BLOCKSCOUT,
        ),
        Site("routescan", ("api.routescan.io",),
             [get(f"/v2/network/mainnet/evm{_CHAIN_WORDS}/etherscan/api", _routescan)],
             limits=(Window(120, 60),), errors=dialects.ROUTESCAN),
    ]  # fmt: skip


# --- Etherscan's envelope


def _ok(result: Any) -> Answer:
    return json_answer({"status": "1", "message": "OK", "result": result})


def _refused(result: str) -> Answer:
    return json_answer({"status": "0", "message": "NOTOK", "result": result})


def _none_found() -> Answer:
    return json_answer({"status": "0", "message": "No transactions found", "result": []})


def _etherscan(asked: Asked) -> Answer:
    given = asked.query.get("chainid", "1")
    chain = CHAINS.get(int(given)) if given.isdecimal() else None
    if chain is None:
        return _refused("Missing or unsupported chainid parameter (required for v2 api)")
    if chain.id not in _FREE:
        return dialects.ETHERSCAN["plan_forbids"].answer()
    return _envelope(asked, chain)


def _routescan(asked: Asked) -> Answer:
    chain_id = int(asked.words["chain"])
    if chain_id not in _ROUTESCAN:
        return _refused("Chain not supported")
    return _envelope(asked, CHAINS[chain_id])


def _blockscout(asked: Asked) -> Answer:
    chain_id = int(asked.words["chain"])
    if chain_id not in _BLOCKSCOUT:
        return json_answer({"error": "Chain not found"}, 404)
    answer = _envelope(asked, CHAINS[chain_id])
    answer.headers |= {"x-ratelimit-limit": "5", "x-ratelimit-remaining": "4",
                       "x-ratelimit-reset": "1000", "x-credits-remaining": "99000"}  # fmt: skip
    return answer


def _envelope(asked: Asked, chain: EvmChain) -> Answer:
    query = asked.query
    action = (query.get("module", ""), query.get("action", ""))
    if action[0] == "proxy":
        return _proxy(asked, chain)
    answering: Mapping[tuple[str, str], Callable[[Asked, EvmChain], Answer]] = {
        ("account", "balance"): _balance,
        ("account", "balancemulti"): _balances,
        ("account", "tokenbalance"): _token_balance,
        ("account", "tokentx"): _token_transfers,
        ("account", "txlist"): _transactions,
        ("gastracker", "gasoracle"): _oracle,
        ("block", "getblocknobytime"): _block_at,
        ("stats", "ethprice"): _ether_price,
    }
    found = answering.get(action)
    return (
        _refused("Error! Missing Or invalid Action name") if found is None else found(asked, chain)
    )


def _held(view: View, chain: EvmChain, address: str) -> int:
    return view.amount(evm.balance_wei(view.seed, chain, address))


def _balance(asked: Asked, chain: EvmChain) -> Answer:
    address = asked.query.get("address", "")
    if not _ADDRESS.fullmatch(address):
        return _refused("Error! Invalid address format")
    return _ok(str(_held(asked.view, chain, address)))


def _balances(asked: Asked, chain: EvmChain) -> Answer:
    addresses = asked.query.get("address", "").split(",")[:_MOST_ADDRESSES]
    if not all(map(_ADDRESS.fullmatch, addresses)):
        return _refused("Error! Invalid address format")
    return _ok([{"account": a, "balance": str(_held(asked.view, chain, a))} for a in addresses])


def _token_balance(asked: Asked, chain: EvmChain) -> Answer:
    contract = asked.query.get("contractaddress", "").lower()
    address = asked.query.get("address", "")
    if contract not in TOKENS[chain.id] or not _ADDRESS.fullmatch(address):
        return _ok("0")
    held = evm.token_balance(asked.view.seed, chain, contract, address)
    return _ok(str(asked.view.amount(held)))


def _newest(view: View, chain: EvmChain) -> int:
    return chain.height_at(view.now_ms) - view.lies.blocks


def _page(asked: Asked, default: int) -> int:
    return min(int(asked.query.get("offset", str(default)) or default), 1000)


def _token_transfers(asked: Asked, chain: EvmChain) -> Answer:
    """The newest transfers of a contract, or of all; nobody's are asked for one by one."""
    view, size = asked.view, _page(asked, 100)
    contract = asked.query.get("contractaddress", "").lower()
    address = asked.query.get("address", "").lower()
    newest = _newest(view, chain)
    rows: list[dict[str, str]] = []
    for number in range(newest, newest - 5 * size, -1):
        for move in reversed(evm.moved(view, chain, number)):
            theirs = not address or address in (move.sender, move.receiver)
            if move.contract and move.contract in (contract or move.contract) and theirs:
                rows.append(_token_row(view, chain, move, newest))
        if len(rows) >= size:
            break
    if not rows:
        return _none_found()
    return _ok(rows[:size] if asked.query.get("sort") == "desc" else rows[:size][::-1])


def _token_row(view: View, chain: EvmChain, move: evm.Moved, newest: int) -> dict[str, str]:
    token = move.token
    return {
        "blockNumber": str(move.number), "timeStamp": str(chain.time_ms(move.number) // 1000),
        "hash": move.hash, "nonce": "1",
        "blockHash": evm.block_hash(view.seed, chain, move.number), "from": move.sender,
        "contractAddress": move.contract or "", "to": move.receiver,
        "value": str(view.amount(move.amount)), "tokenName": token.symbol if token else "",
        "tokenSymbol": token.symbol if token else "",
        "tokenDecimal": str(token.decimals) if token else "", "transactionIndex": str(move.index),
        "gas": "94813", "gasPrice": "1000000000", "gasUsed": "58409", "input": "deprecated",
        "confirmations": str(newest - move.number + 1),
    }  # fmt: skip


def _transactions(asked: Asked, chain: EvmChain) -> Answer:
    address = asked.query.get("address", "")
    if not _ADDRESS.fullmatch(address):
        return _refused("Error! Invalid address format")
    return _none_found()


def _fees_gwei(view: View, chain: EvmChain) -> tuple[float, list[float]]:
    """The base fee, and the sums for slow, usual and fast transactions."""
    number = _newest(view, chain)
    base = view.amount(evm.base_fee_wei(view.seed, chain, number))
    tips = [view.amount(evm.priority_wei(view.seed, chain, number, p)) for p in (10, 50, 90)]
    return base / _GWEI, [(base + tip) / _GWEI for tip in tips]


def _oracle(asked: Asked, chain: EvmChain) -> Answer:
    base, (slow, usual, fast) = _fees_gwei(asked.view, chain)
    number = _newest(asked.view, chain)
    used = [evm.gas_used_ratio(asked.view.seed, chain, number - back) for back in range(5)]
    result = {
        "LastBlock": str(number), "SafeGasPrice": f"{slow:.9f}", "ProposeGasPrice": f"{usual:.9f}",
        "FastGasPrice": f"{fast:.9f}", "suggestBaseFee": f"{base:.9f}",
        "gasUsedRatio": ",".join(f"{ratio:.6f}" for ratio in used),
    }  # fmt: skip
    return _ok(result)


def _block_at(asked: Asked, chain: EvmChain) -> Answer:
    number = str(chain.height_at(int(asked.query.get("timestamp", "0") or 0) * 1000))
    is_blockscout = "blockscout" in asked.host
    return _ok({"blockNumber": number} if is_blockscout else number)


def _ether_price(asked: Asked, chain: EvmChain) -> Answer:
    view = asked.view
    result = {"ethusd": str(view.usd("ETH")), "ethusd_timestamp": str(view.now_s)}
    return _ok(result)


def _proxy(asked: Asked, chain: EvmChain) -> Answer:
    query = asked.query
    tag = query.get("tag", "latest")
    parameters: Mapping[str, list[Any]] = {
        "eth_getBlockByNumber": [tag, query.get("boolean") == "true"],
        "eth_getTransactionByHash": [query.get("txhash")],
        "eth_getTransactionReceipt": [query.get("txhash")],
        "eth_getBalance": [query.get("address"), tag],
        "eth_getTransactionCount": [query.get("address"), tag],
        "eth_getCode": [query.get("address"), tag],
        "eth_call": [{"to": query.get("to"), "data": query.get("data")}, tag],
    }
    method = query.get("action", "")
    head = {"jsonrpc": "2.0", "id": _FIXED_ID}
    try:
        result = EvmNode(asked.view, chain, Habits(archive=True)).answer(
            method, parameters.get(method, [])
        )
    except RpcError as error:
        return json_answer({**head, "error": error.error})
    return json_answer({**head, "result": result})


# --- Blockscout's own


def _of_chain(answer: Callable[[Asked, EvmChain], Answer]) -> Answering:
    def checked(asked: Asked) -> Answer:
        chain_id = int(asked.words["chain"])
        if chain_id not in _BLOCKSCOUT:
            return json_answer({"error": "Chain not found"}, 404)
        return answer(asked, CHAINS[chain_id])

    return checked


def _stats(asked: Asked, chain: EvmChain) -> Answer:
    view = asked.view
    _, (slow, usual, fast) = _fees_gwei(view, chain)
    prices: Any = {"slow": round(slow, 2), "average": round(usual, 2), "fast": round(fast, 2)}
    if asked.headers.get("updated-gas-oracle") == "true":
        prices = {name: {"price": price} for name, price in prices.items()}
    number = _newest(view, chain)
    if view.lies.blank or number % 97 == 0:
        prices = None
    body = {
        "average_block_time": float(chain.block_ms), "gas_prices": prices,
        "gas_price_updated_at": iso(view.now_ms).replace("Z", ".123456Z"),
        "coin_price": str(view.usd("ETH")), "total_blocks": str(number),
        "total_addresses": "424001234", "transactions_today": str(1_100_000 + number % 90_000),
        "network_utilization_percentage": 51.2,
    }  # fmt: skip
    return json_answer(body)


_blockscout_stats: Final = _of_chain(_stats)


def _one_address(asked: Asked, chain: EvmChain) -> Answer:
    address = asked.words["address"]
    if not _ADDRESS.fullmatch(address):
        return json_answer({"errors": [{"title": "Invalid value", "detail": "Invalid format"}]},
                           422)  # fmt: skip
    held = _held(asked.view, chain, address)
    body = {"hash": address, "coin_balance": str(held) if held else None, "is_contract": False,
            "block_number_balance_updated_at": _newest(asked.view, chain)}  # fmt: skip
    return json_answer(body)


_blockscout_address: Final = _of_chain(_one_address)


def _rpc(asked: Asked, chain: EvmChain) -> Answer:
    node = EvmNode(asked.view, chain, Habits(archive=True))

    def call(method: str, parameters: Any) -> Any:
        return node.answer(method, parameters)

    answer = call_all(asked, call)
    # A missing address is told as a text there, not as an object.
    answer.body = re.sub(
        rb'"error":\{"code":-32000,"message":"(Missed `to` address)"\}', rb'"error":"\1"',
        answer.body,
    )  # fmt: skip
    return answer


_blockscout_rpc: Final = _of_chain(_rpc)
