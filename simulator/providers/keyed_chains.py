"""Vendors of chain data, most with a key: balances, gas prices, statistics, prices of tokens."""

import re
from typing import Any, Final

from simulator.answers import Answer
from simulator.providers import bitcoin, dialects, evm, solana, tron, tron_chain
from simulator.providers.aggregates import iso
from simulator.providers.asked import Asked, View, json_answer, plain_text
from simulator.providers.chains import CHAINS, TOKENS, EvmChain
from simulator.providers.evm_node import EvmNode, Habits
from simulator.providers.rpc import ankr_routes, call_all
from simulator.providers.sites import Site, Window, get, post

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_GWEI: Final = 10**9
_BLOCKCHAIR: Final = {"ethereum": 1, "bnb": 56}
_MORALIS: Final = {"eth": 1, "bsc": 56, "polygon": 137, "arbitrum": 42161, "base": 8453}
_ANKR_NAMES: Final = {"eth": 1, "bsc": 56, "polygon": 137, "arbitrum": 42161}
_NATIVE: Final = "0x" + "e" * 40


def keyed_chain_sites() -> list[Site]:
    return [
        Site(
            "blockchair", ("api.blockchair.com",),
            [get("/(?P<chain>[a-z-]+)/stats", _chair_stats),
             get("/(?P<chain>[a-z-]+)/dashboards/address/(?P<address>[^/]+)", _chair_address)],
            keys=("query:key",), keyless=False, limits=(Window(30, 60),),
            errors=dialects.BLOCKCHAIR,
        ),
        Site(
            "ankr", ("rpc.ankr.com",),
            [post("/multichain/[^/]+", _ankr), post("/solana/[^/]+", solana.answer),
             *ankr_routes()],
            errors=dialects.JSON_RPC,
        ),
        Site(
            "moralis", ("deep-index.moralis.io",),
            [get("/api/v2.2/erc20/(?P<contract>[^/]+)/price", _moralis_price),
             get("/api/v2.2/(?P<address>0x[^/]+)/balance", _moralis_balance)],
            keys=("header:x-api-key",), keyless=False, errors=dialects.PLAIN,
        ),
        Site("1inch", ("api.1inch.com", "api.1inch.dev"),
             [get("/balance/v1.2/(?P<chain>[0-9]+)/balances/(?P<address>[^/]+)", _one_inch)],
             keys=("bearer",), keyless=False, limits=(Window(1, 1),), errors=dialects.PLAIN),
        Site("bitquery", ("streaming.bitquery.io",), [post("/graphql", _bitquery)],
             keys=("bearer",), keyless=False, errors=dialects.GRAPHQL),
        Site("alchemy prices", ("api.g.alchemy.com",),
             [post("/prices/v1/[^/]+/tokens/by-address", _alchemy_prices)],
             errors=dialects.ALCHEMY),
        Site("infura gas", ("gas.api.infura.io",),
             [get("/v3/[^/]+/networks/(?P<chain>[0-9]+)/suggestedGasFees", _infura_gas)],
             errors=dialects.INFURA),
        Site("owlracle", ("api.owlracle.info",), [get("/v4/eth/gas", _owlracle)],
             errors=dialects.PLAIN),
        Site("beaconcha", ("beaconcha.in",), [get("/api/v1/execution/gasnow", _beaconcha)],
             limits=(Window(10, 60),), errors=dialects.PLAIN),
        Site("bsctrace", ("api.bsctrace.com",), [post("/v1/[^/]+", _bsctrace)],
             errors=dialects.JSON_RPC),
        Site("defillama chains", ("api.llama.fi",), [get("/v2/chains", _llama_chains)],
             errors=dialects.PLAIN),
        Site("getblock", ("go.getblock.io",),
             [post("/(?P<token>[^/]+)(/jsonrpc)?/?", _getblock),
              *tron.account_routes("/[^/]+")],
             errors=dialects.JSON_RPC),
    ]  # fmt: skip


def _getblock(asked: Asked) -> Answer:
    """A token is of one chain, here of the one whose name it holds; else of Ethereum."""
    token = asked.words["token"].lower()
    if "solana" in token:
        return solana.answer(asked)
    chain = next((each for each in CHAINS.values() if each.name in token), CHAINS[1])
    return call_all(asked, EvmNode(asked.view, chain, Habits(archive=True)).answer)


def _wei(view: View, chain: EvmChain, address: str) -> int:
    return view.amount(evm.balance_wei(view.seed, chain, address))


def _zoneless(time_ms: int) -> str:
    """UTC, as Blockchair writes it."""
    return iso(time_ms).replace("T", " ").removesuffix("Z")


def _context(view: View, state: int) -> dict[str, Any]:
    return {"code": 200, "source": "D", "state": state, "time": 0.1,
            "cache": {"live": True, "until": _zoneless(view.now_ms + 60_000)}}  # fmt: skip


def _chair_stats(asked: Asked) -> Answer:
    view, name = asked.view, asked.words["chain"]
    if name == "bitcoin":
        number = bitcoin.height(view)
        made_ms, hashed = bitcoin.time_ms(view.seed, number), bitcoin.block_hash(view.seed, number)
        more = {"difficulty": bitcoin.difficulty(view.seed, number), "mempool_size": 5_076_549,
                "suggested_transaction_fee_per_byte_sat": 3}  # fmt: skip
    elif name in _BLOCKCHAIR:
        chain = CHAINS[_BLOCKCHAIR[name]]
        number = chain.height_at(view.now_ms) - view.lies.blocks
        made_ms, hashed = chain.time_ms(number), evm.block_hash(view.seed, chain, number)
        more = {"difficulty": 0, "mempool_tps": 12}
    else:
        return dialects.BLOCKCHAIR["caller_fault"].answer()
    data = {
        "blocks": number + 1, "best_block_height": number, "best_block_hash": hashed,
        "best_block_time": _zoneless(made_ms), "mempool_transactions": 6591 + number % 100,
        "market_price_usd": view.usd("BTC" if name == "bitcoin" else "ETH"), **more,
    }  # fmt: skip
    return json_answer({"data": data, "context": _context(view, number)})


def _chair_address(asked: Asked) -> Answer:
    view, name, address = asked.view, asked.words["chain"], asked.words["address"]
    held: Any = None
    key = address
    if name == "bitcoin" and bitcoin.is_address(address):
        held = view.amount(bitcoin.balance_sat(view.seed, address))
    elif name in _BLOCKCHAIR and _ADDRESS.fullmatch(address):
        held = str(_wei(view, CHAINS[_BLOCKCHAIR[name]], address))
        key = address.lower()
    elif name == "tron" and (hashed := tron_chain.hashed_of(address)):
        held = str(view.amount(tron_chain.balance_sun(view.seed, hashed)))
    if held is None:
        return dialects.BLOCKCHAIR["caller_fault"].answer()
    entry = {"type": "account", "balance": held, "balance_usd": 1.0,
             "received_approximate": str(held)}  # fmt: skip
    body = {"data": {key: {"address": entry}}, "context": _context(view, bitcoin.height(view))}
    return json_answer(body)


def _ankr(asked: Asked) -> Answer:
    def call(method: str, given: Any) -> Any:
        assets = []
        for name in given.get("blockchain", ["eth"]) if isinstance(given, dict) else ():
            chain = CHAINS[_ANKR_NAMES.get(name, 1)]
            raw = _wei(asked.view, chain, str(given.get("walletAddress", "")))
            assets.append(
                {"blockchain": name, "tokenSymbol": chain.coin, "tokenType": "NATIVE",
                 "tokenDecimals": 18, "balance": plain_text(raw / 1e18),
                 "balanceRawInteger": str(raw), "balanceUsd": "1.0"}
            )  # fmt: skip
        return {"totalBalanceUsd": "1.0", "assets": assets}

    return call_all(asked, call)


def _moralis_price(asked: Asked) -> Answer:
    chain_id = _MORALIS.get(asked.query.get("chain", "eth"), 1)
    contract = asked.words["contract"]
    token = TOKENS[chain_id].get(contract.lower())
    view = asked.view
    if token is None or not view.knows(token.symbol):
        return json_answer({"message": f"No pools found with enough liquidity for {contract}"}, 404)
    price = view.usd(token.symbol)
    body = {
        "tokenName": token.symbol, "tokenSymbol": token.symbol, "tokenDecimals":
        str(token.decimals), "usdPrice": price, "usdPriceFormatted": plain_text(price),
        "exchangeName": "", "tokenAddress": contract.lower(), "blockTimestamp":
        str(view.now_ms - view.now_ms % 12_000), "securityScore": 98,
    }  # fmt: skip
    return json_answer(body)


def _moralis_balance(asked: Asked) -> Answer:
    address = asked.words["address"]
    if not _ADDRESS.fullmatch(address):
        return json_answer({"message": "address is not a valid hex address"}, 400)
    chain = CHAINS[_MORALIS.get(asked.query.get("chain", "eth"), 1)]
    return json_answer({"balance": str(_wei(asked.view, chain, address))})


def _one_inch(asked: Asked) -> Answer:
    chain, address = CHAINS.get(int(asked.words["chain"])), asked.words["address"]
    if chain is None or not _ADDRESS.fullmatch(address):
        return dialects.PLAIN["caller_fault"].answer()
    view = asked.view
    held = {
        contract: str(view.amount(evm.token_balance(view.seed, chain, contract, address)))
        for contract in TOKENS[chain.id]
    }
    return json_answer({_NATIVE: str(_wei(view, chain, address)), **held})


def _bitquery(asked: Asked) -> Answer:
    """Balances of an address, or great transfers, by what the query names."""
    value = asked.json()
    if not isinstance(value, dict) or not isinstance(value.get("query"), str):
        return dialects.GRAPHQL["caller_fault"].answer()
    query, variables = value["query"], value.get("variables") or {}
    view = asked.view
    chain = CHAINS[56 if "bsc" in query else 1]
    if "BalanceUpdates" in query:
        coins = plain_text(_wei(view, chain, str(variables.get("address", ""))) / 1e18)
        return json_answer({"data": {"EVM": {"BalanceUpdates": [{"balance": coins}]}}})
    newest = chain.height_at(view.now_ms) - view.lies.blocks
    rows = [
        {
            "Transaction": {"Hash": move.hash}, "Block": {"Number": str(move.number),
            "Time": iso(chain.time_ms(move.number))}, "Log": {"Index": move.index},
            "Transfer": {
                "Amount": plain_text(
                    view.amount(move.amount) / 10 ** (move.token.decimals if move.token else 18)
                ),
                "AmountInUSD": f"{move.usd:.2f}", "Sender": move.sender,
                "Receiver": move.receiver, "Currency": {
                    "Symbol": move.symbol, "SmartContract": move.contract or "0x",
                    "Decimals": move.token.decimals if move.token else 18,
                },
            },
        }
        for number in range(newest, newest - 100, -1)
        for move in evm.moved(view, chain, number)
        if move.usd >= 1_000_000
    ]  # fmt: skip
    return json_answer({"data": {"EVM": {"Transfers": rows}}})


def _alchemy_prices(asked: Asked) -> Answer:
    value = asked.json()
    if not isinstance(value, dict) or not isinstance(value.get("addresses"), list):
        return dialects.ALCHEMY["caller_fault"].answer()
    view = asked.view
    rows: list[dict[str, Any]] = []
    for each in value["addresses"]:
        address = str(each.get("address", ""))
        token = TOKENS[1].get(address.lower())
        head = {"network": each.get("network"), "address": address}
        if token is None or not view.knows(token.symbol):
            rows.append({**head, "prices": [], "error": {"message": "Token not found"}})
            continue
        price = {"currency": "usd", "value": plain_text(view.usd(token.symbol)),
                 "lastUpdatedAt": iso(view.now_ms - view.now_ms % 60_000)}  # fmt: skip
        rows.append({**head, "prices": [price], "error": None})
    return json_answer({"data": rows})


def _fees(view: View, chain: EvmChain) -> tuple[int, list[int]]:
    number = chain.height_at(view.now_ms)
    base = view.amount(evm.base_fee_wei(view.seed, chain, number))
    tips = [view.amount(evm.priority_wei(view.seed, chain, number, p)) for p in (10, 50, 90)]
    return base, tips


def _infura_gas(asked: Asked) -> Answer:
    chain = CHAINS.get(int(asked.words["chain"]))
    if chain is None:
        return dialects.PLAIN["caller_fault"].answer()
    base, tips = _fees(asked.view, chain)
    body: dict[str, Any] = {
        name: {
            "suggestedMaxPriorityFeePerGas": f"{tip / _GWEI:.9f}",
            "suggestedMaxFeePerGas": f"{(base + tip) / _GWEI:.9f}",
            "minWaitTimeEstimate": 0, "maxWaitTimeEstimate": 30_000,
        }
        for name, tip in zip(("low", "medium", "high"), tips, strict=True)
    }  # fmt: skip
    return json_answer({**body, "estimatedBaseFee": f"{base / _GWEI:.9f}"})


def _owlracle(asked: Asked) -> Answer:
    base, tips = _fees(asked.view, CHAINS[1])
    speeds = [
        {"acceptance": share, "maxFeePerGas": (base + tip) / _GWEI,
         "maxPriorityFeePerGas": tip / _GWEI, "baseFee": base / _GWEI, "estimatedFee": 0.1}
        for share, tip in zip((0.35, 0.6, 0.9), tips, strict=True)
    ]  # fmt: skip
    return json_answer({"timestamp": iso(asked.view.now_ms), "speeds": speeds})


def _beaconcha(asked: Asked) -> Answer:
    base, (slow, usual, fast) = _fees(asked.view, CHAINS[1])
    data = {"rapid": base + 2 * fast, "fast": base + fast, "standard": base + usual,
            "slow": base + slow, "timestamp": asked.view.now_ms,
            "priceUSD": asked.view.usd("ETH")}  # fmt: skip
    return json_answer({"code": 200, "data": data})


def _bsctrace(asked: Asked) -> Answer:
    return call_all(asked, EvmNode(asked.view, CHAINS[56], Habits()).answer)


_TVL: Final = {"Ethereum": (1, 6.2e10, "ethereum", "ETH"), "BSC": (56, 6e9, "binancecoin", "BNB"),
               "Polygon": (137, 1.1e9, None, "POL"), "Arbitrum": (42161, 2.9e9, "arbitrum", "ARB"),
               "OP Mainnet": (10, 5e8, "optimism", "OP"), "Base": (8453, 3.6e9, None, None),
               "Avalanche": (43114, 1.2e9, "avalanche-2", "AVAX"),
               "Gnosis": (100, 2e8, "gnosis", "GNO"), "Linea": (59144, 4e8, "linea", "LINEA"),
               "Tron": (728126428, 5e9, "tron", "TRX"), "Bitcoin": (None, 6e9, "bitcoin", "BTC"),
               "Solana": (None, 8e9, "solana", "SOL")}  # fmt: skip


def _llama_chains(asked: Asked) -> Answer:
    if asked.view.lies.blank:
        return json_answer([])
    wave = 1 + (asked.view.now_ms // 600_000 % 100) / 5000
    rows = [
        {"name": name, "chainId": chain_id, "tokenSymbol": symbol, "gecko_id": gecko,
         "tvl": asked.view.value(tvl * wave), "cmcId": None}
        for name, (chain_id, tvl, gecko, symbol) in _TVL.items()
    ]  # fmt: skip
    return json_answer(rows)
