"""Asks simulated providers over HTTP: requests with their JSON, and calls of JSON-RPC."""

import json
from typing import Any

from tests.fixtures.simulator import Simulator


def answer(simulator: Simulator, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON of a GET, or of a POST where there is a body; texts as they are."""
    method = "GET" if body is None else "POST"
    status, _, content = simulator.full(method, path, headers=headers, json_body=body)
    try:
        return status, json.loads(content)
    except ValueError:
        return status, content.decode()


def fine(simulator: Simulator, path: str, body: object = None, **headers: str) -> Any:
    """The JSON of a request that is answered with 200."""
    status, value = answer(simulator, path, body, **headers)
    assert status == 200, (path, status, value)
    return value


def call(simulator: Simulator, node: str, method: str, *parameters: object) -> Any:
    """What a node answers, result and error in one object."""
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(parameters)}
    return fine(simulator, node, body)


def result(simulator: Simulator, node: str, method: str, *parameters: object) -> Any:
    told = call(simulator, node, method, *parameters)
    assert told.keys() == {"jsonrpc", "id", "result"}, told
    assert told["id"] == 7
    return told["result"]


def add_fault(simulator: Simulator, **rule: object) -> None:
    """One rule; `kind` is its class."""
    simulator.post("/sim/providers/faults", {"class": rule.pop("kind"), **rule})
