"""How soon after each close every market's new candle can be read, and whether that is in time.

Times are seconds of this machine's monotonic clock. They are real ones: the run passes over the
rest of a candle only when every market is fresh, or nothing more is owed.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any, Final

from chaos.checks import M5_MS

# A market's candle is there so long after its close, whatever happens to streams and to the
# processes that read them: REST has it.
SOON_S: Final = 60.0
# The same where the exchange does not say soon that a candle is closed. Bybit says it late of one
# without a trade: its grace is 75 s.
UNTOLD_S: Final = 90.0
# After any other fault.
AFTER_FAULT_S: Final = 90.0
# An effect may outlast the fault that caused it, such as a subscription that stays silent.
_LASTS_S: Final = 60.0

Document = Mapping[str, Any]


@dataclass(slots=True)
class Disturbance:
    """A fault, as far as freshness is concerned. `untold`: it hides closes; `blocks`: while it
    lasts nothing is owed. `until_s` is None while it lasts."""

    began_s: float
    untold: bool = False
    blocks: bool = False
    until_s: float | None = None


def owed_s(closed_s: float, disturbances: Iterable[Disturbance], *, silent: bool = False) -> float:
    """Until when a candle that closed at `closed_s` has to be there, a `silent` one without a
    trade; infinity while a fault lasts that excuses it."""
    ours = sorted(disturbances, key=lambda each: each.began_s)
    owed = closed_s + (UNTOLD_S if silent else SOON_S)
    for each in ours:
        lasts = each.until_s is None or each.until_s + _LASTS_S > closed_s
        if each.untold and lasts and each.began_s < owed:
            owed = max(owed, closed_s + UNTOLD_S)
    for each in ours:
        if each.blocks and each.began_s < owed:
            until_s = float("inf") if each.until_s is None else each.until_s
            owed = max(owed, until_s + AFTER_FAULT_S)
    return owed


@dataclass(slots=True)
class _Close:
    close_ms: int
    at_s: float
    waiting: set[str]
    silent: Collection[str]


@dataclass(slots=True)
class Freshness:
    """`found`: violations, as text; `lags`: seconds from close to candle, of all markets; `calm`:
    those of closes without any fault."""

    found: list[str] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    calm: list[float] = field(default_factory=list)
    closes: int = 0
    passed_over: int = 0  # markets that were not fresh when the time was passed over
    disturbances: list[Disturbance] = field(default_factory=list)
    _close: _Close | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def began(self, disturbance: Disturbance) -> Disturbance:
        self.disturbances.append(disturbance)
        return disturbance

    @property
    def waiting(self) -> Collection[str]:
        """The markets whose candle of the last close has not come."""
        return frozenset(self._close.waiting) if self._close is not None else frozenset()

    def closed(
        self, close_ms: int, at_s: float, markets: Collection[str], silent: Collection[str] = ()
    ) -> None:
        """A candle has closed, of these markets; it had no trade in `silent` ones."""
        self.closes += 1
        self._close = _Close(close_ms, at_s, set(markets), silent)

    def gone(self, market: str) -> None:
        """A market is delisted: nothing is owed."""
        if self._close is not None:
            self._close.waiting.discard(market)
            self._changed.set()

    def seen(self, document: Document, at_s: float) -> None:
        """A document of 5m was read, as it was at `at_s`."""
        close = self._close
        if close is None or document["as_of"] < close.close_ms:
            return
        fresh = has_closed(document, close.close_ms) & close.waiting
        for market in fresh:
            self._judge(market, close, at_s)
            self.lags.append(at_s - close.at_s)
            if not any(
                each.until_s is None or each.until_s + _LASTS_S > close.at_s
                for each in self.disturbances
                if each.began_s < at_s
            ):
                self.calm.append(at_s - close.at_s)
        if fresh:
            close.waiting -= fresh
            self._changed.set()

    def overdue(self, now_s: float) -> bool:
        """Judges the markets that are still not fresh; whether nothing is waited for any more."""
        close = self._close
        for market in list(close.waiting) if close is not None else ():
            if close is not None and self._judge(market, close, now_s):
                close.waiting.discard(market)
        return not self.waiting

    def pass_over(self) -> None:
        """The rest of the candle is passed over: nothing can be said of what is not fresh yet."""
        self.passed_over += len(self.waiting)
        self._close = None

    async def all_fresh(self, within_s: float) -> bool:
        """Waits until every market has the last closed candle, or is overdue."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while not self.overdue(loop.time()):
            left_s = deadline - loop.time()
            if left_s <= 0:
                return False
            self._changed.clear()
            try:
                async with asyncio.timeout(min(left_s, 1.0)):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return True

    def _judge(self, market: str, close: _Close, at_s: float) -> bool:
        """Whether it is too late for a market; noted then."""
        owed = owed_s(close.at_s, self.disturbances, silent=market in close.silent)
        if at_s <= owed:
            return False
        self.found.append(
            f"{market} lacked the candle closed at {close.close_ms} {at_s - close.at_s:.0f} s after"
            f" its close, owed after {owed - close.at_s:.0f} s"
        )
        return True

    def notes(self) -> list[str]:
        shares = f", {self.passed_over} markets passed over" if self.passed_over else ""
        return [
            f"closes: {self.closes}{shares}; candles read after {_shown(self.lags)}; "
            f"without any fault after {_shown(self.calm)}"
        ]


def has_closed(document: Document, close_ms: int) -> set[str]:
    """The markets of a 5m document that have the candle which closed then."""
    open_ms = close_ms - M5_MS
    return {
        f"{market['exchange']}:{market['symbol']}"
        for market in document["markets"]
        if any(row[0] == open_ms for row in reversed(market["rows"]))
    }


def _shown(lags: Sequence[float]) -> str:
    if len(lags) < 2:
        return "no time measured"
    cuts = quantiles(lags, n=100, method="inclusive")
    return f"{cuts[49]:.1f} s (p50), {cuts[98]:.1f} s (p99), {max(lags):.1f} s (most)"
