"""The servers that serving is compared with: bare ASGI, and a simple FastAPI handler.

python -m benchmarks.apps bare BODY      the bytes of BODY, at /304 an empty 304
python -m benchmarks.apps first REDIS_URL    get, base64, inflate, parse, JSONResponse
"""

import asyncio
import base64
import gc
import json
import socket
import sys
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from redis import asyncio as redis

Message = MutableMapping[str, Any]
Asgi = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


def bare(folder: Path) -> Asgi:
    """Answers /NAME with the whole file of that name, and /304 with an empty 304."""
    bodies = {f"/{file.name}": file.read_bytes() for file in folder.iterdir()}

    async def app(
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["path"] == "/304":
            await send({"type": "http.response.start", "status": 304, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        body = bodies[scope["path"]]
        headers = [
            (b"content-type", b"application/json"),
            (b"content-encoding", b"deflate"),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def first_draft(redis_url: str) -> FastAPI:
    """The simplest cache endpoint: it parses and serialises the document for each request."""
    app = FastAPI()
    store = redis.from_url(redis_url)

    @app.get("/cache/{name}")
    async def read(name: str) -> JSONResponse:
        text: Any = await store.get(f"cache:{name}")
        return JSONResponse(json.loads(zlib.decompress(base64.b64decode(text))))

    return app


async def serve(app: Any) -> None:
    """Serves an app with the same server as ours, and the same settings that cost time."""
    # As in our processes: loaded objects are left out of garbage collection.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    sys.stdout.write("listening on http://{}:{}\n".format(*listener.getsockname()))
    sys.stdout.flush()
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    kind, argument = sys.argv[1:]
    application: Any = bare(Path(argument)) if kind == "bare" else first_draft(argument)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(application))
