"""GET /api/workers/{name}/published: what WebSocket workers publish, with its time and age."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stores.hot.leases import try_acquire
from tests.fixtures.api import ServedApi, ask
from tests.fixtures.controlled_workers import WITH_TOKEN
from timing.clock import now_ms
from workers.state import stream_lease
from workers.streams.published import READ_BYTES_AT_ONCE, Publisher, feed_key

PATH = "/api/workers/trades/published"


async def read(api: ServedApi, query: str = "") -> dict[str, Any]:
    status, headers, answer = await ask(api, "GET", PATH + query)
    assert status == 200, answer
    assert headers["content-type"] == "application/json"
    assert isinstance(answer, dict)
    return answer


@pytest.fixture
async def publisher(controlled_api: ServedApi) -> AsyncIterator[Publisher]:
    store = controlled_api.store
    lease = await try_acquire(store, stream_lease("trades"), holder="test", ttl_s=60)
    assert lease is not None
    yield Publisher(store, "trades", lease, keep=1000)
    await lease.release()


async def test_values_have_their_time_and_age(
    controlled_api: ServedApi, publisher: Publisher
) -> None:
    nothing: dict[str, Any] = {"worker": "trades", "latest": None, "values": [], "next": None}
    assert await read(controlled_api) == nothing
    before_ms = now_ms()
    await publisher.publish([{"price": "1.50"}, "\ud83dü", None])
    found = await read(controlled_api)
    assert [each["value"] for each in found["values"]] == [{"price": "1.50"}, "?ü", None]
    assert [each["number"] for each in found["values"]] == [1, 2, 3]
    for each in found["values"]:
        assert before_ms - 1000 <= each["at"] <= now_ms() + 1000
        assert 0 <= each["age_s"] < 60
    assert found["latest"] == found["values"][-1]
    # The age is that of the value, not of the answer: one of an hour ago is an hour old.
    hour_ago = found["latest"]["at"] - 3_600_000
    await controlled_api.store.execute("HSET", f"{feed_key('trades')}:latest", "at", hour_ago)
    assert 3600 <= (await read(controlled_api))["latest"]["age_s"] < 3660


async def test_a_reader_goes_on_from_where_it_was(
    controlled_api: ServedApi, publisher: Publisher
) -> None:
    await publisher.publish(range(250))
    last = await read(controlled_api)
    assert [each["value"] for each in last["values"]] == list(range(150, 250))
    values: list[int] = []
    after = "0-0"
    for _ in range(4):
        page = await read(controlled_api, f"?after={after}&limit=70")
        values += [each["value"] for each in page["values"]]
        after = page["next"]
    assert values == list(range(250))
    assert (await read(controlled_api, f"?after={after}"))["values"] == []
    assert (await read(controlled_api, f"?after={after}"))["next"] == after


async def test_an_answer_is_bounded_in_bytes_and_goes_on(
    controlled_api: ServedApi, publisher: Publisher
) -> None:
    large = "x" * 200_000
    await publisher.publish([large + str(number) for number in range(9)])
    last = await read(controlled_api, "?limit=1000")
    assert [each["value"][-1] for each in last["values"]] == ["4", "5", "6", "7", "8"]
    values: list[str] = []
    after = "0-0"
    for _ in range(2):
        page = await read(controlled_api, f"?after={after}&limit=1000")
        assert len(json.dumps(page["values"])) < READ_BYTES_AT_ONCE
        values += [each["value"][-1] for each in page["values"]]
        after = page["next"]
    assert values == list("012345678")


async def test_what_others_wrote_there_neither_fails_nor_stops_a_reader(
    controlled_api: ServedApi,
) -> None:
    add = ("XADD", feed_key("trades"), "*", "number", "1", "token", "1", "value")
    for value in ("NaN", "{", "[" * 100_000, "7"):
        await controlled_api.store.execute(*add, value)
    page = await read(controlled_api, "?after=0-0&limit=3")
    assert page["values"] == []
    page = await read(controlled_api, f"?after={page['next']}")
    assert [each["value"] for each in page["values"]] == [7]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?after=$", "must be the id of a value"),
        ("?limit=0", "at least 1"),
        ("?limit=1001", "at most 1000"),
        ("?count=5", "The parameters are after, limit"),
    ],
)
async def test_what_cannot_be_is_refused(controlled_api: ServedApi, query: str, told: str) -> None:
    status, _, answer = await ask(controlled_api, "GET", PATH + query)
    assert (status, told in str(answer)) == (422, True), answer


async def test_unknown_workers_are_none_and_schedules_publish_nothing(
    controlled_api: ServedApi,
) -> None:
    status, _, answer = await ask(controlled_api, "GET", "/api/workers/trade/published")
    assert (status, "trades" in answer["detail"]) == (404, True)
    status, _, answer = await ask(
        controlled_api, "GET", "/api/workers/ui_data/published", headers=WITH_TOKEN
    )
    assert (status, answer["values"]) == (200, [])
