"""Bodies as files in memory, which the kernel sends by itself: nothing is copied on their way.

Copying half a megabyte into a socket takes as long as all else that an answer needs, and three
times as long when neighbours keep the memory busy. Linux only; elsewhere there are no such files.
"""

import contextlib
import os
import socket
from asyncio import BaseTransport, WriteTransport
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from api.answers import Body, Buffer

LEAST_BYTES: Final = 64 * 1024  # below, copying is cheaper
_MOST_FILES: Final = 16


class MemoryFiles:
    """The bodies sent lately, each in a file that is written once and never changed."""

    def __init__(self) -> None:
        # By the identity of the parts, which are held as long as their file is.
        self._files: OrderedDict[tuple[int, ...], tuple[Sequence[Buffer], int]] = OrderedDict()

    def of(self, body: Body) -> int | None:
        """The descriptor of a file with this body; None where there can be none."""
        if body.length < LEAST_BYTES or not hasattr(os, "memfd_create"):
            return None
        key = tuple(map(id, body.parts))
        kept = self._files.get(key)
        if kept is not None:
            self._files.move_to_end(key)
            return kept[1]
        try:
            file = _written(body)
        except OSError:  # no memory or descriptors left: then it is copied
            return None
        self._files[key] = body.parts, file
        while len(self._files) > _MOST_FILES:
            os.close(self._files.popitem(last=False)[1][1])
        return file

    def close(self) -> None:
        while self._files:
            os.close(self._files.popitem()[1][1])


@dataclass(frozen=True, slots=True)
class Outlet:
    """A connection's socket, to be written to beside its transport while that holds nothing."""

    family: int
    kind: int
    protocol: int
    descriptor: int

    @classmethod
    def of(cls, transport: BaseTransport) -> "Outlet | None":
        """None where bytes pass something else on their way to the socket."""
        found = transport.get_extra_info("socket")
        if found is None or transport.get_extra_info("sslcontext") is not None:
            return None
        if found.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        return cls(found.family, found.type, found.proto, found.fileno())

    def send(self, transport: WriteTransport, head: bytes, body: Body, file: int) -> None:
        """Sends as much as the socket takes, and leaves the rest to the transport."""
        if transport.is_closing():
            return
        sent = 0
        if not transport.get_write_buffer_size():
            # Where the client is gone, the transport learns of it from the same socket.
            with contextlib.suppress(OSError):
                sent = self._send_head(head)
                if sent == len(head):
                    sent += os.sendfile(self.descriptor, file, 0, body.length)
        if sent < len(head) + body.length:
            transport.writelines(_left((head, *body.parts), sent))

    def _send_head(self, head: bytes) -> int:
        # Not socket.socket, which takes three times as long to make.
        borrowed = socket.SocketType(self.family, self.kind, self.protocol, self.descriptor)
        try:
            return borrowed.send(head, socket.MSG_MORE)
        finally:
            borrowed.detach()


def _written(body: Body) -> int:
    file = os.memfd_create("perpcache-body")
    try:
        with open(file, "wb", closefd=False) as sink:
            sink.writelines(body.parts)
    except BaseException:
        os.close(file)
        raise
    return file


def _left(parts: Sequence[Buffer], sent: int) -> list[Buffer]:
    """The parts without the first `sent` bytes."""
    left: list[Buffer] = []
    for part in parts:
        if sent < len(part):
            left.append(memoryview(part)[sent:] if sent else part)
        sent = max(0, sent - len(part))
    return left
