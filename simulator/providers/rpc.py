"""JSON-RPC over HTTP: single calls and batches, and the sites of the EVM nodes, keyed and not."""

import re
from collections.abc import Callable
from typing import Any, Final

from simulator.answers import Answer
from simulator.providers import dialects
from simulator.providers.asked import Asked, json_answer
from simulator.providers.chains import ALCHEMY, ANKR, CHAINS, INFURA, NODEREAL, NODES, EvmChain
from simulator.providers.evm_node import EvmNode, Habits, RpcError
from simulator.providers.sites import Answering, Route, Site, Window, get, post

Calling = Callable[[str, Any], Any]
_MOST_IN_BATCH: Final = 100
_NO_STATE: Final = (-32002, "No state available for block")
_PRE_BEDROCK: Final = (
    -32801, "no historical RPC is available for this historical (pre-bedrock) execution request"
)  # fmt: skip
# What nodes of these hosts do otherwise; the first pattern that fits counts.
_HABITS: Final = (
    (re.compile(r"bsc-dataseed"), Habits(logs=0)),
    (re.compile(r"1rpc\.io"), Habits(logs=1000)),
    (re.compile(r"meowrpc"), Habits(batches=False)),
    (re.compile(r"cloudflare-eth"), Habits(batches=False, calls=False)),
    (re.compile(r"publicnode"), Habits(logs=50_000)),
    (re.compile(r"tenderly|infura|alchemy|ankr|drpc"), Habits(archive=True)),
    (re.compile(r"optimism"), Habits(pruned=_PRE_BEDROCK)),
    (re.compile(r""), Habits(pruned=_NO_STATE)),
)


def call_all(asked: Asked, call: Calling, *, batches: bool = True, fixed_id: Any = None) -> Answer:
    """Answers the calls of a request; `fixed_id`: that of all answers, whatever was sent."""
    value = asked.json()
    if isinstance(value, list):
        if not batches or not 1 <= len(value) <= _MOST_IN_BATCH:
            error = {"code": -32600, "message": "batch requests are not supported"}
            return json_answer({"jsonrpc": "2.0", "id": None, "error": error})
        return json_answer([_one(each, call, fixed_id) for each in value])
    if value is None:
        error = {"code": -32700, "message": "parse error"}
        return json_answer({"jsonrpc": "2.0", "id": None, "error": error}, 400)
    return json_answer(_one(value, call, fixed_id))


def _one(value: Any, call: Calling, fixed_id: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("method"), str):
        error = {"code": -32600, "message": "invalid request"}
        return {"jsonrpc": "2.0", "id": None, "error": error}
    head = {"jsonrpc": "2.0", "id": value.get("id") if fixed_id is None else fixed_id}
    try:
        return {**head, "result": call(value["method"], value.get("params", []))}
    except RpcError as error:
        return {**head, "error": error.error}


def node(chain: EvmChain, habits: Habits) -> Answering:
    """Answers as a node of this chain."""

    def answer(asked: Asked) -> Answer:
        found = EvmNode(asked.view, chain, habits)
        return call_all(asked, found.answer, batches=habits.batches)

    return answer


def habits_of(host: str) -> Habits:
    return next(habits for pattern, habits in _HABITS if pattern.search(host))


def node_sites() -> list[Site]:
    """All nodes of EVM chains, each host one site."""
    paths: dict[str, list[tuple[str, EvmChain]]] = {}
    for chain_id, nodes in NODES.items():
        for address in nodes.split():
            host, _, path = address.partition("/")
            paths.setdefault(host, []).append((path, CHAINS[chain_id]))
    sites = [
        Site(
            host, (host,),
            [post(f"/{re.escape(path)}/?", node(chain, habits_of(host))) for path, chain in served],
            limits=(Window(10_000, 300),) if "bnbchain" in host else (),
            errors=dialects.BSC if "bsc-dataseed" in host else dialects.JSON_RPC,
        )
        for host, served in paths.items()
    ]  # fmt: skip
    return [*sites, *_keyed_sites()]


def _keyed_sites() -> list[Site]:
    infura = [
        Site(f"infura {net}", (f"{net}.infura.io",), [post("/v3/[^/]+", node(chain, Habits()))],
             errors=dialects.INFURA)
        for net, chain in _named(INFURA)
    ]  # fmt: skip
    alchemy = [
        Site(f"alchemy {net}", (f"{net}.g.alchemy.com",),
             [post("/v2/[^/]+", node(chain, Habits(archive=True)))], errors=dialects.ALCHEMY)
        for net, chain in _named(ALCHEMY)
    ]  # fmt: skip
    nodereal = [
        Site(f"nodereal {net}", (f"{net}.nodereal.io",),
             [post("/v1/[^/]+", node(chain, Habits(pruned=_PRE_BEDROCK)))],
             errors=dialects.JSON_RPC)
        for net, chain in _named(NODEREAL)
    ]  # fmt: skip
    return [*infura, *alchemy, *nodereal]


def _named(networks: Any) -> list[tuple[str, EvmChain]]:
    return [(net, CHAINS[chain_id]) for net, chain_id in networks.items()]


def ankr_routes() -> list[Route]:
    """Ankr's EVM nodes by name; without a key they refuse."""

    def refused(asked: Asked) -> Answer:
        return dialects.JSON_RPC["key_rejected"].answer()

    routes: list[Route] = []
    for net, chain in _named(ANKR):
        routes.append(post(f"/{net}/[^/]+", node(chain, Habits(archive=True))))
        routes += [post(f"/{net}/?", refused), get(f"/{net}/?", refused)]
    return routes
