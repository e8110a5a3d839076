"""What networks in front of the exchanges answer, and answers that are too much for a client."""

import json
import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.fixtures.simulator import Simulator
from tests.simulator.faults import fault

KLINES = "/fapi/v1/klines?symbol=BTCUSDT&interval=4h&limit=20"
KLINE = "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=240&limit=20"


@pytest.mark.parametrize("path", [KLINES, KLINE])
def test_a_challenge_for_one_market(sim: Simulator, path: str) -> None:
    fault(sim, "challenge", symbol="BTCUSDT")
    status, headers, body = sim.full("GET", path)
    assert (status, headers["Content-Type"]) == (403, "text/html")
    assert b"Just a moment" in body
    assert sim.full("GET", path.replace("BTCUSDT", "ETHUSDT"))[0] == 200
    sim.delete("/sim/faults")
    fault(sim, "challenge", variant="denied", status=200)
    status, _, body = sim.full("GET", path)
    assert status == 200
    assert b"Access Denied" in body


@pytest.mark.parametrize(
    ("variant", "status", "text"),
    [
        ("cloudfront", 503, b"exceeded the limit on requests per second"),
        ("cloudflare", 429, b"Error 1015"),
        ("forbidden", 403, b"Rate limited"),
    ],
)
def test_a_network_that_lets_through_so_many_a_second(
    sim: Simulator, variant: str, status: int, text: bytes
) -> None:
    fault(sim, "too_fast", per_s=2, variant=variant)
    began = time.monotonic()
    found = [sim.full("GET", KLINES) for _ in range(4)]
    if time.monotonic() - began < 1:  # else a busy machine was slow enough
        assert [answer[0] for answer in found] == [200, 200, status, status]
        assert text in found[-1][2]


def test_a_pace_is_a_number_and_a_variant_known(sim: Simulator) -> None:
    for settings in ({"per_s": "5"}, {"variant": "akamai"}):
        status, _, body = sim.full(
            "POST", "/sim/faults", json_body={"kind": "too_fast", **settings}
        )
        assert status == 400, body


@pytest.mark.parametrize("path", [KLINES, KLINE])
def test_a_value_that_is_nested_too_deeply(sim: Simulator, path: str) -> None:
    fault(sim, "deep_nesting", symbol="BTCUSDT", count=1)
    status, _, body = sim.full("GET", path)
    assert status == 200
    assert b"[" * 100_000 + b"]" * 100_000 in body
    with pytest.raises(RecursionError):
        json.loads(body)


@pytest.mark.parametrize("path", [KLINES, KLINE])
def test_a_message_of_any_length(sim: Simulator, path: str) -> None:
    fault(sim, "long_message", rows=60_000)
    _, _, body = sim.full("GET", path)
    error = json.loads(body)
    assert len(error.get("msg") or error["retMsg"]) == 60_000


def test_informational_answers_without_end(sim: Simulator) -> None:
    fault(sim, "endless_continue", symbol="BTCUSDT", seconds=0.3)
    with socket.create_connection(("127.0.0.1", urlsplit(sim.base_url).port or 0), 10) as wire:
        wire.sendall(f"GET {KLINES} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = b""
        while piece := wire.recv(100_000):
            received += piece
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\n" * 200)
