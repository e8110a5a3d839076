"""Bounds of a backfill: which times of a series may be asked for and stored at all. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from database import DocumentWindow
from documents.names import GLOBAL_FR
from history.backfill.ranges import Range, ceil, floor, without
from history.backfill.series import Series, younger_interest
from history.backfill.wanted import Wanted
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe

# A market may trade before the launch time that its exchange tells, and is listed for a while after
# the last list that had it.
_AROUND_LIFE_MS: Final = DAY_MS
# So long after it has closed a candle is there, and after their time snapshots and settlements are.
_CANDLE_LAG_MS: Final = MINUTE_MS
_POINT_LAG_MS: Final = 10 * MINUTE_MS
# An exchange's horizon moves on while a request waits for its turn.
_HORIZON_MARGIN_MS: Final = 2 * MINUTE_MS
# So much of what expires while it waits is asked for in the next longer period, too.
_EXPIRES_MEANWHILE_MS: Final = HOUR_MS


# A document that was published so lately, beside two of its intervals, is published again.
_GOES_ON_MS: Final = HOUR_MS
_FOR_EVER_MS: Final = 2**62


def told_range(
    window: DocumentWindow | None, market: tuple[str, str], length_ms: int, told_until_ms: int
) -> Range | None:
    """What a document tells by itself of a market (exchange, symbol): its window of it, and what
    follows on it, if the document still comes: newer versions may have been published already that
    are not recorded yet, and what they tell is known since then, not since a later backfill.

    `length_ms`: of its rows. `told_until_ms`: one that was updated before then comes no more.
    """
    if window is None or (first_ms := window.first_of(market)) is None:
        return None
    goes_on = window.updated_at_ms >= told_until_ms - 2 * length_ms - _GOES_ON_MS
    return first_ms, _FOR_EVER_MS if goes_on else window.last_ms + length_ms


def told_interest(
    windows: Mapping[str, DocumentWindow], market: tuple[str, str], *, waiting: bool
) -> Range | None:
    """What the documents tell by themselves of the open interest of a market (exchange, symbol):
    they never take any away, so only what versions that wait for the recorder may have of it, since
    the newest closed candles that are recorded."""
    lasts = [
        window.last_ms
        for name, window in windows.items()
        if name != GLOBAL_FR and market in window.markets
    ]
    return (min(lasts), _FOR_EVER_MS) if waiting and lasts else None


@dataclass(frozen=True, slots=True)
class Bounds:
    """`now_ms`: by the exchange's clock. `retention_days`: by timeframe, `open_interest` and
    `funding`; 0: for ever. `windows`: by document; `waiting`: newer versions of them may wait for
    the recorder."""

    now_ms: int
    retention_days: Callable[[str], int]
    windows: Mapping[str, DocumentWindow]
    waiting: bool = False

    def allowed(self, series: Series, wanted: Wanted) -> list[Range]:
        """What may be asked for and stored of a series, ascending, on its grid: what is wanted,
        within the market's life, what the exchange serves and what is kept, without what the
        documents tell."""
        whole = self._whole(series, wanted)
        if whole[0] >= whole[1]:
            return []
        step_ms = series.step_ms if series.stage.period is not None else 1
        return [
            part
            for from_ms, to_ms in without([whole], self.told_by_documents(series))
            if (part := (ceil(from_ms, step_ms), ceil(to_ms, step_ms)))[0] < part[1]
        ]

    def told_by_documents(
        self, series: Series, timeframe: Timeframe | None = None
    ) -> Sequence[Range]:
        """What the documents tell by themselves of the series; of `timeframe`, if it is named."""
        market = str(series.market.exchange), series.market.symbol
        if series.stage.what == "open_interest":
            interest = told_interest(self.windows, market, waiting=self.waiting)
            return () if interest is None else (interest,)
        period = timeframe or series.stage.period
        window = self.windows.get(GLOBAL_FR if period is None else str(period))
        length_ms = MINUTE_MS if period is None else period.interval_ms
        told = told_range(window, market, length_ms, 0 if self.waiting else self.now_ms)
        return () if told is None else (told,)

    def _whole(self, series: Series, wanted: Wanted) -> Range:
        market, stage = series.market, series.stage
        step_ms = series.step_ms if stage.period is not None else 1
        launched_ms = market.launched_ms - _AROUND_LIFE_MS if market.launched_ms else 0
        life_ms = max(market.since_ms, launched_ms, 0)
        # The candle in which a life begins is of it; a settlement at that very instant is not.
        begin_ms = floor(life_ms, step_ms) if stage.what == "candles" else ceil(life_ms, step_ms)
        if stage.what == "funding" and market.since_ms:
            begin_ms = max(begin_ms, market.since_ms + MINUTE_MS)
        starts = [begin_ms, ceil(wanted.from_ms, step_ms)]
        if days := self.retention_days(stage.name):
            starts.append(ceil(max(0, self.now_ms - days * DAY_MS), step_ms))
        if stage.reach_ms is not None:
            served_ms = self.now_ms - stage.reach_ms + _HORIZON_MARGIN_MS
            starts.append(ceil(served_ms, series.reach_step_ms))
        ends = [self._settled(series)]
        younger = younger_interest(stage, wanted)
        if younger is not None and younger.reach_ms is not None:
            until_ms = self.now_ms - younger.reach_ms + _EXPIRES_MEANWHILE_MS
            ends.append(ceil(until_ms, step_ms))
        if wanted.to_ms is not None:
            ends.append(ceil(wanted.to_ms, step_ms))
        if (listed_to_ms := series.target.listed_to_ms) is not None:
            ends.append(ceil(listed_to_ms + _AROUND_LIFE_MS, step_ms))
        return max(starts), min(ends)

    def _settled(self, series: Series) -> int:
        """Up to before when everything is there that the exchange will ever have."""
        if series.stage.what == "candles":
            return floor(self.now_ms - _CANDLE_LAG_MS, series.step_ms)
        if series.stage.period is None:
            # Funding is settled at full hours, a few ms late.
            return floor(self.now_ms - _POINT_LAG_MS, HOUR_MS) + MINUTE_MS
        return floor(self.now_ms - _POINT_LAG_MS, series.step_ms) + series.step_ms
