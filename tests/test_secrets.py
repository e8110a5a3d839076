"""No part of a secret leaves the program: not with dead servers, not with repeating ones."""

import asyncio
import base64
import contextlib
import json
import re
import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.fixtures.service import ServiceSettings, StartService
from tests.fixtures.simulator import StartSimulator

# Letters that no ordinary word has in this order, and signs that need encoding.
REDIS, DATABASE = "Xqzj/Vwkf@Zxqj", "Kqxz#Wvjq?Fzkx"
EXCHANGE, UPSTASH = "Wzqx/Jkvf%Qxzv", "Jxqv.Zkwq-Vfxz"
CRON, API, READ = "Qkzv-Xjwq-Zvfk", "Vqxk-Wjzq-Kfxv", "Zwxq-Kvjx-Qfzw"
ALL: Final = (REDIS, DATABASE, EXCHANGE, UPSTASH, CRON, API, READ)


def encoded(secret: str) -> str:
    return "".join(sign if sign.isalnum() else f"%{ord(sign):02X}" for sign in secret)


def pieces() -> Iterator[str]:
    """Every four letters of a secret, and the middle of its base64 forms."""
    for secret in ALL:
        for word in re.split(r"[^A-Za-z]", secret):
            yield word.lower()
        for before in ("", "me:", "x:"):
            yield base64.b64encode(f"{before}{secret}".encode()).decode()[4:16].lower()


def found(texts: Iterable[str]) -> list[str]:
    told = "\n".join(texts).lower()
    return [told[max(0, told.index(p) - 80) :][:120] for p in pieces() if p in told]


@contextlib.asynccontextmanager
async def repeating() -> AsyncIterator[int]:
    """The port of a server that speaks RESP, HTTP and PostgreSQL, and refuses everything with an
    error that repeats all it was sent."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while sent := await reader.read(65536):
                writer.write(_refusal(sent))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _refusal(sent: bytes) -> bytes:
    repeated = " ".join(sent.decode("latin-1").split())
    if sent.startswith(b"*"):
        commands = len(re.findall(rb"(?:^|\n)\*\d+\r\n", sent))
        return f"-ERR unknown command, with args beginning with: {repeated}\r\n".encode() * commands
    if sent[:4] in (b"GET ", b"POST"):
        told = {"error": repeated, "code": -1000, "msg": repeated}
        body = json.dumps(told | {"retCode": 10001, "retMsg": repeated}).encode()
        return b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    if sent.startswith(b"p"):
        error = b"SFATAL\0C28P01\0Mrefused: " + repeated.replace("\0", "").encode() + b"\0\0"
        return b"E" + struct.pack("!i", 4 + len(error)) + error
    return b"R" + struct.pack("!ii", 8, 3)  # asks for the password as it is


def settings_of(port: int, *, upstash: bool) -> dict[str, str]:
    at = f"127.0.0.1:{port}"
    hot = {"REDIS_URL": f"redis://me:{encoded(REDIS)}@{at}/0"}
    if upstash:
        hot = {"UPSTASH_REDIS_REST_URL": f"http://{at}", "UPSTASH_REDIS_REST_TOKEN": UPSTASH}
    return {
        **hot,
        "DATABASE_URL": f"postgresql://me:{encoded(DATABASE)}@{at}/d?sslmode=disable",
        "BINANCE_BASE_URL": f"http://me:{encoded(EXCHANGE)}@{at}/base",
        "BYBIT_BASE_URL": f"http://me:{encoded(EXCHANGE)}@{at}/base",
        **{"CRON_SECRET": CRON, "API_TOKEN": API, "READ_TOKEN": READ, "LOG_LEVEL": "DEBUG"},
    }


async def answers(address: str, wait_for_job: bool = False) -> list[str]:
    """Heads and bodies of the API's answers, with tokens and without."""
    told: list[str] = []
    asked = [
        ("GET", path, token)
        for path in ("/", "/health", "/ready", "/jobs", "/metrics", "/cache", "/cache/4h", "/coins")
        for token in (None, READ)
    ]
    asked += [("POST", "/get-market-data", token) for token in (None, "wrong", API)]
    asked += [("POST", "/api/v1/internal/update-fr", token) for token in (None, CRON)]
    async with aiohttp.ClientSession(address, timeout=aiohttp.ClientTimeout(total=20)) as http:

        async def ask(method: str, path: str, token: str | None) -> Any:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            sent: Any = {"timeframe": "4h"} if path == "/get-market-data" else None
            async with http.request(method, path, json=sent, headers=headers) as answer:
                told.append(f"{answer.status} {answer.headers} {await answer.text()}")

        for each in asked:
            await ask(*each)
        if wait_for_job:
            async with asyncio.timeout(60):
                while '"state":"failed"' not in told[-1].replace(" ", ""):
                    await asyncio.sleep(0.2)
                    await ask("GET", "/jobs", READ)
    return told


def files(folder: Path) -> list[str]:
    read = [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]
    return [*read, *(str(path) for path in folder.rglob("*"))]


@pytest.mark.parametrize(
    ("upstash", "dead"),
    [(False, False), (True, False), (False, True)],
    ids=["redis that repeats", "Upstash that repeats", "nothing there"],
)
async def test_stores_that_refuse_are_told_nothing_of_and_tell_nothing(
    start_service: StartService, data_dir: Path, upstash: bool, dead: bool
) -> None:
    async with repeating() as port:
        given = settings_of(1 if dead else port, upstash=upstash)
        service = await start_service(**given)
        others = [
            await start_service(*words, wait=False, **given)
            for words in (("collect", "4h"), ("coins", "list"))
        ]
        told = await answers(service.address)
        for other in others:
            async with asyncio.timeout(60):
                assert await other.process.wait() not in (0, None)
        await service.stop()
        lines = [line for each in (service, *others) for line in each.lines]
    # They failed for what they were to fail for.
    assert any("503 " in answer for answer in told)
    assert found([*lines, *told, *files(data_dir)]) == []
    assert not any("Traceback" in line for line in lines), lines


async def test_an_exchange_that_repeats_what_it_was_sent(
    start_service: StartService,
    start_simulator: StartSimulator,
    service_settings: ServiceSettings,
    data_dir: Path,
) -> None:
    async with repeating() as port:
        tokens = {"CRON_SECRET": CRON, "API_TOKEN": API, "READ_TOKEN": READ, "LOG_LEVEL": "DEBUG"}
        base = f"http://me:{encoded(EXCHANGE)}@127.0.0.1:{port}/base"
        service = await start_service(
            **service_settings(
                start_simulator(binance=1, bybit=1),
                BINANCE_BASE_URL=base,
                BYBIT_BASE_URL=base,
                **tokens,
            )
        )
        told = await answers(service.address, wait_for_job=True)
        await service.stop()
    # What it said reached us, without what was secret in it.
    assert any("authorization: basic ***" in answer.lower() for answer in told), told
    assert found([*service.lines, *told, *files(data_dir)]) == []
