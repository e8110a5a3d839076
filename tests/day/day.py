"""A simulated day: the worker's jobs at every close, with what is drawn from a seed in between."""

import asyncio
import contextlib
import random
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from budgets.rate_limits import RateLimits
from cache_manager import CacheManager, DocumentMeta
from chaos.checks import GLOBAL_FR, INTERVALS_MS
from chaos.left_out_rows import failures
from chaos.names import market_key
from database import Database
from documents.deflated import Deflated
from job_queue.kinds import lane_of
from job_queue.records import JobRecord
from jobs.context import JobContext
from jobs.live_rows import LiveRows
from stores.hot.leases import try_acquire
from stores.hot.store import HotStore
from tests.day.clock import DayClock
from tests.day.compared import NOT_CLOSED_YET, NOT_FETCHED_YET, Comparison, Run, known_funding
from tests.day.faults import Fault
from tests.day.soak import Soak
from tests.day.streams import POLLED
from tests.fixtures.jobs import JobRunner, OpenRunner
from tests.fixtures.simulator import Simulator
from worker import Worker

CLOSE_MS: Final = 300_000
MOST_LATE_S: Final = 30.0
_GRACE_S: Final = 76.0  # closing events of streams are awaited so long, at the most
SETTLEMENTS: Final = 60
_ODD: Final = (
    "nonsense",
    "deep_nesting",
    "wrong_types",
)  # faults of which single rows are left out
# Logged as errors, but caused from outside.
_NOT_OURS: Final = ("document_damaged", "job_failed")
NOWHERE: Final = "postgresql://nobody:nothing@127.0.0.1:9/nowhere"
_CANDLES: Final = [str(name) for name in INTERVALS_MS]
# Of the exchanges' limits: what 20 markets of each would get if 225 + 250 + 200 shared them.
FRACTION: Final = 0.1
LIMITS: Final[Mapping[str, int]] = {
    "weight_limit": 264, "funding_limit": 55, "data_limit": 110, "bybit_limit": 66,
}  # fmt: skip


@dataclass(slots=True)
class Report:
    """What a day came to."""

    problems: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)
    late_s: list[float] = field(default_factory=list)  # of closes that nothing held up
    requests: list[float] = field(default_factory=list)  # a market, of these closes
    documents: int = 0

    def say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)  # noqa: T201 - a day takes minutes

    def violate(self, problem: str) -> None:
        self.problems.append(problem)
        self.say(f"    VIOLATION {problem}")


@dataclass(slots=True)
class Settings:
    """The settings that a restart may change."""

    history: int
    timeframes: tuple[str, ...] = tuple(_CANDLES)
    limit: int = 0

    def reset(self, history: int) -> None:
        self.history, self.timeframes, self.limit = history, tuple(_CANDLES), 0

    def as_options(self) -> dict[str, Any]:
        return {
            "history_candles": self.history,
            "timeframes": ",".join(self.timeframes),
            "markets_limit": self.limit,
            "funding_history": SETTLEMENTS,
            "rate_fraction": FRACTION,
            "worker_lock_ttl_s": 60,
        }


class _Recorded(CacheManager):
    """Keeps what is published, for the comparison."""

    def __init__(self, store: HotStore) -> None:
        super().__init__(store)
        self.published: list[tuple[DocumentMeta, Any]] = []

    async def save_to_cache(
        self, name: str, document: bytes | Deflated, **how: Any
    ) -> DocumentMeta:
        meta = await super().save_to_cache(name, document, **how)
        if name in _CANDLES:
            self.published.append((meta, await self.get_from_cache(name)))
        return meta


class Day:
    """One day; `streamed`: passes take the candles of streams that feeds bring (soak.py)."""

    def __init__(
        self, exchanges: Simulator, open_runner: OpenRunner, seed: int, start_ms: int,
        history: int, log: list[Any], *, streamed: bool = False,
    ) -> None:  # fmt: skip
        self.log = log
        self.exchanges, self.open_runner = exchanges, open_runner
        self.chance = random.Random(seed)  # noqa: S311 - to be repeatable
        self.clock = DayClock(exchanges, start_ms)
        self.limits = RateLimits(FRACTION, self.clock)
        self.settings = Settings(history)
        self.usual_history = history
        self.report = Report()
        self.streamed = streamed
        self.most_late_s = MOST_LATE_S + (_GRACE_S if streamed else 0)
        self.soak: Soak | None = None
        self.comparison = Comparison(exchanges, settlements=SETTLEMENTS, streamed=streamed)
        self.runs: dict[int, Run] = {}
        self.faults: list[tuple[Fault, int]] = []  # with the time at which each is over
        self.versions: dict[str, tuple[int, int]] = {}
        self.runner: JobRunner | None = None
        self._opened = contextlib.AsyncExitStack()
        self._streams = exchanges.base_url.replace("http", "ws") if streamed else None
        self.database_back_ms = 0  # while it is away
        self.collected: set[str] = set()  # by the exchanges
        self.native: dict[str, str] = {}  # what the exchanges call these
        self.required: set[str] = set()  # as far as the service could learn
        self.failed: dict[str, list[Any]] = {}  # by document: the markets without new candles
        self.awaits: dict[str, int] = {}  # by document: the markets that await open interest
        self.close_ms = 0
        self.disturbed_ms = 0  # until when anything may be late, and asked for again
        self.discover_in = 0  # closes until the lists are read again

    # --- the process ------------------------------------------------------------------------

    @property
    def context(self) -> JobContext:
        assert self.runner is not None
        return self.runner.context

    async def start(self) -> None:
        """Starts the worker's process anew; its memory is lost."""
        await self._opened.aclose()
        self._opened = contextlib.AsyncExitStack()
        self.runner = await self._opened.enter_async_context(
            self.open_runner(
                self.exchanges, clock=self.clock, limits=self.limits, request_s=2.5,
                exchanges=",".join(POLLED),
                **{f"{each}_ws_url": self._streams for each in POLLED},
                **self.settings.as_options(),
            )
        )  # fmt: skip
        context = self.runner.context
        context.last_as_of.elapsed_s = self.clock.monotonic_s
        live = LiveRows(context.store, POLLED, self.clock) if self.streamed else None
        self.cache = _Recorded(context.store)
        self.runner.context = replace(
            context, now_ms=self.clock.wall_ms, live=live, cache=self.cache
        )
        self.failed.clear()  # what was held up is not known any more
        if self.database_back_ms:
            self.use_database(Database(NOWHERE))
        self.disturb()

    def use_database(self, database: Database) -> None:
        assert self.runner is not None
        self._opened.push_async_callback(database.aclose)
        self.runner.context = replace(self.runner.context, database=database)

    def disturb(self, closes: int = 1) -> None:
        """Lets this close and the next ones be late."""
        self.disturbed_ms = max(self.disturbed_ms, self.close_ms + closes * CLOSE_MS + 1)

    def forget(self, key: str) -> None:
        """A stored value was lost or damaged."""
        self.failed.pop(key.removeprefix("cache:"), None)
        self.disturb()

    async def aclose(self) -> None:
        if self.soak is not None:
            await self.soak.aclose()
        await self._opened.aclose()

    async def ask(self, path: str) -> Any:
        return await asyncio.to_thread(self.exchanges.get, path)

    # --- jobs -------------------------------------------------------------------------------

    async def job(self, job_id: str) -> JobRecord:
        """Runs one job to its end and compares every document that it published."""
        before = known_funding(await self._document(GLOBAL_FR), self.clock.now_ms)
        faults = self.active()
        record = await self._run(job_id)
        if record.state == "complete" and job_id.startswith("collect"):
            assert record.last is not None and record.last.as_of_ms is not None
            known = self.runs.get(record.last.as_of_ms)
            self.runs[record.last.as_of_ms] = Run(
                self.clock.now_ms,
                known.funding if known is not None else before,
                [*(known.faults if known is not None else ()), *faults],
                frozenset() if self.settings.limit else self.required & self.collected,
                self.settings.history,
            )
        await self._compare()
        self._read_log()
        return record

    def _read_log(self) -> None:
        """Errors of ours in the log, which no fault of others may cause."""
        for line in self.log:
            if line["log_level"] in ("error", "critical") and line["event"] not in _NOT_OURS:
                trace = line.get("exc_info")
                place = traceback.format_tb(trace[2])[-4:] if isinstance(trace, tuple) else ""
                self.report.violate(f"in the log: {str(line)[:600]} {place}")
        self.log.clear()

    async def _run(self, job_id: str) -> JobRecord:
        context = self.context
        await context.queue.request(job_id)
        lease = await try_acquire(context.store, lane_of(job_id), holder="day", ttl_s=60)
        assert lease is not None
        try:
            job = await context.queue.take(lease, job_id)
            assert job is not None
            await Worker(context, holder="day").run_one(job, lease, asyncio.Event())
        finally:
            await lease.release()
        record = await context.queue.get(job_id)
        assert record is not None
        return record

    async def is_queued(self, job_id: str) -> bool:
        record = await self.context.queue.get(job_id)
        return record is not None and record.state == "queued"

    async def _document(self, name: str) -> Any:
        try:
            return await self.context.cache.get_from_cache(name)
        except Exception:
            return None

    async def _compare(self) -> None:
        """Compares the documents that have been published since."""
        published, self.cache.published = self.cache.published, []
        newest = {meta.name: meta.version for meta, _ in published}
        for meta, document in published:
            name, (version, as_of_ms) = meta.name, self.versions.get(meta.name, (0, 0))
            if meta.version < version or meta.as_of_ms < as_of_ms:
                self.report.violate(f"{name} went back: {version, as_of_ms} to {meta}")
            self.versions[name] = meta.version, meta.as_of_ms
            self.failed[name] = [lack for lack in failures(document) if lack["part"] == "klines"]
            self.awaits[name] = sum(
                lack["reason"] == NOT_FETCHED_YET for lack in document["missing"]
            )
            if meta.as_of_ms not in self.runs:
                self.report.violate(f"{name}: as of {meta.as_of_ms}, which no run told")
                continue
            problems, findings = await self.comparison.problems(
                name, document, self.runs, is_last=newest[name] == meta.version
            )
            self.report.documents += 1
            self.report.compared += findings.compared
            if newest[name] != meta.version and NOT_CLOSED_YET in str(document["missing"]):
                self.report.compared["documents that awaited closings"] += 1
            for problem in problems[:6]:
                self.report.violate(problem)

    # --- faults -----------------------------------------------------------------------------

    def active(self) -> list[Fault]:
        return [fault for fault, until_ms in self.faults if until_ms > self.clock.now_ms]

    def named(self, rule: Mapping[str, Any]) -> Mapping[str, Any]:
        """A rule of the simulator, with the exchange's own name for its market."""
        native = self.native.get(f"{rule.get('exchange')}:{rule.get('symbol')}")
        return rule if native is None else {**rule, "symbol": native}

    def inflict(self, fault: Fault) -> None:
        for rule in self.exchanges.post("/sim/faults", [self.named(each) for each in fault.rules]):
            fault.numbers.append(rule["number"])
            if rule["kind"] in _ODD:
                self.comparison.odd.add(
                    f"{fault.exchange}:{fault.symbol}" if fault.symbol else str(fault.exchange)
                )
        until_ms = self.close_ms + fault.closes * CLOSE_MS - 150_000
        if fault.lasts_s:
            until_ms = max(until_ms, self.clock.now_ms + round(fault.lasts_s * 1000) + 60_000)
        self.faults.append((fault, until_ms))
        self.report.say(f"    fault: {fault}")

    def end_faults(self) -> None:
        """Deletes the rules of the faults that are over."""
        for fault, until_ms in self.faults:
            if until_ms <= self.clock.now_ms:
                for number in fault.numbers:
                    self.exchanges.full("DELETE", f"/sim/faults?number={number}")
        self.faults = [each for each in self.faults if each[1] > self.clock.now_ms]

    def is_collected(self, lack: Mapping[str, Any]) -> bool:
        """Whether it is about a market that is to be collected, or about an exchange."""
        return lack["symbol"] is None or f"{lack['exchange']}:{lack['symbol']}" in self.collected

    def look(self) -> None:
        """Reads which markets are to be collected."""
        listed = self.exchanges.get("/sim/markets")["markets"]
        found = {market_key(each): each["symbol"] for each in listed if each["collected"]}
        self.collected = set(found)
        self.native |= found
        self.comparison.symbols |= set(found.values())
