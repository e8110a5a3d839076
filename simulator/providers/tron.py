"""Simulated Tron: TronGrid and nodes with its HTTP API and JSON-RPC, and TronScan."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from simulator.answers import Answer
from simulator.providers import dialects, evm
from simulator.providers import tron_chain as chain
from simulator.providers.asked import Asked, View, json_answer
from simulator.providers.chains import REFERENCE_MS, TRON_USDT
from simulator.providers.evm_node import RpcError
from simulator.providers.rpc import call_all
from simulator.providers.sites import Route, Site, Window, get, post

_CHAIN_ID: Final = 0x2B6653DC
_ENERGY_SUN: Final = 100
_PARSE: Final = "class org.tron.core.services.http.JsonFormat$ParseException : INVALID hex String"
_USDT_HEX: Final = "41a614f803b6fd780986a42c78ec9c7f77e6ded13c"
_TRANSFER_TOPIC: Final = evm.TRANSFER.removeprefix("0x")


def tron_sites() -> list[Site]:
    return [
        Site("trongrid", ("api.trongrid.io",), [*_node_routes(), *_grid_routes(),
             post("/jsonrpc", _json_rpc)], errors=dialects.TRONGRID, suspends_s=30,
             limits=(Window(15, 1),)),
        Site("tron publicnode", ("tron-rpc.publicnode.com",),
             [*_node_routes(), post("/jsonrpc", _json_rpc)], errors=dialects.PLAIN),
        Site("tron drpc", ("tron.drpc.org",), [post("/(jsonrpc)?", _json_rpc)],
             errors=dialects.JSON_RPC),
        Site("tron pocket", ("tron.api.pocket.network",), [post("/(jsonrpc)?", _json_rpc)],
             errors=dialects.JSON_RPC),
        Site("tronstack", ("api.tronstack.io",),
             [*_node_routes(), post("/jsonrpc", _json_rpc)], errors=dialects.PLAIN),
        Site("tronscan", ("apilist.tronscanapi.com",),
             [get("/api/accountv2", _scan_account),
              get("/api/token_trc20/transfers", _scan_transfers)],
             keys=("header:TRON-PRO-API-KEY",), keyless=False, errors=dialects.PLAIN),
    ]  # fmt: skip


def account_routes(prefix: str) -> list[Route]:
    """The balance of an account, behind a path of another vendor."""
    return [post(f"{prefix}/wallet/getaccount", _account)]


# --- the nodes' HTTP API


def _node_routes() -> list[Route]:
    routes: list[Route] = []
    for wallet, solid in (("wallet", False), ("walletsolidity", True)):
        routes += [
            post(f"/{wallet}/getaccount", _account),
            *_both(f"/{wallet}/getnowblock", _now_block(solid)),
            *_both(f"/{wallet}/getblockbynum", _block_by_number(solid)),
            *_both(f"/{wallet}/gettransactioninfobyblocknum", _infos),
        ]
    return [*routes, *_both("/wallet/getchainparameters", _parameters),
            *_both("/wallet/getenergyprices", _energy_prices)]  # fmt: skip


def _both(path: str, answer: Callable[[Asked], Answer]) -> list[Route]:
    return [get(path, answer), post(path, answer)]


def _given(asked: Asked, name: str) -> Any:
    value = asked.json() if asked.method == "POST" else None
    return value.get(name) if isinstance(value, dict) else asked.query.get(name)


def _account(asked: Asked) -> Answer:
    address, visible = str(_given(asked, "address") or ""), bool(_given(asked, "visible"))
    hashed = chain.hashed_of(address)
    if hashed is None or visible == bool(chain.HEX_ADDRESS.fullmatch(address)):
        return json_answer({"Error": _PARSE})
    view = asked.view
    held = view.amount(chain.balance_sun(view.seed, hashed))
    if not held or view.lies.blank:
        return json_answer({})
    shown = chain.as_base58(hashed) if visible else f"41{hashed}"
    body = {
        "address": shown, "balance": held, "create_time": 1_600_000_000_000,
        "latest_opration_time": view.now_ms - 86_400_000, "net_window_size": 28_800_000,
        "account_resource": {"energy_window_size": 28_800_000}, "frozenV2": [{}],
        "assetV2": [{"key": "1005416", "value": 100000000}],
    }  # fmt: skip
    return json_answer(body)


def _block(view: View, number: int) -> dict[str, Any]:
    seed = view.seed
    sent = []
    for index, sender, _, _ in chain.transfers(view, number):
        value: dict[str, Any] = {"owner_address": f"41{sender}", "contract_address": _USDT_HEX}
        sent.append(_sent(seed, number, index, "TriggerSmartContract", value))
    native = chain.native(view, number)
    if native is not None:
        sender, receiver, sun = native
        value = {"amount": view.amount(sun), "owner_address": f"41{sender}",
                 "to_address": f"41{receiver}"}  # fmt: skip
        sent.append(_sent(seed, number, chain.NATIVE_INDEX, "TransferContract", value))
    header = {"number": number, "timestamp": chain.time_ms(number),
              "parentHash": chain.block_id(seed, number - 1)}  # fmt: skip
    return {"blockID": chain.block_id(seed, number), "block_header": {"raw_data": header},
            "transactions": sent}  # fmt: skip


def _sent(
    seed: int, number: int, index: int, kind: str, value: Mapping[str, Any]
) -> dict[str, Any]:
    raw = {
        "contract": [{"type": kind, "parameter": {"value": value}}],
        "timestamp": chain.time_ms(number),
    }
    result = [{"contractRet": "SUCCESS"}]
    return {"txID": chain.txid(seed, number, index), "ret": result, "raw_data": raw}


def _now_block(solid: bool) -> Callable[[Asked], Answer]:
    return lambda asked: json_answer(_block(asked.view, chain.height(asked.view, solid)))


def _block_by_number(solid: bool) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        number = int(_given(asked, "num") or 0)
        if not 0 < number <= chain.height(asked.view, solid):
            return json_answer({})
        return json_answer(_block(asked.view, number))

    return answer


def _infos(asked: Asked) -> Answer:
    """What the transactions of a block did, with their logs (addresses without 41)."""
    number = int(_given(asked, "num") or 0)
    if not 0 < number <= chain.height(asked.view):
        return json_answer([])
    view = asked.view
    rows = []
    for index, sender, receiver, amount in chain.transfers(view, number):
        log = {
            "address": _USDT_HEX[2:],
            "topics": [_TRANSFER_TOPIC, f"{sender:0>64}", f"{receiver:0>64}"],
            "data": f"{view.amount(amount):064x}",
        }
        rows.append({"id": chain.txid(view.seed, number, index), "blockNumber": number,
                     "blockTimeStamp": chain.time_ms(number), "receipt": {"result": "SUCCESS"},
                     "log": [log]})  # fmt: skip
    return json_answer(rows)


def _parameters(asked: Asked) -> Answer:
    price = asked.view.amount(_ENERGY_SUN)
    rows = [
        {"key": "getMaintenanceTimeInterval", "value": 21_600_000},
        {"key": "getEnergyFee", "value": price},
        {"key": "getTransactionFee", "value": 1000},
    ]
    return json_answer({"chainParameter": rows})


def _energy_prices(asked: Asked) -> Answer:
    return json_answer({"prices": f"0:420,1542607200000:{asked.view.amount(_ENERGY_SUN)}"})


# --- TronGrid's own API


def _grid_routes() -> list[Route]:
    return [
        get("/v1/accounts/(?P<address>[^/]+)", _grid_account),
        get("/v1/contracts/(?P<contract>[^/]+)/events", _grid_events),
        get("/v1/blocks/(?P<number>[0-9]+|latest)/events", _grid_events),
    ]


def _grid_account(asked: Asked) -> Answer:
    hashed = chain.hashed_of(asked.words["address"])
    if hashed is None:
        body = {"success": False, "error": "A valid account address is required.",
                "statusCode": 400}  # fmt: skip
        return json_answer(body, 400)
    view = asked.view
    held = view.amount(chain.balance_sun(view.seed, hashed))
    rows = [{"address": f"41{hashed}", "balance": held}] if held and not view.lies.blank else []
    meta = {"at": view.now_ms, "page_size": len(rows)}
    return json_answer({"data": rows, "success": True, "meta": meta})


def _grid_events(asked: Asked) -> Answer:
    """Transfers of USDT: of one block, or of the newest between two times."""
    view, query = asked.view, asked.query
    wanted = asked.words.get("contract")
    newest = chain.height(view, solid=query.get("only_confirmed") == "true")
    limit = min(int(query.get("limit", "20") or 20), 200)
    number = asked.words.get("number") or query.get("block_number")
    if number:
        numbers = [newest if number == "latest" else int(number)]
        numbers = [each for each in numbers if each <= newest]
    else:
        numbers = _numbers_between(query, newest, limit)
    rows = [
        _grid_event(view, each, index, sender, receiver, amount)
        for each in (numbers if wanted in (None, TRON_USDT) else [])
        for index, sender, receiver, amount in chain.transfers(view, each)
    ]
    meta: dict[str, Any] = {"at": view.now_ms, "page_size": len(rows[:limit])}
    return json_answer({"data": rows[:limit], "success": True, "meta": meta})


def _numbers_between(query: Any, newest: int, limit: int) -> list[int]:
    def number_at(name: str, default: int) -> int:
        if name not in query:
            return default
        return chain.HEIGHT + (int(query[name]) - REFERENCE_MS) // chain.BLOCK_MS

    last = min(number_at("max_block_timestamp", newest), newest)
    first = max(number_at("min_block_timestamp", last - limit), last - 2000)
    ascending = "asc" in query.get("order_by", "")
    numbers = list(range(first, last + 1))
    return numbers[:limit] if ascending else numbers[::-1][:limit]


def _grid_event(
    view: View, number: int, index: int, sender: str, receiver: str, amount: int
) -> dict[str, Any]:
    told = str(view.amount(amount))
    result = {"from": f"0x{sender}", "to": f"0x{receiver}", "value": told,
              "0": f"0x{sender}", "1": f"0x{receiver}", "2": told}  # fmt: skip
    return {
        "block_number": number, "block_timestamp": chain.time_ms(number),
        "caller_contract_address": TRON_USDT, "contract_address": TRON_USDT, "event_index": 0,
        "event_name": "Transfer", "result": result,
        "event": "Transfer(address indexed from, address indexed to, uint256 value)",
        "transaction_id": chain.txid(view.seed, number, index),
    }  # fmt: skip


# --- TronScan, JSON-RPC


def _scan_account(asked: Asked) -> Answer:
    hashed = chain.hashed_of(asked.query.get("address", ""))
    if hashed is None:
        return json_answer({"message": "some parameters are invalid or out of range"}, 400)
    view = asked.view
    held = view.amount(chain.balance_sun(view.seed, hashed))
    address = chain.as_base58(hashed)
    body = {"address": address, "balance": held, "totalFrozen": 0, "activated": bool(held),
            "date_created": 1_600_000_000_000, "withPriceTokens": []}  # fmt: skip
    return json_answer(body)


def _scan_transfers(asked: Asked) -> Answer:
    view = asked.view
    newest = chain.height(view, solid=True)
    limit = min(int(asked.query.get("limit", "20") or 20), 50)
    rows = [
        {
            "transaction_id": chain.txid(view.seed, number, index), "block": number,
            "block_ts": chain.time_ms(number), "from_address": chain.as_base58(sender),
            "to_address": chain.as_base58(receiver),
            "contract_address": TRON_USDT, "quant": str(view.amount(amount)), "confirmed": True,
            "finalResult": "SUCCESS", "event_type": "Transfer",
            "tokenInfo": {"tokenId": TRON_USDT, "tokenAbbr": "USDT", "tokenDecimal": 6},
        }
        for number in range(newest, newest - limit, -1)
        for index, sender, receiver, amount in chain.transfers(view, number)
    ]  # fmt: skip
    return json_answer({"total": 10000, "rangeTotal": 10000, "token_transfers": rows[:limit]})


def _json_rpc(asked: Asked) -> Answer:
    view = asked.view

    def call(method: str, parameters: Any) -> Any:
        match method:
            case "eth_chainId":
                return hex(view.lies.chain_id or _CHAIN_ID)
            case "eth_blockNumber":
                return hex(chain.height(view))
            case "eth_gasPrice":
                return hex(view.amount(_ENERGY_SUN))
            case "eth_getBalance":
                hashed = chain.hashed_of(str(parameters[0])) if parameters else None
                if hashed is None:
                    raise RpcError(-32602, "invalid address hash value")
                return hex(view.amount(chain.balance_sun(view.seed, hashed)))
            case "eth_getBlockByNumber":
                tag = str(parameters[0]) if parameters else "latest"
                number = int(tag, 16) if tag.startswith("0x") else chain.height(view)
                if number > chain.height(view):
                    return None
                return {
                    "number": hex(number), "hash": f"0x{chain.block_id(view.seed, number)}",
                    "timestamp": hex(chain.time_ms(number) // 1000), "transactions": [],
                }  # fmt: skip
        raise RpcError(-32601, f"the method {method} does not exist/is not available")

    return call_all(asked, call)
