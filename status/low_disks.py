"""Disks of hosts that are nearly full: each process tells of its host's, all who look read them.

The hash `disks` of the hot store has a field for each such host: until when it counts, by the
store's clock, and JSON. Where there is room enough nothing is written.
"""

import asyncio
import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import structlog

from config import Settings
from logging_setup import OutageLog
from status.disk import disk_room
from stores.hot.read import Read
from stores.hot.replies import list_of, text, whole_number
from stores.hot.store import HotStore, StoreUnavailable, Word
from texts.foreign import foreign_text
from timing.backoff import stop_or

DISKS_KEY: Final = "disks"
_MOST: Final = 100  # hosts
_LONGEST_NAME: Final = 64
_LARGEST: Final = 10**18
# By kind of store; over Upstash every command is billed.
_LOOKS_EVERY_S: Final = {"native": 2.0, "upstash": 60.0}
_COUNTS_S: Final = {"native": 15, "upstash": 150}

# tell(disks; host, JSON, s that it counts): JSON '' takes back what was told of the host.
_TELL: Final = """
if ARGV[2] == '' then return redis.call('HDEL', KEYS[1], ARGV[1]) end
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
local over = redis.call('TIME')[1] + ARGV[3]
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', over) .. ' ' .. ARGV[2])
redis.call('EXPIRE', KEYS[1], 86400)
return 1
"""
# low(disks; most): the hosts that count and what was told of each, in turns.
_LOW: Final = """
local all, found = redis.pcall('HGETALL', KEYS[1]), {}
local now = tonumber(redis.call('TIME')[1])
if all.err then return found end
for i = 1, #all, 2 do
  local over, told = string.match(all[i + 1], '^(%d+) (.*)$')
  if over and tonumber(over) > now and #found < 2 * ARGV[1] then
    found[#found + 1] = all[i]
    found[#found + 1] = told
  end
end
return found
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LowDisk:
    """In bytes; `limit`: the setting DISK_FREE_MIN of its host."""

    free: int
    total: int
    limit: int


def host_name() -> str:
    """This host's, as it is told of its disk."""
    return foreign_text(socket.gethostname(), _LONGEST_NAME) or "host"


class DiskTeller:
    """Tells of this host's disk while it is nearly full."""

    def __init__(self, settings: Settings, store: HotStore) -> None:
        self._settings = settings
        self._kind = store.kind
        self._tell = store.script("tell_disk", _TELL)
        self._is_told = False
        self._outage = OutageLog(log, "disk_nearly_full", "disk_has_room")

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; raises nothing of the store. What was told ends by itself then."""
        while not stop.is_set():
            try:
                await self.step()
            except StoreUnavailable as error:
                log.debug("disk_not_told", error=str(error))
            await stop_or(stop, _LOOKS_EVERY_S[self._kind])

    async def step(self) -> None:
        """One look. Raises StoreUnavailable."""
        room, limit = await disk_room(self._settings.data_dir), self._settings.disk_free_min
        if room is None:
            return
        if room.free < limit:
            self._outage.failed(f"less than {limit} bytes are free", free=room.free)
            await self._told(json.dumps(asdict(LowDisk(room.free, room.total, limit))))
            self._is_told = True
        else:
            self._outage.recovered()
            if self._is_told:
                await self._told("")
                self._is_told = False

    async def _told(self, value: str) -> None:
        arguments: list[Word] = [host_name(), value, _COUNTS_S[self._kind]]
        await self._tell.run([DISKS_KEY], arguments, reply=whole_number(0, 1))


def read_of_low_disks() -> Read[Mapping[str, LowDisk]]:
    """The disks that are nearly full, by host."""
    return Read("low_disks", _LOW, [DISKS_KEY], [_MOST], list_of(text), _low_disks)


def _low_disks(words: list[bytes]) -> dict[str, LowDisk]:
    found: dict[str, LowDisk] = {}
    for host, value in zip(words[::2], words[1::2], strict=False):
        try:
            told: Any = json.loads(value)
            disk = LowDisk(*(_size(told[name]) for name in ("free", "total", "limit")))
        except (ValueError, TypeError, KeyError):
            continue  # others wrote it
        found[foreign_text(host.decode(errors="replace"), _LONGEST_NAME)] = disk
    return found


def _size(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise ValueError(f"{value!r} is no size")
    return value
