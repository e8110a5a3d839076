"""Wrong clocks of the exchanges, and what whole jobs make of them."""

from typing import Any

import pytest

from tests.fixtures.clock import ManualClock
from tests.fixtures.jobs import NoAudits, OpenRunner, by_key, lacks
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

EACH = 3
HOUR_MS = 3_600_000
JOBS = ("collect:5m", "funding")


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True)


def off(hours: float, exchange: str | None = "bybit", variant: str = "body") -> dict[str, Any]:
    offset_ms = round(hours * HOUR_MS)
    fault: dict[str, Any] = {"kind": "clock_offset", "offset_ms": offset_ms, "variant": variant}
    return fault | ({"exchange": exchange} if exchange else {})


@pytest.mark.parametrize(
    ("fault", "against"),
    [
        (off(-3), "behind the Date header (and Age) of its own answer"),
        (off(-0.1, variant="cached"), "behind the Date header (and Age) of its own answer"),
        (off(-3, variant="date"), "behind binance's clock and this machine's clock"),
        (off(3, variant="date"), "ahead of binance's clock and this machine's clock"),
    ],
)
async def test_a_wrong_clock_costs_its_own_exchange_only(
    open_runner: OpenRunner, exchanges: Simulator, fault: dict[str, Any], against: str
) -> None:
    clock = ManualClock(wall_ms=NOW_MS)
    async with open_runner(exchanges, clock=clock) as runner:
        await runner.complete("discovery")
        for job in JOBS:
            assert "clocks" not in await runner.complete(job)
        before = {name: by_key(await runner.document(name)) for name in ("5m", "global_fr")}
        # Two candles and a settlement of every interval later.
        exchanges.post("/sim/clock", {"advance_ms": 2 * HOUR_MS})
        clock.now += 2 * 3600
        exchanges.post("/sim/faults", fault)
        results = {job: await runner.complete(job) for job in JOBS}
        documents = {name: await runner.document(name) for name in ("5m", "global_fr")}

    for job, part, name in (
        ("collect:5m", "klines", "5m"), ("funding", "funding_rate", "global_fr"),
    ):  # fmt: skip
        told = results[job]["clocks"]["bybit"]
        assert told.startswith("bybit's clock is ") and against in told
        document = documents[name]
        assert document["as_of"] == NOW_MS + 2 * HOUR_MS
        assert lacks(document) == {
            ("bybit:None", "listing"): told,  # it brought nothing
            **{(key, part): told for key in before[name] if key.startswith("bybit")},
        }
        for key, market in by_key(document).items():
            if key.startswith("binance"):
                assert market["checked_at"] == document["as_of"]
            else:
                assert market["checked_at"] == before[name][key]["checked_at"]
    for key, market in by_key(documents["5m"]).items():
        known = before["5m"][key]["rows"]
        if key.startswith("binance"):
            assert market["stale_since"] is None
            assert market["rows"][-1][0] == known[-1][0] + 2 * HOUR_MS
        else:
            assert market["stale_since"] == NOW_MS + 2 * HOUR_MS
            # What was forming is left out, and what has left the window.
            assert market["rows"] == [row for row in known[:-1] if row in market["rows"]]
            assert market["rows"][-1] == known[-2]
    for key, series in before["global_fr"].items():
        if key.startswith("bybit"):
            assert by_key(documents["global_fr"])[key]["rows"] == series["rows"]


async def test_both_ahead_together_publish_nothing(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    """Their candles still change, and would be published as closed."""
    async with open_runner(exchanges, clock=ManualClock(wall_ms=NOW_MS)) as runner:
        await runner.complete("discovery")
        for job in JOBS:
            await runner.complete(job)
        before = [await runner.document(name) for name in ("5m", "global_fr")]
        exchanges.post("/sim/faults", off(3, None, "date"))
        for job in ("discovery", *JOBS):
            record = await runner.run(job)
            assert record.state == "failed"
            assert record.error is not None
            assert "bybit's clock is 10800 s ahead of this machine's clock" in record.error
        assert [await runner.document(name) for name in ("5m", "global_fr")] == before
        exchanges.delete("/sim/faults")
        for job in ("discovery", *JOBS):
            await runner.complete(job)


async def test_an_older_document_is_not_published_by_a_new_process(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges) as runner:
        await runner.complete("discovery")
        for job in JOBS:
            await runner.complete(job)
        before = [await runner.document(name) for name in ("5m", "global_fr")]
    exchanges.post("/sim/faults", [
        off(-3, "binance", "date"),
        {"kind": "status", "status": 451, "exchange": "bybit", "endpoint": "time"},
    ])  # fmt: skip
    # Its own clock agrees with nobody.
    async with open_runner(exchanges, clock=ManualClock(wall_ms=NOW_MS - 9 * HOUR_MS)) as runner:
        for job in JOBS:
            record = await runner.run(job)
            assert record.state == "failed"
            assert record.error is not None
            assert "binance's clock is 10800 s behind the stored document's as_of" in record.error
        assert [await runner.document(name) for name in ("5m", "global_fr")] == before


async def test_documents_of_the_future_are_replaced(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    """Published by a wrong clock; markets that fail now must not show their forming candles."""
    async with open_runner(exchanges) as runner:
        await runner.complete("discovery")
        exchanges.post("/sim/faults", off(3, None, "date"))
        for job in JOBS:  # what is against it, this machine and the discovery before, disagrees
            await runner.complete(job)
        future = by_key(await runner.document("5m"))
        rates = by_key(await runner.document("global_fr"))
        exchanges.delete("/sim/faults")
        exchanges.post("/sim/clock", {"advance_ms": 60_000})  # the same candle, later
        exchanges.post(
            "/sim/faults",
            [
                {
                    "kind": "status",
                    "status": 451,
                    "exchange": "bybit",
                    "endpoint": ["klines", "funding"],
                }
            ],
        )
        for job in JOBS:
            await runner.complete(job)
        document, funding = await runner.document("5m"), await runner.document("global_fr")
    as_of_ms = NOW_MS + 60_000
    assert (document["as_of"], funding["as_of"]) == (as_of_ms, as_of_ms)
    truth = exchanges.truth("5m", candles=50, as_of=as_of_ms, funding_history=20)
    for key, market in by_key(document).items():
        if key.startswith("binance"):
            assert market["rows"] == truth[key]
            continue
        assert market["checked_at"] <= as_of_ms
        last_ms = market["rows"][-1][0]
        assert last_ms == future[key]["rows"][-2][0] == document["last_closed_open_time"]
        known = {row[0]: row[:7] for row in truth[key]}
        assert all(row[:7] == known.get(row[0], row[:7]) for row in market["rows"])
    for key, market in by_key(funding).items():
        assert market["rows"] == rates[key]["rows"]
        assert market["checked_at"] < as_of_ms + 60_000


@pytest.mark.parametrize("job", ["collect:all", "collect:5m", "funding"])
async def test_no_older_document_follows_when_a_slow_clock_answers_again(
    open_runner: OpenRunner, exchanges: Simulator, job: str
) -> None:
    """Bybit's clock is 4 s behind, which is believed, and its answer lacks around a close."""
    clock = ManualClock(wall_ms=NOW_MS)
    hour_ms = NOW_MS - NOW_MS % HOUR_MS + HOUR_MS
    async with open_runner(exchanges, clock=clock, audits=NoAudits()) as runner:

        def go_to(now_ms: int) -> None:
            passed_ms = now_ms - clock.wall_ms()
            exchanges.post("/sim/clock", {"advance_ms": passed_ms})
            clock.now += passed_ms / 1000

        runner.context.last_as_of.elapsed_s = clock.monotonic_s
        await runner.complete("discovery")
        await runner.complete("funding")
        await runner.complete(job)
        exchanges.post("/sim/clock", {"skew_ms": {"bybit": -4000}})
        time = {"exchange": "bybit", "endpoint": "time"}
        runner.fault({"kind": "status", "status": 451, **time})
        go_to(hour_ms + 1000)
        await runner.complete(job)
        name = "global_fr" if job == "funding" else "5m"
        before = await runner.document(name)
        assert before["as_of"] == hour_ms + 1000
        exchanges.delete("/sim/faults")
        exchanges.post("/sim/stats/reset")
        go_to(hour_ms + 3000)
        result = await runner.complete(job)
        after = await runner.document(name)
        asked = exchanges.stats()["requests"]["binance"]
    assert after["as_of"] >= before["as_of"]
    assert clock.wall_ms() - hour_ms == pytest.approx(5000, abs=20)
    assert "bybit" not in result.get("absent", {})
    if job == "collect:all":
        assert asked.keys() == {"time"}  # everything else is known
