"""docs/how-it-works.md: its drawing and its table tell the same flows, of rooms that are there."""

import re
from typing import Final

from tests.docs.blocks import ROOT

TEXT: Final = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
DRAWING: Final = (ROOT / "docs" / "flows.svg").read_text(encoding="utf-8")


def test_every_flow_is_drawn() -> None:
    told = re.findall(r"^\| (\d) \|", TEXT, re.MULTILINE)
    assert told == [str(number) for number in range(1, 10)]
    assert set(re.findall(r">(\d)</text>", DRAWING)) == set(told)


def test_their_rooms_are_there() -> None:
    rooms = re.findall(r"`([a-z_/]+(?:/|\.py))`", TEXT.partition("\n## A collection")[0])
    assert len(rooms) > 9
    for room in rooms:
        assert (ROOT / room).exists(), room
