"""Reads of the hot store by scripts, alone or several of them as one command and of one instant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from stores.hot.replies import Shape, elements
from stores.hot.store import HotStore, Word

T = TypeVar("T")

# together(keys of each read..., ; number of keys and of arguments of each read..., arguments of
# each read...): returns the reply of each read.
_HEAD: Final = """
local function part(all, from, count)
  local found = {}
  for i = 1, count do found[i] = all[from + i] end
  return found
end
local replies, k, a = {}, 0, %d
"""
# Each read has KEYS and ARGV of its own, so that its script runs here as it does alone.
_EACH: Final = """
do
  local function read(KEYS, ARGV)
%s
  end
  local keys, arguments = tonumber(ARGV[%d]), tonumber(ARGV[%d])
  replies[%d] = read(part(KEYS, k, keys), part(ARGV, a, arguments))
  k, a = k + keys, a + arguments
end
"""


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """A script that reads: its name and text, its keys and arguments, the shape of its reply, and
    what is made of that."""

    name: str
    lua: str
    keys: Sequence[str]
    arguments: Sequence[Word]
    reply: Shape[Any]
    made: Callable[[Any], T]


async def read(store: HotStore, one: Read[T]) -> T:
    """Runs it as one command. Raises StoreUnavailable."""
    reply = await store.script(one.name, one.lua).run(one.keys, one.arguments, reply=one.reply)
    return one.made(reply)


async def read_together(store: HotStore, name: str, reads: Sequence[Read[Any]]) -> list[Any]:
    """What each of the reads makes, all in one command; `name` is for errors. Raises
    StoreUnavailable."""
    lua = _HEAD % (2 * len(reads))
    counts: list[Word] = []
    for number, one in enumerate(reads, start=1):
        lua += _EACH % (one.lua, 2 * number - 1, 2 * number, number)
        counts += (len(one.keys), len(one.arguments))
    replies = await store.script(name, lua + "return replies\n").run(
        [key for one in reads for key in one.keys],
        [*counts, *(word for one in reads for word in one.arguments)],
        reply=elements(*(one.reply for one in reads)),
    )
    return [one.made(reply) for one, reply in zip(reads, replies, strict=True)]
