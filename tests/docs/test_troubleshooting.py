"""docs/troubleshooting.md: the messages that it explains are those of the code."""

import ast
import re
from typing import Final

from config import Settings
from tests.docs.blocks import ROOT, claim
from tests.fixtures.api import ServedApi, ask
from tests.test_house import LEVELS

DOCUMENT: Final = "docs/troubleshooting.md"
READY: Final = claim(DOCUMENT, "/ready")
# Words of others: of GET, of browsers, of exchanges, of the page's own examples.
_OF_OTHERS: Final = {"CORS", "451", "queued", "age_s", "stale", "tried"}


# The same, shorter, in other languages.
TRANSLATED: Final = ("docs/fa/troubleshooting.md", "README.ru.md", "README.vi.md")


def symptoms(*documents: str) -> list[str]:
    """The messages in the first column of the tables, as they are quoted there."""
    texts = [(ROOT / document).read_text(encoding="utf-8") for document in documents]
    rows = re.findall(r"^\| (.+?) \| .+ \|$", "\n".join(texts), re.MULTILINE)
    quoted = {each for row in rows for each in re.findall(r"`([^`]+)`", row)}
    return sorted(
        each
        for each in quoted - _OF_OTHERS
        if not each.startswith(("GET ", "/", "make")) and each.upper() not in SETTINGS
    )


SETTINGS: Final = {name.upper() for name in Settings.model_fields}


def told_by_the_code() -> str:
    """All texts in the code and in the Makefile, one on each line."""
    texts = [(ROOT / "Makefile").read_text(encoding="utf-8")]
    for room in LEVELS:
        files = (ROOT / room).rglob("*.py") if (ROOT / room).is_dir() else [ROOT / f"{room}.py"]
        for file in files:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            texts += [
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
    return "\n".join(texts)


def test_there_are_many() -> None:
    assert len(symptoms(DOCUMENT)) > 40
    assert len(symptoms(*TRANSLATED)) > 12


def test_the_messages_are_those_of_the_code() -> None:
    code = told_by_the_code() + PYDANTIC
    for symptom in symptoms(DOCUMENT, *TRANSLATED):
        for part in (part.strip(" ,:") for part in symptom.split("…")):
            assert part in code, f"{symptom}: nobody says {part!r}"


# Of the library that checks settings.
PYDANTIC: Final = "Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"


async def test_the_first_look(native_api: ServedApi) -> None:
    path = READY.text.split("8000", 1)[1].strip()
    _, _, answer = await ask(native_api, "GET", path)
    assert answer["status"] in ("ready", "degraded", "unavailable")
