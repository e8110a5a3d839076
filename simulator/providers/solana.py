"""Simulated nodes of Solana: JSON-RPC with slots, balances and the few calls that reads need."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import base58

from simulator.answers import Answer
from simulator.providers import dialects
from simulator.providers.asked import Asked, View
from simulator.providers.chains import REFERENCE_MS
from simulator.providers.evm import digest
from simulator.providers.evm_node import RpcError
from simulator.providers.rpc import call_all
from simulator.providers.sites import Site, Window, post
from simulator.randomness import draw

_SLOT_MS: Final = 400
_SLOT: Final = 390_400_000  # at REFERENCE_MS
_SKIPPED: Final = 22_000_000  # slots without a block until then
_FINAL: Final = 32
_ADDRESS: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")
_GENESIS: Final = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"
_OTHER_GENESIS: Final = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"
_SYSTEM: Final = "11111111111111111111111111111111"


def solana_sites() -> list[Site]:
    return [
        Site("solana", ("api.mainnet-beta.solana.com",), [post("/", answer)],
             limits=(Window(100, 10),), errors=dialects.JSON_RPC),
        Site("solana publicnode", ("solana-rpc.publicnode.com",), [post("/", answer)],
             errors=dialects.JSON_RPC),
        Site("solana onfinality", ("solana.api.onfinality.io",), [post("/public", answer)],
             errors=dialects.JSON_RPC),
        Site("solana alchemy", ("solana-mainnet.g.alchemy.com",), [post("/v2/[^/]+", answer)],
             errors=dialects.ALCHEMY),
    ]  # fmt: skip


def slot(view: View) -> int:
    return max(_SLOT + (view.now_ms - REFERENCE_MS) // _SLOT_MS - view.lies.blocks, 1)


def balance_lamports(seed: int, address: str) -> int:
    """What an account holds; one in five holds nothing."""
    if draw(seed, f"solana {address}", "empty", 0, 5) == 0:
        return 0
    return int(digest(seed, "solana", address)[:10], 16)


def answer(asked: Asked) -> Answer:
    """Answers as a node."""
    return call_all(asked, caller(asked.view))


def caller(view: View) -> Callable[[str, Any], Any]:
    """Answers single calls of a node as this view sees it. They raise RpcError."""
    newest = slot(view)

    def at(value: Any, behind: int = 0) -> dict[str, Any]:
        return {"context": {"apiVersion": "3.1.11", "slot": newest - behind}, "value": value}

    def held(given: list[Any]) -> int:
        address = given[0] if given else None
        if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
            raise RpcError(-32602, "Invalid param: Invalid")
        return view.amount(balance_lamports(view.seed, address))

    def account(given: list[Any]) -> Any:
        lamports = held(given)
        entry = {"data": ["", "base64"], "executable": False, "lamports": lamports,
                 "owner": _SYSTEM, "rentEpoch": 2**64 - 1, "space": 0}  # fmt: skip
        return at(entry if lamports else None)

    def block(given: list[Any]) -> Any:
        number = int(given[0])
        if number > newest:
            raise RpcError(-32004, f"Block not available for slot {number}")
        return {
            "blockHeight": number - _SKIPPED, "blockhash": _hash(view, number),
            "parentSlot": number - 1, "blockTime": _time_s(number), "transactions": [],
        }  # fmt: skip

    def behind(given: list[Any]) -> int:
        options = given[-1] if given and isinstance(given[-1], dict) else {}
        return _FINAL if options.get("commitment", "finalized") == "finalized" else 0

    epoch = {"absoluteSlot": newest, "blockHeight": newest - _SKIPPED, "epoch": newest // 432_000,
             "slotIndex": newest % 432_000, "slotsInEpoch": 432_000}  # fmt: skip
    methods: Mapping[str, Callable[[list[Any]], Any]] = {
        "getHealth": lambda given: "ok",
        "getVersion": lambda given: {"solana-core": "3.1.11", "feature-set": 1},
        "getGenesisHash": lambda given: _OTHER_GENESIS if view.lies.chain_id else _GENESIS,
        "getSlot": lambda given: newest - behind(given),
        "getBlockHeight": lambda given: newest - _SKIPPED - behind(given),
        "getEpochInfo": lambda given: epoch,
        "getBlockTime": lambda given: _time_s(int(given[0])),
        "getBlock": block,
        "getBalance": lambda given: at(held(given), behind(given)),
        "getAccountInfo": account,
        "getLatestBlockhash": lambda given: at(
            {"blockhash": _hash(view, newest), "lastValidBlockHeight": newest - _SKIPPED + 150}
        ),
        "getSignaturesForAddress": lambda given: [],
        "getTransaction": lambda given: None,
        "getRecentPrioritizationFees": lambda given: [
            {"slot": newest - back, "prioritizationFee": view.amount(1000 + back)}
            for back in range(10)
        ],
    }

    def call(method: str, parameters: Any) -> Any:
        found = methods.get(method)
        if found is None:
            raise RpcError(-32601, "Method not found")
        try:
            return found(parameters if isinstance(parameters, list) else [])
        except (IndexError, TypeError, ValueError):
            raise RpcError(-32602, "Invalid params") from None

    return call


def _time_s(number: int) -> int:
    return (REFERENCE_MS + (number - _SLOT) * _SLOT_MS) // 1000


def _hash(view: View, number: int) -> str:
    return base58.b58encode(bytes.fromhex(digest(view.seed, "solana block", number))).decode()
