"""DistrustedEpochs: the connections that REST has contradicted, as a worker tells all others.

`live:<exchange>:distrusted` is the beginning of the feed's name, as readers of its log know it, and
the numbers of its connections. The feed replaces those, and no worker counts what they have brought
as proven. It expires after a day: no connection lives longer.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from live.feed_state import feed_name
from stores.hot.replies import one_of, text
from stores.hot.store import HotStore

_KEPT_MS: Final = 26 * 3_600_000
_MOST_BYTES: Final = 8000

# add(distrusted; feed, number, most bytes, ttl): adds the number, unless the value is another
# feed's, or is too long: then it begins anew.
_ADD: Final = """
local known = redis.pcall('GET', KEYS[1])
local ours = type(known) == 'string' and string.sub(known, 1, #ARGV[1] + 1) == ARGV[1] .. ' '
if not ours or #known > tonumber(ARGV[3]) then known = ARGV[1] end
if not string.find(known .. ' ', ' ' .. ARGV[2] .. ' ', #ARGV[1] + 1, true) then
  known = known .. ' ' .. ARGV[2]
end
redis.call('SET', KEYS[1], known, 'PX', ARGV[4])
return 'ok'
"""
# read(distrusted): the value, '' without one.
_READ: Final = """
local found = redis.pcall('GET', KEYS[1])
return type(found) == 'string' and found or ''
"""


class Distrusted(NamedTuple):
    """`feed`: the beginning of its name, `<token> <nonce>` of its lease; '' if none is known."""

    feed: str
    epochs: frozenset[int]


NONE: Final = Distrusted("", frozenset())


class DistrustedEpochs:
    """Tells and reads those of one exchange. All methods raise StoreUnavailable."""

    def __init__(self, store: HotStore, exchange: str) -> None:
        self._add, self._read = store.script("add", _ADD), store.script("read", _READ)
        self._key = distrusted_key(exchange)

    async def add(self, feed: str, epochs: Collection[int]) -> None:
        """Adds connections of the feed that holds, or held, the lease."""
        for epoch in sorted(epochs):
            words: list[str | int] = [feed, epoch, _MOST_BYTES, _KEPT_MS]
            await self._add.run([self._key], words, reply=one_of(b"ok"))

    async def read(self) -> Distrusted:
        return distrusted_of(await self._read.run([self._key], reply=text))


def distrusted_key(exchange: str) -> str:
    return f"{feed_name(exchange)}:distrusted"


def distrusted_of(value: bytes) -> Distrusted:
    """The value, read; NONE for anything else."""
    words = value.decode(errors="replace").split(" ")
    if len(words) < 3 or not all(word.isdigit() for word in words[2:]):
        return NONE
    return Distrusted(" ".join(words[:2]), frozenset(int(word[:18]) for word in words[2:]))
