"""Chunk: pages of a backfill that another host is to ask for, and what it tells of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from data_collector.part_asks import decoded_market, encoded_market
from database import Filled
from history.backfill.asks import Ask
from history.backfill.series import Series, Stage, Target
from history.backfill.wanted import WHAT
from jobs.backfill_tally import Tally
from market.markets import Exchange
from market.settlements import LONGEST_INTERVAL_HOURS
from market.timeframes import Timeframe

MOST_ASKS: Final = 400
_COUNTS: Final = ("requests", "left_out", "out_of_reach", "to_documents")
_FILLED: Final = ("added", "corrected", "unchanged")


@dataclass(frozen=True, slots=True)
class Chunk:
    """`wish`: of which backfill. `lane` and `lease`: of the holder that waits for it. `asks`: at
    least one, all of one stage. `now_ms`: the exchange's time when it was handed out."""

    wish: int
    lane: str
    lease: str
    now_ms: int
    asks: Sequence[Ask]

    @property
    def stage(self) -> Stage:
        return self.asks[0].series.stage

    def encoded(self) -> dict[str, Any]:
        """As JSON: a market once, and a window as the number of its market, from and to."""
        targets = list({ask.series.target: None for ask in self.asks})
        numbers = {target: number for number, target in enumerate(targets)}
        stage = self.stage
        return {
            "wish": self.wish,
            "lane": self.lane,
            "lease": self.lease,
            "now": self.now_ms,
            "what": stage.what,
            "period": None if stage.period is None else str(stage.period),
            "makes": [*map(str, stage.makes)],
            "markets": [[each.funding_hours, *encoded_market(each.market)] for each in targets],
            "asks": [[numbers[ask.series.target], ask.from_ms, ask.to_ms] for ask in self.asks],
        }

    @classmethod
    def decoded(cls, found: Any) -> "Chunk":
        """Raises ValueError for what is no chunk."""
        try:
            targets = [_target(*fields) for fields in found["markets"]]
            period = found["period"]
            stage = Stage(
                targets[0].market.exchange,
                WHAT[WHAT.index(found["what"])],
                None if period is None else Timeframe(period),
                tuple(Timeframe(name) for name in found["makes"]),
            )
            asks = [
                Ask(Series(stage, targets[number]), int(from_ms), int(to_ms))
                for number, from_ms, to_ms in found["asks"]
            ]
            chunk = cls(
                int(found["wish"]), str(found["lane"]), str(found["lease"]), int(found["now"]), asks
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"no chunk of a backfill: {error!r:.200}") from None
        exchanges = {target.market.exchange for target in targets}
        if not asks or len(asks) > MOST_ASKS or len(exchanges) > 1:
            raise ValueError("a chunk that no backfill hands out")
        if (stage.period is None) != (stage.what == "funding"):
            raise ValueError(f"a chunk of {stage.what} with the period {stage.period}")
        if any(ask.from_ms >= ask.to_ms for ask in asks):
            raise ValueError("a chunk with an empty window")
        return chunk


def _target(hours: int, exchange: Exchange, *fields: Any) -> Target:
    if not 0 < hours <= LONGEST_INTERVAL_HOURS:
        raise ValueError(f"settlements every {hours} hours")
    return Target(decoded_market(exchange, *fields), None, int(hours))


@dataclass(slots=True)
class ChunkEnd:
    """`left`: the numbers of the asks that are not done; `tally`: counts of what is."""

    left: Sequence[int]
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, left: Sequence[int], tally: Tally) -> "ChunkEnd":
        counts = {name: getattr(tally, name) for name in _COUNTS}
        return cls(left, counts | {name: getattr(tally.filled, name) for name in _FILLED})

    def encoded(self) -> dict[str, Any]:
        return {**self.counts, "left": [*self.left]}

    @classmethod
    def decoded(cls, found: Any, asks: int) -> "ChunkEnd":
        """Of a chunk of so many asks. Raises ValueError for what is no end of one."""
        try:
            left = sorted({int(number) for number in found["left"]})
            counts = {name: max(0, int(found[name])) for name in (*_COUNTS, *_FILLED)}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no end of a chunk: {error!r:.200}") from None
        if left and not 0 <= left[0] <= left[-1] < asks:
            raise ValueError("no end of this chunk: it tells of asks that it did not have")
        return cls(left, counts)

    def add_to(self, tally: Tally) -> None:
        """Counts it in the tally of the whole."""
        counts = Counter(self.counts)
        tally.of_others += counts["requests"]
        tally.left_out += counts["left_out"]
        tally.out_of_reach += counts["out_of_reach"]
        tally.to_documents += counts["to_documents"]
        tally.filled += Filled(counts["added"], counts["corrected"], counts["unchanged"])
