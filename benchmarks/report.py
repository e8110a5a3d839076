"""The table of ratios: what a row is, and how all of them become JSON and Markdown."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

import orjson

Sense = Literal[">=", "<="]
_COMPARE: Final[Mapping[Sense, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
}
_PARTS: Final = ("serving", "collecting")


@dataclass(frozen=True, slots=True)
class Target:
    """What the row's value must be; `unit` "" is a ratio."""

    sense: Sense
    bound: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.sense} {_number(self.bound)} {self.unit}".strip()

    def met(self, value: float) -> bool:
        return _COMPARE[self.sense](value, self.bound)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: our number, and the other's of the same run (None: ours stands alone)."""

    ours: float
    other: float | None = None

    @property
    def value(self) -> float:
        return self.ours if self.other is None else self.ours / self.other


@dataclass(frozen=True, slots=True)
class Row:
    """`unit` is that of the samples; the value is their ratio, or ours where it stands alone.

    Without a target the row only informs.
    """

    part: str
    what: str
    against: str
    unit: str
    samples: Sequence[Sample]
    target: Target | None = None
    note: str = ""

    @property
    def value(self) -> float:
        return median(sample.value for sample in self.samples)

    @property
    def ours(self) -> float:
        return median(sample.ours for sample in self.samples)

    @property
    def other(self) -> float | None:
        others = [sample.other for sample in self.samples if sample.other is not None]
        return median(others) if others else None

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.target.met(self.value)

    def as_json(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "what": self.what,
            "against": self.against,
            "unit": self.unit,
            "value": self.value,
            "ours": self.ours,
            "other": self.other,
            "target": None if self.target is None else str(self.target),
            "met": self.met,
            "runs": [[sample.ours, sample.other, sample.value] for sample in self.samples],
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that this machine could not measure, and what would help."""

    part: str
    what: str
    why: str


@dataclass(slots=True)
class Report:
    """All rows of one run of the benchmarks; `facts` says where and how they were measured."""

    facts: Mapping[str, str]
    rows: list[Row]
    left_out: list[LeftOut]

    def as_json(self) -> dict[str, Any]:
        return {
            "facts": dict(self.facts),
            "rows": [row.as_json() for row in self.rows],
            "left_out": [
                {"part": left.part, "what": left.what, "why": left.why} for left in self.left_out
            ],
        }

    def as_markdown(self) -> str:
        lines = ["# Benchmarks", ""]
        lines += [f"- **{name}**: {fact}" for name, fact in self.facts.items()]
        for part in _PARTS:
            rows = [row for row in self.rows if row.part == part]
            if not rows:
                continue
            lines += ["", f"## {part.capitalize()}", ""]
            lines += ["| what | against | ours | other | ratio | target | met |", "|" + "---|" * 7]
            lines += map(_line, rows)
            notes = [row for row in rows if row.note]
            lines += [""] * bool(notes)
            lines += [f"- {row.what}: {row.note}" for row in notes]
        if self.left_out:
            lines += ["", "## Left out", ""]
            lines += [f"- {left.what} ({left.part}): {left.why}" for left in self.left_out]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Writes `name`.json and `name`.md, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        json = orjson.dumps(self.as_json(), option=orjson.OPT_INDENT_2) + b"\n"
        written = []
        for ending, content in (("json", json), ("md", self.as_markdown().encode())):
            draft = folder / f"{name}.{ending}.tmp"
            draft.write_bytes(content)
            written.append(draft.replace(folder / f"{name}.{ending}"))
        return written[0], written[1]


def _line(row: Row) -> str:
    other = "" if row.other is None else f"{_number(row.other)} {row.unit}"
    ratio = "" if row.other is None else _number(row.value)
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    cells = (
        row.what,
        row.against,
        f"{_number(row.ours)} {row.unit}",
        other,
        ratio,
        str(row.target or ""),
        met,
    )
    return "| " + " | ".join(cell.strip() for cell in cells) + " |"


def _number(value: float) -> str:
    """Three significant digits, whole from a hundred on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
