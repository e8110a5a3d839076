"""InterestAnswers: the series that `fill` has got and not yet published, kept between its runs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from data_collector.interest_fill import Series, Span
from market.base import REACH_MS
from market.left_out import LeftOut
from market.rows import TimedValues
from market.timeframes import Timeframe

# Over this `fill` publishes what it has, whole or not: as much as 1,800 markets take at most.
MOST_BYTES: Final = 64 * 2**20
_ANSWER_BYTES: Final = 500  # of its objects, beside its snapshots


@dataclass(frozen=True, slots=True)
class Answer:
    """What one market's series brought. `reason`: why it could not be fetched; None: it was."""

    series: Series
    snapshots: TimedValues
    left_out: Sequence[LeftOut] = ()
    reason: str | None = None

    @property
    def bytes(self) -> int:
        return _ANSWER_BYTES + self.snapshots.times.nbytes + self.snapshots.values.nbytes

    def covers(self, timeframe: Timeframe, span: Span, as_of_ms: int) -> bool:
        """Whether it tells all that a document of the timeframe lacks.

        What came after it, in a newer document, is the base's, if that reaches so far back.
        """
        series = self.series
        if timeframe.interval_ms % series.period.interval_ms:
            return False
        newest_ms = series.last_ms + REACH_MS
        return series.first_ms <= span[0] and (span[1] <= series.last_ms or as_of_ms <= newest_ms)


class InterestAnswers:
    """The answers by market and period; of one event loop, on which every call is made.

    `gave_way`: a collection has come between the runs that fetch them.
    """

    def __init__(self) -> None:
        self.gave_way = False
        self.bytes = 0
        self._answers: dict[str, dict[Timeframe, Answer]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._answers.values()))

    def put(self, key: str, answer: Answer) -> None:
        """Keeps a market's answer in place of the one of the same period before."""
        ours = self._answers.setdefault(key, {})
        if (before := ours.get(answer.series.period)) is not None:
            self.bytes -= before.bytes
        ours[answer.series.period] = answer
        self.bytes += answer.bytes

    def get(self, key: str, timeframe: Timeframe, span: Span, as_of_ms: int) -> Answer | None:
        """The market's answer for what a document of this timeframe lacks at `as_of_ms`, if there
        is one."""
        answers = self._answers.get(key, {}).values()
        found = [each for each in answers if each.covers(timeframe, span, as_of_ms)]
        return min(found, key=lambda answer: answer.reason is not None, default=None)

    def forget_failures(self, prefix: str) -> None:
        """Forgets the failed answers of markets whose key begins so, to ask for them again."""
        for key in [key for key in self._answers if key.startswith(prefix)]:
            for answer in [each for each in self._answers[key].values() if each.reason is not None]:
                self._drop(key, answer.series.period)

    def keep_only(self, waiting: Mapping[str, Collection[Timeframe]]) -> None:
        """Forgets the answers for which no document waits: `waiting` has the timeframes of each
        market, by Market.key, whose documents do."""
        for key in list(self._answers):
            for answer in list(self._answers[key].values()):
                if not set(waiting.get(key, ())).intersection(answer.series.timeframes):
                    self._drop(key, answer.series.period)

    def _drop(self, key: str, period: Timeframe) -> None:
        ours = self._answers[key]
        self.bytes -= ours.pop(period).bytes
        if not ours:
            del self._answers[key]
