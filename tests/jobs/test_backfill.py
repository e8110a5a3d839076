"""Backfills against the simulated exchanges: what is stored is what the simulator knows to be true.

The simulator makes the truth from its own numbers, and counts what it was asked.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import jobs.backfill
from database import Database, FillRows, SeriesKey, Versions
from history.backfill.wanted import wish
from jobs.backfill_targets import targets_of
from jobs.due import backfill_due_s
from market.markets import Exchange
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.exchange_answers import our_key
from tests.fixtures.jobs import ALL, JobRunner, OpenRunner
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

DAYS = 33
FROM_MS = (NOW_MS - DAYS * DAY_MS) // DAY_MS * DAY_MS
WISH = {
    **{"exchanges": ["binance"], "symbols": ["BTCUSDT"], "timeframes": ["1d"]},
    **{"what": ["candles"], "from": FROM_MS, "to": None},
}
H1, H4, H8 = Timeframe.H1, Timeframe.H4, Timeframe.H8


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, 3), now=NOW_MS, frozen=True)


async def wished(runner: JobRunner, **named: Any) -> Any:
    """Wishes for it, runs the job to its end, and returns the wish."""
    context = runner.context
    wanted = wish(
        **{"from_ms": FROM_MS, "timeframes": ["1h", "4h"], **named},
        collected=context.settings.exchanges,
        usual=context.settings.timeframes,
        now_ms=NOW_MS,
    )
    wish_id = await context.database.backfills.add(wanted.plain(), context.now_ms())
    await runner.complete("backfill")
    return await context.database.backfills.find(wish_id)


async def stored(database: Database, key: SeriesKey) -> Versions:
    async with database.history.snapshot() as snapshot:
        return (await snapshot.versions([key], 0, 10**14))[key]


async def assert_is_truth(
    database: Database,
    exchanges: Simulator,
    timeframes: Iterable[Timeframe],
    *,
    interest: bool,
    funding: bool = True,
) -> None:
    """The candles, snapshots and settlements from FROM_MS on are what the simulator knows."""
    for timeframe in timeframes:
        candles = (DAYS + 1) * DAY_MS // timeframe.collected_as.interval_ms
        for key, rows in exchanges.truth(timeframe, candles=candles).items():
            exchange, _, symbol = our_key(key).partition(":")
            ours = await stored(database, SeriesKey.candles(exchange, symbol, timeframe))
            last_ms = NOW_MS - timeframe.interval_ms
            closed = [row for row in rows if FROM_MS <= row[0] <= last_ms]
            assert ours.times.tolist() == [row[0] for row in closed], (key, timeframe)
            assert ours.values.tolist() == [row[1:7] for row in closed], (key, timeframe)
            if timeframe is H1 and interest:
                snapshots = await stored(database, SeriesKey.open_interest(exchange, symbol))
                known = [(row[0], row[7]) for row in rows if row[7] is not None]
                assert _pairs(snapshots) == [pair for pair in known if pair[0] >= FROM_MS], key
    for key, settled in settlements(exchanges).items() if funding else ():
        exchange, _, symbol = our_key(key).partition(":")
        ours = await stored(database, SeriesKey.funding(exchange, symbol))
        assert _pairs(ours) == [pair for pair in settled if pair[0] >= FROM_MS], key


def settlements(exchanges: Simulator) -> dict[str, list[tuple[int, float]]]:
    """All regular settlements that the simulator knows, by market."""
    answer = exchanges.get("/sim/funding", funding_history=24 * (DAYS + 1))
    return {
        f"{each['exchange']}:{each['symbol']}": [tuple(row[:2]) for row in each["rows"]]
        for each in answer["markets"]
    }


def _pairs(found: Versions) -> list[tuple[int, float]]:
    return list(zip(found.times.tolist(), found.values[:, 0].tolist(), strict=True))


async def test_what_is_stored_is_the_truth_and_nothing_is_asked_twice(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, exchanges=ALL) as runner:
        await runner.complete("discovery")
        exchanges.post("/sim/stats/reset")
        found = await wished(runner)
        assert (found.state, dict(found.failures), found.error) == ("complete", {}, None)
        assert (found.done, found.total) == (found.total, found.total)
        await assert_is_truth(runner.context.database, exchanges, (H1, H4, H8), interest=True)
        stats = exchanges.stats()
        assert stats["limits_broken"] == {}
        # Known instants of a market, asked once; and the clock of each exchange.
        again = await wished(runner)
        assert (again.state, again.total, again.rows, again.requests) == (
            "complete",
            0,
            0,
            len(Exchange),
        )


async def test_trouble_of_some_is_told_and_stops_no_other(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    hour = NOW_MS - NOW_MS % HOUR_MS
    bad_ms = [hour - 100 * HOUR_MS, hour - 101 * HOUR_MS]
    async with open_runner(exchanges, exchanges=ALL) as runner:
        await runner.complete("discovery")
        runner.fault(
            {"kind": "delist", "exchange": "binance", "symbol": "ETHUSDT"},
            {
                **{"kind": "impossible", "exchange": "bybit", "symbol": "BTCUSDT"},
                **{"times": bad_ms, "variant": "high_below_low"},
            },
            {"kind": "status", "status": 429, "exchange": "bybit", "retry_after": 1, "count": 1},
            {"kind": "short_page", "exchange": "binance", "endpoint": "funding", "count": 2},
            {
                "kind": "truncated_json",
                "exchange": "bybit",
                "endpoint": "open_interest",
                "count": 2,
            },
        )
        sent = shares_of(runner)
        found = await wished(runner, timeframes=["1h"])
        assert found.state == "complete"
        assert {*found.failures} == {"binance:ETHUSDT"}
        assert found.error is not None and found.error.startswith("1 of 9 markets: binance:ETHUSDT")
        # The rule that leaves collections their part of the budgets: each request has its share.
        assert {*sent} == {0.5}
        database = runner.context.database
        key = SeriesKey.candles("bybit", "BTCUSDT", H1)
        ours = await stored(database, key)
        hours = (hour - FROM_MS) // HOUR_MS
        expected = [t for n in range(hours) if (t := FROM_MS + n * HOUR_MS) not in bad_ms]
        assert ours.times.tolist() == expected
        # They are not covered: the next backfill asks for them again.
        last_ms = max(bad_ms) + HOUR_MS
        assert await database.history.missing(key, FROM_MS, hour) == [(min(bad_ms), last_ms)]
        again = await wished(runner, timeframes=["1h"], exchanges=["bybit"])
        assert (again.total, again.rows) == (1, 0)
    assert exchanges.stats()["limits_broken"] == {}


def shares_of(runner: JobRunner) -> list[float | None]:
    """The share with which each further request for histories is sent, as it is sent."""
    client, found = runner.context.client, list[float | None]()
    send = client.send

    async def noted(request: Any, counts: Any, share: float | None = None) -> bytes:
        found.append(share)
        return await send(request, counts, share)

    client.send = noted  # type: ignore[method-assign]
    return found


async def test_what_documents_tell_is_left_to_them(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, exchanges=ALL) as runner:
        for job_id in ("discovery", "funding", "collect:1h", "record"):
            await runner.complete(job_id)
        database = runner.context.database
        windows = await database.publishes.windows()
        first_ms, settled_ms = windows["1h"].first_ms, windows["global_fr"].first_ms
        assert first_ms is not None and settled_ms is not None
        candles = SeriesKey.candles("binance", "BTCUSDT", H1)
        funding = SeriesKey.funding("bybit", "BTCUSDT")
        known = {key: (await stored(database, key)).known_at.tolist() for key in (candles, funding)}
        found = await wished(runner, timeframes=["1h"])
        assert (found.state, dict(found.failures)) == ("complete", {})
        for key, begin_ms in ((candles, first_ms), (funding, settled_ms)):
            ours = await stored(database, key)
            # All that was there is as it was, and what came lies before it.
            assert ours.known_at[ours.times >= begin_ms].tolist() == known[key]
            assert (ours.times < begin_ms).sum() > 10
            for each in (await database.history.coverage([key]))[key]:
                assert each.to_ms <= begin_ms or each.from_ms > windows["1h"].last_ms
        document = await runner.document("1h")
        await runner.complete("record")
        assert await runner.document("1h") == document


async def test_settlements_before_those_of_a_document_are_brought_of_each_market(
    open_runner: OpenRunner, start_simulator: StartSimulator
) -> None:
    """A document has as many of a market that settles each hour as of one that does every eighth,
    and so begins later with it."""
    exchanges = start_simulator(**dict.fromkeys(Exchange, 10), now=NOW_MS, frozen=True)
    async with open_runner(exchanges, exchanges=ALL, funding_history=6) as runner:
        for job_id in ("discovery", "funding", "record"):
            await runner.complete(job_id)
        database = runner.context.database
        told = (await database.publishes.windows())["global_fr"].firsts
        assert len({*told.values()}) >= 3
        found = await wished(runner, what=["funding"])
        assert (found.state, dict(found.failures)) == ("complete", {})
        await assert_is_truth(database, exchanges, (), interest=False)
        # A later version does not take them for removed.
        later_ms = NOW_MS + DAY_MS
        exchanges.post("/sim/clock", {"now_ms": later_ms})
        runner.context = replace(runner.context, now_ms=lambda: later_ms)
        before = {key: await stored(database, SeriesKey.funding(*key)) for key in told}
        for job_id in ("funding", "record"):
            await runner.complete(job_id)
        for key, known in before.items():
            now = await stored(database, SeriesKey.funding(*key))
            assert now.times[: len(known.times)].tolist() == known.times.tolist()
            assert len(now.times) > len(known.times)


async def test_a_wish_that_was_interrupted_is_due_and_a_cancelled_one_is_not(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, exchanges=ALL) as runner:
        wishes = runner.context.database.backfills
        assert await backfill_due_s(runner.context) > 0
        for state in ("started", "cancelled"):
            wish_id = await wishes.add({"state": state}, NOW_MS)
            assert await wishes.start(wish_id, NOW_MS)
            assert await backfill_due_s(runner.context) == 0
            if state == "cancelled":
                assert await wishes.cancel(wish_id, NOW_MS)
            else:  # none that this release can read
                await runner.complete("backfill")
                found = await wishes.find(wish_id)
                assert found is not None and found.state == "failed"
                assert found.error is not None and "cannot be read" in found.error
        assert await backfill_due_s(runner.context) > 0


async def test_what_waits_for_the_recorder_is_known_since_it_was_published(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    days_ms = 2 * DAY_MS
    async with open_runner(exchanges, exchanges=ALL) as runner:
        for job_id in ("discovery", "funding", "collect:1h", "record"):
            await runner.complete(job_id)
        # The record cannot be reached for two days; documents are published meanwhile.
        exchanges.post("/sim/clock", {"now_ms": NOW_MS + days_ms})
        runner.context = replace(runner.context, now_ms=lambda: NOW_MS + days_ms)
        for job_id in ("funding", "collect:1h"):
            await runner.complete(job_id)
        published_ms = {
            name: (await runner.document(name))["updated_at"] for name in ("1h", "global_fr")
        }
        later_ms = max(published_ms.values()) + 5 * MINUTE_MS
        runner.context = replace(runner.context, now_ms=lambda: later_ms)
        found = await wished(runner, timeframes=["1h"])
        assert (found.state, dict(found.failures)) == ("complete", {})
        assert found.rows > 100
        await runner.complete("record")
        for key, name in (
            (SeriesKey.candles("binance", "BTCUSDT", H1), "1h"),
            (SeriesKey.open_interest("binance", "BTCUSDT"), "1h"),
            (SeriesKey.funding("bybit", "BTCUSDT"), "global_fr"),
        ):
            ours = await stored(runner.context.database, key)
            newer = ours.times > NOW_MS
            assert newer.sum() > 2
            assert {*ours.known_at[newer].tolist()} == {published_ms[name]}, key
        # Of documents that come no more, a backfill brings what followed.
        last_ms = later_ms + days_ms
        exchanges.post("/sim/clock", {"now_ms": last_ms})
        runner.context = replace(runner.context, now_ms=lambda: last_ms)
        await wished(runner, timeframes=["1h"], symbols=["BTCUSDT"])
        ours = await stored(runner.context.database, SeriesKey.candles("binance", "BTCUSDT", H1))
        assert ours.times[-1] == last_ms - last_ms % HOUR_MS - HOUR_MS


async def test_a_wish_that_crashes_has_failed_and_the_next_is_worked_on(
    open_runner: OpenRunner, exchanges: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = targets_of
    crashes = [ZeroDivisionError("no")]

    async def crashing(*arguments: Any) -> Any:
        if crashes:
            raise crashes.pop()
        return await work(*arguments)

    monkeypatch.setattr(jobs.backfill, "targets_of", crashing)
    async with open_runner(exchanges, exchanges=ALL) as runner:
        await runner.complete("discovery")
        wishes = runner.context.database.backfills
        first = await wishes.add({**WISH, "symbols": ["ETHUSDT"]}, NOW_MS)
        second = await wishes.add(WISH, NOW_MS)
        later = await wishes.add({**WISH, "trades": True}, NOW_MS)
        partly = await wishes.add({**WISH, "symbols": ["BTCUSDT", "NOPEUSDT"]}, NOW_MS)
        await runner.complete("backfill")
        found = {each.id: each for each in await wishes.newest()}
        assert (found[first].state, found[first].error) == (
            "failed",
            "internal error: ZeroDivisionError",
        )
        assert (found[second].state, found[second].error) == ("complete", None)
        assert found[later].state == "failed" and "'trades'" in (found[later].error or "")
        assert (found[partly].state, [*found[partly].failures]) == ("complete", ["NOPEUSDT"])


async def test_8h_that_lacked_a_part_is_made_again_when_the_exchange_has_it(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, exchanges=ALL) as runner:
        await runner.complete("discovery")
        database = runner.context.database
        lacks_ms = FROM_MS + 10 * DAY_MS + 4 * HOUR_MS  # the second half of an 8h candle
        for timeframe in (H4, H8):
            key = SeriesKey.candles("binance", "BTCUSDT", timeframe)
            rows = exchanges.truth(H4, candles=220, symbol="BTCUSDT")["binance:BTCUSDT"]
            if timeframe is H8:
                rows = [row for row in rows if row[0] == lacks_ms - 4 * HOUR_MS]
            known = [row for row in rows if FROM_MS <= row[0] != lacks_ms][:180]
            times = np.array([row[0] for row in known], np.int64)
            values = np.array([row[1:7] for row in known])
            end_ms = int(times[-1]) + timeframe.interval_ms
            filled = FillRows(key, int(times[0]), end_ms, times, values)
            await database.history.fill([filled], "rest", NOW_MS - DAY_MS)
        found = await wished(runner, timeframes=["4h"], what=["candles"])
        assert (found.state, found.error) == ("complete", None)
        key = SeriesKey.candles("binance", "BTCUSDT", H8)
        ours = await stored(database, key)
        truth = {row[0]: row[1:7] for row in exchanges.truth(H8, candles=220)["binance:BTCUSDT"]}
        at = ours.times.tolist().index(lacks_ms - 4 * HOUR_MS)
        assert ours.values[at].tolist() == truth[lacks_ms - 4 * HOUR_MS]
