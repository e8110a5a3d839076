"""The expressions of the dashboard and of the alerts, as the files under docs/ hold them."""

import json
import re
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"


def expressions_of(file: str) -> list[str]:
    text = (DOCS / file).read_text()
    if file.endswith(".json"):
        panels = json.loads(text)["panels"]
        return [target["expr"] for panel in panels for target in panel.get("targets", ())]
    # Folded scalars are joined; the rest of the file is promtool's to check.
    joined = re.sub(r">-\n\s+", "", text)
    joined = re.sub(r"\n\s+(?=rate|increase|/ )", " ", joined)
    return re.findall(r"expr: (.+)", joined)
