"""Clients of the MCP SDK, connected to `python main.py mcp`."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx2
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

ROOT: Final = Path(__file__).resolve().parents[2]
_START_S: Final = 60.0
_END_S: Final = 20.0


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "main.py"), "mcp", *arguments]


@contextlib.asynccontextmanager
async def on_stdio(folder: Path, *arguments: str, **settings: str) -> AsyncIterator[Client]:
    program, *rest = command(*arguments)
    env = {**os.environ, **settings, "DATA_DIR": str(folder)}
    server = StdioServerParameters(command=program, args=rest, env=env, cwd=folder)
    async with Client(server) as client:
        yield client


@contextlib.asynccontextmanager
async def http_server(folder: Path, *arguments: str, **settings: str) -> AsyncIterator[str]:
    """The address of a server over HTTP."""
    process = await asyncio.create_subprocess_exec(
        *command("--http", "0", *arguments),
        cwd=folder,
        env={**os.environ, **settings, "DATA_DIR": str(folder)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_S):
            while line := (await process.stdout.readline()).decode():
                _, found, rest = line.partition("listening on ")
                if found:
                    break
        yield rest.split()[0]
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(_END_S):
            assert await process.wait() in (0, 130)


@contextlib.asynccontextmanager
async def on_http(address: str, **headers: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(address, http_client=http)) as client,
    ):
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured answer of a tool."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    told: dict[str, Any] | None = result.structured_content
    assert told is not None
    return told


async def error_of(client: Client, tool: str, **arguments: Any) -> str:
    """The text of a tool's error."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    [content] = result.content
    text: str = getattr(content, "text", "")
    return text
