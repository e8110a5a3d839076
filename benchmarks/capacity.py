"""The capacity model of docs/scale.md: what readers take, by arithmetic on saved results.

A number whose row was not measured yet is NaN, and so is all that is made of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan
from typing import Final

from benchmarks.bots import CUT, EVENTS, KNOWN, MARKET, NEWEST, WHOLE
from benchmarks.collecting import FRACTION, LIMITS
from benchmarks.report import number
from benchmarks.saved import Saved
from benchmarks.sizes import FULL

COUNTS: Final = (10, 1_000, 100_000)
NOT_YET: Final = "not measured yet"
_DAY_S: Final = 86_400
_BUSY: Final = 0.7  # of a core: above it, answers wait for each other
_VERSIONS: Final = 96  # a day of a document: one each quarter of an hour
_EVENTS: Final = 2 * 288  # a day: the candles of a 5m close, and the document that has them
_LONG_POLL_S: Final = 30
_AT_ONCE_S: Final = 5
_CLOSE_S: Final = 300
_LINE_BITS_S: Final = 1e9
_EDGES: Final = 10  # places of a CDN that fetch for themselves


@dataclass(frozen=True, slots=True)
class Cost:
    """What one answer, or one event, takes."""

    cpu_ms: float
    kb: float


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader in a day: how many bodies (or events) of a kind, and questions in all."""

    name: str
    kind: str
    bodies: float
    questions: float

    def cpu_s(self, costs: Mapping[str, Cost]) -> float:
        known = (self.questions - self.bodies) * costs[KNOWN].cpu_ms
        return (self.bodies * costs[self.kind].cpu_ms + known) / 1000

    def mb(self, costs: Mapping[str, Cost]) -> float:
        known = (self.questions - self.bodies) * costs[KNOWN].kb
        return (self.bodies * costs[self.kind].kb + known) / 1000


_POLLS: Final = _DAY_S / FULL.bots_pace_s
_PACE: Final = f"every {FULL.bots_pace_s:g} s with `If-None-Match`"
READERS: Final = (
    Reader(f"a whole document every {FULL.bots_pace_s:g} s, no ETag", WHOLE, _POLLS, _POLLS),
    Reader(f"a whole document, {_PACE}", WHOLE, _VERSIONS, _POLLS),
    Reader(f"a whole document, `wait={_LONG_POLL_S}`", WHOLE, _VERSIONS, _DAY_S / _LONG_POLL_S),
    Reader(f"`limit=2` of all markets, {_PACE}", NEWEST, _VERSIONS, _POLLS),
    Reader(f"one market, {_PACE}", MARKET, _VERSIONS, _POLLS),
    Reader("one market's 5m candles by `/events`", EVENTS, _EVENTS, _EVENTS),
)
# The bots of the load test, by the kinds of its mix.
_MIX: Final = tuple(zip((WHOLE, MARKET, NEWEST, EVENTS), FULL.bots, strict=True))


class Capacity:
    """The tables of docs/scale.md, of these results."""

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self.costs: dict[str, Cost] = {
            name: Cost(
                self._value("bots", f"CPU of the API per {each}, {name}"),
                self._value("bots", f"bytes of an {each}, {name}"),
            )
            for name in (WHOLE, MARKET, CUT, NEWEST, KNOWN, EVENTS)
            for each in ("event" if name == EVENTS else "answer",)
        }

    def _value(self, part: str, begin: str) -> float:
        """Our value of the first row that begins so; NaN without one."""
        rows = self._saved.parts[part].rows if part in self._saved.parts else ()
        return next((row.ours for row in rows if row.what.startswith(begin)), nan)

    # --- tables --------------------------------------------------------------------------------

    def answers(self) -> str:
        """What one answer takes, by kind."""
        return table(
            ("answer", "sent", "CPU of the API", "so many a second and core", "measured by"),
            (
                (name, cell(cost.kb, "kB"), cell(cost.cpu_ms, "ms"),
                 cell(1000 / cost.cpu_ms), command("bots"))
                for name, cost in self.costs.items()
            ),
        )  # fmt: skip

    def readers(self) -> str:
        """What one reader takes in a day, and how many a core serves."""
        return table(
            ("reader", "sent in a day", "CPU in a day", f"readers a core, {_BUSY:.0%} busy"),
            (
                (each.name, cell(each.mb(self.costs), "MB"), cell(each.cpu_s(self.costs), "s"),
                 cell(_BUSY * _DAY_S / each.cpu_s(self.costs)))
                for each in READERS
            ),
        )  # fmt: skip

    def service(self) -> str:
        """What the service and its stores take: the rows as they were measured."""
        wanted = (
            ("running", "CPU of all processes"),
            ("running", "memory of all processes"),
            ("running", "disk written"),
            ("running", "network"),
            ("running", "requests"),
            ("running", "commands of the hot store"),
            ("running", "memory of the hot store"),
            ("running", "write-ahead log"),
            ("running", "size of the database"),
            ("closes", "bytes appended to the store's file"),
            ("history", "write-ahead log of a day"),
            ("history", "disk of a market and month"),
            ("history", "a year of 1h of one market"),
            ("history", "the last 499 hours"),
        )
        return table(("what", "takes", "measured by"), self._rows(wanted))

    def _rows(self, wanted: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
        for part, begin in wanted:
            rows = self._saved.parts[part].rows if part in self._saved.parts else ()
            found = [row for row in rows if row.what.startswith(begin)]
            for row in found:
                yield row.what, cell(row.ours, row.unit), command(part)
            if not found:
                yield begin, NOT_YET, command(part)

    def addresses(self) -> str:
        """How many markets one address keeps up to date, by what bounds it."""
        klines = self._value("closes", "klines requests of it, per market")
        interest = self._value("closes", "open-interest requests of it, per market")
        weight = self._value("collecting", "refresh one minute later, Binance kline weight")
        # By counter: what a market takes of it, and the part that measures that.
        of_market = {
            "Binance weight": (weight, "collecting"),
            "Binance open interest": (interest, "closes"),
            "Bybit requests": (klines + interest, "closes"),
        }
        head = ("limit", "allowed", "a market takes at a close", "markets at each 5m close")
        rows = []
        for name, (allowed, seconds) in LIMITS.items():
            each, part = of_market[name]
            markets = FRACTION * allowed * _CLOSE_S / seconds / each
            told = f"{allowed:,} in {seconds} s"
            rows.append((name, told, cell(each), cell(markets), command(part)))
        return table((*head, "measured by"), rows)

    def further(self) -> str:
        """What a second address adds."""
        rows = self._saved.parts["shards"].rows if "shards" in self._saved.parts else ()
        lines = [
            (row.what, cell(row.ours, row.unit), cell(row.other or nan, row.unit),
             cell(row.value), command("shards"))
            for row in rows
            if row.what.startswith("wall time")
        ]  # fmt: skip
        none = [("wall time of a first collection", *[NOT_YET] * 3, command("shards"))]
        head = ("what", "two addresses", "one address", "ratio", "measured by")
        return table(head, lines or none)

    def steps(self) -> str:
        """What so many bots take, in the mix of the load test."""
        head = ("", *(f"{count:,} bots" for count in COUNTS))
        steps = [Step(self.costs, count) for count in COUNTS]
        rows = (
            ("questions a second", "", [each.questions_s() for each in steps]),
            (f"API cores, {_BUSY:.0%} busy, over a day", "", [each.cores() for each in steps]),
            ("CPU to bring a version to all", "s", [each.burst_cpu_s() for each in steps]),
            (f"API cores that do it in {_AT_ONCE_S} s", "",
             [each.burst_cpu_s() / _AT_ONCE_S for each in steps]),
            ("sent for a version", "GB", [each.burst_gb() for each in steps]),
            ("sent for it if nobody reads whole documents", "GB",
             [each.burst_gb(without_whole=True) for each in steps]),
            ("time of a 1 Gbit/s line for a version", "s", [each.line_s() for each in steps]),
            ("sent in a day", "GB", [each.day_gb() for each in steps]),
            (f"sent by the API in a day, behind a CDN of {_EDGES} places", "GB",
             [each.day_gb_behind_edges() for each in steps]),
        )  # fmt: skip
        return table(
            head, ((what, *(cell(v, unit) for v in values)) for what, unit, values in rows)
        )

    def check(self) -> str:
        """The model against the load test: CPU of the API in it."""
        bots = sum(FULL.bots)
        step = Step(self.costs, bots)
        known_s = step.questions_s() * self.costs[KNOWN].cpu_ms / 1000
        burst_s = (1 + FULL.bots_versions) * step.burst_cpu_s()  # they begin with nothing
        told = f"{bots:,} bots: CPU of the API"
        model = 100 * (known_s + burst_s / FULL.bots_s)
        measured = self._value("bots", told)
        return table(
            ("load test", "by the model", "measured", "ratio", "measured by"),
            [
                (
                    *(told, cell(model, "%"), cell(measured, "%"), cell(measured / model)),
                    command("bots"),
                )
            ],
        )


@dataclass(frozen=True, slots=True)
class Step:
    """So many bots in the mix of the load test; those of events ask nothing."""

    costs: Mapping[str, Cost]
    bots: int

    def _bots(self) -> dict[str, float]:
        return {name: self.bots * count / sum(FULL.bots) for name, count in _MIX}

    def questions_s(self) -> float:
        polling = self.bots - self._bots()[EVENTS]
        return polling / FULL.bots_pace_s

    def burst_cpu_s(self) -> float:
        """For a new version: every bot gets a body, or its two events; each market is cut once."""
        cut = min(self._bots()[MARKET], FULL.large[0])
        cut_ms = cut * (self.costs[CUT].cpu_ms - self.costs[MARKET].cpu_ms)
        bodies_ms = sum(
            count * self.costs[name].cpu_ms * (2 if name == EVENTS else 1)
            for name, count in self._bots().items()
        )
        return (cut_ms + bodies_ms) / 1000

    def burst_gb(self, *, without_whole: bool = False) -> float:
        return sum(
            count * self.costs[name].kb * (2 if name == EVENTS else 1) / 1e6
            for name, count in self._bots().items()
            if not (without_whole and name == WHOLE)
        )

    def line_s(self) -> float:
        return self.burst_gb() * 8e9 / _LINE_BITS_S

    def cores(self) -> float:
        known_s = self.questions_s() * self.costs[KNOWN].cpu_ms / 1000
        return (known_s + _VERSIONS * self.burst_cpu_s() / _DAY_S) / _BUSY

    def day_gb(self) -> float:
        known_gb = self.questions_s() * _DAY_S * self.costs[KNOWN].kb / 1e6
        return known_gb + _VERSIONS * self.burst_gb()

    def day_gb_behind_edges(self) -> float:
        """Bodies once for each place that asks for them; every question is validated all the same.

        Each place is thought to ask for every market, even if it has no such bot.
        """
        known_gb = self.questions_s() * _DAY_S * self.costs[KNOWN].kb / 1e6
        each_kb = (
            self.costs[WHOLE].kb + self.costs[NEWEST].kb + FULL.large[0] * self.costs[MARKET].kb
        )
        events_gb = self._bots()[EVENTS] * _EVENTS * self.costs[EVENTS].kb / 1e6
        with_edges = known_gb + _VERSIONS * _EDGES * each_kb / 1e6 + events_gb
        return min(self.day_gb(), with_edges)  # a place of no two bots fetches as they do


def command(part: str) -> str:
    return f'`make bench BENCH="--part {part}"`'


def cell(value: float, unit: str = "") -> str:
    if isnan(value) or value in (inf, -inf):
        return NOT_YET
    return f"{number(value)} {unit}".strip()


def table(head: Sequence[str], rows: "Iterator[Sequence[str]] | Sequence[Sequence[str]]") -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines).replace("| --- ", "|---")
