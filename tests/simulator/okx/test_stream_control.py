"""OKX's WebSockets: control messages, limits, pings and cut-offs."""

import json
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.simulator.okx.sockets import BUSINESS, PUBLIC, argument, connected

SWAP = "BTC-USDT-SWAP"
TICKERS = argument("tickers")
BARS = ("1m", "3m", "5m", "15m", "30m", "1H", "2H", "4H", "6Hutc", "12Hutc", "1Dutc", "6H", "12H",
        "1D")  # fmt: skip


@pytest.fixture(scope="module")
def _shared() -> Iterator[Simulator]:
    simulator = Simulator({"binance": 0, "bybit": 0, "okx": 3, "now": NOW_MS, "frozen": True})
    yield simulator
    simulator.stop()


@pytest.fixture
def sim(_shared: Simulator) -> Iterator[Simulator]:
    """Three swaps and their spot markets, without faults, settings and counts of earlier tests."""
    _shared.post("/sim/limits/reset")
    yield _shared
    _shared.delete("/sim/faults")
    _shared.post("/sim/streams", {"life_s": {"okx": None}})
    _shared.post("/sim/stats/reset")


async def test_one_answer_comes_for_each_argument(sim: Simulator) -> None:
    async with connected(sim) as socket:
        wanted = [argument("tickers"), argument("trades", "BTC-USDT"), argument("books5")]
        answers = await socket.subscribe(*wanted)
        assert [answer["arg"] for answer in answers] == wanted
        assert {answer["event"] for answer in answers} == {"subscribe"}
        assert {answer["id"] for answer in answers} == {"7"}
        (conn_id,) = {answer["connId"] for answer in answers}
        assert len(conn_id) == 8
        # Without an id the answers have none; a repeated subscription is acknowledged too.
        await socket.send({"op": "subscribe", "args": [argument("trades", "BTC-USDT")]})
        (*_, again) = await socket.until(lambda message: "event" in message)
        assert list(again) == ["event", "arg", "connId"]
        (gone,) = await socket.subscribe(wanted[0], op="unsubscribe")
        assert (gone["event"], gone["arg"]) == ("unsubscribe", wanted[0])
        assert sim.stats()["streams"]["okx"]["streams"] == 2


@pytest.mark.parametrize(
    "path, message, code",
    [
        (PUBLIC, "nonsense", "60012"),
        (PUBLIC, "[]", "60012"),
        (PUBLIC, '{"op":"ping"}', "60019"),
        (PUBLIC, {"op": "subscribe"}, "60012"),
        (PUBLIC, {"op": "subscribe", "argss": [TICKERS]}, "60012"),
        (PUBLIC, {"id": "no-dashes", "op": "subscribe", "args": [TICKERS]}, "60012"),
        (PUBLIC, {"id": "9" * 33, "op": "subscribe", "args": [TICKERS]}, "60012"),
        (PUBLIC, {"op": "subscribe", "args": []}, "60013"),
        (PUBLIC, {"op": "subscribe", "args": ["tickers"]}, "60013"),
        (PUBLIC, {"op": "subscribe", "args": TICKERS}, "60013"),
        (PUBLIC, {"op": "login", "args": [TICKERS]}, "60019"),
        (PUBLIC, {"op": "subscribe", "args": [{"instId": SWAP}]}, "60027"),
        (PUBLIC, {"op": "subscribe", "args": [{"channel": "tickers"}]}, "60027"),
        (PUBLIC, {"op": "subscribe", "args": [argument("tickers", "BTCUSDT")]}, "60018"),
        (PUBLIC, {"op": "subscribe", "args": [argument("candle5m")]}, "60018"),
        (BUSINESS, {"op": "subscribe", "args": [argument("tickers")]}, "60018"),
        (BUSINESS, {"op": "subscribe", "args": [argument("candle8H")]}, "60018"),
        (BUSINESS, {"op": "subscribe", "args": [argument("candle5m", "NOPE-USDT-SWAP")]}, "60018"),
        (PUBLIC, {"op": "subscribe", "args": [argument("funding-rate", "BTC-USDT")]}, "60018"),
        (PUBLIC, {"op": "unsubscribe", "args": [argument("candle5m")]}, "60018"),
        (PUBLIC, {"op": "subscribe", "args": [argument("books-l2-tbt")]}, "64003"),
        (
            PUBLIC,
            {"op": "subscribe", "args": [{"channel": "instruments", "instType": "PERP"}]},
            "60018",
        ),
    ],
)
async def test_errors(sim: Simulator, path: str, message: object, code: str) -> None:
    async with connected(sim, path) as socket:
        await socket.send(message)
        answer = await socket.receive()
        assert (answer["event"], answer["code"]) == ("error", code)
        assert "arg" not in answer
        assert answer["msg"]
        # The connection lives on.
        await socket.send("ping")
        assert await socket.receive() == "pong"


async def test_a_bad_argument_fails_alone(sim: Simulator, recorded_data: Path) -> None:
    name = "streams/okx/error_60018_candle_on_public_2026-09-25.jsonl"
    recorded = json.loads((recorded_data / name).read_text())
    async with connected(sim) as socket:
        await socket.send(
            {"op": "subscribe", "args": [argument("candle1m", "BTC-USDT"), argument("trades")]}
        )
        refused, taken = await socket.receive(), await socket.receive()
        assert refused["msg"] == recorded["msg"]
        assert list(refused) == list(recorded)
        assert taken["arg"] == argument("trades")


async def test_requests_are_counted_by_the_message(sim: Simulator) -> None:
    several = {"op": "subscribe", "args": [argument("trades", f"{coin}-USDT-SWAP")
                                           for coin in ("BTC", "ETH", "SOL")]}  # fmt: skip
    async with connected(sim) as socket:
        for _ in range(479):
            await socket.send(several)
        await socket.send({"op": "nonsense"})
        await socket.send(several)
        codes = []
        while "60014" not in codes:
            message = await socket.receive()
            codes.append(message.get("code", message["event"]))
        assert codes == ["subscribe"] * 479 * 3 + ["60019", "60014"]
        # Pings are no requests.
        await socket.send("ping")
        assert await socket.receive() == "pong"
        assert sim.stats()["limits_broken"] == {"okx stream requests": 1}
        # An hour later there is room again.
        sim.post("/sim/clock", {"pass_ms": 3_601_000})
        await socket.send({"op": "subscribe", "args": [TICKERS]})
        (*_, answer) = await socket.until(lambda message: "event" in message)
        assert (answer["event"], answer["arg"]) == ("subscribe", TICKERS)


async def test_arguments_are_too_long_together(start_simulator: StartSimulator) -> None:
    sim = start_simulator(binance=0, bybit=0, okx=110, now=NOW_MS, frozen=True)
    swaps = [one["instId"] for one in _live(sim)]
    wanted = [argument(f"candle{bar}", swap) for bar in BARS for swap in swaps]
    bytes_of = [len(json.dumps(one, separators=(",", ":"))) for one in wanted]
    fitting = next(n for n in range(len(wanted)) if sum(bytes_of[: n + 1]) > 65_536)
    assert 1_100 < fitting < len(wanted)
    async with connected(sim, BUSINESS) as socket:
        for start in range(0, fitting, 100):
            await socket.subscribe(*wanted[start : min(start + 100, fitting)])
        # What was unsubscribed leaves room.
        await socket.subscribe(wanted[0], op="unsubscribe")
        await socket.subscribe(wanted[0])
        await socket.send({"op": "subscribe", "args": [wanted[fitting]]})
        assert await socket.closed() == 4009
    assert sim.stats()["limits_broken"] == {"okx stream arguments": 1}


def _live(sim: Simulator) -> list[dict[str, str]]:
    body = sim.get("/api/v5/public/instruments", instType="SWAP")
    return [one for one in body["data"] if one["state"] == "live"]


async def test_three_connections_a_second(sim: Simulator) -> None:
    while True:
        try:
            async with connected(sim), connected(sim), connected(sim), connected(sim):
                pass
        except aiohttp.WSServerHandshakeError as error:
            assert error.status == 429
            break
        sim.post("/sim/limits/reset")  # a busy machine: they took longer than a second
    sim.post("/sim/clock", {"pass_ms": 1_000})
    async with connected(sim) as socket:
        await socket.send("ping")
        assert await socket.receive() == "pong"
    assert sim.stats()["limits_broken"] == {"okx stream connects": 1}


async def test_other_paths_are_refused(sim: Simulator) -> None:
    for path in ("/ws/v5/private", "/ws/v5/", "/ws/v5/public/x"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with connected(sim, path):
                pass
        assert refused.value.status == 404
        sim.post("/sim/limits/reset")


async def test_silence_of_30_seconds_ends_a_connection(sim: Simulator) -> None:
    async with connected(sim) as socket:
        sim.post("/sim/clock", {"pass_ms": 28_000})
        await socket.send("ping")  # the text is a sign of life
        assert await socket.receive() == "pong"
        sim.post("/sim/clock", {"pass_ms": 28_000})
        await socket.connection.ping()  # a frame is none
        sim.post("/sim/clock", {"pass_ms": 3_000})
        assert await socket.closed() == 4004
    assert sim.stats()["streams"]["okx"]["closed"] == {"4004": 1}


async def test_a_subscription_and_pushes_keep_it_open(sim: Simulator) -> None:
    listings = {"channel": "instruments", "instType": "SWAP"}
    async with connected(sim) as socket:
        sim.post("/sim/clock", {"pass_ms": 28_000})
        await socket.subscribe(listings)
        sim.post("/sim/clock", {"pass_ms": 28_000})
        await socket.subscribe(argument("open-interest"))
        for _ in range(12):
            sim.post("/sim/clock", {"pass_ms": 10_000})
            await socket.until(lambda message: message["arg"]["channel"] == "open-interest")
        await socket.subscribe(argument("open-interest"), op="unsubscribe")
        sim.post("/sim/clock", {"pass_ms": 31_000})
        assert await socket.closed() == 4004


async def test_the_end_of_a_life_is_announced(sim: Simulator) -> None:
    sim.post("/sim/streams", {"life_s": {"okx": 100}})
    async with connected(sim) as socket:
        await socket.subscribe(argument("open-interest"))
        sim.post("/sim/clock", {"pass_ms": 39_000})
        sim.post("/sim/clock", {"pass_ms": 2_000})
        (*before, notice) = await socket.until(lambda message: "event" in message)
        assert before
        assert (notice["event"], notice["code"]) == ("notice", "64008")
        assert "service upgrade" in notice["msg"]
        sim.post("/sim/clock", {"pass_ms": 25_000})
        await socket.until(lambda message: "data" in message)
        sim.post("/sim/clock", {"pass_ms": 35_000})
        assert await socket.closed() == 1001


async def test_a_scripted_cut_is_announced(sim: Simulator) -> None:
    async with connected(sim) as socket:
        sim.post(
            "/sim/faults",
            {"kind": "stream_close", "exchange": "okx", "seconds": 60, "count": 1},
        )
        sim.post("/sim/clock", {"pass_ms": 1_001})
        assert (await socket.receive())["code"] == "64008"
        sim.post("/sim/clock", {"pass_ms": 25_000})
        await socket.send("ping")
        assert await socket.receive() == "pong"
        sim.post("/sim/clock", {"pass_ms": 36_000})
        assert await socket.closed() in (1001, 4004)


@pytest.mark.parametrize("bits", [0, 9, 15])
async def test_messages_are_compressed_where_the_client_offers_it(
    sim: Simulator, bits: int
) -> None:
    async with connected(sim, compress=bits) as socket:
        assert bool(socket.connection.compress) == bool(bits)
        await socket.subscribe(argument("open-interest"), argument("funding-rate"))
        await socket.send("ping")
        await socket.until(lambda message: message == "pong")
        for _ in range(3):
            sim.post("/sim/clock", {"pass_ms": 30_000})
            (*_, message) = await socket.until(
                lambda message: message["arg"]["channel"] == "funding-rate"
            )
            assert message["data"][0]["instId"] == SWAP


async def test_silence_is_real_where_time_passes_fast(start_simulator: StartSimulator) -> None:
    """A client cannot ping a thousand times as often."""
    sim = start_simulator(binance=0, bybit=0, okx=1, now=NOW_MS, speed=1000, no_limits=True)
    async with connected(sim) as socket:
        before = sim.get("/sim/clock")["now_ms"]
        while sim.get("/sim/clock")["now_ms"] < before + 120_000:
            pass
        await socket.send("ping")
        assert await socket.receive() == "pong"
        sim.post("/sim/clock", {"pass_ms": 30_000_000})
        assert await socket.closed() == 4004
