"""Counts the bytes that answers hold until their clients have taken them, per client and in all."""

from collections.abc import Hashable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from addresses.lists import Network
from api.client_address import client_of

# One client may hold this part of the limit: enough for some documents at once, and it takes as
# many clients to keep out all others.
CLIENT_PART: Final = 8
# Smaller answers are not counted: the kernel takes them at once.
NOT_COUNTED: Final = 16 * 1024
# What a request may need before the size of its answer is known.
WAITING_BYTES: Final = 16 * 1024
_MOST_REMEMBERED: Final = 1024
_LONGEST_REMEMBERED: Final = 256

Buffers = Mapping[Hashable, int]


class TooManyBytes(Exception):
    """The client holds its part of the limit (status 429), or all clients the whole (503)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class BytesInFlight:
    """The buffers that answers hold, each counted once for each client, and once in all.

    A client that holds nothing may hold one answer of any size, so that the largest document can
    be read; likewise the first of all clients. `proxies`: those whose X-Forwarded-For is believed.
    """

    def __init__(self, most: int, proxies: Sequence[Network] = ()) -> None:
        self.most = most
        self.share = most // CLIENT_PART
        self.total = 0
        self._proxies = proxies
        self._buffers: dict[Hashable, _Buffer] = {}
        self._clients: dict[str, int] = {}
        self._addresses: dict[Hashable, str] = {}

    def client(self, scope: MutableMapping[str, Any]) -> str:
        """The client that a request counts for."""
        peer = scope.get("client")
        key: Hashable = peer and peer[0]
        length = 0
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                key, length = (key, value), length + len(value)
        found = self._addresses.get(key)
        if found is None:
            found = client_of(scope, self._proxies)
            if length <= _LONGEST_REMEMBERED:
                if len(self._addresses) >= _MOST_REMEMBERED:
                    self._addresses.clear()
                self._addresses[key] = found
        return found

    def hold(self, client: str, buffers: Buffers) -> "Holding":
        """Counts these buffers, named and with their sizes, until the holding is released.

        A size of 0 is for what is in memory without this answer, too. Raises TooManyBytes.
        """
        self._check(client, buffers)
        return Holding(self, client, buffers)

    def held_by(self, client: str) -> int:
        return self._clients.get(client, 0)

    def weigh(self, name: Hashable, size: int) -> None:
        """Changes the size of a buffer, if any answer holds it."""
        buffer = self._buffers.get(name)
        if buffer is not None:
            more, buffer.size = size - buffer.size, size
            self.total += more
            for client in buffer.holders:
                self._count(client, more)

    def _check(self, client: str, buffers: Buffers) -> None:
        if client not in self._clients and self.total + sum(buffers.values()) < self.most:
            return  # as most are
        known = self._buffers
        new = [n for n in buffers if n not in known or client not in known[n].holders]
        if not new:
            return
        held = self._clients.get(client, 0)
        if held and held + max(1, sum(buffers[name] for name in new)) > self.share:
            raise TooManyBytes(
                429,
                f"too many unread bytes of answers to your address (limit {_size(self.share)}, an "
                "eighth of MAX_BYTES_IN_FLIGHT): read what you have asked for, then retry",
            )
        unknown = [name for name in new if name not in known]
        more = max(1, sum(buffers[name] for name in unknown))
        if unknown and self.total and self.total + more > self.most:
            raise TooManyBytes(
                503,
                f"too many unread bytes of answers to all clients (limit {_size(self.most)}, "
                "MAX_BYTES_IN_FLIGHT): retry later",
            )

    def _add(self, client: str, buffers: Buffers) -> None:
        for name, size in buffers.items():
            buffer = self._buffers.get(name)
            if buffer is None:
                buffer = self._buffers[name] = _Buffer(size)
                self.total += size
            elif buffer.size != size:
                self.weigh(name, size)
            answers = buffer.holders.get(client, 0)
            buffer.holders[client] = answers + 1
            if not answers:
                self._count(client, size)

    def _remove(self, client: str, buffers: Buffers) -> None:
        for name in buffers:
            buffer = self._buffers[name]
            answers = buffer.holders[client] - 1
            if answers:
                buffer.holders[client] = answers
                continue
            del buffer.holders[client]
            self._count(client, -buffer.size)
            if not buffer.holders:
                del self._buffers[name]
                self.total -= buffer.size

    def _count(self, client: str, more: int) -> None:
        held = self._clients.get(client, 0) + more
        if held:
            self._clients[client] = held
        else:
            self._clients.pop(client, None)


class _Buffer:
    """A buffer's size, and how many answers of each client hold it."""

    __slots__ = ("holders", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.holders: dict[str, int] = {}


class Holding:
    """The buffers of one answer; counted until `release`."""

    __slots__ = ("_buffers", "_client", "_ledger")

    def __init__(self, ledger: BytesInFlight, client: str, buffers: Buffers) -> None:
        self._ledger = ledger
        self._client = client
        self._buffers = buffers
        ledger._add(client, buffers)

    def exchange(self, buffers: Buffers, *, checked: bool = True) -> None:
        """Holds these buffers in place of the earlier ones. Raises TooManyBytes if `checked`, and
        is released then."""
        self.release()
        if checked:
            self._ledger._check(self._client, buffers)
        self._buffers = buffers
        self._ledger._add(self._client, buffers)

    def release(self) -> None:
        """Ends the counting; a second call has no effect."""
        buffers, self._buffers = self._buffers, {}
        self._ledger._remove(self._client, buffers)


def _size(size: int) -> str:
    return f"{size / 1_000_000:.6g} MB"
