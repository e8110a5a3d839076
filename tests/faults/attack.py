"""Clients that mean no good, for the tests and by hand.

    python -m tests.faults.attack --port 8000 --pid PID --idle 10000 --junk 100000

attacks an API (or what stands in front of it) of this machine and prints what became of it.
"""

import argparse
import asyncio
import contextlib
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator
from itertools import islice

import psutil

_HEAD = b"GET /health HTTP/1.1\r\nHost: x\r\n"
_POST = b"POST /get-market-data HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SMUGGLED = b"GET /jobs HTTP/1.1\r\nHost: x\r\n\r\n"

# What is no request, and what a careful server answers it with (RFC 9112; 6585 for 431).
JUNK: dict[str, tuple[bytes, int]] = {
    "noise": (bytes(range(128, 256)) * 4, 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), 400),
    "no such method": (b"FETCH / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "version 2": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "version 0.9": (b"GET / HTTP/0.9\r\n\r\n", 505),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "folded header": (_HEAD + b"A: b\r\n c\r\n\r\n", 400),
    "space before colon": (_HEAD + b"A : b\r\n\r\n", 400),
    "zero byte": (_HEAD + b"A: b\0c\r\n\r\n", 400),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "two hosts": (_HEAD + b"Host: y\r\n\r\n", 400),
    "no address": (b"GET http:///\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "another host": (b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", 421),
    "another target": (b"GET http://other.example/ HTTP/1.1\r\nHost: x\r\n\r\n", 421),
    "endless trailer": (
        _POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"b" * 600_000,
        431,
    ),
    "tunnel": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "long target": (b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "long query": (b"GET /cache/4h?symbol=" + b"A" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "large header": (_HEAD + b"A: " + b"b" * 33_000 + b"\r\n\r\n", 431),
    "large name": (_HEAD + b"a" * 33_000 + b": b\r\n\r\n", 431),
    "many headers": (_HEAD + b"a: b\r\n" * 200 + b"\r\n", 431),
    "both lengths": (
        _POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    "two lengths": (
        _POST + b"Content-Length: 0\r\nContent-Length: 31\r\n\r\n" + SMUGGLED,
        400,
    ),
    "odd coding": (
        _POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    "hidden coding": (_POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 400),
    "negative length": (_POST + b"Content-Length: -1\r\n\r\n" + SMUGGLED, 400),
    "endless length": (_POST + b"Content-Length: 9" + b"9" * 30 + b"\r\n\r\n", 400),
    "endless chunk": (_POST + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n", 400),
}
# What is a request, but not one that gets anything.
SILLY: dict[str, tuple[bytes, int]] = {
    "trace": (b"TRACE / HTTP/1.1\r\nHost: x\r\nCookie: a=b\r\n\r\n", 405),
    "trace of a document": (b"TRACE /cache/4h HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "method of WebDAV": (b"PROPFIND /jobs HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "everything": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "climbing": (b"GET /docs/..%2f..%2f..%2fetc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "zero in the path": (b"GET /jobs/%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "another key": (b"GET /jobs/collect:4h%0d%0aDEL%20x HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "absolute": (b"GET http://localhost/nope HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    "bad query": (b"GET /cache/4h?limit=%ff%00&since=--&wait=1e9 HTTP/1.1\r\nHost: x\r\n\r\n", 422),
    "many fields": (
        b"GET /cache/4h?" + b"a&" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        422,
    ),
    "deep": (_POST + b"Content-Length: 60000\r\n\r\n" + b"[" * 60_000, 422),
    "large body": (_POST + b"Content-Length: 65537\r\n\r\n", 413),
}


def with_close(request: bytes) -> bytes:
    """The same, asking for the end of the connection; for requests that are well formed."""
    head, _, rest = request.partition(b"\r\n\r\n")
    return head + b"\r\nConnection: close\r\n\r\n" + rest


async def answers(port: int, request: bytes, host: str = "127.0.0.1") -> bytes:
    """Everything that comes back until the server closes; empty if it resets."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def junk(seed: int) -> Iterator[tuple[bytes, bool]]:
    """Requests without end, of every kind above; the same ones for the same seed. With each,
    whether its sender stays for the answer."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    kinds = [request for request, _ in JUNK.values()]
    kinds += [with_close(request) for request, _ in SILLY.values()]
    while True:
        request = chance.choice(kinds)
        if chance.random() < 0.3:  # and damaged
            at = chance.randrange(len(request))
            request = with_close(request[:at] + chance.randbytes(3) + request[at:])
        stays = chance.random() > 0.1
        if not stays:
            request = request[: chance.randrange(1, len(request))]
        yield request, stays


async def send_junk(port: int, count: int, *, at_once: int = 32, seed: int = 1) -> Counter[str]:
    """How often each status came back; "none" for a connection that just ended."""
    found: Counter[str] = Counter()
    requests = islice(junk(seed), count)

    async def send() -> None:
        for request, stays in requests:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            status = b""
            try:
                writer.write(request)
                async with asyncio.timeout(20):
                    await writer.drain()
                    status = (await reader.read(64))[9:12] if stays else b"gone"
            except (ConnectionError, TimeoutError):
                pass
            found[status.decode() or "none"] += 1
            writer.transport.abort()

    await asyncio.gather(*(send() for _ in range(at_once)))
    return found


@contextlib.contextmanager
def idle_connections(port: int, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open connections that have sent `first` and say nothing more."""
    with contextlib.ExitStack() as opened:
        sockets = []
        for _ in range(count):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            if first:
                connection.sendall(first)
            sockets.append(connection)
        yield sockets


def are_open(sockets: list[socket.socket]) -> int:
    """How many of the connections the server has not closed; what it has sent is read."""
    count = 0
    for connection in sockets:
        connection.setblocking(False)
        with contextlib.suppress(ConnectionError):
            try:
                while connection.recv(65_536):
                    pass
            except BlockingIOError:
                count += 1
    return count


class Bystander:
    """A well-behaved client, on a new connection each time: what it has to wait for its answer."""

    def __init__(self, port: int, path: str = "/health") -> None:
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        self.waited_s: list[float] = []
        self.failed: list[str] = []
        self._asked = asyncio.Event()

    async def ask(self) -> None:
        began = time.monotonic()
        try:
            answer = await answers(self._port, self._request)
        except (OSError, TimeoutError) as error:
            answer = repr(error).encode()
        if not answer.startswith(b"HTTP/1.1 200 "):
            self.failed.append(answer[:80].decode(errors="replace"))
        self.waited_s.append(time.monotonic() - began)
        self._asked.set()

    async def until(self, answers: int) -> None:
        """Returns once it has asked this many times more."""
        wanted = len(self.waited_s) + answers
        async with asyncio.timeout(60):
            while len(self.waited_s) < wanted:
                self._asked.clear()
                await self._asked.wait()

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator["Bystander"]:
        """Inside, it asks twenty times a second."""

        async def go_on() -> None:
            while True:
                await self.ask()
                await asyncio.sleep(0.05)

        task = asyncio.create_task(go_on())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def resident(pid: int) -> int:
    """Bytes of memory that the process holds."""
    return int(psutil.Process(pid).memory_info().rss)


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True, help="whose memory is looked at")
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--junk", type=int, default=100_000)
    parser.add_argument("--path", default="/health", help="what the bystander asks for")
    arguments = parser.parse_args()
    port, pid = arguments.port, arguments.pid
    bystander = Bystander(port, arguments.path)

    async def show(what: str, attack: Awaitable[object]) -> None:
        before, began, asked = resident(pid), time.monotonic(), len(bystander.waited_s)
        said = await attack
        took_s, waited = time.monotonic() - began, sorted(bystander.waited_s[asked:])
        lines = (
            f"{what}: {said}",
            f"  {took_s:.1f} s, memory {before / 2**20:.0f} -> {resident(pid) / 2**20:.0f} MB",
            f"  bystander: {len(waited)} answers, the slowest after {1000 * waited[-1]:.0f} ms",
        )
        sys.stdout.write("\n".join(lines) + "\n")

    async def stand(first: bytes, hold_s: float) -> str:
        before = resident(pid)
        crowd = idle_connections(port, arguments.idle, first)
        opened = await asyncio.to_thread(crowd.__enter__)
        await asyncio.sleep(1)
        each = (resident(pid) - before) / max(1, arguments.idle)
        await asyncio.sleep(hold_s)
        left = are_open(opened)
        crowd.__exit__(None, None, None)
        return f"{each:.0f} bytes each, {left} open after {hold_s + 1:g} s"

    async with bystander.asking():
        if arguments.idle:
            for what, first, hold_s in (
                ("silent", b"", 11),
                ("half a head", _HEAD + b"A: b", 11),
                ("answered once, then idle", _HEAD + b"\r\n", 3),
                ("a body that does not come", _POST + b"Content-Length: 9\r\n\r\n{", 12),
            ):
                await show(what, stand(first, hold_s))
        await show("junk", send_junk(port, arguments.junk))
    sys.stdout.write(f"bystander's failures: {bystander.failed[:5] or 'none'}\n")
    return 1 if bystander.failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
