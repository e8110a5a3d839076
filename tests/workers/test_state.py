"""The state of workers over both clients: told by runs, rebuilt from SQL, read in one command."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from config import load_settings
from stores.hot.leases import lock_key
from stores.hot.opening import open_hot_store
from stores.hot.store import HotStore
from tests.fixtures.upstash import UpstashEndpoint
from workers.state import (
    LastRun,
    WorkerState,
    WorkerStates,
    _number,
    beat_key,
    state_key,
    stream_lease,
    worker_states,
)


async def state_of(store: HotStore, name: str) -> WorkerState:
    return (await worker_states(store, [name]))[name]


async def test_a_run_is_told_from_its_start_to_its_end(store: HotStore) -> None:
    states = WorkerStates(store, "host:1")
    assert await state_of(store, "funds") == WorkerState()
    await states.started("funds", 7, 1000)
    assert await state_of(store, "funds") == WorkerState("running", 7, 1000, host="host:1")
    await states.ended("funds", 7, "complete", result={"rows": 3})
    told = await state_of(store, "funds")
    assert told == WorkerState("complete", 7, 1000, {"rows": 3}, host="host:1")
    await states.started("funds", 8, 2000)
    await states.ended("funds", 8, "failed", error="no answer within 10 s")
    told = await state_of(store, "funds")
    assert told == WorkerState("failed", 8, 2000, {"rows": 3}, "no answer within 10 s", "host:1")
    await states.started("funds", 9, 3000)
    await states.ended("funds", 9, "complete", result={"rows": 4})
    assert (await state_of(store, "funds")).last_error is None
    left_ms = await store.execute("PTTL", state_key("funds"))
    assert 86_000_000 < left_ms <= 86_400_000


async def test_a_frozen_host_that_wakes_does_not_tell_over_a_later_run(store: HotStore) -> None:
    old, new = WorkerStates(store, "old:1"), WorkerStates(store, "new:2")
    await old.started("funds", 7, 1000)
    await new.started("funds", 8, 2000)
    await old.ended("funds", 7, "failed", error="lost")
    await old.started("funds", 7, 3000)
    assert await state_of(store, "funds") == WorkerState("running", 8, 2000, host="new:2")


async def test_sql_rebuilds_what_the_store_has_lost(store: HotStore) -> None:
    states = WorkerStates(store, "host:1")
    await states.started("later", 9, 3000)
    await store.execute("SET", state_key("foreign"), "others wrote this")
    last = [
        LastRun("funds", 7, "failed", 1000, {"rows": 1}, "why", "host:2"),
        LastRun("later", 8, "complete", 2000, None, None, "host:2"),
        LastRun("foreign", 3, "queued"),
    ]
    await states.rebuild(last)
    found = await worker_states(store, ["funds", "later", "foreign", "unknown"])
    assert found == {
        "funds": WorkerState("failed", 7, 1000, {"rows": 1}, "why", "host:2"),
        "later": WorkerState("running", 9, 3000, host="host:1"),
        "foreign": WorkerState("queued", 3),
        "unknown": WorkerState(),
    }


async def test_many_are_read_in_one_command(upstash: UpstashEndpoint) -> None:
    settings = load_settings(**{name.lower(): each for name, each in upstash.environment.items()})
    store = open_hot_store(settings, client_name="test")
    names = [f"worker{number}" for number in range(500)]
    await worker_states(store, names)
    upstash.fail("")
    assert len(await worker_states(store, names)) == 500
    assert upstash.commands() == {"EVALSHA": 1}
    assert await worker_states(store, []) == {}
    await store.aclose()


async def test_results_of_any_kind_never_stop_a_run(store: HotStore) -> None:
    states = WorkerStates(store, "host:1")
    for result in ({1, 2}, float("nan"), "x" * 5000):
        await states.ended("funds", 1, "complete", result=result)
        assert set((await state_of(store, "funds")).last_result) == {"not_told"}
    await states.ended("funds", 1, "failed", error="x" * 5000)
    error = (await state_of(store, "funds")).last_error
    assert error is not None and len(error) < 1100


async def test_a_beat_of_another_holding_is_not_this_ones(store: HotStore) -> None:
    await store.execute("SET", lock_key(stream_lease("trades")), "5 nonce host:1", "PX", 60_000)
    await store.execute("HSET", beat_key("trades"), "token", "4", "messages", "17")
    stream = (await state_of(store, "trades")).stream
    assert stream is not None and (stream.holder, stream.messages) == ("host:1", None)
    await store.execute("HSET", beat_key("trades"), "token", "5", "lag_ms", "1500", "error", "")
    stream = (await state_of(store, "trades")).stream
    assert stream is not None
    assert (stream.messages, stream.lag_s, stream.error) == (17, 1.5, None)


@given(st.text() | st.none() | st.integers().map(str))
def test_numbers_that_others_wrote_are_read_or_left(written: str | None) -> None:
    found: Any = _number(written)
    assert found is None or 0 <= found < 10**18
