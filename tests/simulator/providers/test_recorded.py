"""Recorded bodies of providers: sent for the very requests that they were recorded for."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.providers.recorded import RecordedBodies
from tests.fixtures.simulator import Simulator
from tests.simulator.providers.asking import add_fault, fine


@pytest.fixture(scope="module")
def recorded(recorded_data: Path) -> Iterator[Simulator]:
    simulator = Simulator(
        {"providers": True, "recorded": recorded_data, "binance": 0, "bybit": 0, "no_limits": True}
    )
    yield simulator
    simulator.stop()


def test_each_body_answers_its_request(recorded: Simulator, recorded_data: Path) -> None:
    recordings = RecordedBodies(recorded_data / "providers").recordings
    assert len(recordings) > 60
    seen: set[str] = set()
    for each in recordings:
        asked = f"{each.host}{each.path}{sorted(each.query.items())}{each.call}"
        if not each.host or asked in seen:  # the manifest has a few requests twice
            continue
        seen.add(asked)
        body = None
        if each.call is not None:
            method, given = each.call
            body = {"jsonrpc": "2.0", "id": 99, "method": method, "params": given}
            body = body if method else given
        status, _, content = recorded.full(
            each.method, f"/{each.host}{each.path}", query=each.query, json_body=body
        )
        told = each.file.read_bytes()
        assert status == each.status, each.file.name
        if each.call is None or not each.call[0]:
            assert content == told, each.file.name
        else:
            expected = json.loads(told)
            assert json.loads(content) == expected | {"id": 99}, each.file.name
    assert len(seen) > 50


def test_any_body_of_the_manifest_for_any_request(recorded: Simulator, recorded_data: Path) -> None:
    with (recorded_data / "providers" / "manifest.csv").open(encoding="utf-8") as manifest:
        names = [row["file"] for row in csv.DictReader(manifest)]
    for name in (names[0], names[-1], "etherscan_v2_error_rate-limit.json"):
        add_fault(recorded, kind="recorded", file=name, host="api.coinlore.net", count=1)
        content = recorded.full("GET", "/api.coinlore.net/api/ticker/?id=90")[2]
        assert content == (recorded_data / "providers" / name).read_bytes()


def test_other_requests_are_answered_as_always(recorded: Simulator) -> None:
    told = fine(recorded, "/api.alternative.me/fng/?limit=3")
    assert len(told["data"]) == 3
