"""Simulated Tron: TronGrid and nodes with its HTTP API and JSON-RPC, and TronScan."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import base58

from simulator.answers import Answer
from simulator.providers import dialects, evm
from simulator.providers.asked import Asked, View, json_answer
from simulator.providers.chains import REFERENCE_MS, TRON_USDT
from simulator.providers.evm_node import RpcError
from simulator.providers.rpc import call_all
from simulator.providers.sites import Route, Site, Window, get, post
from simulator.randomness import draw

_BLOCK_MS: Final = 3000
_HEIGHT: Final = 78_800_000  # at REFERENCE_MS
_SOLID: Final = 19  # blocks from the head to one that stays
_CHAIN_ID: Final = 0x2B6653DC
_SUN: Final = 1_000_000
_ENERGY_SUN: Final = 100
_USDT_DECIMALS: Final = 6
_POOL: Final = 3000
_HEX: Final = re.compile(r"(0x|41)[0-9a-fA-F]{40}")
_PARSE: Final = "class org.tron.core.services.http.JsonFormat$ParseException : INVALID hex String"
_USDT_HEX: Final = "41a614f803b6fd780986a42c78ec9c7f77e6ded13c"
_TRANSFER_TOPIC: Final = evm.TRANSFER.removeprefix("0x")


def tron_sites() -> list[Site]:
    return [
        Site("trongrid", ("api.trongrid.io",), [*_node_routes(), *_grid_routes(),
             post("/jsonrpc", _json_rpc)], errors=dialects.TRONGRID, suspends_s=30,
             limits=(Window(15, 1),)),
        Site("tron publicnode", ("tron-rpc.publicnode.com",),
             [*_node_routes(), post("/jsonrpc", _json_rpc)], errors=dialects.TRONGRID),
        Site("tron drpc", ("tron.drpc.org",), [post("/(jsonrpc)?", _json_rpc)],
             errors=dialects.JSON_RPC),
        Site("tron pocket", ("tron.api.pocket.network",), [post("/(jsonrpc)?", _json_rpc)],
             errors=dialects.JSON_RPC),
        Site("tronstack", ("api.tronstack.io",),
             [*_node_routes(), post("/jsonrpc", _json_rpc)], errors=dialects.TRONGRID),
        Site("tronscan", ("apilist.tronscanapi.com",),
             [get("/api/accountv2", _scan_account),
              get("/api/token_trc20/transfers", _scan_transfers)],
             keys=("header:TRON-PRO-API-KEY",), keyless=False, errors=dialects.TRONGRID),
    ]  # fmt: skip


def account_routes(prefix: str) -> list[Route]:
    """The balance of an account, behind a path of another vendor."""
    return [post(f"{prefix}/wallet/getaccount", _account)]


# --- the chain


def height(view: View, solid: bool = False) -> int:
    number = _HEIGHT + (view.now_ms - REFERENCE_MS) // _BLOCK_MS
    return max(number - view.lies.blocks - (_SOLID if solid else 0), 1)


def _time_ms(number: int) -> int:
    return REFERENCE_MS + (number - _HEIGHT) * _BLOCK_MS


def _block_id(seed: int, number: int) -> str:
    return f"{number:016x}{evm.digest(seed, 'tron', number)[:48]}"


def _txid(seed: int, number: int, index: int) -> str:
    return f"{evm.digest(seed, 'tron', number, index)[:44]}{index:04x}{number:016x}"


def _hashed(seed: int, kind: str, key: int) -> str:
    """The 20 bytes, as hex, of one of many accounts."""
    pool = draw(seed, "tron", kind, key, _POOL)
    return evm.digest(seed, "tron account", pool)[:40]


def as_base58(hashed: str) -> str:
    return base58.b58encode_check(bytes.fromhex(f"41{hashed}")).decode()


def _transfers(view: View, number: int) -> list[tuple[int, str, str, int]]:
    """The USDT that a block moved: index, sender and receiver (20 bytes as hex), amount."""
    seed = view.seed
    found = []
    for index in range(2):
        key = number * 4 + index
        whale = draw(seed, "tron", "whale", key, 80) == 0
        usd = (
            1_000_000 + draw(seed, "tron", "size", key, 30_000_000)
            if whale
            else (10 + draw(seed, "tron", "size", key, 90_000))
        )
        sender, receiver = _hashed(seed, "sender", key), _hashed(seed, "receiver", key)
        found.append((index, sender, receiver, usd * 10**_USDT_DECIMALS))
    return found


def balance_sun(seed: int, hashed: str) -> int:
    """What an account holds; one in five has never been used."""
    if draw(seed, f"tron {hashed}", "empty", 0, 5) == 0:
        return 0
    return int(evm.digest(seed, "tron", hashed)[:10], 16)


def hashed_of(address: str) -> str | None:
    """The 20 bytes, as hex, of an address in any of its forms; None if it is none."""
    if _HEX.fullmatch(address):
        return address[2:].lower()
    try:
        raw: bytes = base58.b58decode_check(address)
    except ValueError:
        return None
    return raw.hex()[2:] if len(raw) == 21 and raw[0] == 0x41 else None


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
    hashed = hashed_of(address)
    if hashed is None or visible == bool(_HEX.fullmatch(address)):
        return json_answer({"Error": _PARSE})
    view = asked.view
    held = view.amount(balance_sun(view.seed, hashed))
    if not held or view.lies.blank:
        return json_answer({})
    shown = as_base58(hashed) if visible else f"41{hashed}"
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
    for index, sender, _, _ in _transfers(view, number):
        value: dict[str, Any] = {"owner_address": f"41{sender}", "contract_address": _USDT_HEX}
        sent.append(_sent(seed, number, index, "TriggerSmartContract", value))
    if draw(seed, "tron", "native", number, 9) == 0:
        sun = (5 + draw(seed, "tron", "native size", number, 20_000_000)) * _SUN
        sender, receiver = (_hashed(seed, kind, number) for kind in ("sender", "receiver"))
        value = {"amount": view.amount(sun), "owner_address": f"41{sender}",
                 "to_address": f"41{receiver}"}  # fmt: skip
        sent.append(_sent(seed, number, 9, "TransferContract", value))
    header = {"number": number, "timestamp": _time_ms(number),
              "parentHash": _block_id(seed, number - 1)}  # fmt: skip
    return {"blockID": _block_id(seed, number), "block_header": {"raw_data": header},
            "transactions": sent}  # fmt: skip


def _sent(
    seed: int, number: int, index: int, kind: str, value: Mapping[str, Any]
) -> dict[str, Any]:
    raw = {
        "contract": [{"type": kind, "parameter": {"value": value}}],
        "timestamp": _time_ms(number),
    }
    result = [{"contractRet": "SUCCESS"}]
    return {"txID": _txid(seed, number, index), "ret": result, "raw_data": raw}


def _now_block(solid: bool) -> Callable[[Asked], Answer]:
    return lambda asked: json_answer(_block(asked.view, height(asked.view, solid)))


def _block_by_number(solid: bool) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        number = int(_given(asked, "num") or 0)
        if not 0 < number <= height(asked.view, solid):
            return json_answer({})
        return json_answer(_block(asked.view, number))

    return answer


def _infos(asked: Asked) -> Answer:
    """What the transactions of a block did, with their logs (addresses without 41)."""
    number = int(_given(asked, "num") or 0)
    if not 0 < number <= height(asked.view):
        return json_answer([])
    view = asked.view
    rows = []
    for index, sender, receiver, amount in _transfers(view, number):
        log = {
            "address": _USDT_HEX[2:],
            "topics": [_TRANSFER_TOPIC, f"{sender:0>64}", f"{receiver:0>64}"],
            "data": f"{view.amount(amount):064x}",
        }
        rows.append({"id": _txid(view.seed, number, index), "blockNumber": number,
                     "blockTimeStamp": _time_ms(number), "receipt": {"result": "SUCCESS"},
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
    hashed = hashed_of(asked.words["address"])
    if hashed is None:
        body = {"success": False, "error": "A valid account address is required.",
                "statusCode": 400}  # fmt: skip
        return json_answer(body, 400)
    view = asked.view
    held = view.amount(balance_sun(view.seed, hashed))
    rows = [{"address": f"41{hashed}", "balance": held}] if held and not view.lies.blank else []
    meta = {"at": view.now_ms, "page_size": len(rows)}
    return json_answer({"data": rows, "success": True, "meta": meta})


def _grid_events(asked: Asked) -> Answer:
    """Transfers of USDT: of one block, or of the newest between two times."""
    view, query = asked.view, asked.query
    wanted = asked.words.get("contract")
    newest = height(view, solid=query.get("only_confirmed") == "true")
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
        for index, sender, receiver, amount in _transfers(view, each)
    ]
    meta: dict[str, Any] = {"at": view.now_ms, "page_size": len(rows[:limit])}
    return json_answer({"data": rows[:limit], "success": True, "meta": meta})


def _numbers_between(query: Any, newest: int, limit: int) -> list[int]:
    def number_at(name: str, default: int) -> int:
        if name not in query:
            return default
        return _HEIGHT + (int(query[name]) - REFERENCE_MS) // _BLOCK_MS

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
        "block_number": number, "block_timestamp": _time_ms(number),
        "caller_contract_address": TRON_USDT, "contract_address": TRON_USDT, "event_index": 0,
        "event_name": "Transfer", "result": result,
        "event": "Transfer(address indexed from, address indexed to, uint256 value)",
        "transaction_id": _txid(view.seed, number, index),
    }  # fmt: skip


# --- TronScan, JSON-RPC


def _scan_account(asked: Asked) -> Answer:
    hashed = hashed_of(asked.query.get("address", ""))
    if hashed is None:
        return json_answer({"message": "some parameters are invalid or out of range"}, 400)
    view = asked.view
    held = view.amount(balance_sun(view.seed, hashed))
    address = as_base58(hashed)
    body = {"address": address, "balance": held, "totalFrozen": 0, "activated": bool(held),
            "date_created": 1_600_000_000_000, "withPriceTokens": []}  # fmt: skip
    return json_answer(body)


def _scan_transfers(asked: Asked) -> Answer:
    view = asked.view
    newest = height(view, solid=True)
    limit = min(int(asked.query.get("limit", "20") or 20), 50)
    rows = [
        {
            "transaction_id": _txid(view.seed, number, index), "block_ts": _time_ms(number),
            "from_address": as_base58(sender), "to_address": as_base58(receiver), "block": number,
            "contract_address": TRON_USDT, "quant": str(view.amount(amount)), "confirmed": True,
            "finalResult": "SUCCESS", "event_type": "Transfer",
            "tokenInfo": {"tokenId": TRON_USDT, "tokenAbbr": "USDT", "tokenDecimal": 6},
        }
        for number in range(newest, newest - limit, -1)
        for index, sender, receiver, amount in _transfers(view, number)
    ]  # fmt: skip
    return json_answer({"total": 10000, "rangeTotal": 10000, "token_transfers": rows[:limit]})


def _json_rpc(asked: Asked) -> Answer:
    view = asked.view

    def call(method: str, parameters: Any) -> Any:
        match method:
            case "eth_chainId":
                return hex(view.lies.chain_id or _CHAIN_ID)
            case "eth_blockNumber":
                return hex(height(view))
            case "eth_gasPrice":
                return hex(view.amount(_ENERGY_SUN))
            case "eth_getBalance":
                hashed = hashed_of(str(parameters[0])) if parameters else None
                if hashed is None:
                    raise RpcError(-32602, "invalid address hash value")
                return hex(view.amount(balance_sun(view.seed, hashed)))
            case "eth_getBlockByNumber":
                tag = str(parameters[0]) if parameters else "latest"
                number = int(tag, 16) if tag.startswith("0x") else height(view)
                if number > height(view):
                    return None
                return {"number": hex(number), "hash": f"0x{_block_id(view.seed, number)}",
                        "timestamp": hex(_time_ms(number) // 1000), "transactions": []}  # fmt: skip
        raise RpcError(-32601, f"the method {method} does not exist/is not available")

    return call_all(asked, call)
