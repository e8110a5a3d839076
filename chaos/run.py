"""One run from beginning to end: fill the caches, break things, let all recover, check totals."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import orjson

from chaos.checks import DOCUMENTS, GLOBAL_FR, HOUR_MS, INTERVALS_MS, MINUTE_MS
from chaos.deployment import (
    CANDLES,
    MARKETS,
    SETTLEMENTS,
    Deployment,
    DeploymentFailed,
    open_deployment,
)
from chaos.faults import FaultInjection
from chaos.job_requests import JobRequests, JobRuns, PageVisits
from chaos.listed_markets import ListedMarkets
from chaos.memory import Memory
from chaos.plan import Plan
from chaos.read_checks import ReadChecks
from chaos.readers import READERS
from chaos.report import ViolationReport
from chaos.truth import MarketTruth

_FIRST_S: Final = 120.0
_ACCEPTED_S: Final = 30.0
# In the middle of an hour, when every settlement is long published.
_QUIET_MS: Final = HOUR_MS + 40 * MINUTE_MS
_READY_S: Final = 10.0
_ACTIVE_S: Final = 5.0
_TRIES: Final = 10
_COLLECTED: Final = tuple(name for name in INTERVALS_MS if name != "8h")
# So few were compared per document that the run has proven nothing.
_FEWEST_ROWS: Final = 2 * MARKETS * CANDLES // 3


async def run_plan(
    plan: Plan,
    report: ViolationReport,
    say: Callable[[str], None],
    keep_logs: Callable[[Path], None],
) -> None:  # fmt: skip
    """Everything that happens; what went wrong is in the report. Raises DeploymentFailed."""
    async with open_deployment(plan, report, keep_logs) as deployment:
        truth = MarketTruth(deployment.ask_simulator, candles=CANDLES, settlements=SETTLEMENTS)
        try:
            await _run_phases(deployment, truth, say)
        finally:
            await truth.aclose()
        await deployment.stop_service()
        await _no_lock_left(deployment, "the service has ended")
        for line in deployment.crashes():
            report.violate("no mistakes of ours", line)


async def _run_phases(
    deployment: Deployment, truth: MarketTruth, say: Callable[[str], None]
) -> None:
    listed = ListedMarkets(deployment, truth)
    await listed.look()
    requests, runs, memory = JobRequests(deployment), JobRuns(deployment), Memory(deployment)
    checks = ReadChecks(deployment, listed, truth, runs)
    async with contextlib.AsyncExitStack() as going:
        await going.enter_async_context(_running(runs.run(), memory.run()))
        await _fill(requests, runs)
        say("chaos: every document is there; breaking things")
        readers = [kind(deployment, checks) for kind in READERS]
        await going.enter_async_context(
            _running(*(reader.run() for reader in readers), PageVisits(deployment).run())
        )
        deployment.report.begin()
        async with _running(requests.run()):
            await FaultInjection(deployment, listed, requests).run()
        say("chaos: no more faults; it has to heal")
        await _recover(deployment, requests, runs, checks)
        await _check_totals(deployment, memory)


@contextlib.asynccontextmanager
async def _running(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """They go on as long as the body; if one fails, the body ends with its error."""
    tasks: list[asyncio.Task[None]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(work) for work in works]
            yield
            for task in tasks:
                task.cancel()
    except* DeploymentFailed as failures:
        raise DeploymentFailed("; ".join(map(str, _leaves(failures)))) from None


async def _fill(requests: JobRequests, runs: JobRuns) -> None:
    """Each document once, before anything breaks."""
    async with asyncio.timeout(_FIRST_S):
        await _request_until_accepted(requests, "/api/v1/internal/update-fr")
        await runs.settled(requests.accepted)
        for name in _COLLECTED:
            await _request_until_accepted(requests, "/get-market-data", {"timeframe": name})
        await runs.settled(requests.accepted)


async def _request_until_accepted(requests: JobRequests, path: str, body: Any = None) -> None:
    async with asyncio.timeout(_ACCEPTED_S):
        while await requests.post(path, body) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.3)


async def _recover(
    deployment: Deployment, requests: JobRequests, runs: JobRuns, checks: ReadChecks
) -> None:
    """When nothing is broken any more, everything becomes whole and fresh by itself."""
    await deployment.ask_simulator("/sim/faults", method="DELETE")
    await _forget_windows(deployment)
    await runs.settled(requests.accepted)
    now_ms = deployment.instants[-1][0]
    await deployment.move_clock(now_ms - now_ms % HOUR_MS + _QUIET_MS)
    for path in ("/api/v1/internal/update-coins", "/api/v1/internal/update-fr"):
        await _request_until_accepted(requests, path)
        await runs.settled(requests.accepted)
    await _read_settled(deployment, checks, GLOBAL_FR)
    for name in _COLLECTED:
        await _request_until_accepted(requests, "/get-market-data", {"timeframe": name})
    await runs.settled(requests.accepted)
    for name in DOCUMENTS:
        await _read_settled(deployment, checks, name)
    await _ask_again(deployment, requests, runs)
    await _ready(deployment)
    await _no_lock_left(deployment, "everything is done")


async def _forget_windows(deployment: Deployment) -> None:
    """As if five minutes had passed, in which nobody asked: the exchanges' windows are empty.

    Workers that were killed took room with them; nobody has to wait for that here.
    """
    await deployment.ask_simulator("/sim/limits/reset", {})
    async with deployment.store() as store:
        for key in await store.keys("budget:*"):
            await store.delete(key)


async def _ask_again(deployment: Deployment, requests: JobRequests, runs: JobRuns) -> None:
    """Asking while a collection runs is answered by one more run."""
    job: Any = None
    for _ in range(_TRIES):
        await requests.post("/get-market-data", {"timeframe": "5m"})
        if await runs.active("collect:5m", _ACTIVE_S):
            job = await requests.post("/get-market-data", {"timeframe": "5m"})
            if job is not None and job["rerun"]:
                break
    else:
        deployment.report.violate("the run proves something", f"no run was asked for anew: {job}")
    await runs.settled(requests.accepted)


async def _read_settled(deployment: Deployment, checks: ReadChecks, name: str) -> None:
    async with deployment.session.get(f"{deployment.api}/cache/{name}") as answer:
        if answer.status != 200:
            deployment.report.violate("it heals", f"/cache/{name}: {answer.status}")
            return
        text = await answer.read()
    document = orjson.loads(text)
    await checks.document(name, text, document["version"])
    if document["as_of"] < deployment.instants[-1][0]:
        deployment.report.violate("it heals", f"{name} is as of {document['as_of']}, not of now")
    await checks.settled(name, document)


async def _ready(deployment: Deployment) -> None:
    """Every part is well again, by the service's own word."""
    deadline = time.monotonic() + _READY_S
    while True:
        async with deployment.session.get(f"{deployment.api}/ready") as answer:
            told = await answer.json()
        if told["status"] == "ready":
            return
        if time.monotonic() > deadline:
            deployment.report.violate("it heals", f"/ready says {told['status']}: {told['parts']}")
            return
        await asyncio.sleep(0.3)


async def _no_lock_left(deployment: Deployment, when: str) -> None:
    deadline = time.monotonic() + 2
    async with deployment.store() as store:
        for lock in ("lock:worker", "lock:funding"):
            # Between the end of a job and that of its lease lies a moment.
            while (holder := await store.get(lock)) is not None:
                if time.monotonic() > deadline:
                    deployment.report.violate("no lock left", f"{lock} when {when}: {holder!r}")
                    break
                await asyncio.sleep(0.1)


async def _check_totals(deployment: Deployment, memory: Memory) -> None:
    """What can be said only at the end; and whether enough was looked at to say anything."""
    report = deployment.report
    memory.report()
    report.notes.append(
        f"the API was out of reach for {deployment.outages.seconds:.0f} s, for faults"
    )
    stats = await deployment.ask_simulator("/sim/stats")
    report.notes.append(
        f"exchanges: {stats['total']} requests, {sum(stats['faults'].values())} of them spoilt; "
        f"{stats['requests_while_banned']} on their way while banned"
    )
    if stats["limits_broken"]:
        report.violate("no limit is broken", str(stats["limits_broken"]))
    if stats["requests_in_spite_of_ban"]:
        report.violate("no request in spite of a ban", str(stats["in_spite_of_ban"]))
    for name in DOCUMENTS:
        if not report.checked[name]:
            report.violate("the run proves something", f"no version of {name} was checked")
    for reader in READERS:
        if report.reads[reader.kind] < len(DOCUMENTS):
            report.violate("the run proves something", f"the {reader.kind} reader hardly read")
    for what in ("rows", "open interest", "funding", "settlements"):
        if report.compared[what] < _FEWEST_ROWS:
            report.violate("the run proves something", f"{report.compared[what]} {what} compared")
    for what in ("parts", "readings equal to the first"):
        if not report.compared[what]:
            report.violate("the run proves something", f"no {what} compared")


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
