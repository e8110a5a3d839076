"""From when on a document is old, by the setting or by the schedules that refresh it."""

from typing import Any, Final

import pytest

from config import SettingsError, load_settings
from database import ScheduleRow
from documents.meta import DocumentMeta
from market.timeframes import HOUR_MS, MINUTE_MS
from status.document_limits import old, refreshed_documents, spoken

NOON: Final = 1_795_186_800_000 - 1_795_186_800_000 % (12 * HOUR_MS)  # a close of every timeframe


def schedule(name: str, *refreshes: str, **changed: Any) -> ScheduleRow:
    row: dict[str, Any] = {
        **{"name": name, "cron": None, "every_s": 300, "tz": "UTC", "enabled": True},
        **{"next_run_ms": NOON + 1_000, "changed_at_ms": NOON - HOUR_MS, "refreshes": refreshes},
        **dict.fromkeys(("state", "slot_ms", "started_at_ms", "finished_at_ms", "host")),
        **{"failures": 0, "failing_since_ms": None, "error": None},
    }
    return ScheduleRow(**row | changed)


CLOSES: Final = schedule("closes", "collect:all")
FUNDING: Final = schedule(
    "funding", "funding", every_s=None, cron="1 * * * *", next_run_ms=NOON + MINUTE_MS
)


def is_old(
    name: str, as_of_ms: int, now_ms: int, *rows: ScheduleRow, made_ms: int = 0, **settings: Any
) -> bool:
    meta = DocumentMeta(name, 1, "a", made_ms or as_of_ms, as_of_ms, 4, 4, "a")
    known = load_settings(**settings)
    refreshed = refreshed_documents(known, rows).get(name)
    return old(known, name, meta, refreshed, now_ms) is not None


@pytest.mark.parametrize(
    ("name", "interval_ms"), [("5m", 5 * MINUTE_MS), ("4h", 4 * HOUR_MS), ("8h", 8 * HOUR_MS)]
)
def test_one_interval_and_a_minute_after_the_close_that_it_lacks(
    name: str, interval_ms: int
) -> None:
    as_of_ms = NOON + 7_000
    lacks_ms = NOON + interval_ms
    assert NOON % interval_ms == 0 or name == "8h"
    if name == "8h":
        lacks_ms = NOON - NOON % interval_ms + interval_ms
    limit_ms = lacks_ms + interval_ms + MINUTE_MS
    assert not is_old(name, as_of_ms, limit_ms, CLOSES)
    assert is_old(name, as_of_ms, limit_ms + 1, CLOSES)


def test_a_schedule_that_comes_less_often_than_candles_close() -> None:
    rarely = schedule("mine", "collect:5m", every_s=3600)
    lacks_ms = NOON + 5 * MINUTE_MS
    assert not is_old("5m", NOON, lacks_ms + HOUR_MS + MINUTE_MS, rarely)
    assert is_old("5m", NOON, lacks_ms + HOUR_MS + MINUTE_MS + 1, rarely)
    assert is_old("5m", NOON, lacks_ms + 6 * MINUTE_MS + 1, rarely, CLOSES)  # the shorter counts


def test_funding_by_its_own_schedule() -> None:
    assert not is_old("global_fr", NOON, NOON + 2 * HOUR_MS + MINUTE_MS, FUNDING)
    assert is_old("global_fr", NOON, NOON + 2 * HOUR_MS + MINUTE_MS + 1, FUNDING)


def test_the_overview_follows_the_runs_that_bring_5m_rows() -> None:
    lacks_ms = NOON + 5 * MINUTE_MS
    for rows in ((CLOSES,), (schedule("mine", "collect:5m"),)):
        assert not is_old("overview", NOON, lacks_ms + 6 * MINUTE_MS, *rows)
        assert is_old("overview", NOON, lacks_ms + 6 * MINUTE_MS + 1, *rows)
    assert not is_old("overview", NOON, NOON + HOUR_MS, schedule("hours", "collect:1h"))
    limits: dict[str, Any] = {"document_age_limits": "overview=1h"}
    assert not is_old("overview", NOON, NOON + HOUR_MS, CLOSES, **limits)
    assert is_old("overview", NOON, NOON + HOUR_MS + 1, **limits)


def test_an_overview_that_an_update_has_yet_to_bring_is_not_old() -> None:
    settings = load_settings()
    refreshed = refreshed_documents(settings, [CLOSES])["overview"]
    assert old(settings, "overview", None, refreshed, NOON + 1000 * HOUR_MS) is None


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (schedule("closes", "collect:all", enabled=False, next_run_ms=None),),
        (schedule("hours", "collect:1h"),),
    ],
)
def test_without_a_schedule_it_has_no_limit(rows: tuple[ScheduleRow, ...]) -> None:
    assert not is_old("4h", NOON, NOON + 1000 * HOUR_MS, *rows)


def test_with_schedules_off_it_has_none() -> None:
    assert not is_old("4h", NOON, NOON + 1000 * HOUR_MS, CLOSES, schedules="off")


def test_while_the_database_is_away_what_comes_with_it_counts() -> None:
    found = refreshed_documents(load_settings(timeframes="5m,4h"), None)
    assert set(found) == {"5m", "4h", "8h", "global_fr", "overview"}


def test_a_setting_wins() -> None:
    limits: dict[str, Any] = {"document_age_limits": "4h=5h,5m=off,global_fr=90s"}
    made_ms = NOON + MINUTE_MS
    five_h_ms = made_ms + 5 * HOUR_MS
    assert not is_old("4h", NOON, five_h_ms, CLOSES, made_ms=made_ms, **limits)
    assert is_old("4h", NOON, five_h_ms + 1, made_ms=made_ms, **limits)
    assert not is_old("5m", NOON, NOON + 1000 * HOUR_MS, CLOSES, **limits)
    assert is_old("global_fr", NOON, NOON + 91_000, **limits)


def test_a_document_that_nobody_has_made() -> None:
    settings = load_settings()
    refreshed = refreshed_documents(settings, [CLOSES])["4h"]
    since_ms = CLOSES.changed_at_ms
    assert old(settings, "4h", None, refreshed, since_ms + 14 * MINUTE_MS) is None
    found = old(settings, "4h", None, refreshed, since_ms + 15 * MINUTE_MS)
    assert found is not None and found.since_ms == since_ms
    assert old(settings, "4h", None, None, NOON) is None


@pytest.mark.parametrize("value", ["4h", "4h=5", "9h=1h", "4h=1h,4h=2h", "4h=-1h", "4h=1w"])
def test_what_is_no_limit_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="such as 4h=5h"):
        load_settings(document_age_limits=value)


def test_lengths_of_time_in_words() -> None:
    assert [spoken(ms) for ms in (0, 999, 61_000, HOUR_MS, 26 * HOUR_MS + 5_000)] == [
        *("0 s", "0 s", "1 min 1 s", "1 h", "1 d 2 h"),
    ]
