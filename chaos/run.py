"""The phases of a run: collect every document, inject faults, recover, check the totals."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from chaos.candle_log import CandleLogs
from chaos.checks import DOCUMENTS, GLOBAL_FR, HOUR_MS, INTERVALS_MS, MINUTE_MS
from chaos.closes import Closes
from chaos.deployment import (
    CANDLES,
    MARKETS,
    SETTLEMENTS,
    Deployment,
    DeploymentFailed,
    open_deployment,
)
from chaos.faults import FaultInjection
from chaos.freshness import AFTER_FAULT_S, Freshness
from chaos.job_requests import ALL, JobRequests, JobRuns, PageVisits
from chaos.listed_markets import ListedMarkets
from chaos.memory import Memory
from chaos.names import EXCHANGES
from chaos.plan import Plan
from chaos.read_checks import ReadChecks
from chaos.readers import READERS
from chaos.record_checks import check_record
from chaos.report import ViolationReport
from chaos.truth import MarketTruth

_FIRST_S: Final = 120.0
_ACCEPTED_S: Final = 30.0
# In the middle of an hour, when all settlements are published, and no closing event is awaited.
_QUIET_MS: Final = HOUR_MS + 41 * MINUTE_MS + 40_000
_FEWEST_STREAMS: Final = 2 * MARKETS // 3
# After refusals the next connection is tried within a minute; then two candles must be whole.
_STREAMED_S: Final = 180.0
_READY_S: Final = 10.0
_ACTIVE_S: Final = 5.0
_TRIES: Final = 10
_COLLECTED: Final = tuple(name for name in INTERVALS_MS if name != "8h")
# With fewer compared values the run proves nothing.
_FEWEST_ROWS: Final = 2 * MARKETS * CANDLES // 3


async def run_plan(
    plan: Plan,
    report: ViolationReport,
    say: Callable[[str], None],
    keep_logs: Callable[[Path], None],
) -> None:  # fmt: skip
    """Runs the plan; violations go to the report. Raises DeploymentFailed."""
    async with open_deployment(plan, report, keep_logs) as deployment:
        truth = MarketTruth(deployment.ask_simulator, candles=CANDLES, settlements=SETTLEMENTS)
        try:
            await _run_phases(deployment, truth, say)
        finally:
            await truth.aclose()
        await deployment.stop_service()
        await _no_lock_left(deployment, "the service has ended")
        for line in deployment.crashes():
            report.violate("no internal errors", line)


async def _run_phases(
    deployment: Deployment, truth: MarketTruth, say: Callable[[str], None]
) -> None:
    listed = ListedMarkets(deployment, truth)
    await listed.look()
    requests, runs, memory = JobRequests(deployment), JobRuns(deployment), Memory(deployment)
    checks = ReadChecks(deployment, listed, truth, runs)
    closes = Closes(deployment, listed, truth, requests, Freshness())
    faults = FaultInjection(deployment, listed, requests, closes)
    async with contextlib.AsyncExitStack() as going:
        await going.enter_async_context(_running(runs.run(), memory.run()))
        await _fill(deployment.plan, requests, runs)
        say("chaos: every document is collected; injecting faults")
        readers = [kind(deployment, checks) for kind in READERS]
        await going.enter_async_context(
            _running(*(reader.run() for reader in readers), PageVisits(deployment).run())
        )
        deployment.report.begin()
        plan = deployment.plan
        if plan.live:
            logs = CandleLogs(deployment, listed, truth)
            await going.enter_async_context(_running(closes.watch(), logs.run()))
            await _all_fed(deployment, closes)
            deployment.report.begin()
        at_any_time = [requests.run()] if plan.asks else []
        async with _running(*at_any_time, *([closes.run()] if plan.live else [])):
            await faults.run()
        say("chaos: all faults are over; the service must recover")
        if plan.live:
            await _be_fresh(deployment, closes)
        await _recover(deployment, requests, runs, checks, faults)
        await check_record(deployment, checks)
        await _check_totals(deployment, memory)
        if plan.live:
            deployment.report.notes += closes.freshness.notes()


@contextlib.asynccontextmanager
async def _running(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs `works` beside the body; if one fails, the body ends with its error."""
    tasks: list[asyncio.Task[None]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(work) for work in works]
            yield
            for task in tasks:
                task.cancel()
    except* DeploymentFailed as failures:
        raise DeploymentFailed("; ".join(map(str, _leaves(failures)))) from None


async def _fill(plan: Plan, requests: JobRequests, runs: JobRuns) -> None:
    """Collects each document once, before the first fault."""
    async with asyncio.timeout(_FIRST_S):
        await _request_until_accepted(requests, "/api/v1/internal/update-fr")
        await runs.settled(requests.accepted)
        await _collect(requests, runs, [ALL] if plan.first_all else _COLLECTED)


async def _collect(requests: JobRequests, runs: JobRuns, asked: Sequence[str]) -> None:
    for name in asked:
        await _request_until_accepted(requests, "/get-market-data", {"timeframe": name})
    await runs.settled(requests.accepted)


async def _request_until_accepted(requests: JobRequests, path: str, body: Any = None) -> None:
    async with asyncio.timeout(_ACCEPTED_S):
        while await requests.post(path, body) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.3)


async def _all_fed(deployment: Deployment, closes: Closes) -> None:
    """Waits until streams bring candles; else the first faults would find nothing to break."""
    async with asyncio.timeout(_FIRST_S):
        while True:
            streams = (await deployment.ask_simulator("/sim/stats"))["streams"]
            if all(streams[exchange]["streams"] >= _FEWEST_STREAMS for exchange in EXCHANGES):
                break
            await asyncio.sleep(0.2)
    await _use_streams(deployment, closes)


async def _use_streams(deployment: Deployment, closes: Closes) -> None:
    """Checks that within some closes documents are made of candles that streams have brought."""
    compared, what = deployment.report.compared, "candles taken from streams"
    before, deadline = compared[what], time.monotonic() + _STREAMED_S
    while time.monotonic() < deadline:
        await closes.one(longest_s=2 * AFTER_FAULT_S)
        if compared[what] > before:
            return
    deployment.report.violate("streams are used again", f"not within {_STREAMED_S:g} s")


async def _be_fresh(deployment: Deployment, closes: Closes) -> None:
    """Checks that every market is fresh again in time, and at the next closes."""
    await deployment.ask_simulator("/sim/faults", method="DELETE")
    await closes.finish(2 * AFTER_FAULT_S)
    await _use_streams(deployment, closes)
    if not closes.freshness.lags:
        deployment.report.violate("enough was tested", "no market was fresh after a close")


async def _recover(
    deployment: Deployment,
    requests: JobRequests,
    runs: JobRuns,
    checks: ReadChecks,
    faults: FaultInjection,
) -> None:
    """Checks that everything recovers without intervention once the faults are over."""
    await deployment.ask_simulator("/sim/faults", method="DELETE")
    await _reset_limits(deployment)
    await runs.settled(requests.accepted)
    plan = deployment.plan
    await _leap(deployment, faults, _QUIET_MS)
    for path in ("/api/v1/internal/update-coins", "/api/v1/internal/update-fr"):
        await _request_until_accepted(requests, path)
        await runs.settled(requests.accepted)
    since_ms = deployment.clock.instants[-1][0]
    await _read_settled(deployment, checks, GLOBAL_FR, since_ms)
    of_all = plan.share_of_all or plan.live
    await _collect(requests, runs, [ALL] if of_all else _COLLECTED)
    await _read_all_settled(deployment, checks)
    if of_all:
        await _lose_bases(deployment, requests, runs, checks, faults)
    await _ask_again(deployment, requests, runs)
    await _ready(deployment)
    await _no_lock_left(deployment, "everything is done")


async def _leap(deployment: Deployment, faults: FaultInjection, beyond_ms: int) -> None:
    """Moves the exchanges' clock to `beyond_ms` after the beginning of its hour.

    Workers go by the time that has passed since they last heard of it, so they start anew.
    """
    now_ms = deployment.clock.now_ms()
    await deployment.move_clock(now_ms - now_ms % HOUR_MS + beyond_ms)
    await faults.end_workers()


async def _lose_bases(
    deployment: Deployment,
    requests: JobRequests,
    runs: JobRuns,
    checks: ReadChecks,
    faults: FaultInjection,
) -> None:
    """Checks that documents are exact after the bases were lost, whatever is asked for first."""
    for lost, asked in ((True, [*_COLLECTED[4:6], ALL]), (False, [ALL, *_COLLECTED])):
        if lost:
            async with deployment.store() as store:
                await deployment.lose_bases(store)
        await _leap(deployment, faults, _QUIET_MS)
        await _request_until_accepted(requests, "/api/v1/internal/update-fr")
        await runs.settled(requests.accepted)
        await _collect(requests, runs, asked)
        await _read_all_settled(deployment, checks)


async def _reset_limits(deployment: Deployment) -> None:
    """Empties the exchanges' windows and our budgets, as five minutes without requests would.

    Killed workers have left reservations in the budgets; the run does not wait for their end.
    """
    await deployment.ask_simulator("/sim/limits/reset", {})
    async with deployment.store() as store:
        for key in await store.keys(deployment.key("budget:*")):
            await store.delete(key)


async def _ask_again(deployment: Deployment, requests: JobRequests, runs: JobRuns) -> None:
    """Checks that a POST during a collection leads to one more run."""
    job: Any = None
    for _ in range(_TRIES):
        # With a fresh base the run would be over at once.
        async with deployment.store() as store:
            await deployment.lose_bases(store)
        await requests.post("/get-market-data", {"timeframe": "5m"})
        if await runs.active("collect:5m", _ACTIVE_S):
            job = await requests.post("/get-market-data", {"timeframe": "5m"})
            if job is not None and job["rerun"]:
                break
    else:
        deployment.report.violate("enough was tested", f"no POST met a running collection: {job}")
    await runs.settled(requests.accepted)


async def _read_all_settled(deployment: Deployment, checks: ReadChecks) -> None:
    for name in DOCUMENTS:
        await _read_settled(deployment, checks, name, deployment.clock.instants[-1][0])


async def _read_settled(
    deployment: Deployment, checks: ReadChecks, name: str, since_ms: int
) -> None:
    """Reads and checks a document that was collected since the exchanges' time was `since_ms`."""
    texts = []
    for api in deployment.apis:
        async with deployment.session.get(f"{api}/cache/{name}") as answer:
            if answer.status != 200:
                problem = f"{api}/cache/{name}: {answer.status}"
                deployment.report.violate("the service recovers", problem)
                return
            texts.append(await answer.read())
    text = texts[0]
    if set(texts) != {text}:
        deployment.report.violate("all APIs serve one document", name)
    document = orjson.loads(text)
    await checks.document(name, text, document["version"])
    if document["as_of"] < since_ms:
        problem = f"{name} is as of {document['as_of']}, not {since_ms}"
        deployment.report.violate("the service recovers", problem)
    await checks.settled(name, document)


async def _ready(deployment: Deployment) -> None:
    """Checks that /ready of every API says "ready" within 10 s."""
    deadline = time.monotonic() + _READY_S
    for api in deployment.apis:
        while (ready := await _readiness(deployment, api))["status"] != "ready":
            if time.monotonic() > deadline:
                problem = f"{api}/ready says {ready['status']}: {ready['parts']}"
                deployment.report.violate("the service recovers", problem)
                return
            await asyncio.sleep(0.3)


async def _readiness(deployment: Deployment, api: str) -> Any:
    async with deployment.session.get(f"{api}/ready") as answer:
        return await answer.json()


async def _no_lock_left(deployment: Deployment, when: str) -> None:
    deadline = time.monotonic() + 2
    async with deployment.store() as store:
        fed = [f"lock:live:{each}" for each in EXCHANGES] if deployment.service is None else []
        for lock in ("lock:worker", "lock:funding", *fed):
            # A lease is released shortly after its job ends.
            while (holder := await store.get(deployment.key(lock))) is not None:
                if time.monotonic() > deadline:
                    deployment.report.violate("no lease is left", f"{lock} when {when}: {holder!r}")
                    break
                await asyncio.sleep(0.1)


async def _check_totals(deployment: Deployment, memory: Memory) -> None:
    """Checks totals at the end, and that enough was compared to prove something."""
    report = deployment.report
    memory.report()
    report.notes.append(f"faults made the API unreachable for {deployment.outages.seconds:.0f} s")
    stats = await deployment.ask_simulator("/sim/stats")
    report.notes.append(
        f"exchanges: {stats['total']} requests, faults of them and of streams "
        f"{sum(stats['faults'].values())}, "
        f"{stats['requests_while_banned']} during a ban"
    )
    if deployment.plan.live:
        report.notes += [_told(name, each) for name, each in stats["streams"].items()]
    if stats["limits_broken"]:
        report.violate("no rate limit is broken", str(stats["limits_broken"]))
    if stats["requests_in_spite_of_ban"]:
        report.violate("no request during a known ban", str(stats["in_spite_of_ban"]))
    for name in DOCUMENTS:
        if not report.checked[name]:
            report.violate("enough was tested", f"no version of {name} was checked")
    for reader in READERS:
        if (reads := report.reads[reader.kind]) < len(DOCUMENTS):
            report.violate("enough was tested", f"the {reader.kind} reader read {reads} times")
    for what in ("rows", "open interest", "funding", "settlements"):
        if report.compared[what] < _FEWEST_ROWS:
            report.violate("enough was tested", f"{report.compared[what]} {what} compared")
    streamed = (
        ("candles taken from streams", "candles told by streams") if deployment.plan.live else ()
    )
    for what in ("parts", "readings equal to the first", "documents as they were", *streamed):
        if not report.compared[what]:
            report.violate("enough was tested", f"no {what} compared")


def _told(exchange: str, streams: Any) -> str:
    ends = ", ".join(f"{how} {count}" for how, count in sorted(streams["closed"].items()))
    return (
        f"{exchange} streams: {streams['connected']} connections, {streams['refused']} refused, "
        f"{streams['messages_out']} messages; ended by {ends or 'nothing'}"
    )


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
