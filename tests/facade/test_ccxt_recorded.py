"""What ccxt reads from OKX's recorded answers is what we read from them."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from market.markets import Exchange, Market
from tests.facade.test_ccxt import run
from tests.fixtures.proxies import serving
from venues import VENUES
from venues.reading import AnswerFaults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
OKX: Final = VENUES[Exchange.OKX]
MARKET: Final = Market(Exchange.OKX, "BTCUSDT", "BTC", "USDT", native="BTC-USDT-SWAP")
LIST: Final = "rest_instruments_SWAP_2022-05-13.json.gz"
SETTLED: Final = "doc_http_get_funding_rate_history.json"
CANDLES: Final = (
    ("rest_candles_5m_BTC-USDT-SWAP_2026-09-23.json", "5m"),
    ("rest_candles_1H_BTC-USDT_2024-01-30.json", "1h"),
    ("doc_http_get_candlesticks.json", "1m"),
    ("doc_http_get_candlesticks_full.json", "1m"),
)
LENGTHS_MS: Final = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000}


@pytest.fixture
def bodies(recorded_data: Path) -> dict[str, bytes]:
    """The recorded answers by their file's name."""
    folder = recorded_data / "streams" / "okx"
    if not folder.is_dir():
        pytest.skip("no recorded streams in RECORDED_DATA")
    names = [SETTLED, *(name for name, _ in CANDLES)]
    found = {name: (folder / name).read_bytes() for name in names}
    return found | {LIST: gzip.decompress((folder / LIST).read_bytes())}


def file_of(path: str) -> str:
    """Which of them answers a path."""
    ends = {"instruments": LIST, "funding-rate-history": SETTLED}
    return ends.get(path.rsplit("/", 1)[-1], path.split("/")[1])


def faults(endpoint: str) -> AnswerFaults:
    return AnswerFaults(Exchange.OKX, endpoint, MARKET.symbol)


def candles(body: bytes, timeframe: str) -> Iterator[list[float]]:
    """By time, as ccxt has them: time, open, high, low, close and coins."""
    read = OKX.read_klines(body, MARKET, LENGTHS_MS[timeframe], faults("klines"))
    yield from sorted([cells[0], *map(float, cells[1:6])] for cells in map(list[Any], read))


async def test_ccxt_reads_the_recorded_answers_as_we_do(
    bodies: dict[str, bytes], bench_python: Path
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = bodies[file_of(head.split(b" ")[1].decode().partition("?")[0])]
        lines = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        writer.write(b"%bContent-Length: %d\r\n\r\n%b" % (lines, len(body), body))
        await writer.drain()

    async with serving(answer) as port:
        address = f"http://127.0.0.1:{port}"
        told = await run(bench_python, "read_okx_ccxt.py", address, json.dumps(CANDLES))
    for name, timeframe in CANDLES:
        ours = list(candles(bodies[name], timeframe))
        assert len(ours) >= 2
        assert told["candles"][name] == ours, name
    settled = OKX.read_funding(bodies[SETTLED], faults("funding"))
    assert told["funding"] == sorted([each.time_ms, each.rate] for each in settled)
    listed = OKX.read_instruments(bodies[LIST], "USDT", faults("instruments")).rows
    sizes = {each.market.native: each.market.contract_size for each in listed}
    assert len(sizes) > 100
    assert told["markets"] == sizes
