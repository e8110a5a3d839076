"""How much memory the hot store's server uses, and how much it may use."""

import re
from dataclasses import dataclass
from typing import Final

from stores.hot.read import Read
from stores.hot.replies import text

# Returns what the server tells of its memory; '' if it does not.
_INFO: Final = """
local info = redis.pcall('INFO', 'memory')
return type(info) == 'string' and info or ''
"""
_NUMBER: Final = rb"^%b:(\d{1,18})\r?$"


@dataclass(frozen=True, slots=True)
class StoreMemory:
    """`used` bytes; of at most `most`, None: no limit is set. `policy`: what it does at the limit,
    such as noeviction."""

    used: int
    most: int | None
    policy: str


def read_of_memory() -> Read[StoreMemory | None]:
    """The read of the server's memory; None where it does not tell, as over Upstash."""
    return Read("memory", _INFO, (), (), text, _memory_of)


def _memory_of(info: bytes) -> StoreMemory | None:
    used, most = _number(info, b"used_memory"), _number(info, b"maxmemory")
    if used is None:
        return None
    # Replicas' buffers and the like do not count towards the limit.
    used -= _number(info, b"mem_not_counted_for_evict") or 0
    policy = re.search(rb"^maxmemory_policy:([a-z-]{1,40})\r?$", info, re.MULTILINE)
    return StoreMemory(max(0, used), most or None, policy[1].decode() if policy else "")


def _number(info: bytes, name: bytes) -> int | None:
    found = re.search(_NUMBER % name, info, re.MULTILINE)
    return int(found[1]) if found else None
