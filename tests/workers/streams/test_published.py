"""Published values over both clients: fenced, once, in order, bounded, and read back."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.hot.leases import Lease, LeaseLost, try_acquire
from stores.hot.store import HotStore
from tests.fixtures.upstash import OpenStore
from workers.state import stream_lease
from workers.streams.published import (
    LARGEST_VALUE,
    Publisher,
    feed_key,
    is_entry_id,
    read_published,
)


@pytest.fixture
def store(open_store: OpenStore) -> HotStore:
    """Once over each kind of client."""
    return open_store()


@pytest.fixture
async def lease(store: HotStore) -> AsyncIterator[Lease]:
    lease = await try_acquire(store, stream_lease("trades"), holder="test", ttl_s=60)
    assert lease is not None
    yield lease
    await lease.release()


async def test_values_are_read_back_in_their_order(store: HotStore, lease: Lease) -> None:
    publisher = Publisher(store, "trades", lease, keep=1000)
    nothing = await read_published(store, "trades")
    assert (nothing.latest, nothing.values, nothing.next) == (None, [], None)
    await publisher.publish([{"price": Decimal("1.50")}])
    at = datetime(2026, 11, 30, tzinfo=UTC)
    await publisher.publish(["ü\n", None, (1, {2}), at])
    found = await read_published(store, "trades")
    values = [{"price": "1.50"}, "ü\n", None, [1, [2]], 1_795_996_800_000]
    assert [value.value for value in found.values] == values
    assert [value.number for value in found.values] == [1, 2, 3, 4, 5]
    assert {value.token for value in found.values} == {lease.token}
    assert found.latest == found.values[-1]
    assert found.next == found.values[-1].id
    # A reader goes on from where it was.
    second = found.values[1].id
    later = await read_published(store, "trades", after=second, count=2)
    assert later.values == found.values[2:4]
    assert (await read_published(store, "trades", after=later.next)).values == found.values[4:]
    assert (await read_published(store, "trades", after=found.next)).next == found.next


async def test_no_more_than_keep_can_be_read_back(store: HotStore, lease: Lease) -> None:
    publisher = Publisher(store, "trades", lease, keep=3)
    await publisher.publish(range(700))  # more than one command holds
    found = await read_published(store, "trades")
    assert [value.value for value in found.values] == [697, 698, 699]
    left_ms = await store.execute("PTTL", feed_key("trades"))
    assert 0 < left_ms <= 86_400_000


async def test_nothing_is_published_without_the_lease(store: HotStore, lease: Lease) -> None:
    publisher = Publisher(store, "trades", lease, keep=10)
    await publisher.publish([1])
    # As of a process that was frozen while another took the lease: its own clock says nothing yet.
    await store.execute("SET", lease.key, "99 nonce other", "PX", 60_000)
    with pytest.raises(LeaseLost):
        await publisher.publish([2])
    found = await read_published(store, "trades")
    assert [value.value for value in found.values] == [1]


async def test_a_command_that_is_repeated_publishes_once(store: HotStore, lease: Lease) -> None:
    """Its answer may have been lost."""
    publisher = Publisher(store, "trades", lease, keep=10)
    await publisher.publish(["a", "b"])
    publisher._next = 1
    await publisher.publish(["a", "b", "c"])
    found = await read_published(store, "trades")
    assert [(value.number, value.value) for value in found.values] == [(1, "a"), (2, "b"), (3, "c")]


async def test_what_others_wrote_there_is_replaced(store: HotStore, lease: Lease) -> None:
    key = feed_key("trades")
    await store.execute("SET", key, "not a stream")
    await store.execute("SET", f"{key}:latest", "not a hash")
    assert (await read_published(store, "trades")).values == []
    publisher = Publisher(store, "trades", lease, keep=10)
    await publisher.publish([1])
    assert [value.value for value in (await read_published(store, "trades")).values] == [1]
    await store.execute("XADD", key, "*", "other", "field")
    assert len((await read_published(store, "trades")).values) == 1


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (float("nan"), "trades: a published value is what JSON can hold: "),
        (object(), "trades: a published value is what JSON can hold: object is none of it"),
        (datetime(2026, 1, 1), "which moment it is nobody knows"),  # noqa: DTZ001 - the point
        ("x" * LARGEST_VALUE, "a value of 262146 bytes of JSON; at most 262144 can be published"),
    ],
)
async def test_a_value_that_cannot_be_published_is_refused_alone(
    store: HotStore, lease: Lease, value: object, told: str
) -> None:
    publisher = Publisher(store, "trades", lease, keep=10)
    with pytest.raises(ValueError, match=told):
        await publisher.publish([1, value])
    await publisher.publish([2])
    found = await read_published(store, "trades")
    assert [(value.number, value.value) for value in found.values] == [(1, 2)]


async def test_a_position_that_is_none_is_refused(store: HotStore) -> None:
    with pytest.raises(ValueError, match="an id is that of a value"):
        await read_published(store, "trades", after="$")


@given(st.text(max_size=30))
def test_only_two_numbers_are_an_id(written: str) -> None:
    numbers = written.split("-")
    expected = len(numbers) == 2 and all(
        set(part) <= set("0123456789") and part for part in numbers
    )
    assert is_entry_id(written) == bool(expected and all(len(part) <= 18 for part in numbers))
