"""docs/commands.md: every command of the command line has its row, and no row is of another."""

import re
from typing import Final

from commands.arguments import COMMANDS
from tests.docs.blocks import ROOT

TEXT: Final = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def test_every_command_has_its_row() -> None:
    cells = re.findall(r"^\| (`.+?) \| .+ \|$", TEXT, re.MULTILINE)
    told = {
        word
        for cell in cells
        for line in re.findall(r"`([^`]+)`", cell)
        for word in line.removeprefix("python main.py").split()[:1]
    }
    assert told == {command.name for command in COMMANDS}
