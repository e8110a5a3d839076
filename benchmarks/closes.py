"""The rows of closes: all timeframes first, at midnight, twice in a row, and what that costs."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import before
from benchmarks.benchmark_run import BenchmarkRun, Stores, open_stores
from benchmarks.collecting import Exchanges, exchanges
from benchmarks.machine import ROOT, run_measured
from benchmarks.markets import Counts, counted, market_key, named, options, rest_settings
from benchmarks.report import LeftOut, Row, Sample, Target
from benchmarks.request_counts import finest_requests, requests_of_collections, told_requests
from benchmarks.service import Run, Service, serving
from database import Database
from job_queue.kinds import ALL, JOB_IDS, job_id_of
from market.timeframes import COLLECTED, Timeframe

PART: Final = "closes"
# Any Sunday; its midnight is a close of every timeframe. The first collections are so much earlier
# that the run before midnight publishes every document, as one of the last three always does.
_FIRST: Final = "2026-03-01T23:38:00Z"
_LATE: Final = "2026-03-01T23:55:00Z"
_MIDNIGHT: Final = "2026-03-02T00:00:00Z"
_MIDNIGHT_MS: Final = 1_772_409_600_000
_MINUTE_MS: Final = 60_000
_QUARTERS_A_DAY: Final = 96
_STEPS_S: Final = 1500.0
_FIRST_S: Final = 1500.0
_CLOSE_S: Final = 600.0
_COLLECT_ALL: Final = f"collect:{ALL}"
_ALL: Final = (_COLLECT_ALL, *(job for job in JOB_IDS if job == "fill"))
_CHECKED: Final = ("5m", "1d")
_INTEREST: Final = 7  # the column of open interest in a document's rows


async def measure(bench: BenchmarkRun) -> None:
    """Measures the rows of closes and adds them to `bench`."""
    before_4h_cpu_s = await _cpu(bench)
    latency = ["--latency-ms", str(bench.sizes.latency_ms), "--now", _FIRST]
    async with (
        open_stores(bench.folder / "closes-stores") as stores,
        exchanges(bench, *options(bench.sizes.larger), *latency) as limited,
    ):
        await stores.store.execute("CONFIG", "SET", "auto-aof-rewrite-percentage", "0")
        bench.say("closes: markets and funding")
        await run_steps(
            bench, stores, limited.address, ROOT, bench.sizes.larger, "discovery", "funding"
        )
        smaller = await _left_out(limited, bench.sizes.closes)
        await _switch(stores, smaller, enabled=False)
        await _first(bench, stores, limited)
        midnight_bytes = await _midnight(bench, stores, limited, before_4h_cpu_s)
        await _quarter(bench, stores, limited, midnight_bytes)
        await _switch(stores, smaller, enabled=True)
        await _two_in_a_row(bench, stores, limited)


# --- the CPU of a close, beside the code before it ------------------------------------------------


async def _cpu(bench: BenchmarkRun) -> float | None:
    """Compares the CPU of a midnight close; returns that of 4h alone in the code before."""
    markets = bench.sizes.closes_cpu
    singles = [job_id_of("collect", timeframe) for timeframe in COLLECTED]
    what = f"CPU of a midnight close of ten documents, {named(markets)}"
    folder = bench.folder / "before"
    if not before.unpack(before.BEFORE_CLOSES, folder):
        why = f"install git, and clone with commit {before.BEFORE_CLOSES[:7]}"
        bench.left_out.append(LeftOut(PART, what, why))
        return None
    sides = {
        "before": (folder, [*singles], [*singles]),
        "now": (ROOT, _ALL, [_COLLECT_ALL, job_id_of("collect", Timeframe.H4)]),
    }
    found: dict[str, Sequence[Mapping[str, Any]]] = {}
    for name, (code, first, later) in sides.items():
        bench.say(f"closes: the CPU of a close, the code {name}")
        async with (
            open_stores(bench.folder / f"closes-cpu-{name}") as stores,
            exchanges(bench, *options(markets), "--no-limits", "--now", _LATE) as free,
        ):
            steps = ["discovery", "funding", *first, f"now={_MIDNIGHT}", *later]
            jobs = await run_steps(bench, stores, free.address, code, markets, *steps)
            found[name] = jobs[-len(later) :]
    ours, theirs = found["now"][0], found["before"]
    samples = [Sample(ours["cpu_s"], sum(job["cpu_s"] for job in theirs))]
    against = "nine separate refreshes before `collect all`"
    note = (
        "in one process that ran the first collections before, without limits or latency; before: "
        + ", ".join(f"{job['job'].partition(':')[2]} {job['cpu_s']:.2f} s" for job in theirs)
    )
    bench.add(Row(PART, what, against, "s", samples, Target("<=", 0.25), note))
    before_s: float = next(job["cpu_s"] for job in theirs if job["job"].endswith(":4h"))
    samples = [Sample(found["now"][1]["cpu_s"], before_s)]
    what = f"CPU of a 4h run with a fresh base, {named(markets)}"
    bench.add(Row(PART, what, "the same before", "s", samples, Target("<=", 1 / 3)))
    return before_s


async def run_steps(
    bench: BenchmarkRun, stores: Stores, address: str, code: Path, markets: Counts, *steps: str
) -> Sequence[Mapping[str, Any]]:
    """Runs jobs on this code in one process; what each took (steps.py)."""
    env = stores.environment(
        **rest_settings(markets, address),
        DATA_DIR=str(bench.folder / "steps"),
        HISTORY_CANDLES=str(bench.sizes.history),
    )
    env["PYTHONPATH"] = str(code)
    command = [sys.executable, "-P", str(Path(__file__).parent / "steps.py"), *steps]
    spent = await run_measured(command, cwd=bench.folder, env=env, deadline_s=_STEPS_S)
    found: list[dict[str, Any]] = json.loads(spent.output.splitlines()[-1])
    return found


# --- with limits ---------------------------------------------------------------------------------


async def _left_out(asked: Exchanges, kept: Counts) -> list[str]:
    """The keys of the markets beyond so many of each exchange."""
    listed = [each for each in (await asked.get("markets"))["markets"] if each["collected"]]
    keys = []
    for exchange, count in counted(kept):
        keys += [market_key(each) for each in listed if each["exchange"] == exchange][count:]
    return keys


async def _switch(stores: Stores, keys: Sequence[str], *, enabled: bool) -> None:
    database = Database(stores.database_url)
    try:
        unknown = await database.coin_records.set_enabled(keys, enabled)
        if unknown:
            raise RuntimeError(f"not stored: {', '.join(unknown)}")
    finally:
        await database.aclose()


@contextlib.asynccontextmanager
async def _serving(
    bench: BenchmarkRun, stores: Stores, asked: Exchanges, now: str | int, **settings: str
) -> AsyncIterator[Service]:
    """A service that begins at `now`, as the exchanges were asked for nothing for a while."""
    await asked.post("clock", now=now, frozen=False)
    await asked.post("limits/reset")  # the first steps may have been banned, and it asks at once
    settings |= rest_settings(bench.sizes.closes, asked.address)
    async with serving(bench, stores, os.urandom(8).hex(), **settings) as service:
        await asked.post("clock", now=now)  # its start took some time
        await asked.post("limits/reset")
        await asked.post("stats/reset")
        yield service


async def _until(asked: Exchanges, at_ms: int) -> None:
    """Waits until the exchanges' time is `at_ms`, or puts it back there if a run took longer."""
    left_ms = at_ms - (await asked.get("clock"))["now_ms"]
    if left_ms > 0:
        await asyncio.sleep(left_ms / 1000)
    else:
        await asked.post("clock", now=at_ms)
    await asked.post("stats/reset")


async def _first(bench: BenchmarkRun, stores: Stores, asked: Exchanges) -> None:
    """The first collections of all timeframes, from an empty store."""
    what = f"first collections of all timeframes, {named(bench.sizes.closes)}"
    bench.say(f"closes: {what}")
    async with _serving(bench, stores, asked, _FIRST) as service:
        await asked.post("clock", frozen=True)  # no close in between
        run = await service.collect(ALL, 0, _FIRST_S)
        candles_s = max(run.publications.first_s.values())
        whole_s = run.wall_s + await service.filled(_FIRST_S)
        peak_mb = service.worker.peak_mb()
    note = _times(run.publications.first_s)
    bench.add(value_row(f"{what}: candles published", "s", candles_s, 300, note))
    note = told_requests(await asked.get("stats"))
    bench.add(value_row(f"{what}: with open interest", "s", whole_s, 780, note))
    bench.add(value_row("peak memory of the worker in them", "MB", peak_mb, 900))
    await _limits_kept(bench, asked, "first collections")


async def _midnight(
    bench: BenchmarkRun, stores: Stores, asked: Exchanges, before_4h_cpu_s: float | None
) -> int:
    """The close of all timeframes by a service that ran the close before; returns its bytes."""
    markets = sum(bench.sizes.closes)
    what = f"midnight close, {named(bench.sizes.closes)}"
    bench.say(f"closes: {what}")
    before_ms = _MIDNIGHT_MS - bench.sizes.closes_apart_s * 1000
    async with _serving(bench, stores, asked, before_ms) as service:
        warm = await service.collect(ALL, before_ms, _CLOSE_S)
        await _until(asked, _MIDNIGHT_MS)
        before_bytes = await _appended(stores)
        run = await service.collect(ALL, _MIDNIGHT_MS, _CLOSE_S)
        written = await _appended(stores) - before_bytes
        stats = await asked.get("stats")
        await asked.post("stats/reset")
        single = await service.collect(str(Timeframe.H4), _MIDNIGHT_MS, _CLOSE_S)
        single_requests = await asked.get("stats")
        peak_mb = service.worker.peak_mb()
        differing = [await _differing(service, asked, name) for name in _CHECKED]
    note = (
        f"{_times(run.publications.last_s)}; the run before, after a restart: {warm.wall_s:.3g} s"
    )
    bench.add(value_row(f"{what}: POST to the last document", "s", _last_s(run), 20, note))
    note = f"{run.cpu_s / markets * 1000:.2f} ms a market; with limits and latency"
    bench.add(value_row("CPU of the worker in it", "s", run.cpu_s, None, note))
    note = told_requests(stats)
    for name, title in (("klines", "klines"), ("open_interest", "open-interest")):
        value = finest_requests(stats, name) / markets
        bench.add(value_row(f"{title} requests of it, per market", "", value, 1.05, note))
    audits = run.result["audit_requests"]
    value = (requests_of_collections(stats) - audits) / markets
    note = f"of the exchanges' time and natively asked ones too, without {audits} of audits"
    bench.add(value_row("all requests of it, per market", "", value, 2.1, note))
    bench.add(value_row("peak memory of the worker with ten documents", "MB", peak_mb, 900))
    bench.add(
        value_row(
            "markets of it whose last closed row is not the exchange's", "", sum(differing), 0
        )
    )
    what = "a 4h run with a fresh base"
    bench.add(value_row(f"requests of {what}", "", requests_of_collections(single_requests), 0))
    note = "" if before_4h_cpu_s is None else f"{single.wall_s:.3g} s from POST to its end"
    bench.add(value_row(f"CPU of the worker in {what}", "s", single.cpu_s, None, note))
    await _limits_kept(bench, asked, "midnight close", stats)
    return written


async def _quarter(
    bench: BenchmarkRun, stores: Stores, asked: Exchanges, midnight_bytes: int
) -> None:
    """The closes of 00:05 and 00:10 by a worker that may keep little: memory and bytes."""
    bench.say("closes: the next two, with little memory")
    written = [midnight_bytes]
    second_ms = _MIDNIGHT_MS + 10 * _MINUTE_MS
    first_ms = second_ms - bench.sizes.closes_apart_s * 1000
    async with _serving(bench, stores, asked, first_ms, WORKER_MEMORY_MB="64") as service:
        for at_ms in (first_ms, second_ms):
            await _until(asked, at_ms)
            before_bytes = await _appended(stores)
            await service.collect(ALL, at_ms, _CLOSE_S)
            written.append(await _appended(stores) - before_bytes)
        peak_mb = service.worker.peak_mb()
    what = "peak memory of the worker with WORKER_MEMORY_MB=64"
    bench.add(value_row(what, "MB", peak_mb, 300))
    await _limits_kept(bench, asked, "next two closes")
    parts = ", ".join(f"{size / 1e6:.3g} MB" for size in written)
    note = (
        f"the closes at 00:00, 00:05 and 00:10 wrote {parts}; every quarter of an hour is like "
        f"them, so a day is {_QUARTERS_A_DAY} times that; rewrites of the file are not counted"
    )
    day_gb = sum(written) * _QUARTERS_A_DAY / 1e9
    bench.add(
        value_row("bytes appended to the store's file in a day of closes", "GB", day_gb, None, note)
    )


async def _two_in_a_row(bench: BenchmarkRun, stores: Stores, asked: Exchanges) -> None:
    """The second of two closes, five minutes after the first, with more markets than one window
    of open interest holds twice."""
    markets = bench.sizes.larger
    what = f"second of two closes in a row, {named(markets)}"
    bench.say(f"closes: {what}")
    # What is new to this many markets is collected first, without limits.
    async with exchanges(bench, *options(markets), "--no-limits", "--now", _FIRST) as free:
        await free.post("clock", now="2026-03-02T03:40:00Z")
        await run_steps(bench, stores, free.address, ROOT, markets, *_ALL)
    second_ms = _MIDNIGHT_MS + 240 * _MINUTE_MS
    first_ms = second_ms - bench.sizes.closes_apart_s * 1000
    async with _serving(bench, stores, asked, first_ms) as service:
        await service.collect(ALL, first_ms, _CLOSE_S)
        await _until(asked, second_ms)
        run = await service.collect(ALL, second_ms, _CLOSE_S)
        stats = await asked.get("stats")
    candles_s = max(run.publications.first_s.values())
    note = _times(run.publications.first_s)
    bench.add(value_row(f"{what}: candles published", "s", candles_s, 20, note))
    bench.add(value_row(f"{what}: with open interest", "s", run.wall_s, 90, told_requests(stats)))
    await _limits_kept(bench, asked, what, stats)


# --- what is read off ----------------------------------------------------------------------------


def value_row(what: str, unit: str, value: float, bound: float | None, note: str = "") -> Row:
    target = None if bound is None else Target("<=", bound, unit)
    return Row(PART, what, "", unit, [Sample(value)], target, note)


def _times(seconds: Mapping[str, float]) -> str:
    ordered = sorted(seconds.items(), key=lambda item: item[1])
    return ", ".join(f"{name} {value:.3g} s" for name, value in ordered)


def _last_s(run: Run) -> float:
    return max(run.publications.last_s.values())


async def _limits_kept(
    bench: BenchmarkRun, asked: Exchanges, what: str, earlier: Mapping[str, Any] | None = None
) -> None:
    found = [await asked.get("stats"), *([earlier] if earlier else [])]
    broken = sum(each["limits_broken_total"] for each in found)
    bench.add(value_row(f"limits broken, {what}", "", broken, 0))


async def _differing(service: Service, asked: Exchanges, name: str) -> int:
    """How many markets' last closed row is not what the exchange knew at the document's time.

    Open interest may have come since.
    """
    document = await service.document(name, closed="true", limit="1")
    query = f"truth?timeframe={name}&candles=2&as_of={document['as_of']}"
    truth = {
        market_key(each): {row[0]: row for row in each["rows"]}
        for each in (await asked.get(query))["markets"]
    }
    differing = 0
    for market in document["markets"]:
        known = truth[f"{market['exchange']}:{market['symbol']}"]
        if not any(opened <= document["last_closed_open_time"] for opened in known):
            continue  # it has not traded for so long: its last row is older
        for row in market["rows"]:
            true = list(known.get(row[0], row[:1]))
            if len(true) > _INTEREST and true[_INTEREST] is None:
                true[_INTEREST] = row[_INTEREST]
            differing += row != true
    return differing


async def _appended(stores: Stores) -> int:
    """The length of the store's append-only file."""
    text: Any = await stores.store.execute("INFO", "persistence")
    return int(text.partition(b"aof_current_size:")[2].split()[0])
