"""The rows of the benchmarks, with medians, ratios and targets, and their JSON and Markdown."""

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
PARTS: Final = (
    *("serving", "publishing", "columns", "collecting", "closes", "streams", "history"),
    *("shards", "workers", "providers", "facade", "status", "bots", "running"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """The bound of a row's value; `unit` "" means a ratio."""

    sense: Sense
    bound: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.sense} {number(self.bound)} {self.unit}".strip()

    @classmethod
    def read(cls, text: str) -> "Target":
        """What `str` wrote."""
        sense, bound, *unit = text.split()
        if sense not in (">=", "<="):
            raise ValueError(f"{text!r} is no target: it must begin with >= or <=")
        return cls(">=" if sense == ">=" else "<=", float(bound.replace(",", "")), " ".join(unit))

    def met(self, value: float) -> bool:
        return _COMPARE[self.sense](value, self.bound)


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of one run: ours, and the other side's (None: nothing is compared)."""

    ours: float
    other: float | None = None

    @property
    def value(self) -> float:
        return self.ours if self.other is None else self.ours / self.other


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its value is the ratio of its samples, or ours (in `unit`) if nothing is compared.

    A row without a target is only informative.
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

    @classmethod
    def of_json(cls, row: Mapping[str, Any]) -> "Row":
        """What `as_json` wrote."""
        return cls(
            row["part"],
            row["what"],
            row["against"],
            row["unit"],
            [Sample(ours, other) for ours, other, _ in row["runs"]],
            None if row["target"] is None else Target.read(row["target"]),
            row["note"],
        )

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
    """A row that could not be measured on this machine, and what to install."""

    part: str
    what: str
    why: str


@dataclass(slots=True)
class Report:
    """All rows of a benchmark run; `facts` describe the machine and the method."""

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
        for part in PARTS:
            lines += part_lines(part, [row for row in self.rows if row.part == part])
        if self.left_out:
            lines += ["", "## Left out", ""]
            lines += [f"- {left.what} ({left.part}): {left.why}" for left in self.left_out]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Writes `name`.json and `name`.md, each atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        json = orjson.dumps(self.as_json(), option=orjson.OPT_INDENT_2) + b"\n"
        written = []
        for ending, content in (("json", json), ("md", self.as_markdown().encode())):
            draft = folder / f"{name}.{ending}.tmp"
            draft.write_bytes(content)
            written.append(draft.replace(folder / f"{name}.{ending}"))
        return written[0], written[1]


def part_lines(part: str, rows: Sequence[Row], facts: str = "") -> list[str]:
    """The section of a part, with what differs from the report's facts; none without rows."""
    if not rows:
        return []
    lines = ["", f"## {part.capitalize()}", ""]
    lines += [facts, ""] if facts else []
    lines += ["| what | against | ours | other | ratio | target | met |", "|" + "---|" * 7]
    lines += map(_line, rows)
    notes = [row for row in rows if row.note]
    lines += [""] * bool(notes)
    return lines + [f"- {row.what}: {row.note}" for row in notes]


def _line(row: Row) -> str:
    other = "" if row.other is None else f"{number(row.other)} {row.unit}"
    ratio = "" if row.other is None else number(row.value)
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    cells = (
        row.what,
        row.against,
        f"{number(row.ours)} {row.unit}",
        other,
        ratio,
        str(row.target or ""),
        met,
    )
    return "| " + " | ".join(cell.strip() for cell in cells) + " |"


def number(value: float) -> str:
    """A number as text with three significant digits, without decimals from 100 on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
