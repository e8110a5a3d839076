"""The chaos run's plan, its look at memory and its summary."""

import pytest

from chaos.exchange_faults import NONSENSE
from chaos.memory import grown
from chaos.plan import Mode, draw_plan, every_fault
from chaos.report import ViolationReport, summary


def test_the_same_seed_draws_the_same_plan() -> None:
    plan = draw_plan(7, 300)
    assert plan == draw_plan(7, 300)
    assert plan.steps != draw_plan(8, 300).steps
    assert plan.steps == sorted(plan.steps, key=lambda step: (step.at_s, step.lane))
    assert all(step.at_s + step.lasts_s <= 300.1 for step in plan.steps)


def test_the_seed_draws_the_mode_unless_it_is_given() -> None:
    assert {draw_plan(seed, 20).mode for seed in range(20)} == set(Mode)
    assert all(draw_plan(seed, 20, Mode.STREAMS).mode is Mode.STREAMS for seed in range(5))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("mode", "seconds"), [(Mode.POLLING, 240), (Mode.STREAMS, 600), (Mode.EVERYTHING, 600)]
)
def test_a_full_run_draws_every_fault(seed: int, mode: Mode, seconds: float) -> None:
    steps = draw_plan(seed, seconds, mode).steps
    assert {f"{step.lane} {step.kind}" for step in steps} == every_fault(mode)
    assert {step.details["variant"] for step in steps if step.kind == "nonsense"} <= set(NONSENSE)


def test_memory_that_grows_is_found() -> None:
    steady = [(float(second), 100.0 + second % 3) for second in range(120)]
    assert grown(steady) == ""
    assert grown([(at, used + at) for at, used in steady]) != ""
    assert grown([(at, used + at) for at, used in steady[:50]]) == ""  # too short to tell


def test_the_summary_tells_of_violations() -> None:
    report = ViolationReport()
    report.faults["store full"] += 2
    report.reads["plain"] += 10
    text = summary(draw_plan(1, 10), report, 12)
    assert "2 faults injected, 10 reads checked" in text
    assert text.endswith("violations: 0")
    report.violate("no version falls", "4h: 1 after 2")
    text = summary(draw_plan(1, 10), report, 12)
    assert "no version falls: 4h: 1 after 2" in text
    assert text.endswith("violations: 1")
