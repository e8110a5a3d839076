"""An endpoint that answers as Upstash's REST API does, in front of a real Valkey.

Made from Upstash's REST documentation and what its Python client sends: a command as a JSON array
to `/`, or as path segments; `/pipeline`, `/multi-exec`; bearer token; `Upstash-Encoding: base64`;
10 MB at most in and out; errors as `{"error": ...}` with 400. Faults are set at `/_faults`, what
was asked is counted at `/_stats`.

    python -m tests.upstash_endpoint --redis-url unix:///run/v.sock --token secret
"""

import argparse
import asyncio
import base64
import collections
import contextlib
import hmac
import json
import sys
from typing import Any, Final
from urllib.parse import unquote

import redis.asyncio
from aiohttp import web
from redis.exceptions import RedisError

LARGEST_BYTES: Final = 10 * 1024 * 1024
_NOT_OVER_REST: Final = {
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "MONITOR",
    "BLPOP",
    "BRPOP",
    "BLMOVE",
    "BZPOPMIN",
}
_FAULTS: Final = {
    "503": (503, "text/html", "<html><body>503 Service Unavailable</body></html>"),
    "html": (200, "text/html", "<html><body>maintenance</body></html>"),
    "500": (500, "application/json", '{"error": "ERR internal error"}'),
    "429": (429, "application/json", '{"error": "ERR max concurrent connections exceeded"}'),
    "quota": (
        400,
        "application/json",
        '{"error": "ERR max daily request limit exceeded. Limit: 10000, Usage: 10000."}',
    ),
    "truncated": (200, "application/json", '{"result": "abc'),
    "list": (200, "application/json", "[1, 2]"),
    "empty": (200, "application/json", ""),
    "no result": (200, "application/json", "{}"),
    "null": (200, "application/json", '{"result": null}'),
    "text": (200, "application/json", '{"result": "7"}'),
    "no elements": (200, "application/json", '{"result": []}'),
    "nulls": (200, "application/json", '{"result": [null, null]}'),
    "object": (200, "application/json", '{"result": {"ok": 1}}'),
    "deep": (200, "application/json", '{"result": ' + "[" * 900 + "]" * 900 + "}"),
}


class Endpoint:
    """`fault`: a key of _FAULTS, or 'stall' (never answers), 'slow' (takes a second), 'reset' (cuts
    the connection before the command runs), 'lost reply' (cuts it after). It strikes `times`
    commands (-1: all) that contain `match`."""

    def __init__(self, redis_url: str, token: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(redis_url, protocol=2, max_connections=64)
        self._redis.response_callbacks.clear()
        self._token = token
        self._clear()

    def _clear(self) -> None:
        self._fault, self._times, self._match = "", 0, ""
        self._commands: collections.Counter[str] = collections.Counter()
        self._by_key: collections.Counter[str] = collections.Counter()
        self._largest_bytes = 0
        self._connections: set[int] = set()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=4 * LARGEST_BYTES)
        app.router.add_post("/_faults", self._set_fault)
        app.router.add_get("/_stats", self._stats)
        app.router.add_post("/pipeline", self._pipeline)
        app.router.add_post("/multi-exec", self._multi_exec)
        app.router.add_route("*", "/{path:.*}", self._command)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _: web.Application) -> None:
        await self._redis.aclose()

    async def _set_fault(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        self._clear()
        self._fault, self._times = wanted.get("fault", ""), wanted.get("times", -1)
        self._match = wanted.get("match", "")
        return web.json_response({})

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "commands": self._commands,
                "by_key": self._by_key,
                "largest_bytes": self._largest_bytes,
                "connections": len(self._connections),
            }
        )

    async def _command(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refused(request)
        if refusal is not None:
            return refusal
        body = await request.read()
        self._largest_bytes = max(self._largest_bytes, len(body))
        if len(body) > LARGEST_BYTES:
            return _too_large(len(body))
        path = request.match_info["path"]
        if path:
            command = [unquote(part) for part in path.split("/")]
            command += [body.decode()] if body else []
        else:
            command = _command_of(body)
        if not command:
            return _error("ERR empty command")
        return await self._answer(request, command)

    async def _answer(self, request: web.Request, command: list[Any]) -> web.StreamResponse:
        if self._times and self._fault and self._match in str(command[:4]):
            self._times -= 1
            if self._fault in _FAULTS:
                status, kind, text = _FAULTS[self._fault]
                return web.Response(status=status, content_type=kind, text=text)
            if self._fault == "stall":
                await asyncio.sleep(3600)
            if self._fault == "slow":
                await asyncio.sleep(1)
                return _reply(request, await self._run(command))
            if self._fault == "lost reply":
                await self._run(command)
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return _reply(request, await self._run(command))

    async def _pipeline(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refused(request)
        if refusal is not None:
            return refusal
        commands = json.loads(await request.read())
        return _reply(request, [await self._run(command) for command in commands])

    async def _multi_exec(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refused(request)
        if refusal is not None:
            return refusal
        async with self._redis.pipeline(transaction=True) as pipe:
            for command in json.loads(await request.read()):
                pipe.execute_command(*map(_word, command))
            try:
                replies = await pipe.execute(raise_on_error=False)
            except RedisError as error:
                return _error(_message(error))
        return _reply(
            request,
            [
                {"error": _message(reply)} if isinstance(reply, Exception) else {"result": reply}
                for reply in replies
            ],
        )

    async def _run(self, command: list[Any]) -> dict[str, Any]:
        name = str(command[0]).upper()
        self._commands[name] += 1
        self._by_key[f"{name} {_kind_of_key(command)}"] += 1
        if name in _NOT_OVER_REST:
            return {"error": f"ERR Command is not available: '{name}'"}
        try:
            reply = await self._redis.execute_command(  # type: ignore[no-untyped-call]
                *map(_word, command)
            )
            return {"result": reply}
        except RedisError as error:
            return {"error": _message(error)}

    def _refused(self, request: web.Request) -> web.Response | None:
        self._connections.add(id(request.transport))
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(given.encode(), self._token.encode()):
            return None
        return web.json_response({"error": "Unauthorized"}, status=401)


def _command_of(body: bytes) -> list[Any]:
    try:
        command = json.loads(body)
    except ValueError:
        return []
    return command if isinstance(command, list) else []


def _kind_of_key(command: list[Any]) -> str:
    """The beginning of the last key that a command names, such as `cache`."""
    if str(command[0]).upper() in ("EVAL", "EVALSHA"):
        count = int(command[2])
        return str(command[2 + count]).partition(":")[0] if count else ""
    return str(command[1]).partition(":")[0] if len(command) > 1 else ""


def _word(word: Any) -> str:
    return word if isinstance(word, str) else json.dumps(word)


def _message(error: Exception) -> str:
    """The server's own words: redis-py takes the codes that it knows off the front."""
    code = getattr(error, "status_code", None)
    return f"{code} {error}" if code else str(error)


def _error(message: str) -> web.Response:
    return web.json_response({"error": message}, status=400)


def _too_large(size: int) -> web.Response:
    return _error(
        f"ERR max request size exceeded. Limit: {LARGEST_BYTES} bytes, Actual: {size} bytes"
    )


def _reply(request: web.Request, reply: Any) -> web.Response:
    encoded = request.headers.get("Upstash-Encoding") == "base64"
    text = json.dumps(_plain(reply, encoded=encoded))
    if len(text) > LARGEST_BYTES:
        return _too_large(len(text))
    status = 400 if isinstance(reply, dict) and "error" in reply else 200
    return web.Response(
        text=text,
        status=status,
        content_type="application/json",
        headers={"Upstash-Sync-Token": "1"},
    )


def _plain(value: Any, *, encoded: bool) -> Any:
    if isinstance(value, dict):
        return {
            name: part if name == "error" else _plain(part, encoded=encoded)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_plain(part, encoded=encoded) for part in value]
    if isinstance(value, bytes):
        if encoded and value != b"OK":
            return base64.b64encode(value).decode()
        return value.decode(errors="replace")
    return value


async def serve(redis_url: str, token: str, port: int) -> None:
    """Serves until cancelled; says on stdout at which port."""
    runner = web.AppRunner(Endpoint(redis_url, token).app(), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        sys.stdout.write(f"{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments.redis_url, arguments.token, arguments.port))


if __name__ == "__main__":
    main()
