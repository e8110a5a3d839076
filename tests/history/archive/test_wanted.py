"""Which files a range of time wants, counted by hand."""

import pytest

from history.archive.wanted import ArchiveSeries, Period, told
from market.timeframes import Timeframe
from tests.history.archive.naive_files import ms

CANDLES = ArchiveSeries("candles", "BTCUSDT", Timeframe.H1)
METRICS = ArchiveSeries("open_interest", "BTCUSDT")
FUNDING = ArchiveSeries("funding", "BTCUSDT")


@pytest.mark.parametrize(
    ("series", "from_", "to", "months", "days"),
    [
        (CANDLES, "2026-01-31", "2026-04-02T05:00", ["2026-02", "2026-03"],
         ("2026-01-31", 61 + 1, "2026-04-02")),
        (CANDLES, "2026-02-01", "2026-03-01", ["2026-02"], ("2026-02-01", 28, "2026-02-28")),
        (CANDLES, "2026-02-01T01:00", "2026-03-01", [], ("2026-02-01", 28, "2026-02-28")),
        (CANDLES, "2019-06-01", "2020-02-01", ["2020-01"], ("2020-01-01", 31, "2020-01-31")),
        (CANDLES, "2019-06-01", "2019-09-01", [], None),
        # The snapshot of a midnight is in the file of the day before.
        (METRICS, "2026-06-25", "2026-06-26", [], ("2026-06-24", 2, "2026-06-25")),
        (METRICS, "2026-06-25T00:05", "2026-06-26T00:05", [], ("2026-06-25", 1, "2026-06-25")),
        (METRICS, "2020-01-01", "2020-09-02", [], ("2020-09-01", 1, "2020-09-01")),
        (FUNDING, "2026-01-31", "2026-03-01T00:01", ["2026-01", "2026-02", "2026-03"], None),
    ],
)  # fmt: skip
def test_files_of_a_range(
    series: ArchiveSeries, from_: str, to: str, months: list[str],
    days: tuple[str, int, str] | None,
) -> None:  # fmt: skip
    assert [one.text for one in series.months(ms(from_), ms(to))] == months
    found = [one.text for one in series.days(ms(from_), ms(to))]
    assert (found[0], len(found), found[-1]) == days if days else found == []


def test_names() -> None:
    (month,) = CANDLES.months(ms("2026-02-01"), ms("2026-03-01"))
    day = METRICS.days(ms("2026-06-25T00:05"), ms("2026-06-25T12:00"))[0]
    assert CANDLES.folder(monthly=True) + CANDLES.name(month) == (
        "data/futures/um/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2026-02.zip"
    )
    assert METRICS.folder(monthly=False) + METRICS.name(day) == (
        "data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2026-06-25.zip"
    )
    assert FUNDING.folder(monthly=True) == "data/futures/um/monthly/fundingRate/BTCUSDT/"
    assert (month.from_ms, month.to_ms) == (ms("2026-02-01"), ms("2026-03-01"))
    assert [one.text for one in month.days][::27] == ["2026-02-01", "2026-02-28"]


def test_periods_in_words() -> None:
    days = METRICS.days(ms("2026-02-26T01:00"), ms("2026-03-20"))
    assert told(days[:1]) == "2026-02-26"
    assert told([*days[1:4], days[6]]) == "2026-02-27 to 2026-03-01, 2026-03-04"
    assert told(days[::2]).endswith(", 2026-03-08 and 5 more")
    first = Period(days[0].first.replace(day=1), monthly=True)
    assert told([first]) == "2026-02"
