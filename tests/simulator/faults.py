"""Injects a fault into a simulator."""

from typing import Any

from tests.fixtures.simulator import Simulator


def fault(simulator: Simulator, kind: str, **settings: object) -> Any:
    return simulator.post("/sim/faults", {"kind": kind, **settings})
