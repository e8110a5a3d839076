"""The capacity model's arithmetic, beside numbers worked out by hand, and the saved results."""

from pathlib import Path
from typing import Final

import pytest

from benchmarks.bots import CUT, EVENTS, KNOWN, MARKET, NEWEST, WHOLE
from benchmarks.capacity import NOT_YET, READERS, Capacity, Cost, Step
from benchmarks.report import LeftOut, Report, Row, Sample, Target
from benchmarks.saved import NotMeasured, Saved

COSTS: Final = {
    WHOLE: Cost(10.0, 20_000.0),
    MARKET: Cost(0.1, 30.0),
    CUT: Cost(1.1, 30.0),
    NEWEST: Cost(0.5, 100.0),
    KNOWN: Cost(0.05, 0.2),
    EVENTS: Cost(0.02, 0.5),
}


def saved(folder: Path, *rows: Row, name: str = "latest", **facts: str) -> Saved:
    Report(facts, list(rows), []).write(folder, name)
    return Saved(folder)


def of_bots(what: str, unit: str, value: float) -> Row:
    return Row("bots", what, "", unit, [Sample(value)])


def test_what_a_reader_takes_in_a_day() -> None:
    # 17,280 polls a day, of which 96 bring 20 MB and 10 ms, the others 0.2 kB and 0.05 ms.
    whole = next(each for each in READERS if "a whole document, every 5 s" in each.name)
    assert whole.cpu_s(COSTS) == pytest.approx(0.96 + 17_184 * 0.05e-3)
    assert whole.mb(COSTS) == pytest.approx(1920 + 3.4368)
    # Without an ETag each of them brings all of it.
    without = next(each for each in READERS if "no ETag" in each.name)
    assert without.mb(COSTS) == pytest.approx(17_280 * 20)
    followed = next(each for each in READERS if "/events" in each.name)
    assert followed.mb(COSTS) == pytest.approx(576 * 0.5e-3)


def test_what_two_thousand_bots_take() -> None:
    """40 read it whole, 1,300 one of 1000 markets, 360 the newest rows; 300 follow events."""
    step = Step(COSTS, 2000)
    assert step.questions_s() == pytest.approx(1700 / 5)
    assert step.burst_cpu_s() == pytest.approx(
        40 * 0.01 + 1300 * 0.0001 + 1000 * 0.001 + 360 * 0.0005 + 600 * 0.00002
    )
    assert step.burst_gb() == pytest.approx(0.8 + 0.039 + 0.036 + 0.0003)
    assert step.burst_gb(without_whole=True) == pytest.approx(0.0753)
    assert step.line_s() == pytest.approx(0.8753 * 8)


def test_a_cdn_sends_bodies_once_for_each_place() -> None:
    many, few = Step(COSTS, 200_000), Step(COSTS, 10)
    # 34,000 questions a second at 0.2 kB; 96 versions to 10 places; 30,000 listeners, 576 events.
    bodies_gb = 96 * 10 * (20_000 + 100 + 1000 * 30) / 1e6
    told_gb = 34_000 * 86_400 * 0.2 / 1e6 + bodies_gb + 30_000 * 576 * 0.5 / 1e6
    assert many.day_gb_behind_edges() == pytest.approx(told_gb)
    assert few.day_gb_behind_edges() == few.day_gb()


def test_the_model_is_held_against_the_load_test(tmp_path: Path) -> None:
    capacity = Capacity(saved(tmp_path, of_bots("2,000 bots: CPU of the API", "%", 30.0)))
    capacity.costs = dict(COSTS)
    # 340 questions a second for 60 s, and four times all of a version, the first one included.
    model = 100 * (340 * 0.05e-3 + 4 * (0.4 + 0.13 + 1 + 0.18 + 0.012) / 60)
    assert f"| {model:.3g} % | 30 % | {30 / model:.3g} |" in capacity.check()


def test_more_bots_take_more_in_proportion() -> None:
    one, hundred = Step(COSTS, 2000), Step(COSTS, 200_000)
    assert hundred.day_gb() == pytest.approx(100 * one.day_gb())
    # Each market is cut once however many ask for it.
    assert hundred.burst_cpu_s() == pytest.approx(100 * one.burst_cpu_s() - 99)


def test_a_number_that_was_not_measured_is_none_on_the_page(tmp_path: Path) -> None:
    rows = [
        of_bots(f"CPU of the API per answer, {WHOLE}", "ms", 10.0),
        of_bots(f"bytes of an answer, {WHOLE}", "kB", 20_000.0),
    ]
    capacity = Capacity(saved(tmp_path, *rows))
    lines = capacity.answers().splitlines()
    assert lines[2].startswith(f"| {WHOLE} | 20,000 kB | 10 ms | 100 |")
    assert lines[3].startswith(f"| {MARKET} | {NOT_YET} | {NOT_YET} | {NOT_YET} |")
    assert NOT_YET in capacity.steps()
    assert "nan" not in capacity.steps() + capacity.readers() + capacity.check()


def test_an_address_bounds_the_markets_of_a_close(tmp_path: Path) -> None:
    rows = [
        Row("closes", f"{what} requests of it, per market", "", "", [Sample(1.0)])
        for what in ("klines", "open-interest")
    ]
    text = Capacity(saved(tmp_path, *rows)).addresses()
    # 0.9 of 1000 questions for open interest in five minutes, one each; Bybit 0.9 of 36,000, two.
    assert "| Binance open interest | 1,000 in 300 s | 1 | 900 |" in text
    assert "| Bybit requests | 600 in 5 s | 2 | 16,200 |" in text


def test_a_part_that_was_measured_alone_wins(tmp_path: Path) -> None:
    old = Row("serving", "GET", "nginx", "MB/s", [Sample(900, 1000)], Target(">=", 0.8, ""), "old")
    kept = Row("closes", "CPU", "", "ms", [Sample(3)], Target("<=", 1_500, "ms"))
    new = Row("serving", "GET", "nginx", "MB/s", [Sample(500, 1000)], Target(">=", 0.8))
    saved(tmp_path, old, kept, machine="first")
    found = saved(tmp_path, new, name="serving", machine="second", measured="2026-12-01")
    assert found.row("serving", "GET").value == 0.5
    assert found.row("closes", "CPU") == kept
    text = found.as_markdown()
    assert text.startswith("- **machine**: first")
    assert "Measured alone; machine: second; measured: 2026-12-01." in text
    assert "| GET | nginx | 500 MB/s | 1,000 MB/s | 0.5 | >= 0.8 | **no** |" in text
    with pytest.raises(NotMeasured, match="--part bots"):
        found.row("bots", "CPU")


def test_saved_results_are_shown_as_they_were_written(tmp_path: Path) -> None:
    rows = [
        Row("serving", "GET", "nginx", "MB/s", [Sample(9, 10), Sample(8, 10)], Target(">=", 0.8)),
        Row("bots", "refused", "", "", [Sample(0)], Target("<=", 0), "a note"),
    ]
    report = Report({"machine": "this one"}, rows, [LeftOut("serving", "HEAD", "no wrk")])
    report.write(tmp_path, "latest")
    assert f"# Benchmarks\n\n{Saved(tmp_path).as_markdown()}\n" == report.as_markdown()
