"""The report of a run: counts, violations and the final summary."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from chaos.plan import Plan

_KEPT: Final = 100  # violations reported in full
_LONGEST: Final = 600  # characters of a violation


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise; `at_s` is in the plan's time."""

    at_s: float
    promise: str
    what: str

    def __str__(self) -> str:
        return f"{self.at_s:7.1f} s  {self.promise}: {self.what}"


@dataclass(slots=True)
class ViolationReport:
    """Counters by name, and the first violations in full."""

    faults: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)  # by kind of reader
    answers: Counter[str] = field(default_factory=Counter)  # by status
    pages: Counter[str] = field(default_factory=Counter)  # other answers of the API
    checked: Counter[str] = field(default_factory=Counter)  # versions compared, by document
    compared: Counter[str] = field(default_factory=Counter)  # rows, values, by kind
    asked: Counter[str] = field(default_factory=Counter)  # POSTs, by status
    ended: Counter[str] = field(default_factory=Counter)  # runs of jobs, by state
    jobs: Counter[str] = field(default_factory=Counter)  # the same, by job
    causes: Counter[str] = field(default_factory=Counter)  # of runs that failed
    notes: list[str] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)
    on_violation: Callable[[Violation], None] = lambda violation: None

    def begin(self) -> None:
        """Starts the plan's time."""
        self.began_at = time.monotonic()

    def violate(self, promise: str, what: str) -> None:
        self.broken[promise] += 1
        violation = Violation(time.monotonic() - self.began_at, promise, what[:_LONGEST])
        if len(self.violations) < _KEPT:
            self.violations.append(violation)
            self.on_violation(violation)

    @property
    def violated(self) -> int:
        return self.broken.total()


def summary(plan: Plan, report: ViolationReport, took_s: float) -> str:
    """The final summary as text."""
    lines = ["", f"chaos: seed {plan.seed}, {plan.seconds:g} s of faults, {took_s:.0f} s in all"]
    lines += _table("faults injected", report.faults)
    lines += _table("reads", report.reads)
    lines += _table("answers to them", report.answers)
    lines += _table("other pages", report.pages)
    lines += _table("versions compared with the true data", report.checked)
    lines += _table("compared", report.compared)
    lines += _table("POSTs", report.asked)
    lines += _table("runs of jobs", report.ended)
    lines += _table("runs by job", report.jobs)
    lines += _table("causes of failed runs", report.causes)
    lines += [f"  {note}" for note in report.notes]
    if report.broken:
        lines += ["", "violations"]
        lines += [f"  {violation}" for violation in report.violations]
        lines += _table("violations by promise", report.broken)
    return "\n".join(
        [
            *lines,
            "",
            f"{report.faults.total()} faults injected, {report.reads.total()} reads checked, "
            f"{report.checked.total()} versions, {report.compared['rows']} rows; "
            f"violations: {report.violated}",
        ]
    )


def _table(title: str, counts: Counter[str]) -> Iterator[str]:
    if counts:
        yield f"{title}: {counts.total()}"
        yield from _columns([f"{name} {count}" for name, count in sorted(counts.items())])


def _columns(cells: Sequence[str], width: int = 96) -> Iterator[str]:
    line = ""
    for cell in cells:
        if line and len(line) + len(cell) + 3 > width:
            yield f"  {line}"
            line = ""
        line += (" · " if line else "") + cell
    if line:
        yield f"  {line}"
