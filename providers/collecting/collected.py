"""Collected: what a question of the agent brought, and what was stored of it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Collected:
    """What one kind brought. `rows`: how many are new; `served_by`: subjects by the resource that
    answered; `missing`: subjects that nobody answered, and why."""

    kind: str
    records: int
    rows: int
    served_by: dict[str, str]
    missing: dict[str, str]

    def told(self) -> dict[str, Any]:
        """For results and logs."""
        return {
            "kind": self.kind,
            "records": self.records,
            "rows": self.rows,
            "served_by": self.served_by,
            "missing": self.missing,
        }
