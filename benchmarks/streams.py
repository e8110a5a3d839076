"""The rows of streams: closes that the exchanges' streams feed, and what the live process takes."""

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import msgspec

from benchmarks.benchmark_run import BenchmarkRun, Stores, open_stores
from benchmarks.closes import run_steps
from benchmarks.collecting import Exchanges, exchanges
from benchmarks.machine import ROOT, Running, environment, running
from benchmarks.markets import market_key, named, options, rest_settings, stream_settings
from benchmarks.report import Row, Sample, Target
from benchmarks.request_counts import CANDLES, finest_requests, told_requests
from benchmarks.service import Run, Service, serving
from documents.changes import decode_changes
from live.candle_changes import ClosedCandle
from live.candle_log import CandleLogReader
from live.live_candles import LiveCandles, catch_up
from market.timeframes import Timeframe

PART: Final = "streams"
_ALL: Final = "all"
_CLOSE_MS: Final = Timeframe.M5.interval_ms
_MIDNIGHT_MS: Final = 1_772_409_600_000  # 2026-03-02, a close of every timeframe
_FIRST: Final = "2026-03-01T23:40:00Z"
# Streams begin two whole candles before the last one: of quiet markets nothing comes in one. The
# first pass is later than the close before it, when what REST shows of that is final.
_BEGIN_MS: Final = _MIDNIGHT_MS - 3 * _CLOSE_MS + 10_000
_WARM_MS: Final = _MIDNIGHT_MS - _CLOSE_MS + 70_000
_FASTEST: Final = 20  # of the exchanges' time between closes, where they are not waited for
_BEFORE_MS: Final = 30_000  # a close, from when on time runs as usual
_FRESH_S: Final = 62.0  # after a pass a worker asks for the exchanges' time
_IN_TIME_MS: Final = 2_500
_SUBSCRIBED_S: Final = 60.0
_CLOSE_S: Final = 240.0
_USUAL: Final = 700  # messages a second of 5m candles of 950 markets
_FAST: Final = 20_000
_LOOPS: Final = {
    "checked": ("a bare loop with its client and its reader of messages", Target("<=", 1.5)),
    "unchecked": ("a bare loop with its client that only decodes JSON", None),
}


async def measure(bench: BenchmarkRun) -> None:
    """Measures the rows of streams and adds them to `bench`."""
    async with open_stores(bench.folder / "streams-stores") as stores:
        bench.say("streams: markets and first collections")
        await prepare(bench, stores)
        await measure_prepared(bench, stores)


async def prepare(bench: BenchmarkRun, stores: Stores) -> None:
    """Collects all timeframes, without limits, as of some minutes before the streams begin."""
    unlimited = ("--no-limits", "--now", _FIRST)
    async with exchanges(bench, *options(bench.sizes.closes), *unlimited) as free:
        await free.post("clock", frozen=True)
        jobs = ("discovery", "funding", f"collect:{_ALL}", "fill")
        await run_steps(bench, stores, free.address, ROOT, bench.sizes.closes, *jobs)


async def measure_prepared(bench: BenchmarkRun, stores: Stores) -> None:
    """Measures with stores that hold the markets and their first collections."""
    latency = ["--latency-ms", str(bench.sizes.latency_ms), "--now", str(_BEGIN_MS), "--frozen"]
    async with exchanges(bench, *options(bench.sizes.closes), *latency) as asked:
        settings = rest_settings(bench.sizes.closes, asked.address)
        settings |= stream_settings(bench.sizes.closes, asked.address)
        # Both first passes ask for the open interest of all markets, within five minutes.
        settings["RATE_FRACTION"] = "1"
        egress = os.urandom(8).hex()
        async with serving(bench, stores, egress, **settings) as service:
            followed = await _Followed.of(bench, stores, asked, service)
            await asked.post("clock", frozen=False)
            await followed.closes()
            await followed.load()


@dataclass(frozen=True, slots=True)
class _Close:
    """One close. `seconds`: from it until a document had its closed candle of a market whose
    closing event came in time, by document and market; `told_s`: until a listener knew of the
    documents."""

    named: str
    seconds: Mapping[tuple[str, str], float]
    missed: int  # markets in documents that never got it
    late: int  # markets whose closing event came later, or not at all
    told_s: float
    repaired: int  # markets whose 5m candles were asked for, without the sample
    longer: int  # requests for longer candles, with audits
    audits: int  # requests of audits
    told: str
    worker_cpu_s: float


@dataclass(slots=True)
class _Followed:
    """A service whose streams are followed. `told`: when a listener of /events got what."""

    bench: BenchmarkRun
    stores: Stores
    asked: Exchanges
    service: Service
    live: Running
    # By exchange: the exchanges' names of the markets, with our Market.key of each.
    markets: Mapping[str, Mapping[str, str]]
    collected_s: float = 0.0
    told: list[tuple[float, Mapping[str, Any]]] = field(default_factory=list)

    @classmethod
    async def of(
        cls, bench: BenchmarkRun, stores: Stores, asked: Exchanges, service: Service
    ) -> "_Followed":
        markets: dict[str, dict[str, str]] = {}
        for each in (await asked.get("markets"))["markets"]:
            if each["collected"]:
                markets.setdefault(each["exchange"], {})[each["symbol"]] = market_key(each)
        live = Running(await service.child("live"), asked.address)
        found = cls(bench, stores, asked, service, live, markets)
        await found._until_subscribed(1)
        return found

    async def _until_subscribed(self, readers: int) -> None:
        """Waits until so many processes have subscribed to all markets."""
        async with asyncio.timeout(_SUBSCRIBED_S):
            while True:
                streams = (await self.asked.get("stats"))["streams"]
                wanted = {name: readers * len(found) for name, found in self.markets.items()}
                if all(streams[name]["streams"] >= count for name, count in wanted.items()):
                    return
                await asyncio.sleep(0.1)

    # --- closes

    async def closes(self) -> None:
        listening = asyncio.create_task(self._listen())
        try:
            await self._pass_to(_WARM_MS)
            self.collected_s = time.monotonic()
            await self.service.collect(_ALL, 0, _CLOSE_S)
            found = [
                await self._close(_MIDNIGHT_MS + number * _CLOSE_MS)
                for number in range(self.bench.sizes.streamed_closes)
            ]
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        self._add_closes(found)

    def _add_closes(self, found: Sequence[_Close]) -> None:
        add, markets = self.bench.add, named(self.bench.sizes.closes)
        what = f"closes by streams, {markets}: candles in all documents that close"
        each = "; ".join(
            f"{close.named}: half of them in {_share(close.seconds.values(), 0.5):.3g} s, worker's "
            f"CPU {close.worker_cpu_s:.3g} s" for close in found
        )  # fmt: skip
        late = ", ".join(str(close.late) for close in found)
        note = (
            "from the exchange's close, over documents and markets whose closing event came within "
            f"2.5 s; others, by close: {late} markets; {each}"
        )
        whole = [s for close in found for s in close.seconds.values()]
        for share, title in ((0.99, "99 of 100"), (1.0, "the last")):
            target = Target("<=", 5, "s") if share < 1 else None
            value = _share(whole, share)
            add(Row(PART, f"{what}, {title}", "", "s", [Sample(value)], target, note))
            note = ""
        missed = sum(close.missed for close in found)
        add(Row(PART, "such candles that did not come", "", "", [Sample(missed)], Target("<=", 0)))
        rest = [close.told_s for close in found]
        note = "from the exchange's close until the event `document` of the last one came"
        what = f"closes by streams, {markets}: a listener of /events knows of all"
        add(Row(PART, what, "", "s", [Sample(max(rest))], None, note))
        asked = max(max(close.repaired - close.late, 0) for close in found)
        what = f"markets asked for at a close by streams, {markets}, though closed in time"
        note = (
            "beside one market in a hundred as a sample; more than were not closed in time; "
            "by close, all that were asked for: "
            + ", ".join(f"{close.named} {close.repaired}" for close in found)
        )
        add(Row(PART, what, "", "", [Sample(asked)], Target("<=", 0), note))
        longer = max(close.longer for close in found)
        what = f"requests for longer candles at a close by streams, {markets}"
        note = (
            "of audits, and of markets with holes: a candle in which the exchange lacks one of 5m "
            "is not made, but asked for; by close: "
            + ", ".join(f"{close.named} audits {close.audits}, {close.told}" for close in found)
        )
        add(Row(PART, what, "", "", [Sample(longer)], None, note))

    async def _listen(self) -> None:
        url = f"{self.service.address}/events?event=document"
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=timeout) as client, client.get(url) as answer:
            async for line in answer.content:
                if line.startswith(b"data: "):
                    self.told.append((time.monotonic(), msgspec.json.decode(line[6:])))

    async def _pass_to(self, moment_ms: int) -> None:
        """Waits until the exchanges' time is then; in small benchmarks it passes faster."""
        speed = min(_FASTEST, _CLOSE_MS / 1000 / self.bench.sizes.closes_apart_s)
        await self.asked.post("clock", speed=max(speed, 1))
        left_ms = moment_ms - (await self.asked.get("clock"))["now_ms"]
        await asyncio.sleep(max(left_ms, 0) / 1000 / max(speed, 1))
        await self.asked.post("clock", speed=1)

    async def _close(self, close_ms: int) -> _Close:
        asked = self.asked
        await asyncio.sleep(max(self.collected_s + _FRESH_S - time.monotonic(), 0))
        await self._pass_to(close_ms - _BEFORE_MS)
        await asked.post("stats/reset")
        await asyncio.sleep((close_ms - (await asked.get("clock"))["now_ms"]) / 1000)
        self.collected_s = closed_s = time.monotonic()
        run = await self.service.collect(_ALL, close_ms, _CLOSE_S)
        stats = await asked.get("stats")
        due = [each for each in Timeframe if each.floor(close_ms) == close_ms]
        in_time, late = await self._in_time(close_ms)
        seconds = await self._seconds(run, close_ms, due, in_time)
        first: dict[str, float] = {}
        for at_s, event in self.told:
            if event["as_of"] >= close_ms:
                first.setdefault(event["name"], at_s - closed_s)
        self.told.clear()
        told_s = max((first.get(str(each), _CLOSE_S) for each in due), default=0.0)
        name = time.strftime("%H:%M", time.gmtime(close_ms / 1000))
        missed = len(due) * len(in_time) - len(seconds)
        repaired = sum(each["repaired"] for each in run.result["closing"].values())
        asked_for = (each.get(name, {}) for each in stats["periods"].values() for name in CANDLES)
        longer = sum(sum(each.values()) for each in asked_for) - finest_requests(stats, "klines")
        audits, told = run.result["audit_requests"], told_requests(stats)
        return _Close(
            *(name, seconds, missed, late, told_s, repaired, longer, audits, told), run.cpu_s
        )

    async def _seconds(
        self, run: Run, close_ms: int, due: Sequence[Timeframe], in_time: set[str]
    ) -> dict[tuple[str, str], float]:
        """When each of these documents first had the closed candle of each of these markets."""
        found: dict[tuple[str, str], float] = {}
        for timeframe in due:
            for version, at_s in run.publications.versions.get(str(timeframe), ()):
                text = await self.stores.cache.read_changes(str(timeframe), version)
                for market in decode_changes(text).markets or () if text else ():
                    key = f"{market.exchange}:{market.symbol}"
                    opens = {row[0] for row in market.closed}
                    if key in in_time and close_ms - timeframe.interval_ms in opens:
                        found.setdefault((str(timeframe), key), at_s)
        return found

    async def _in_time(self, close_ms: int) -> tuple[set[str], int]:
        """The markets whose closing events came in time, and how many others there are."""
        found, others = set(), 0
        for exchange, markets in self.markets.items():
            candles = LiveCandles()
            await catch_up(candles, CandleLogReader(self.stores.store, exchange))
            for native, key in markets.items():
                closed = candles.state.closed(native, close_ms - _CLOSE_MS)
                if closed is not None and _told_ms(closed, close_ms) <= close_ms + _IN_TIME_MS:
                    found.add(key)
                else:
                    others += 1
        return found, others

    # --- the live process

    async def load(self) -> None:
        """CPU and memory of the live process: at the usual load, and beside a bare loop."""
        bench, seconds = self.bench, self.bench.sizes.seconds * 5
        sent, wall_s, _ = await self._spent(0, seconds, self.live)
        usual = max(_USUAL - sent / wall_s, 0)
        samples, rates = [], []
        for _ in range(bench.sizes.runs):
            sent, wall_s, spent = await self._spent(usual, seconds, self.live)
            samples.append(Sample(100 * spent[0] / wall_s))
            rates.append(f"{sent / wall_s:.0f}")
        what = f"CPU of the live process, {named(bench.sizes.closes)}"
        note = f"percent of a core, at {', '.join(rates)} messages a second"
        bench.add(Row(PART, what, "", "%", samples, Target("<=", 3, "%"), note))
        for how, (against, target) in _LOOPS.items():
            await self._beside(how, against, target, seconds)
        await self._storm(0)
        memory_mb = self.live.process.memory_info().rss / 1e6
        bench.add(Row(PART, "memory of the live process", "", "MB", [Sample(memory_mb)]))

    async def _beside(self, how: str, against: str, target: Target | None, seconds: float) -> None:
        """Compares the live process with a bare loop that gets the same messages meanwhile."""
        bench, markets = self.bench, self.bench.folder / "markets.txt"
        lines = [f"{name} {symbol}" for name, found in self.markets.items() for symbol in found]
        markets.write_text("\n".join(lines))
        address = self.asked.address.replace("http", "ws", 1)
        command = [sys.executable, "-m", "benchmarks.bare_stream", address, str(markets), how]
        env = environment(PYTHONPATH=str(ROOT))
        samples, rates = [], []
        async with running(command, cwd=bench.folder, env=env) as bare:
            await self._until_subscribed(2)
            for _ in range(bench.sizes.runs):
                sent, wall_s, spent = await self._spent(_FAST, seconds, self.live, bare)
                samples.append(Sample(*(each / sent * 2e6 for each in spent)))
                rates.append(f"{sent / 2 / wall_s:.0f}")
        note = f"both get the same messages at a time, {', '.join(rates)} a second"
        bench.add(Row(PART, "CPU of the live process per message", against, "us", samples, target,
                      note))  # fmt: skip

    async def _storm(self, rate: float) -> None:
        await self.asked.post("streams", storm_per_s=rate)

    async def _messages(self) -> int:
        streams = (await self.asked.get("stats"))["streams"]
        return sum(streams[name]["messages_out"] for name in self.markets)

    async def _spent(
        self, rate: float, seconds: float, *processes: Running
    ) -> tuple[int, float, Sequence[float]]:
        """Messages that were sent in so many seconds, the seconds, and the CPU of each process.
        `rate`: messages a second beside the usual ones."""
        await self._storm(rate)
        await asyncio.sleep(1.0)
        began_s, before = time.monotonic(), await self._messages()
        cpu = [each.cpu_s() for each in processes]
        await asyncio.sleep(seconds)
        spent = [each.cpu_s() - then for each, then in zip(processes, cpu, strict=True)]
        return await self._messages() - before, time.monotonic() - began_s, spent


def _told_ms(closed: ClosedCandle, close_ms: int) -> int:
    """When the exchange told of it; some do not say it, then when it came here."""
    told_ms = closed.event_time_ms
    return told_ms if told_ms > close_ms else closed.known_ms


def _share(values: Any, share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return float(ordered[min(int(share * len(ordered)), len(ordered) - 1)]) if ordered else 0.0
