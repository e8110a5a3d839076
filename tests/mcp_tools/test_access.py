"""Who may ask the tools over HTTP, and what is said where the service is away or wants a token."""

import asyncio
import io
import subprocess
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.fixtures.api import StartApi
from tests.mcp_tools.clients import call, command, error_of, http_server, on_http, on_stdio

TOKEN: Final = "readers-token"
_ASK: Final = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
_ACCEPT: Final = {"Accept": "application/json, text/event-stream"}


async def status_of(address: str, **headers: str) -> int:
    async with (
        aiohttp.ClientSession() as client,
        client.post(address, json=_ASK, headers={**_ACCEPT, **headers}) as answer,
    ):
        return answer.status


async def test_no_page_of_another_site_may_ask(tmp_path: Path) -> None:
    async with http_server(tmp_path, "--url", "http://127.0.0.1:1") as address:
        assert await status_of(address) < 400
        assert await status_of(address, Origin="http://evil.example") == 403
        assert await status_of(address, Host="evil.example:80") == 421
        body = io.BytesIO(b"x" * 3_000_000)
        async with (
            aiohttp.ClientSession() as client,
            client.post(address, data=body, headers=_ACCEPT) as answer,
        ):
            assert answer.status == 413


async def test_a_token_is_asked_for_and_sent_on(
    start_api: StartApi, redis_url: str, tmp_path: Path
) -> None:
    api = await start_api(redis_url=redis_url, read_token=TOKEN)
    url = f"http://127.0.0.1:{api.port}"
    async with http_server(tmp_path, "--url", url, READ_TOKEN=TOKEN) as address:
        assert await status_of(address) == 401
        assert await status_of(address, Authorization="Bearer other") == 401
        async with on_http(address, Authorization=f"Bearer {TOKEN}") as client:
            assert (await call(client, "freshness"))["status"]
    async with on_stdio(tmp_path, "--url", url) as client:
        assert "set READ_TOKEN" in await error_of(client, "freshness")


async def test_a_service_that_is_away_is_told(tmp_path: Path) -> None:
    async with on_stdio(tmp_path, "--url", "http://127.0.0.1:1") as client:
        text = await error_of(client, "freshness")
        assert "cannot be reached at http://127.0.0.1:1" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--http", "0.0.0.0:0"), "set READ_TOKEN"),
        (("--http", "here"), "must be a port or HOST:PORT"),
        (("--http", "127.0.0.1:99999"), "must be a port or HOST:PORT"),
        (("--url", "ftp://127.0.0.1"), "--url must be like"),
        (("--url", "http://user:secret@127.0.0.1:8000"), "--url must be like"),
    ],
)
async def test_wrong_options_end_with_one_line(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    ended = await asyncio.to_thread(
        subprocess.run,
        command(*arguments),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode in (1, 69)
    assert says in ended.stderr
    assert "secret" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
