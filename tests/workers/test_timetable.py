"""Timetables: cron in zones where clocks change, periods, and what is refused."""

import sys
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.timetable import Timetable, WrongTimetable, timetable_of

NEW_YORK, PRAGUE, LORD_HOWE = "America/New_York", "Europe/Prague", "Australia/Lord_Howe"


def ms(text: str) -> int:
    """Of a time in UTC: 2026-11-01 05:30, or with seconds."""
    return round(datetime.fromisoformat(f"{text}+00:00").timestamp() * 1000)


def told(instants_ms: list[int]) -> list[str]:
    return [f"{datetime.fromtimestamp(each / 1000, UTC):%Y-%m-%d %H:%M}" for each in instants_ms]


def firings(timetable: Timetable, after: str, count: int) -> list[str]:
    """One after another, each from the stored time of the last one."""
    found = [ms(after)]
    for _ in range(count):
        following = timetable.next_after(found[-1])
        assert following is not None
        found.append(following)
    assert list(islice(timetable.after(found[0]), count)) == found[1:]
    return told(found[1:])


# Worked out by hand from the zones' changes: New York goes back on 2026-11-01 at 06:00Z and forth
# on 2027-03-14 at 07:00Z; Prague goes back on 2026-10-25 at 01:00Z; Lord Howe goes back by half an
# hour on 2027-04-03 at 15:00Z. UTC.
CASES = {
    "a time that comes twice fires the first time": (
        ("30 1 * * *", NEW_YORK, "2026-10-31 12:00"),
        ["2026-11-01 05:30", "2026-11-02 06:30", "2026-11-03 06:30"],
    ),
    "asked for in the second pass of its hour": (
        ("30 1 * * *", NEW_YORK, "2026-11-01 06:10"),
        ["2026-11-02 06:30"],
    ),
    "every minute of the hour that comes twice, asked for in its second pass": (
        ("0-59 1 * * *", NEW_YORK, "2026-11-01 06:10"),
        ["2026-11-02 06:00", "2026-11-02 06:01"],
    ),
    "the same on one day of the week": (
        ("10 2 * * 0", PRAGUE, "2026-10-24 12:00"),
        ["2026-10-25 00:10", "2026-11-01 01:10"],
    ),
    "a time that is left out fires when the hour is over": (
        ("30 2 * * *", NEW_YORK, "2027-03-13 00:00"),
        ["2027-03-13 07:30", "2027-03-14 07:00", "2027-03-15 06:30"],
    ),
    "two times that are left out are one": (
        ("15,45 2 * * *", NEW_YORK, "2027-03-13 12:00"),
        ["2027-03-14 07:00", "2027-03-15 06:15"],
    ),
    "half hours go by real time, back": (
        ("*/30 * * * *", NEW_YORK, "2026-11-01 04:45"),
        ["2026-11-01 05:00", "2026-11-01 05:30", "2026-11-01 06:00", "2026-11-01 06:30"],
    ),
    "half hours go by real time, forth": (
        ("*/30 * * * *", NEW_YORK, "2027-03-14 06:15"),
        ["2027-03-14 06:30", "2027-03-14 07:00", "2027-03-14 07:30"],
    ),
    "hours go by real time, back": (
        ("0 * * * *", NEW_YORK, "2026-11-01 04:30"),
        ["2026-11-01 05:00", "2026-11-01 06:00", "2026-11-01 07:00"],
    ),
    "hours go by real time, forth": (
        ("0 * * * *", NEW_YORK, "2027-03-14 05:30"),
        ["2027-03-14 06:00", "2027-03-14 07:00", "2027-03-14 08:00"],
    ),
    "with a star, an hour that is left out has no firing": (
        ("*/15 2 * * *", NEW_YORK, "2027-03-13 07:40"),
        ["2027-03-13 07:45", "2027-03-15 06:00", "2027-03-15 06:15"],
    ),
    "a clock that changes by half an hour": (
        ("45 1 * * *", LORD_HOWE, "2027-04-03 00:00"),
        ["2027-04-03 14:45", "2027-04-04 15:15"],
    ),
    "whole hours over a change by half an hour, back": (
        ("0 */4 * * *", LORD_HOWE, "2027-04-03 08:00"),
        ["2027-04-03 09:00", "2027-04-03 13:00", "2027-04-03 17:30", "2027-04-03 21:30"],
    ),
    "the same, asked for just after the change": (
        ("0 */4 * * *", LORD_HOWE, "2027-04-03 15:10"),
        ["2027-04-03 17:30", "2027-04-03 21:30"],
    ),
    "whole hours over a change by half an hour, forth": (
        ("0 */4 * * *", LORD_HOWE, "2027-10-02 08:00"),
        ["2027-10-02 09:30", "2027-10-02 13:30", "2027-10-02 17:00", "2027-10-02 21:00"],
    ),
    "days of the week are those of the zone, and 1 is Monday": (
        ("0 15 * * 1-5", "Asia/Ho_Chi_Minh", "2026-11-26 12:00"),
        ["2026-11-27 08:00", "2026-11-30 08:00", "2026-12-01 08:00"],
    ),
    "a day of the month or one of the week": (
        ("0 0 13 * 5", "UTC", "2026-12-04 00:00"),
        ["2026-12-11 00:00", "2026-12-13 00:00", "2026-12-18 00:00"],
    ),
    "the last day of the month": (
        ("0 0 L * *", "UTC", "2026-12-01 00:00"),
        ["2026-12-31 00:00", "2027-01-31 00:00", "2027-02-28 00:00"],
    ),
    "a day that is rare": (
        ("0 0 29 2 *", "UTC", "2026-01-01 00:00"),
        ["2028-02-29 00:00", "2032-02-29 00:00"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_cron_fires_as_debians_cron_does(case: str) -> None:
    (cron, tz, after), expected = CASES[case]
    assert firings(timetable_of(cron, None, 0, tz), after, len(expected)) == expected


@pytest.mark.parametrize(
    ("every_s", "offset_s", "expected"),
    [
        (300, 0, ["2026-11-30 12:05", "2026-11-30 12:10"]),
        (300, 60, ["2026-11-30 12:01", "2026-11-30 12:06"]),
        (900, 120, ["2026-11-30 12:02", "2026-11-30 12:17"]),
        (86_400, 11_820, ["2026-12-01 03:17", "2026-12-02 03:17"]),
        (7 * 86_400, 0, ["2026-12-03 00:00", "2026-12-10 00:00"]),  # 1970-01-01 was a Thursday
    ],
)
def test_periods_are_aligned_to_the_epoch(every_s: int, offset_s: int, expected: list[str]) -> None:
    assert firings(timetable_of(None, every_s, offset_s, "UTC"), "2026-11-30 12:00", 2) == expected


def test_a_period_goes_on_before_the_epoch_and_by_milliseconds() -> None:
    timetable = timetable_of(None, 2, 1, "UTC")
    assert list(islice(timetable.after(-1001), 3)) == [-1000, 1000, 3000]
    assert timetable.next_after(999) == 1000
    assert timetable.next_after(1000) == 3000


def test_a_schedule_with_neither_never_fires() -> None:
    assert timetable_of(None, None, 0, "UTC").next_after(0) is None


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        (("* * * *", None, 0, "UTC"), "cron", "must have five fields"),
        (("0 * * * * *", None, 0, "UTC"), "cron", "must have five fields"),
        (("@daily", None, 0, "UTC"), "cron", "must have five fields"),
        (("61 * * * *", None, 0, "UTC"), "cron", "Bad minute"),
        (("* 24 * * *", None, 0, "UTC"), "cron", "Bad hour"),
        (("0 0 30 2 *", None, 0, "UTC"), "cron", "Bad day-of-month"),
        (("0 0 31 2 *", None, 0, "UTC"), "cron", "'0 0 31 2 *'"),
        (("0 0 * * FRY", None, 0, "UTC"), "cron", "Bad day-of-week"),
        (("x" * 10_000, None, 0, "UTC"), "cron", "must have five fields"),
        (("\x1b[31m * * * *", None, 0, "UTC"), "cron", "Bad minute"),
        (("* * * * *", 60, 0, "UTC"), "cron", "not both"),
        (("* * * * *", None, 60, "UTC"), "offset_s", "goes with every_s"),
        ((None, 0, 0, "UTC"), "every_s", "0: must be 1 to 31622400"),
        ((None, 10**9, 0, "UTC"), "every_s", "must be 1 to"),
        ((None, 60, 60, "UTC"), "offset_s", "less than every_s, 60"),
        ((None, 60, -1, "UTC"), "offset_s", "must be 0 or more"),
        (("* * * * *", None, 0, "Mars/Olympus"), "tz", "IANA time zone"),
        (("* * * * *", None, 0, "/etc/passwd"), "tz", "IANA time zone"),
        (("* * * * *", None, 0, "../../etc"), "tz", "IANA time zone"),
        (("* * * * *", None, 0, ""), "tz", "IANA time zone"),
        (("* * * * *", None, 0, "localtime"), "tz", "IANA time zone"),
        (("* * * * *", None, 0, "right/UTC"), "tz", "IANA time zone"),
    ],
)
def test_what_cannot_be_is_refused_by_field(
    given: tuple[str | None, int | None, int, str], field: str, says: str
) -> None:
    with pytest.raises(WrongTimetable) as raised:
        timetable_of(*given)
    [(wrong, message)] = raised.value.errors
    assert wrong == field
    assert says in message
    assert message.isprintable()
    assert len(message) < 300


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(WrongTimetable) as raised:
        timetable_of("99 * * * *", None, 5, "Mars")
    assert [field for field, _ in raised.value.errors] == ["tz", "cron", "offset_s"]


def test_a_last_instant_of_a_range() -> None:
    timetable = timetable_of(None, 60, 0, "UTC")
    assert timetable.latest_in(0, 60_000) == 60_000
    assert timetable.latest_in(0, 59_999) is None
    assert timetable.latest_in(60_000, 200_000) == 180_000


def test_a_process_without_workers_does_not_pay_for_cronsim() -> None:
    assert "cronsim" in sys.modules  # of this test
    assert "cronsim" not in vars(sys.modules["workers.timetable"])


minutes = st.one_of(
    st.integers(0, 59).map(str), st.integers(1, 59).map(lambda n: f"*/{n}"), st.just("10-20")
)
hours = st.one_of(st.just("*"), st.integers(0, 23).map(str), st.just("0-4"), st.just("*/2"))
days = st.one_of(st.just("*"), st.integers(1, 31).map(str), st.just("L"))
weekdays = st.one_of(st.just("*"), st.integers(0, 7).map(str), st.just("1-5"))
crons = st.tuples(minutes, hours, days, st.just("*"), weekdays).map(" ".join)
zones = st.sampled_from(["UTC", NEW_YORK, PRAGUE, "Asia/Kathmandu", "Africa/Cairo"])


@settings(max_examples=60)
@given(cron=crons, tz=zones, moment=st.integers(ms("2026-09-01 00:00"), ms("2027-05-01 00:00")))
def test_it_is_cronsims_next_from_any_moment(cron: str, tz: str, moment: int) -> None:
    # What cronsim says from three days before, as a program that runs all the time sees it.
    before = datetime.fromtimestamp(moment / 1000, UTC) - timedelta(days=3)
    zone = UTC if tz == "UTC" else ZoneInfo(tz)
    expected = None
    for instant in CronSim(cron, before.astimezone(zone)):
        if instant.timestamp() * 1000 > moment:
            expected = round(instant.timestamp() * 1000)
            break
    assert timetable_of(cron, None, 0, tz).next_after(moment) == expected


@settings(max_examples=20)
@given(cron=crons, moment=st.integers(ms("2027-04-02 00:00"), ms("2027-04-05 00:00")))
def test_over_an_odd_change_it_is_the_same_from_any_moment(cron: str, moment: int) -> None:
    timetable = timetable_of(cron, None, 0, LORD_HOWE)
    after = list(islice(timetable.after(ms("2027-04-01 00:00")), 150))
    expected = next((instant for instant in after if instant > moment), None)
    assert expected is None or timetable.next_after(moment) == expected
