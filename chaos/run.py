"""One run from beginning to end: fill the caches, break things, let all of it heal, look back."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import orjson

from chaos.checks import DOCUMENTS, GLOBAL_FR, HOUR_MS, INTERVALS_MS, MINUTE_MS
from chaos.clients import Poster, Runs, Visitor
from chaos.faults import Faults
from chaos.judge import Judge
from chaos.memory import Memory
from chaos.plan import Plan
from chaos.readers import READERS
from chaos.report import Ledger
from chaos.stage import CANDLES, MARKETS, SETTLEMENTS, Stage, StageFailed, open_stage
from chaos.truth import TruthBook
from chaos.world import World

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
    plan: Plan, ledger: Ledger, say: Callable[[str], None], keep_logs: Callable[[Path], None]
) -> None:
    """Everything that happens; what went wrong is in the ledger. Raises StageFailed."""
    async with open_stage(plan, ledger, keep_logs) as stage:
        truth = TruthBook(stage.ask_simulator, candles=CANDLES, settlements=SETTLEMENTS)
        try:
            await _play(stage, truth, say)
        finally:
            await truth.aclose()
        await stage.stop_service()
        await _no_lock_left(stage, "the service has ended")
        for line in stage.crashes():
            ledger.violate("no mistakes of ours", line)


async def _play(stage: Stage, truth: TruthBook, say: Callable[[str], None]) -> None:
    world = World(stage, truth)
    await world.look()
    poster, runs, memory = Poster(stage), Runs(stage), Memory(stage)
    judge = Judge(stage, world, truth, runs)
    async with contextlib.AsyncExitStack() as going:
        await going.enter_async_context(_meanwhile(runs.run(), memory.run()))
        await _fill(poster, runs)
        say("chaos: every document is there; breaking things")
        readers = [kind(stage, judge) for kind in READERS]
        await going.enter_async_context(
            _meanwhile(*(reader.run() for reader in readers), Visitor(stage).run())
        )
        stage.ledger.begin()
        async with _meanwhile(poster.run()):
            await Faults(stage, world, poster).run()
        say("chaos: no more faults; it has to heal")
        await _heal(stage, poster, runs, judge)
        await _look_back(stage, memory)


@contextlib.asynccontextmanager
async def _meanwhile(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """They go on as long as the body; if one fails, the body ends with its error."""
    tasks: list[asyncio.Task[None]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(work) for work in works]
            yield
            for task in tasks:
                task.cancel()
    except* StageFailed as failures:
        raise StageFailed("; ".join(map(str, _leaves(failures)))) from None


async def _fill(poster: Poster, runs: Runs) -> None:
    """Each document once, before anything breaks."""
    async with asyncio.timeout(_FIRST_S):
        await _insist(poster, "/api/v1/internal/update-fr")
        await runs.settled(poster.accepted)
        for name in _COLLECTED:
            await _insist(poster, "/get-market-data", {"timeframe": name})
        await runs.settled(poster.accepted)


async def _insist(poster: Poster, path: str, body: Any = None) -> None:
    async with asyncio.timeout(_ACCEPTED_S):
        while await poster.post(path, body) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.3)


async def _heal(stage: Stage, poster: Poster, runs: Runs, judge: Judge) -> None:
    """When nothing is broken any more, everything becomes whole and fresh by itself."""
    await stage.ask_simulator("/sim/faults", method="DELETE")
    await _forget_windows(stage)
    await runs.settled(poster.accepted)
    now_ms = stage.instants[-1][0]
    await stage.move_clock(now_ms - now_ms % HOUR_MS + _QUIET_MS)
    for path in ("/api/v1/internal/update-coins", "/api/v1/internal/update-fr"):
        await _insist(poster, path)
        await runs.settled(poster.accepted)
    await _read_settled(stage, judge, GLOBAL_FR)
    for name in _COLLECTED:
        await _insist(poster, "/get-market-data", {"timeframe": name})
    await runs.settled(poster.accepted)
    for name in DOCUMENTS:
        await _read_settled(stage, judge, name)
    await _ask_again(stage, poster, runs)
    await _ready(stage)
    await _no_lock_left(stage, "everything is done")


async def _forget_windows(stage: Stage) -> None:
    """As if five minutes had passed, in which nobody asked: the exchanges' windows are empty.

    Workers that were killed took room with them; nobody has to wait for that here.
    """
    await stage.ask_simulator("/sim/limits/reset", {})
    async with stage.store() as store:
        for key in await store.keys("budget:*"):
            await store.delete(key)


async def _ask_again(stage: Stage, poster: Poster, runs: Runs) -> None:
    """Asking while a collection runs is answered by one more run."""
    job: Any = None
    for _ in range(_TRIES):
        await poster.post("/get-market-data", {"timeframe": "5m"})
        if await runs.active("collect:5m", _ACTIVE_S):
            job = await poster.post("/get-market-data", {"timeframe": "5m"})
            if job is not None and job["rerun"]:
                break
    else:
        stage.ledger.violate("the run proves something", f"no run was asked for anew: {job}")
    await runs.settled(poster.accepted)


async def _read_settled(stage: Stage, judge: Judge, name: str) -> None:
    async with stage.session.get(f"{stage.api}/cache/{name}") as answer:
        if answer.status != 200:
            stage.ledger.violate("it heals", f"/cache/{name}: {answer.status}")
            return
        text = await answer.read()
    document = orjson.loads(text)
    await judge.document(name, text, document["version"])
    if document["as_of"] < stage.instants[-1][0]:
        stage.ledger.violate("it heals", f"{name} is as of {document['as_of']}, not of now")
    await judge.settled(name, document)


async def _ready(stage: Stage) -> None:
    """Every part is well again, by the service's own word."""
    deadline = time.monotonic() + _READY_S
    while True:
        async with stage.session.get(f"{stage.api}/ready") as answer:
            told = await answer.json()
        if told["status"] == "ready":
            return
        if time.monotonic() > deadline:
            stage.ledger.violate("it heals", f"/ready says {told['status']}: {told['parts']}")
            return
        await asyncio.sleep(0.3)


async def _no_lock_left(stage: Stage, when: str) -> None:
    deadline = time.monotonic() + 2
    async with stage.store() as store:
        for lock in ("lock:worker", "lock:funding"):
            # Between the end of a job and that of its lease lies a moment.
            while (holder := await store.get(lock)) is not None:
                if time.monotonic() > deadline:
                    stage.ledger.violate("no lock left", f"{lock} when {when}: {holder!r}")
                    break
                await asyncio.sleep(0.1)


async def _look_back(stage: Stage, memory: Memory) -> None:
    """What can be said only at the end; and whether enough was looked at to say anything."""
    ledger = stage.ledger
    memory.report()
    ledger.notes.append(f"the API was out of reach for {stage.outages.seconds:.0f} s, for faults")
    stats = await stage.ask_simulator("/sim/stats")
    ledger.notes.append(
        f"exchanges: {stats['total']} requests, {sum(stats['faults'].values())} of them spoilt; "
        f"{stats['requests_while_banned']} on their way while banned"
    )
    if stats["limits_broken"]:
        ledger.violate("no limit is broken", str(stats["limits_broken"]))
    if stats["requests_in_spite_of_ban"]:
        ledger.violate("no request in spite of a ban", str(stats["in_spite_of_ban"]))
    for name in DOCUMENTS:
        if not ledger.checked[name]:
            ledger.violate("the run proves something", f"no version of {name} was checked")
    for reader in READERS:
        if ledger.reads[reader.kind] < len(DOCUMENTS):
            ledger.violate("the run proves something", f"the {reader.kind} reader hardly read")
    for what in ("rows", "open interest", "funding", "settlements"):
        if ledger.compared[what] < _FEWEST_ROWS:
            ledger.violate("the run proves something", f"{ledger.compared[what]} {what} compared")
    for what in ("parts", "readings equal to the first"):
        if not ledger.compared[what]:
            ledger.violate("the run proves something", f"no {what} compared")


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
