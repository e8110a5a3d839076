"""Several reads as one command: each with its own keys and arguments, all of one instant."""

from typing import Any

import pytest

from stores.hot.read import Read, read, read_together
from stores.hot.replies import list_of, text, whole_number
from stores.hot.store import HotStore, StoreUnavailable
from tests.fixtures.canned_store import CannedStore


def values(*keys: str) -> Read[list[str]]:
    """The values of these keys, '' without one, each followed by the argument."""
    lua = """
    local function of(key) return redis.call('GET', key) or '' end
    local found = {}
    for i = 1, #KEYS do found[i] = of(KEYS[i]) .. ARGV[1] end
    return found
    """
    return Read(
        "values",
        lua,
        keys,
        ["!"],
        list_of(text, len(keys)),
        lambda reply: [each.decode() for each in reply],
    )


def total(*numbers: int) -> Read[int]:
    lua = "local sum = 0 for _, n in ipairs(ARGV) do sum = sum + n end return sum"
    return Read("total", lua, (), numbers, whole_number(), lambda reply: int(reply) * 10)


async def test_each_read_makes_together_what_it_makes_alone(store: HotStore) -> None:
    await store.execute("SET", "a", "1")
    await store.execute("SET", "b", "2")
    reads: list[Read[Any]] = [total(), values("a", "none"), total(1, 2, 3), values(), values("b")]
    together = await read_together(store, "all", reads)
    assert together == [0, ["1!", "!"], 60, [], ["2!"]]
    assert [await read(store, one) for one in reads] == together


async def test_together_they_cost_one_command() -> None:
    store = CannedStore([6, [b"1!"]])
    assert await read_together(store, "all", [total(1, 2, 3), values("a")]) == [60, ["1!"]]
    ((command, _, *words),) = store.sent
    assert (command, words) == ("EVALSHA", [1, "a", 0, 3, 1, 1, 1, 2, 3, "!"])


@pytest.mark.parametrize("reply", [[6], [6, [1]], 7, [b"6", [b"1!"]]])
async def test_a_reply_of_another_shape_is_none(reply: object) -> None:
    with pytest.raises(StoreUnavailable, match="script all: "):
        await read_together(CannedStore(reply), "all", [total(1), values("a")])
