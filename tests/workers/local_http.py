"""A local HTTP server for tests of workers, plain or behind TLS, which keeps what TLS clients say
first."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Served:
    """`url` of the server; `requests` that it got; `hellos`: the ClientHello of each connection."""

    url: str
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    hellos: list["ClientHello"] = field(default_factory=list)


@dataclass(frozen=True)
class ClientHello:
    """What the first message of a TLS client says (RFC 8446, 4.1.2)."""

    ciphers: tuple[int, ...]
    extensions: dict[int, bytes]

    @property
    def has_grease(self) -> bool:
        """Whether there are values that stand for nothing, as browsers send (RFC 8701)."""
        return any(is_grease(cipher) for cipher in self.ciphers)

    @property
    def alpn(self) -> list[str]:
        """The protocols that the client speaks, first the one that it likes most (RFC 7301)."""
        data, names = self.extensions.get(16, b"\0\0")[2:], []
        while data:
            names.append(data[1 : 1 + data[0]].decode())
            data = data[1 + data[0] :]
        return names


def is_grease(value: int) -> bool:
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def read_client_hello(record: bytes) -> ClientHello:
    """Of one TLS record with the whole message."""
    assert record[0] == 22 and record[5] == 1, "no ClientHello"
    body = record[9:]
    at = 34 + 1 + body[34]  # version, random, session id
    size = int.from_bytes(body[at : at + 2])
    ciphers = tuple(int.from_bytes(body[i : i + 2]) for i in range(at + 2, at + 2 + size, 2))
    at += 2 + size
    at += 1 + body[at] + 2  # compression methods, size of the extensions
    extensions = {}
    while at + 4 <= len(body):
        kind, size = int.from_bytes(body[at : at + 2]), int.from_bytes(body[at + 2 : at + 4])
        extensions[kind] = body[at + 4 : at + 4 + size]
        at += 4 + size
    return ClientHello(ciphers, extensions)


@contextlib.asynccontextmanager
async def serving(
    app: web.Application, tls: ssl.SSLContext | None = None, name: str = "127.0.0.1"
) -> AsyncIterator[Served]:
    """Serves the application; with `tls` as https://<name>, behind a listener that reads the
    ClientHello of each connection and passes everything on."""
    served = Served("")

    @web.middleware
    async def keep(request: web.Request, handler: object) -> web.StreamResponse:
        served.requests.append(request)
        served.bodies.append(await request.read())
        answer: web.StreamResponse = await handler(request)  # type: ignore[operator]
        return answer

    app.middlewares.append(keep)
    # A handler ends when its client has gone.
    runner = web.AppRunner(app, handle_signals=False, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    tasks: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(5)
        record = head + await reader.readexactly(int.from_bytes(head[3:5]))
        served.hellos.append(read_client_hello(record))
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        to_writer.write(record)
        await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(pass_on(reader, writer))
        tasks.add(task)

    listener = await asyncio.start_server(accepted, "127.0.0.1", 0) if tls is not None else None
    shown = listener.sockets[0].getsockname()[1] if listener is not None else port
    served.url = f"{'http' if tls is None else 'https'}://{name}:{shown}"
    try:
        yield served
    finally:
        if listener is not None:
            listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass  # the other side has gone
    finally:
        writer.close()
