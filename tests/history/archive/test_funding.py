"""Settlements of archive files: their times as the exchange has them, doubles and wrong rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from history.archive.errors import ArchiveError
from history.archive.funding import read_funding
from history.archive.names import parse_name
from history.archive.rows import ArchiveRows
from tests.history.archive.files import FUNDING, H1, ms, text_of

MARCH = ms("2026-03-01")
LATER = ms("2026-11-30")
NAME = parse_name("BTCUSDT-fundingRate-2026-03.zip")
SETTLEMENTS = [
    f"{MARCH},8,0.00010000",
    f"{MARCH + 8 * H1 + 47},8,-0.00037409",
    f"{MARCH + 16 * H1 + 3},4,0.00002500",
]


def read(lines: list[str], now_ms: int = LATER) -> ArchiveRows:
    return read_funding(text_of(lines), NAME, now_ms)


@pytest.mark.parametrize("header", [[], [FUNDING]])
def test_settlements_keep_their_usual_lateness(header: list[str]) -> None:
    rows = read([*header, *SETTLEMENTS])
    assert rows.times.tolist() == [MARCH, MARCH + 8 * H1 + 47, MARCH + 16 * H1 + 3]
    assert rows.values.tolist() == [[0.0001], [-0.00037409], [0.000025]]
    assert rows.key.kind == "funding"
    assert rows.refusals.count == 0


def test_doubled_settlements_are_dropped_and_contradictory_ones_refused() -> None:
    rows = read(
        [
            FUNDING,
            *SETTLEMENTS,
            f"{MARCH + 5},8,0.00010000",
            f"{MARCH + 16 * H1 + 9},8,0.5",
        ]
    )
    assert rows.times.tolist() == [MARCH, MARCH + 8 * H1 + 47]
    assert rows.doubled == 1
    assert list(rows.refusals.texts()) == [
        "line 4: it has the time of line 6, and other values",
        "line 6: it has the time of line 4, and other values",
    ]


def test_settlements_that_cannot_be_are_refused() -> None:
    now_ms = MARCH + 20 * H1
    rows = read(
        [
            *SETTLEMENTS,
            f"{MARCH + 17 * H1},1,0.0001",
            f"{MARCH + 24 * H1},8,0.0001",
            f"{MARCH - 8 * H1},8,0.0001",
            f"{MARCH + 4 * H1},8,1.5",
            "1772323200,8,0.0001",
        ],
        now_ms,
    )
    assert len(rows.times) == 4
    assert [each.partition(":")[0] for each in rows.refusals.texts()] == [
        *(f"line {line}" for line in (5, 6, 7, 8))
    ]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(noise: bytes) -> None:
    for hostile in (noise, text_of([FUNDING, *SETTLEMENTS]) + noise):
        try:
            rows = read_funding(hostile, NAME, LATER)
        except ArchiveError:
            continue
        assert (abs(rows.values) <= 1).all()
