"""The saved results: latest.json, and for a part that was measured alone later, PART.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.report import PARTS, LeftOut, Row, part_lines

FOLDER: Final = Path(__file__).resolve().parent / "results"
_TOLD: Final = ("machine", "runs", "measured", "load when it began", "took")


class NotMeasured(KeyError):
    """There is no such row in the saved results; the message says which command measures it."""


@dataclass(frozen=True, slots=True)
class SavedPart:
    """The rows of a part. `alone`: of a report of its own, whose facts these are."""

    rows: Sequence[Row]
    left_out: Sequence[LeftOut]
    facts: Mapping[str, str]
    alone: bool


class Saved:
    """All saved results of a folder; a part's own report wins over latest.json."""

    def __init__(self, folder: Path = FOLDER) -> None:
        latest = _read(folder / "latest.json")
        self.facts: Mapping[str, str] = latest["facts"]
        self.parts: dict[str, SavedPart] = {}
        for part in PARTS:
            file = folder / f"{part}.json"
            if file.exists():
                self.parts[part] = _part(part, _read(file), alone=True)
            elif (found := _part(part, latest, alone=False)).rows or found.left_out:
                self.parts[part] = found

    def rows(self) -> list[Row]:
        return [row for part in self.parts.values() for row in part.rows]

    def row(self, part: str, what: str) -> Row:
        """The row of that name. Raises NotMeasured."""
        for row in self.parts[part].rows if part in self.parts else ():
            if row.what == what:
                return row
        raise NotMeasured(f'{part}: {what}: make bench BENCH="--part {part}" measures it')

    def as_markdown(self) -> str:
        """The tables of all parts, without a title."""
        lines = [f"- **{name}**: {fact}" for name, fact in self.facts.items()]
        for part, saved in self.parts.items():
            lines += part_lines(part, saved.rows, _facts(saved))
        left_out = [left for saved in self.parts.values() for left in saved.left_out]
        if left_out:
            lines += ["", "## Left out", ""]
            lines += [f"- {left.what} ({left.part}): {left.why}" for left in left_out]
        return "\n".join(lines)


def _read(file: Path) -> Any:
    return orjson.loads(file.read_bytes())


def _part(part: str, report: Mapping[str, Any], *, alone: bool) -> SavedPart:
    rows = [Row.of_json(row) for row in report["rows"] if row["part"] == part]
    left_out = [LeftOut(**left) for left in report["left_out"] if left["part"] == part]
    return SavedPart(rows, left_out, report["facts"], alone)


def _facts(saved: SavedPart) -> str:
    if not saved.alone:
        return ""
    told = [f"{name}: {saved.facts[name]}" for name in _TOLD if name in saved.facts]
    return "Measured alone; " + "; ".join(told) + "."
