"""The program: its ready line, its end, its options, its clock."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from simulator.__main__ import main
from tests.fixtures.signals import until_now
from tests.fixtures.simulator import NOW_MS, Simulator

_ROOT = Path(__file__).resolve().parents[2]


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "simulator", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once(start_simulator: Any, number: signal.Signals) -> None:
    simulator: Simulator = start_simulator(binance=1, bybit=1)
    simulator.post("/sim/faults", {"kind": "hold"})
    # A request that is held must not hold up the end.
    address = urlsplit(simulator.base_url)
    with socket.create_connection((address.hostname, address.port or 0)) as connection:
        connection.sendall(b"GET /fapi/v1/time HTTP/1.1\r\nHost: x\r\n\r\n")
        assert simulator.get("/sim/held")["held"] == 1
        simulator.process.send_signal(number)
        assert simulator.process.wait(5) == 0


def test_it_ends_with_its_parent(start_simulator: Any) -> None:
    simulator: Simulator = start_simulator(binance=1, bybit=1)
    simulator.process.close_parent_pipe()
    assert simulator.process.wait(10) == 0


def test_wrong_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, word in (
        (["--binance", "2001"], "2000"),
        (["--latency-ms", "-4"], "at least 0"),
        (["--latency-ms", "nan"], "at least 0"),
        (["--latency-ms", "inf"], "at least 0"),
        (["--grace-seconds", "-1"], "at least 0"),
        (["--now", "tomorrow"], "2026-03-01T23:58:30Z"),
        (["--parent-fd", "99999"], "pipe"),
        (["--parent-fd", "9" * 30], "pipe"),
        (["--faults", "{"], "JSON"),
        (["--faults", '{"kind":"x"}'], "kind"),
        (["--recorded", "/does/not/exist"], "/does/not/exist"),
    ):
        monkeypatch.setattr(sys, "argv", ["simulator", "--port", "0", *arguments])
        try:
            code: object = main()
        except SystemExit as ended:
            code = ended.code
        assert code == 2, arguments
        said = capsys.readouterr().err
        assert word in said
        assert "Traceback" not in said


def test_help_is_for_users() -> None:
    done = _run("--help")
    assert done.returncode == 0
    for word in ("BINANCE_BASE_URL", "--recorded", "--latency-ms", "--no-limits", "--faults"):
        assert word in done.stdout


def test_an_occupied_port(start_simulator: Any) -> None:
    simulator: Simulator = start_simulator(binance=1, bybit=1)
    done = _run("--port", simulator.base_url.rpartition(":")[2])
    assert done.returncode == 1
    assert "simulator:" in done.stderr
    assert "Traceback" not in done.stderr


def test_latency(start_simulator: Any) -> None:
    simulator: Simulator = start_simulator(binance=1, bybit=1, latency_ms=200)
    started = time.monotonic()
    simulator.get("/fapi/v1/time")
    assert time.monotonic() - started >= 0.2


def test_the_clock_flows_freezes_and_jumps(start_simulator: Any) -> None:
    simulator: Simulator = start_simulator(binance=1, bybit=1, now=NOW_MS)
    first = simulator.get("/fapi/v1/time")["serverTime"]
    assert NOW_MS <= first < NOW_MS + 60_000
    until_now(lambda: simulator.get("/fapi/v1/time")["serverTime"] > first)
    frozen = simulator.post("/sim/clock", {"frozen": True})
    assert frozen["frozen"] is True
    assert simulator.get("/fapi/v1/time")["serverTime"] == frozen["now_ms"]
    moved = simulator.post("/sim/clock", {"advance_ms": 1000})
    assert moved["now_ms"] == frozen["now_ms"] + 1000
    simulator.post("/sim/clock", {"now_ms": NOW_MS, "frozen": False})
    assert NOW_MS <= simulator.get("/fapi/v1/time")["serverTime"] < NOW_MS + 60_000
    status, _, _ = simulator.full("POST", "/sim/clock", json_body={"skew_ms": {"kraken": 1}})
    assert status == 400


def test_real_time_is_the_default(start_simulator: Any) -> None:
    simulator: Simulator = start_simulator(binance=1, bybit=1)
    shown = simulator.get("/fapi/v1/time")["serverTime"]
    assert abs(shown - time.time() * 1000) < 5000


def test_it_explains_itself(start_simulator: Any) -> None:
    simulator: Simulator = start_simulator(binance=1, bybit=1)
    status, headers, body = simulator.full("GET", "/")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert b"/sim/truth" in body
