"""Streams in a simulated day: cuts, faults of messages, and what bases and logs must hold then."""

import asyncio
import gc
import random
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import psutil

from chaos.truth import MarketTruth
from documents.base import decode_bases
from documents.names import base_name
from live.feed_state import FeedState
from market.base import Base
from market.markets import Exchange
from tests.day.faults import Fault
from tests.day.stream_faults import StreamFault, draw_cut, draw_fault
from tests.day.streams import POLLED, STEP_MS, Feeds

if TYPE_CHECKING:
    from tests.day.day import Day

HOUR_MS: Final = 3_600_000
_DAY_HOURS: Final = 24
_RESTARTS_MS: Final = 2 * HOUR_MS  # of the feeds, in the first half
_CUT_EVERY_MS: Final = HOUR_MS // 2
_FAULTY: Final = 0.12
_WITHIN_S: Final = 290.0
_CANDLE: Final = slice(0, 6)
_PERIODS: Final = ("5m", "5")  # of 5m, as the exchanges spell it
_CANDLES: Final = ("klines", "history_klines")
_NEWEST: Final = 4  # slots compared at every close; all of them every hour
_ALL: Final = 400
_AGELESS: Final = "okx"
_LIVE: Final = str(Path(__file__).resolve().parents[2] / "live" / "*")


class Hour(NamedTuple):
    """`live`, `rss`: bytes; `markets`: that are followed."""

    hour: int
    live: int
    rss: int
    markets: int


@dataclass
class Memory:
    """What is allocated by the modules of live/, and the process's resident memory, by hour."""

    hours: list[Hour] = field(default_factory=list)
    lines: list[Counter[str]] = field(default_factory=list)  # bytes by place, in each hour

    def measure(self, hour: int, markets: int) -> Hour:
        gc.collect()
        lines = Counter[str]()
        if tracemalloc.is_tracing():
            snapshot = tracemalloc.take_snapshot()
            ours = snapshot.filter_traces([tracemalloc.Filter(True, _LIVE)])
            for each in ours.statistics("lineno"):
                frame = each.traceback[0]
                lines[f"{Path(frame.filename).name}:{frame.lineno}"] += each.size
        rss = psutil.Process().memory_info().rss
        self.lines.append(lines)
        self.hours.append(Hour(hour, lines.total(), rss, markets))
        return self.hours[-1]

    def grown(self, since: int) -> list[tuple[str, int]]:
        """Where most was added since this hour, bytes."""
        before = self.lines[min(since, len(self.lines)) - 1] if self.lines else Counter[str]()
        return (self.lines[-1] - before).most_common(6) if self.lines else []


class Soak:
    """The streams of a day that lasts `hours`. Connections of one polled exchange are cut every
    half hour, in the second half, or after a day, those of the other; so connections also live
    their whole life. Those of the exchange that sets them no age are cut all the time."""

    def __init__(self, day: "Day", feeds: Feeds, seed: int, hours: float) -> None:
        self.day, self.feeds = day, feeds
        self.memory = Memory()
        self.requests: Counter[str] = Counter()  # of quiet closes: asked for, allowed, closes
        self.ways: Counter[str] = Counter()
        self.compared: Counter[str] = Counter()
        self.reconnects: Counter[str] = Counter()
        self.cuts = 0
        self._chance = random.Random(seed)  # noqa: S311 - to be repeatable
        self._began_ms = day.clock.now_ms
        first_hours = _DAY_HOURS if hours >= _DAY_HOURS else hours / 2
        self._half_ms = day.clock.now_ms + round(first_hours * HOUR_MS)
        self._disturbed_ms: dict[str, int] = {}  # by exchange: until when candles are asked for
        self._rules: list[tuple[int, int, str]] = []  # when to delete, number, exchange
        self._later: set[asyncio.Task[None]] = set()
        self._states: dict[str, FeedState] = {}
        self._asked: Counter[str] = Counter()
        self._based: dict[str, dict[str, int]] = {}  # by exchange: Market.key, since which close
        self._differing: Counter[Exchange] = Counter()
        self._hour = 0

    # --- what happens -----------------------------------------------------------------------

    async def start(self) -> None:
        await self.feeds.start(self.day.context.settings)

    async def aclose(self) -> None:
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        await self.feeds.stop()

    @property
    def _broken(self) -> str:
        """The exchange whose connections are broken now; those of the other get old."""
        return "bybit" if self.day.close_ms < self._half_ms else "binance"

    def allows(self, fault: Fault) -> bool:
        """Whether no feed begins anew by this fault that is to have an old connection."""
        return not fault.kind.startswith("clock") or fault.exchange in (self._broken, _AGELESS)

    async def before_close(self) -> None:
        """Two minutes before a close."""
        day = self.day
        now_ms = day.clock.now_ms
        for until_ms, number, name in self._rules:
            if until_ms <= now_ms:
                day.exchanges.full("DELETE", f"/sim/faults?number={number}")
                # Until now it may have kept a candle from being whole.
                self._disturb(name, day.close_ms + 2 * STEP_MS)
        self._rules = [each for each in self._rules if each[0] > now_ms]
        exchange = self._broken
        if day.close_ms % _CUT_EVERY_MS == 0:
            self.cuts += 1
            self._inflict(draw_cut(self._chance, exchange, _WITHIN_S))
            self._inflict(draw_cut(self._chance, _AGELESS, _WITHIN_S))
        elif self._chance.random() < _FAULTY:
            exchange = self._chance.choice((exchange, _AGELESS))
            symbols = [key.partition(":")[2] for key in day.collected if key.startswith(exchange)]
            fault = draw_fault(self._chance, exchange, sorted(symbols), _WITHIN_S)
            early = day.close_ms < self._began_ms + _RESTARTS_MS
            if not fault.restarts or early or day.close_ms >= self._half_ms:
                self._inflict(fault)
        if day.close_ms % (6 * HOUR_MS) == 0:  # both kinds of silent markets
            tells = self._chance.random() < 0.5
            silent = str(self._chance.choice(POLLED))
            day.exchanges.post("/sim/streams", {"silent_closings": {silent: tells}})
            day.report.say(f"    silent candles of {silent} are closed: {tells}")
        self._asked = self._requests()

    def closes_within_a_pass(self) -> None:
        """A pass has begun before the close, and may ask for what streams have not told by then."""
        for exchange in POLLED:
            self._disturb(exchange, self.day.close_ms + STEP_MS)

    def _inflict(self, fault: StreamFault) -> None:
        self.day.report.say(f"    streams: {fault}")
        # Its candle, those that it lasts, and the one in which a connection begins; a process that
        # begins may take another one, as the day's time runs while it opens its stores.
        until_ms = self.day.close_ms + (fault.closes + 1 + fault.restarts) * STEP_MS
        for exchange in POLLED if fault.restarts else (fault.exchange,):
            self._disturb(exchange, until_ms)
        task = asyncio.create_task(self._strike(fault))
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _strike(self, fault: StreamFault) -> None:
        day = self.day
        await day.clock.beside.sleep(fault.delay_s)
        if fault.restarts:
            await self.feeds.stop()
            await self.start()
        until_ms = day.close_ms + fault.closes * STEP_MS
        if fault.rules:  # they are deleted before the next close
            self._disturb(fault.exchange, until_ms + STEP_MS)
        rules = [day.named(each) for each in fault.rules]
        for rule in day.exchanges.post("/sim/faults", rules) if rules else ():
            self._rules.append((until_ms, rule["number"], fault.exchange))

    def _disturb(self, exchange: str, until_ms: int) -> None:
        self._disturbed_ms[exchange] = max(self._disturbed_ms.get(exchange, 0), until_ms)

    def _requests(self) -> Counter[str]:
        """The requests for 5m candles so far, by exchange."""
        periods = self.day.exchanges.stats()["periods"]
        return Counter(
            {e: sum(periods.get(e, {}).get(name, {}).get(p, 0)
                    for name in _CANDLES for p in _PERIODS)
             for e in map(str, POLLED)}
        )  # fmt: skip

    # --- what must be there -----------------------------------------------------------------

    async def after_pass(self, result: Mapping[str, Any], *, disturbed: bool) -> None:
        """`result`: of the pass's job."""
        day = self.day
        if disturbed:
            for exchange in POLLED:
                self._disturb(exchange, day.close_ms + 2 * STEP_MS)
        hour = (day.close_ms - self._began_ms) // HOUR_MS
        is_hour = hour > self._hour
        live = day.context.live
        for exchange in POLLED:
            # What its connection has brought is read again, and another one takes its place.
            if live is not None and live.differing[exchange] != self._differing[exchange]:
                self._differing[exchange] = live.differing[exchange]
                self._disturb(exchange, day.close_ms + 4 * STEP_MS)
            sampled = result.get("closing", {}).get(exchange, {}).get("sampled", 0)
            most = result.get("audit_requests", 0) + sampled
            await self._check_base(exchange, _ALL if is_hour else _NEWEST, most)
        await self._follow_states()
        if is_hour:
            self._hour = hour
            memory = self.memory.measure(hour, len(day.collected))
            day.report.say(
                f"    hour {hour}: {memory.live / 1e6:.2f} MB of live/, {memory.markets} markets,"
                f" {memory.rss / 1e6:.0f} MB in all,"
                f" {dict(self.ways)}, {dict(self.compared)}, requests {dict(self.requests)},"
                f" reconnects {dict(self.reconnects)}, steps {day.clock.steps}"
            )

    async def _check_base(self, exchange: Exchange, newest: int, allowed: int) -> None:
        """Compares so many of the newest slots of each base; `allowed`: so many requests for
        candles may have been made beside those of silent markets, if nothing was broken."""
        day, silent = self.day, 0
        stored = await day.context.cache.read(base_name(exchange))
        if stored is None:
            return  # lost, and not made anew as the exchange is away
        bases = decode_bases(stored.inflate(), exchange)
        truth = MarketTruth(day.ask, candles=newest + 2, settlements=1)
        truth.symbols |= day.comparison.symbols
        since = self._based.setdefault(exchange, dict.fromkeys(bases, 0))
        # The base of one that is new, its first document of 5m, and its first whole candle.
        self._based[exchange] = since = {key: since.get(key, day.close_ms) for key in bases}
        allowed += 2 * sum(begun > day.close_ms - 3 * STEP_MS for begun in since.values())
        for key, base in bases.items():
            if key not in day.collected:
                continue
            rows = (await truth.rows("5m", base.as_of_ms, base.as_of_ms, newest + 2)).get(key, {})
            self._check_slots(key, base, rows, newest)
            # A connection that has just begun proves nothing of a market before its first trade.
            recent = (base.newest_ms - back * STEP_MS for back in (1, 2, 3))
            silent += any(open_ms not in rows or not rows[open_ms][5] for open_ms in recent)
        if day.close_ms < self._disturbed_ms.get(exchange, 0):
            return
        asked = self._requests()[exchange] - self._asked[exchange]
        self.requests["closes"] += 1
        self.requests["asked"] += asked
        self.requests["silent"] += silent
        self.requests["allowed"] += allowed
        if asked > silent + allowed:
            requests = (await day.ask("/sim/requests"))["requests"]
            ours = [each for each in requests if each["exchange"] == exchange]
            symbols = [each["symbol"] for each in ours if _is_of_5m(each)][-asked:]
            odd = {day.native.get(each) for each in day.comparison.odd}
            symbols = [each for each in symbols if each not in odd]
            unproven = self._states[exchange].unproven if exchange in self._states else None
            # A job beside the pass may ask for a silent market once more.
            if len(set(symbols)) > silent + allowed:
                day.report.violate(
                    f"{exchange}: requests for candles of {symbols}, {silent} silent, {allowed}"
                    f" allowed, unproven {unproven}"
                )

    def _check_slots(self, key: str, base: Base, rows: Any, newest: int) -> None:
        """Every closed candle is there, as the exchange has it, and closed by the exchange."""
        day, closed_ms = self.day, base.as_of_ms - base.as_of_ms % STEP_MS
        exchange = key.partition(":")[0]
        corrected = {slot_ms for each, slot_ms, _ in day.comparison.corrections if each == key}
        excused = day.active() or key in day.comparison.odd or exchange in day.comparison.odd
        came = self.feeds.closings[exchange].came
        first_ms = min(rows, default=closed_ms)  # what is older is of an earlier contract
        is_ours = (base.times < closed_ms) & (base.times >= first_ms)
        for slot in np.flatnonzero(is_ours)[-newest:].tolist():
            open_ms = int(base.times[slot])
            true, is_there = rows.get(open_ms), bool(base.there[slot])
            if base.streamed[slot]:
                self.compared["streamed slots"] += 1
                if (day.native[key], open_ms) not in came:
                    day.report.violate(f"{key} {open_ms}: of a stream that has not closed it")
            elif base.known[slot] and base.read_ms[slot] < open_ms + STEP_MS:
                day.report.violate(f"{key} {open_ms}: closed by nobody")
            if open_ms == closed_ms - 2 * STEP_MS:
                self.ways["stream" if base.streamed[slot] else "rest"] += is_there
            self.compared["slots"] += 1
            if open_ms in corrected:
                continue
            if is_there and true is None and base.known[slot]:
                day.report.violate(f"{key} {open_ms}: {base.values[slot]}, nothing at the exchange")
            elif is_there and base.known[slot] and base.values[slot][:6].tolist() != true[1:7]:
                day.report.violate(f"{key} {open_ms}: {base.values[slot]}, not {true}")
            elif true is not None and not (is_there and base.known[slot]) and not excused:
                day.report.violate(f"{key} {open_ms}: a gap, by {closed_ms}")

    async def _follow_states(self) -> None:
        """Counts reconnects, over restarts of the feeds."""
        for exchange, state in (await self.feeds.states()).items():
            before = self._states.get(exchange)
            for reason, count in state.reconnects.items():
                earlier = before.reconnects.get(reason, 0) if before is not None else 0
                more = count - earlier if count >= earlier else count
                if more:
                    self.reconnects[f"{exchange} {reason}"] += more
            self._states[exchange] = state


def _is_of_5m(request: Mapping[str, Any]) -> bool:
    """Whether it was counted as one for 5m candles."""
    is_counted = request["endpoint"] in _CANDLES and request["status"] == 200
    return is_counted and request["period"] in _PERIODS
