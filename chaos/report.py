"""What a run has seen: counts, violations, and the summary that says it all. Decides nothing."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from chaos.plan import Plan

_KEPT: Final = 100  # violations told in full
_LONGEST: Final = 600  # characters of one


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept. `at_s` counts like the plan's times."""

    at_s: float
    promise: str
    what: str

    def __str__(self) -> str:
        return f"{self.at_s:7.1f} s  {self.promise}: {self.what}"


@dataclass(slots=True)
class ViolationReport:
    """Everything that is counted, by name; `violations` are the first of their promise."""

    faults: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)  # by kind of reader
    answers: Counter[str] = field(default_factory=Counter)  # by what was answered
    pages: Counter[str] = field(default_factory=Counter)  # other answers of the API
    checked: Counter[str] = field(default_factory=Counter)  # versions compared, by document
    compared: Counter[str] = field(default_factory=Counter)  # rows, values, by kind
    asked: Counter[str] = field(default_factory=Counter)  # POSTs, by what became of them
    ended: Counter[str] = field(default_factory=Counter)  # runs of jobs, by state
    causes: Counter[str] = field(default_factory=Counter)  # of runs that failed
    notes: list[str] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)
    on_violation: Callable[[Violation], None] = lambda violation: None

    def begin(self) -> None:
        """The plan's zero."""
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
    """The table at the end."""
    lines = ["", f"chaos: seed {plan.seed}, {plan.seconds:g} s of faults, {took_s:.0f} s in all"]
    lines += _table("faults injected", report.faults)
    lines += _table("reads", report.reads)
    lines += _table("answers to them", report.answers)
    lines += _table("other pages", report.pages)
    lines += _table("versions checked against the truth", report.checked)
    lines += _table("compared", report.compared)
    lines += _table("POSTs", report.asked)
    lines += _table("runs of jobs", report.ended)
    lines += _table("causes of runs that failed", report.causes)
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
