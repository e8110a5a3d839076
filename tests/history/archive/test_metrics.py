"""Open interest of archive files: faults, and which moment a label means since 2026-06-25."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from history.archive.errors import ArchiveError
from history.archive.metrics import CHANGED_MS, Opens, read_metrics, snapshots
from history.archive.names import parse_name
from history.archive.rows import ArchiveRows
from tests.history.archive.files import DAY, M5, METRICS, metric, ms, text_of

LATER = ms("2026-11-30")
CHANGE = ms("2026-06-25")


def day_of(day_ms: int) -> str:
    return f"BTCUSDT-metrics-{np.datetime64(day_ms, 'ms').astype('datetime64[D]')}.zip"


def read(
    lines: list[str], day_ms: int, opens: Opens | None = None, now_ms: int = LATER
) -> ArchiveRows:
    return snapshots(read_metrics(text_of(lines), parse_name(day_of(day_ms))), opens, now_ms)


def price(moment_ms: int) -> float:
    """A price that moves by some thousandths every five minutes."""
    return 100.0 + (moment_ms // M5 * 7919 % 13) / 4


def opens_of(from_ms: int, count: int = 290, price: Callable[[int], float] = price) -> Opens:
    times = from_ms + M5 * np.arange(count)
    return Opens(times, np.array([price(int(t)) for t in times]))


def lines_of(day_ms: int, labels: range, meant_ms: int) -> list[str]:
    """Rows labelled T of the snapshots at T + meant_ms, each with an interest of its own."""
    lines = []
    for place in labels:
        label = day_ms + place * M5
        interest = 1000 + place
        lines.append(metric(label, f"{interest}", f"{interest * price(label + meant_ms):.4f}"))
    return lines


BEFORE = range(1, 289)  # 00:05 to the next 00:00
SINCE = range(288)  # 00:00 to 23:55


def test_the_day_of_the_change_is_that_of_the_issue() -> None:
    assert CHANGED_MS == CHANGE


@pytest.mark.parametrize("header", [[], [METRICS]])
def test_before_the_change_a_label_is_the_time_of_its_snapshot(header: list[str]) -> None:
    day = CHANGE - DAY
    for opens in (None, opens_of(day)):
        rows = read([*header, *lines_of(day, BEFORE, 0)], day, opens)
        assert rows.times.tolist() == [day + place * M5 for place in BEFORE]
        assert rows.values[:, 0].tolist() == [1000.0 + place for place in BEFORE]
        assert rows.lacking == 0


def test_since_the_change_a_label_is_five_minutes_before_its_snapshot() -> None:
    for opens in (None, opens_of(CHANGE)):
        rows = read([METRICS, *lines_of(CHANGE, SINCE, M5)], CHANGE, opens)
        assert rows.times.tolist() == [CHANGE + (place + 1) * M5 for place in SINCE]
        assert rows.values[:, 0].tolist() == [1000.0 + place for place in SINCE]


def test_the_label_that_two_files_have_is_two_moments() -> None:
    last = read(lines_of(CHANGE - DAY, BEFORE, 0), CHANGE - DAY)
    first = read(lines_of(CHANGE, SINCE, M5), CHANGE)
    assert last.times[-1] == CHANGE
    assert first.times[0] == CHANGE + M5
    assert not set(last.times.tolist()) & set(first.times.tolist())


def test_prices_overrule_the_day() -> None:
    """A file made anew in the other form, before and after the change."""
    early = CHANGE - 7 * DAY
    rows = read(lines_of(early, SINCE, M5), early, opens_of(early))
    assert rows.times[0] == early + M5
    assert rows.notes == ["5m candles say that labels mean the snapshot 5 minutes later"]
    late = CHANGE + 7 * DAY
    rows = read(lines_of(late, BEFORE, 0), late, opens_of(late))
    assert rows.times[0] == late + M5
    assert rows.notes == ["5m candles say that labels mean the snapshot at that time"]


def test_a_file_in_the_other_form_needs_candles() -> None:
    """Made anew, it would be taken for what it is not: five minutes of look-ahead."""
    early, late = CHANGE - DAY, CHANGE
    for day, labels, end in ((early, SINCE, "23:55"), (late, BEFORE, "the next 00:00")):
        still = opens_of(day, price=lambda moment_ms: 101.5)
        for opens in (None, opens_of(day, 3), still):
            with pytest.raises(ArchiveError, match=f"its labels run to {end}, as in files of the"):
                read(lines_of(day, labels, 0), day, opens)


def test_candles_that_begin_with_a_late_trade_do_not_overrule_the_day() -> None:
    """Where trades are few, a candle opens with a price of minutes later, nearer to the next."""

    def drifting(moment_ms: int) -> float:
        return 100.0 + (moment_ms - CHANGE) / DAY

    def late(moment_ms: int) -> float:
        return drifting(moment_ms + 170_000)

    lines = [
        metric(CHANGE + place * M5, "1000", f"{1000 * drifting(CHANGE + (place + 1) * M5):.9f}")
        for place in SINCE
    ]
    rows = read(lines, CHANGE, opens_of(CHANGE, price=late))
    assert rows.times[0] == CHANGE + M5


def test_a_file_that_fits_neither_reading_is_refused() -> None:
    def of_another(moment_ms: int) -> float:
        return 1.1 * price(moment_ms)

    with pytest.raises(ArchiveError, match="neither reading of its labels fits"):
        read(lines_of(CHANGE, SINCE, M5), CHANGE, opens_of(CHANGE, price=of_another))


def test_what_the_result_says_of_how_labels_were_read() -> None:
    lines = lines_of(CHANGE, SINCE, M5)
    later = "its day says that labels mean the snapshot 5 minutes later"
    assert read(lines, CHANGE, opens_of(CHANGE)).notes == []
    assert read(lines, CHANGE).notes == [f"no 5m candles helped: {later}"]
    assert read(lines, CHANGE, opens_of(CHANGE, 3)).notes == [f"too few 5m candles helped: {later}"]
    still = opens_of(CHANGE, price=lambda moment_ms: 101.5)
    assert read(lines, CHANGE, still).notes == [f"5m candles fit both readings alike: {later}"]


def test_a_basis_between_mark_price_and_candles_does_not_matter() -> None:
    def dearer(moment_ms: int) -> float:
        return 1.001 * price(moment_ms)

    rows = read(lines_of(CHANGE, SINCE, M5), CHANGE, opens_of(CHANGE, price=dearer))
    assert rows.times[0] == CHANGE + M5
    assert rows.notes == []


def test_half_a_day_tells_what_it_lacks() -> None:
    """2024-02-16 ends at 13:30."""
    day = ms("2024-02-16")
    rows = read(lines_of(day, range(1, 163), 0), day, opens_of(day))
    assert rows.times[-1] == ms("2024-02-16 13:30")
    assert len(rows.times) == 162
    assert rows.lacking == 126


def test_an_open_interest_of_zero_is_missing() -> None:
    """As on 2022-03-07 and 08."""
    day = ms("2022-03-07")
    lines = lines_of(day, BEFORE, 0)
    for place in range(100, 150):
        lines[place] = metric(day + (place + 1) * M5, "0.00000000", "0.00000000")
    lines[150] = metric(day + 151 * M5, "", "")
    rows = read(lines, day)
    assert rows.zeros == 51
    assert rows.lacking == 51
    assert len(rows.times) == 237
    assert (rows.values > 0).all()


def test_the_first_file_has_each_row_twice() -> None:
    """576 rows of 288 instants, on 2020-09-01."""
    day = ms("2020-09-01")
    lines = lines_of(day, BEFORE, 0)
    rows = read([line for line in lines for _ in range(2)], day)
    assert rows.times.tolist() == [day + place * M5 for place in BEFORE]
    assert rows.doubled == 288
    rows = read([*lines, *lines], day)
    assert rows.times.tolist() == [day + place * M5 for place in BEFORE]
    assert rows.doubled == 288


def test_rows_that_contradict_each_other_are_refused_with_their_lines() -> None:
    day = ms("2024-03-01")
    lines = [METRICS, *lines_of(day, BEFORE, 0), metric(day + M5, "5", "500")]
    rows = read(lines, day)
    assert list(rows.refusals.texts()) == [
        "line 2: it has the time of line 290, and other values",
        "line 290: it has the time of line 2, and other values",
    ]
    assert rows.times[0] == day + 2 * M5


def test_rows_of_another_market_form_or_day_are_refused() -> None:
    day = ms("2024-03-01")
    good = lines_of(day, BEFORE, 0)
    wrong = [
        metric(day + 5 * M5, "5", "500", symbol="ETHUSDT"),
        metric(day + M5 + 1000, "5", "500"),
        metric(day + DAY + M5, "5", "500"),
        "2024-03-01,BTCUSDT,5,500,1,1,1,1",
        "2024-03-01 99:00:00,BTCUSDT,5,500,1,1,1,1",
        metric(day + 5 * M5, "-5", "500"),
        metric(day + 5 * M5, "nan", "500"),
        "2024-03-01 00:05:00,BTCUSDT",
    ]
    rows = read([*good, *wrong], day)
    assert sorted(each.line for each in rows.refusals.first) == list(range(289, 297))
    causes = {each.line: each.cause for each in rows.refusals.first}
    assert causes[289] == "it is of ETHUSDT, not BTCUSDT"
    assert causes[290] == "its create_time 2024-03-01 00:05:01 is not on the grid of 5 minutes"
    assert causes[291] == "2024-03-02T00:05:00Z is outside of what the file's name says"
    assert len(rows.times) == 288


def test_snapshots_that_have_not_come_are_left_out() -> None:
    rows = read(lines_of(CHANGE, SINCE, M5), CHANGE, now_ms=CHANGE + 10 * M5)
    assert rows.times[-1] == CHANGE + 10 * M5
    assert rows.forming == 278


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_are_read_or_refused(noise: bytes, place: int) -> None:
    text = text_of([METRICS, *lines_of(CHANGE, range(3), M5)])
    for hostile in (noise, text[:place] + noise + text[place:]):
        try:
            rows = snapshots(read_metrics(hostile, parse_name(day_of(CHANGE))), None, LATER)
        except ArchiveError:
            continue
        assert np.isfinite(rows.values).all()
        assert (rows.times % M5 == 0).all()
